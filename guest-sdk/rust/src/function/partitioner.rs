//! Partitioner.

use super::{Runner, drive_elements, lifecycle};
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Format, Input, Record};
use crate::{OpenContext, RestoreContext, SnapshotContext};

/// Chooses the channel that a record goes to.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Long lines to the last subtask, all others to the first.
/// #[derive(Default)]
/// struct ByLength;
///
/// impl Partitioner for ByLength {
///     type In = str;
///
///     fn partition(&mut self, line: &str, channels: u32) -> Result<u32> {
///         Ok(if line.len() > 80 { channels - 1 } else { 0 })
///     }
/// }
/// # wasmill_sdk::export! { "by-length" => partitioner ByLength }
/// # fn main() {}
/// ```
pub trait Partitioner: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;

    lifecycle!();

    /// From 0 to less than `channels`: the subtask that is given the record. `channels` stays the same.
    fn partition(&mut self, value: &Self::In, channels: u32) -> Result<u32>;
}

/// Runs a [`Partitioner`].
#[derive(Default)]
pub(crate) struct PartitionerRunner<F> {
    function: F,
    channels: u32,
}

impl<F: Partitioner> Runner for PartitionerRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("partitioner", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn open(&mut self, ctx: &mut OpenContext<'_>) -> Result<()> {
        self.channels = ctx.runtime().channels;
        self.function.open(ctx)
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let channels = self.channels;
        drive_elements::<[u8]>(call, |ctx, value| {
            F::In::with(value, |value| {
                let channel = self.function.partition(value, channels)?;
                ctx.emit_with(|out| {
                    out.bytes(&channel.to_le_bytes());
                });
                Ok(())
            })
        })
    }

    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()> {
        self.function.snapshot_state(ctx)
    }

    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()> {
        self.function.restore_state(ctx)
    }

    fn close(&mut self) -> Result<()> {
        self.function.close()
    }
}
