//! KeyedProcessFunction.

use super::{Runner, drive_rows_and_timers, lifecycle, runner_lifecycle};
use crate::Context;
use crate::call::{Call, TimeDomain};
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// A timer that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time that it was registered for, in milliseconds since the epoch.
    pub at: i64,
    /// By which clock.
    pub domain: TimeDomain,
}

/// The general keyed function: any number of results, state, timers, side outputs.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Emits a key's count once nothing has come for it for a minute.
/// #[derive(Default)]
/// struct CountWithTimeout {
///     count: ValueState<u64>,
///     last: ValueState<i64>,
/// }
///
/// impl KeyedProcessFunction for CountWithTimeout {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.count = d.value_state("count");
///         self.last = d.value_state("last");
///     }
///
///     fn process_element(&mut self, _: &str, ctx: &mut Context<str>) -> Result<()> {
///         let count = self.count.value(ctx)?.unwrap_or(0) + 1;
///         self.count.update(ctx, &count)?;
///         let time = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
///         self.last.update(ctx, &time)?;
///         ctx.register_event_timer(time + 60_000);
///         Ok(())
///     }
///
///     fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
///         if self.last.value(ctx)? == Some(timer.at - 60_000) {
///             let count = self.count.value(ctx)?.unwrap_or(0);
///             ctx.emit((ctx.key_str()?, ',', count));
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<CountWithTimeout>();
/// # t.element_at("k", "", 0).unwrap();
/// # t.element_at("k", "", 10).unwrap();
/// # t.watermark(70_000).unwrap();
/// # assert_eq!(t.take_output(), ["k,2"]);
/// ```
pub trait KeyedProcessFunction: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each record.
    fn process_element(&mut self, value: &Self::In, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Called with each timer that fires, in the order of their times.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }
}

/// Runs a [`KeyedProcessFunction`].
#[derive(Default)]
pub(crate) struct ProcessRunner<F> {
    function: F,
}

impl<F: KeyedProcessFunction> Runner for ProcessRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("process", F::In::FORMAT, F::Out::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let function = &mut self.function;
        drive_rows_and_timers(call, |ctx, row, timer| match timer {
            None => F::In::with(row.value, |value| function.process_element(value, ctx)),
            Some(timer) => function.on_timer(timer, ctx),
        })
    }

    runner_lifecycle!(KeyedProcessFunction);
}
