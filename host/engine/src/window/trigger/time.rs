//! The triggers of a window's end, by either clock.

use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::{Trigger, TriggerContext, TriggerResult};
use crate::error::TaskError;
use crate::window::element::Element;

/// Fires when the watermark passes the window's end, and again with every element that comes later.
pub struct EventTimeTrigger;

impl Trigger for EventTimeTrigger {
    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let end = context.window().max_timestamp();
        if end <= context.watermark() {
            return Ok(TriggerResult::Fire);
        }
        context.register_timer(TimeDomain::Event, end);
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        Ok(at_end(time, context))
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let end = context.window().max_timestamp();
        if end > context.watermark() {
            context.register_timer(TimeDomain::Event, end);
        }
        Ok(())
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        context.delete_timer(TimeDomain::Event, context.window().max_timestamp());
        Ok(())
    }
}

/// Fires at the end of the window, and not otherwise.
pub(super) fn at_end(time: Timestamp, context: &mut dyn TriggerContext) -> TriggerResult {
    if time == context.window().max_timestamp() {
        TriggerResult::Fire
    } else {
        TriggerResult::Continue
    }
}

/// Fires when the clock passes the window's end.
pub struct ProcessingTimeTrigger;

impl Trigger for ProcessingTimeTrigger {
    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        context.register_timer(TimeDomain::Processing, context.window().max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        _time: Timestamp,
        _context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        Ok(TriggerResult::Fire)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let end = context.window().max_timestamp();
        if end > context.processing_time() {
            context.register_timer(TimeDomain::Processing, end);
        }
        Ok(())
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        context.delete_timer(TimeDomain::Processing, context.window().max_timestamp());
        Ok(())
    }
}
