//! The kinds of function that a user writes, and how each consumes the rows of a call.

mod aggregate;
mod asynchronous;
mod broadcast_process;
mod co_flat_map;
mod co_map;
mod co_process;
mod filter;
mod flat_map;
mod key_selector;
mod map;
mod open;
mod partitioner;
mod process;
mod process_join;
mod reduce;
mod time;

pub use aggregate::{AggregateFunction, OwnedRecord};
pub use asynchronous::AsyncFunction;
pub use broadcast_process::{BroadcastProcessFunction, KeyedBroadcastProcessFunction};
pub use co_flat_map::{CoFlatMapFunction, CoProcessFunction};
pub use co_map::CoMapFunction;
pub use co_process::KeyedCoProcessFunction;
pub use filter::FilterFunction;
pub use flat_map::FlatMapFunction;
pub use key_selector::KeySelector;
pub use map::MapFunction;
pub use open::{OpenContext, RuntimeContext};
pub use partitioner::Partitioner;
pub use process::{KeyedProcessFunction, Timer};
pub use process_join::{Pair, ProcessJoinFunction};
pub use reduce::ReduceFunction;
pub use time::{TimestampAssigner, WatermarkGenerator, WatermarkOutput};

pub(crate) use aggregate::AggregateRunner;
pub(crate) use asynchronous::AsyncRunner;
pub(crate) use broadcast_process::{BroadcastRunner, KeyedBroadcastRunner};
pub(crate) use co_flat_map::{CoFlatMapRunner, CoProcessRunner};
pub(crate) use co_map::CoMapRunner;
pub(crate) use co_process::KeyedCoProcessRunner;
pub(crate) use filter::FilterRunner;
pub(crate) use flat_map::FlatMapRunner;
pub(crate) use key_selector::KeySelectorRunner;
pub(crate) use map::MapRunner;
pub(crate) use open::OpenRequest;
pub(crate) use partitioner::PartitionerRunner;
pub(crate) use process::ProcessRunner;
pub(crate) use process_join::ProcessJoinRunner;
pub(crate) use reduce::ReduceRunner;
pub(crate) use time::{TimestampRunner, WatermarkRunner};

use crate::Context;
use crate::call::{Call, TimeDomain};
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{
    KIND_ADD, KIND_CLEAR, KIND_ELEMENT, KIND_EVENT_TIMER, KIND_MERGE, KIND_PROCESSING_TIMER, KIND_PURGE,
    KIND_RESULT, Row,
};
use crate::operator_state::{RestoreContext, SnapshotContext};

/// A function of any kind, as the instance sees it: one virtual call a frame, none a record.
pub(crate) trait Runner {
    /// Declares anew, so that the handles in the function are those of this declaration.
    fn declare(&mut self) -> Declare;
    fn open(&mut self, ctx: &mut OpenContext<'_>) -> Result<()>;
    /// Consumes rows and completes the answer; the error says what is wrong with the frame.
    fn call(&mut self, call: Call<'_>) -> Result<(), String>;
    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()>;
    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()>;
    fn close(&mut self) -> Result<()>;
}

/// Hands row after row to `each` until they are consumed, one fails, or the call is to end.
#[inline]
pub(crate) fn drive<'f, O: ?Sized>(
    call: Call<'f>,
    mut each: impl FnMut(&mut Context<'f, O>, Row<'f>) -> Result<()>,
) -> Result<(), String> {
    let mut ctx = Context::new(call);
    while let Some(row) = ctx.call.next_row()? {
        let result = match each(&mut ctx, row) {
            Ok(()) => ctx.call.latched(),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            ctx.call.fail(&error);
            return Ok(());
        }
        if ctx.call.row_done() {
            break;
        }
    }
    ctx.call.finish();
    Ok(())
}

/// Like [`drive`], for kinds that know no rows but elements.
#[inline]
pub(crate) fn drive_elements<'f, O: ?Sized>(
    call: Call<'f>,
    mut each: impl FnMut(&mut Context<'f, O>, &'f [u8]) -> Result<()>,
) -> Result<(), String> {
    drive_two_inputs(call, |ctx, row| each(ctx, row.value))
}

