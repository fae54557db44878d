//! When a window fires, and when its contents are purged (W4, W5).
//!
//! A trigger is one object for all keys and windows of a subtask: what it must remember of a window it keeps in
//! its slots, which are keyed state in the window's namespace. Purging contents keeps slots and timers, as in Flink.

use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::bounds::Window;
use super::element::Element;
use super::panes::{PaneId, Panes};
use crate::error::TaskError;
use crate::operator::OperatorContext;

mod continuous;
mod count;
mod delta;
mod end_of_stream;
mod purging;
mod time;
mod timeout;

pub use continuous::{ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger};
pub use count::CountTrigger;
pub use delta::{DeltaFunction, DeltaTrigger};
pub use end_of_stream::{EndOfStreamTrigger, NeverTrigger};
pub use purging::PurgingTrigger;
pub use time::{EventTimeTrigger, ProcessingTimeTrigger};
pub use timeout::ProcessingTimeoutTrigger;

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

impl TriggerResult {
    /// Whether the window function runs.
    pub fn fires(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// Whether the contents go.
    pub fn purges(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }

    /// Purged as well where it fires.
    fn and_purge(self) -> Self {
        if self.fires() { Self::FireAndPurge } else { self }
    }
}

/// Makes one value of two, the one that came first before the other.
pub type MergeValues<'f> = dyn FnMut(&[u8], &[u8]) -> Result<Vec<u8>, TaskError> + 'f;

/// What a trigger may do during a call; all of it concerns the current key and window.
pub trait TriggerContext {
    /// The window.
    fn window(&self) -> Window;

    /// The event-time clock.
    fn watermark(&self) -> Timestamp;

    /// The processing-time clock.
    fn processing_time(&self) -> Timestamp;

    /// Registers a timer; again with the same time changes nothing. One in the past fires when its clock advances
    /// next.
    fn register_timer(&mut self, domain: TimeDomain, at: Timestamp);

    /// Deletes a timer; nothing happens where there is none.
    fn delete_timer(&mut self, domain: TimeDomain, at: Timestamp);

    /// The value of a slot.
    fn value(&mut self, slot: usize) -> Result<Option<Vec<u8>>, TaskError>;

    /// Sets or clears the value of a slot.
    fn set_value(&mut self, slot: usize, value: Option<&[u8]>) -> Result<(), TaskError>;

    /// In [`Trigger::on_merge`] only: takes the slot's values out of the windows that merged and folds them into
    /// that of the current one.
    fn merge_values(&mut self, slot: usize, fold: &mut MergeValues<'_>) -> Result<(), TaskError>;

    /// Emits a record to an output of the operator, in order with what the window function emits.
    fn emit(&mut self, port: u16, timestamp: Option<Timestamp>, value: &[u8]);

    /// The panes that the call is about, and what the operator works with: for triggers that keep state of their own
    /// there instead of in slots.
    fn parts(&mut self) -> (TriggerPanes<'_>, &mut OperatorContext);
}

/// The panes that a call of a trigger is about.
#[derive(Clone, Copy)]
pub struct TriggerPanes<'c> {
    /// The current key and window.
    pub pane: PaneId,
    /// In [`Trigger::on_merge`]: those that are no more.
    pub merged: &'c [PaneId],
    /// Keys and windows.
    pub panes: &'c Panes,
}

/// Decides when windows fire.
pub trait Trigger: Send {
    /// Called once before all else.
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// The names of its slots, distinct within the operator. They name state: changing one loses its values.
    fn slots(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether it may be used with windows that merge.
    fn can_merge(&self) -> bool;

    /// An element was added to the window.
    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError>;

    /// An event-time timer of the window fires: one that the trigger registered, or the window's clean-up.
    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let _ = (time, context);
        Ok(TriggerResult::Continue)
    }

    /// A processing-time timer of the window fires.
    fn on_processing_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let _ = (time, context);
        Ok(TriggerResult::Continue)
    }

    /// Other windows were merged into the current one; [`Trigger::clear`] is called for each of them afterwards.
    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// The window is gone: clears slots and deletes timers.
    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }
}

/// The integer in a slot.
fn number(context: &mut dyn TriggerContext, slot: usize) -> Result<Option<i64>, TaskError> {
    let Some(value) = context.value(slot)? else {
        return Ok(None);
    };
    decode(&value).map(Some)
}

fn set_number(context: &mut dyn TriggerContext, slot: usize, number: Option<i64>) -> Result<(), TaskError> {
    match number {
        Some(number) => context.set_value(slot, Some(&number.to_le_bytes())),
        None => context.set_value(slot, None),
    }
}

fn merge_numbers(
    context: &mut dyn TriggerContext,
    slot: usize,
    fold: fn(i64, i64) -> i64,
) -> Result<(), TaskError> {
    context.merge_values(slot, &mut |a, b| {
        Ok(fold(decode(a)?, decode(b)?).to_le_bytes().to_vec())
    })
}

fn decode(value: &[u8]) -> Result<i64, TaskError> {
    let bytes = value.try_into().map_err(|_| {
        TaskError::host("a trigger's slot holds no integer: its state was written by another trigger")
    })?;
    Ok(i64::from_le_bytes(bytes))
}
