//! The triggers of the global window.

use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::time::at_end;
use super::{Trigger, TriggerContext, TriggerResult};
use crate::error::TaskError;
use crate::window::element::Element;

/// Fires at the end of bounded input.
pub struct EndOfStreamTrigger;

impl Trigger for EndOfStreamTrigger {
    fn can_merge(&self) -> bool {
        false
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        context.register_timer(TimeDomain::Event, context.window().max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        Ok(at_end(time, context))
    }
}

/// Never fires.
pub struct NeverTrigger;

impl Trigger for NeverTrigger {
    fn can_merge(&self) -> bool {
        false
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        _context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        Ok(TriggerResult::Continue)
    }
}