/// Like [`drive_elements`], for kinds that tell their inputs apart by the row's port.
#[inline]
pub(crate) fn drive_two_inputs<'f, O: ?Sized>(
    call: Call<'f>,
    mut each: impl FnMut(&mut Context<'f, O>, Row<'f>) -> Result<()>,
) -> Result<(), String> {
    let mut unknown = None;
    drive(call, |ctx, row| {
        if row.kind != KIND_ELEMENT {
            unknown.get_or_insert(row.kind);
            return Ok(());
        }
        each(ctx, row)
    })?;
    match unknown {
        None => Ok(()),
        Some(kind) => Err(unknown_kind(kind)),
    }
}

/// Like [`drive`], for kinds that know elements and timers.
#[inline]
pub(crate) fn drive_rows_and_timers<'f, O: ?Sized>(
    call: Call<'f>,
    mut each: impl FnMut(&mut Context<'f, O>, Row<'f>, Option<Timer>) -> Result<()>,
) -> Result<(), String> {
    let mut unknown = None;
    drive(call, |ctx, row| {
        let domain = match row.kind {
            KIND_ELEMENT => return each(ctx, row, None),
            KIND_EVENT_TIMER => TimeDomain::EventTime,
            KIND_PROCESSING_TIMER => TimeDomain::ProcessingTime,
            kind => {
                unknown.get_or_insert(kind);
                return Ok(());
            }
        };
        let at = row.timestamp;
        each(ctx, row, Some(Timer { at, domain }))
    })?;
    match unknown {
        None => Ok(()),
        Some(kind) => Err(unknown_kind(kind)),
    }
}

/// Like [`drive`], for functions that fold: elements of a stream, or what happens to a window's accumulator.
#[inline]
pub(crate) fn drive_folds<'f, O: ?Sized>(
    call: Call<'f>,
    mut each: impl FnMut(&mut Context<'f, O>, Row<'f>) -> Result<()>,
) -> Result<(), String> {
    let mut unknown = None;
    drive(call, |ctx, row| match row.kind {
        KIND_ELEMENT | KIND_ADD | KIND_MERGE | KIND_RESULT | KIND_PURGE => each(ctx, row),
        // That the window is gone concerns only functions that keep something beside the accumulator.
        KIND_CLEAR => Ok(()),
        kind => {
            unknown.get_or_insert(kind);
            Ok(())
        }
    })?;
    match unknown {
        None => Ok(()),
        Some(kind) => Err(unknown_kind(kind)),
    }
}

/// The namespaces of the windows that a row says were merged.
pub(crate) fn merged<'f>(row: &Row<'f>) -> impl Iterator<Item = u32> + use<'f> {
    let namespaces = row.value.as_chunks::<4>().0;
    namespaces.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cold]
pub(crate) fn unknown_kind(kind: u8) -> String {
    format!("a row of kind {kind} reached a function that knows no such rows")
}

/// What every function may do around its records. All of it is optional.
macro_rules! lifecycle {
    () => {
        /// Declares states, side outputs and formats, and keeps the handles. It runs at upload too,
        /// where there is no host: it may do nothing else.
        fn declare(&mut self, _d: &mut $crate::Declare) {}

        /// Called once in each subtask before the first record.
        fn open(&mut self, _ctx: &mut $crate::OpenContext<'_>) -> $crate::Result<()> {
            Ok(())
        }

        /// Called after `open`, before the first record, where operator state or raw state is declared.
        fn restore_state(&mut self, _ctx: &mut $crate::RestoreContext) -> $crate::Result<()> {
            Ok(())
        }

        /// Called at every barrier, between two records, where operator state or raw state is declared.
        fn snapshot_state(&mut self, _ctx: &mut $crate::SnapshotContext) -> $crate::Result<()> {
            Ok(())
        }

        /// Called once after the last record, also when the job is cancelled; not after a failure.
        fn close(&mut self) -> $crate::Result<()> {
            Ok(())
        }
    };
}

/// The parts of a [`Runner`] that are the same for every kind.
macro_rules! runner_lifecycle {
    ($trait:ident) => {
        fn open(&mut self, ctx: &mut $crate::OpenContext<'_>) -> $crate::Result<()> {
            $trait::open(&mut self.function, ctx)
        }

        fn snapshot_state(&mut self, ctx: &mut $crate::SnapshotContext) -> $crate::Result<()> {
            $trait::snapshot_state(&mut self.function, ctx)
        }

        fn restore_state(&mut self, ctx: &mut $crate::RestoreContext) -> $crate::Result<()> {
            $trait::restore_state(&mut self.function, ctx)
        }

        fn close(&mut self) -> $crate::Result<()> {
            $trait::close(&mut self.function)
        }
    };
}

pub(crate) use {lifecycle, runner_lifecycle};
