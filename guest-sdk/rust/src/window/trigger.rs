//! Trigger.

use super::Window;
use crate::Context;
use crate::call::{Call, TimeDomain};
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{
    KIND_TRIGGER_CLEAR, KIND_TRIGGER_ELEMENT, KIND_TRIGGER_EVENT_TIME, KIND_TRIGGER_MERGE,
    KIND_TRIGGER_PROCESSING_TIME,
};
use crate::function::{Runner, Timer, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::record::{Format, Input, Record};

/// What a trigger decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing happens.
    #[default]
    Continue,
    /// The window function runs; the contents stay.
    Fire,
    /// The contents go.
    Purge,
    /// The window function runs, then the contents go.
    FireAndPurge,
}

/// Decides when a window fires, and when its contents are purged.
///
/// Its states and timers belong to key and window; both stay when contents are purged. It can be used with windows
/// that merge where `declare` says [`merges`](Declare::merges).
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Fires early with every third element, and at the window's end.
/// #[derive(Default)]
/// struct EveryThird {
///     count: ReducingState<u64>,
/// }
///
/// impl Trigger for EveryThird {
///     type In = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.count = d.reducing_state("count", |a, b| a + b);
///         d.merges();
///     }
///
///     fn on_element(&mut self, _: &str, window: Window, ctx: &mut Context<()>) -> Result<TriggerResult> {
///         ctx.register_event_timer(window.max_timestamp());
///         self.count.add(ctx, 1)?;
///         match self.count.get(ctx)? {
///             Some(count) if count % 3 == 0 => Ok(TriggerResult::Fire),
///             _ => Ok(TriggerResult::Continue),
///         }
///     }
///
///     fn on_timer(&mut self, timer: Timer, window: Window, _: &mut Context<()>) -> Result<TriggerResult> {
///         match timer.at == window.max_timestamp() {
///             true => Ok(TriggerResult::Fire),
///             false => Ok(TriggerResult::Continue),
///         }
///     }
///
///     fn on_merge(&mut self, window: Window, ctx: &mut Context<()>) -> Result<()> {
///         ctx.register_event_timer(window.max_timestamp());
///         self.count.merge(ctx)
///     }
///
///     fn clear(&mut self, window: Window, ctx: &mut Context<()>) -> Result<()> {
///         ctx.delete_event_timer(window.max_timestamp());
///         self.count.clear(ctx)
///     }
/// }
/// ```
pub trait Trigger: Default + 'static {
    /// The elements.
    type In: Input + ?Sized;

    lifecycle!();

    /// An element was added to the window.
    fn on_element(
        &mut self,
        element: &Self::In,
        window: Window,
        ctx: &mut Context<'_, ()>,
    ) -> Result<TriggerResult>;

    /// A timer of the window fires: one of its own, or the window's clean-up.
    fn on_timer(
        &mut self,
        _timer: Timer,
        _window: Window,
        _ctx: &mut Context<'_, ()>,
    ) -> Result<TriggerResult> {
        Ok(TriggerResult::Continue)
    }

    /// Other windows were merged into this one: their state is merged into its own, its timers are registered.
    /// [`Trigger::clear`] is called for each of them afterwards.
    fn on_merge(&mut self, _window: Window, _ctx: &mut Context<'_, ()>) -> Result<()> {
        Ok(())
    }

    /// The window is gone: clears states and deletes timers.
    fn clear(&mut self, window: Window, ctx: &mut Context<'_, ()>) -> Result<()>;
}

/// Runs a [`Trigger`].
#[derive(Default)]
pub(crate) struct TriggerRunner<F> {
    function: F,
}

impl<F: Trigger> Runner for TriggerRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("trigger", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive::<()>(call, |ctx, row| {
            let (window, at) = (ctx.call.window()?, row.timestamp);
            let result = match row.kind {
                KIND_TRIGGER_ELEMENT => F::In::with(row.value, |element| {
                    self.function.on_element(element, window, ctx)
                })?,
                KIND_TRIGGER_EVENT_TIME | KIND_TRIGGER_PROCESSING_TIME => {
                    let domain = match row.kind {
                        KIND_TRIGGER_EVENT_TIME => TimeDomain::EventTime,
                        _ => TimeDomain::ProcessingTime,
                    };
                    self.function.on_timer(Timer { at, domain }, window, ctx)?
                }
                KIND_TRIGGER_MERGE => return self.function.on_merge(window, ctx),
                KIND_TRIGGER_CLEAR => return self.function.clear(window, ctx),
                kind => {
                    unknown.get_or_insert(kind);
                    return Ok(());
                }
            };
            let code = match result {
                TriggerResult::Continue => 0,
                TriggerResult::Fire => 1,
                TriggerResult::Purge => 2,
                TriggerResult::FireAndPurge => 3,
            };
            ctx.call.emit(0, None, false, |out| {
                out.bytes(&[code]);
                Ok(())
            });
            Ok(())
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(Trigger);
}
