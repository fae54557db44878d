//! A trigger around another that also fires when nothing has for a time.

use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::{Trigger, TriggerContext, TriggerResult, number, set_number};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::window::element::Element;

/// Fires when the nested trigger does, and `timeout` ms of the clock after the first element that it left unfired.
pub struct ProcessingTimeoutTrigger {
    nested: Box<dyn Trigger>,
    timeout: i64,
    reset_on_element: bool,
    clear_on_timeout: bool,
    /// Behind those of the nested one.
    slot: usize,
}

impl ProcessingTimeoutTrigger {
    /// Around a trigger; `reset_on_element`: the time-out starts anew with each element; `clear_on_timeout`: the nested
    /// trigger forgets what it has when it comes.
    pub fn new(
        nested: Box<dyn Trigger>,
        timeout: i64,
        reset_on_element: bool,
        clear_on_timeout: bool,
    ) -> Self {
        Self {
            slot: nested.slots().len(),
            nested,
            timeout,
            reset_on_element,
            clear_on_timeout,
        }
    }

    fn timed_out(
        &mut self,
        nested: TriggerResult,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        if self.clear_on_timeout {
            self.clear(context)?;
        }
        Ok(match nested.purges() {
            true => TriggerResult::FireAndPurge,
            false => TriggerResult::Fire,
        })
    }
}

impl Trigger for ProcessingTimeoutTrigger {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.nested.open(context)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.nested.close(context)
    }

    fn slots(&self) -> Vec<&'static str> {
        let mut slots = self.nested.slots();
        slots.push("trigger-timeout");
        slots
    }

    // As in Flink.
    fn can_merge(&self) -> bool {
        false
    }

    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let result = self.nested.on_element(element, context)?;
        if result.fires() {
            self.clear(context)?;
            return Ok(result);
        }
        let mut at = number(context, self.slot)?;
        if let Some(old) = at.filter(|_| self.reset_on_element) {
            context.delete_timer(TimeDomain::Processing, old);
            at = None;
        }
        if at.is_none() {
            let next = context.processing_time().saturating_add(self.timeout);
            set_number(context, self.slot, Some(next))?;
            context.register_timer(TimeDomain::Processing, next);
        }
        Ok(result)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let nested = self.nested.on_event_time(time, context)?;
        self.timed_out(nested, context)
    }

    fn on_processing_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let nested = self.nested.on_processing_time(time, context)?;
        self.timed_out(nested, context)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        if let Some(at) = number(context, self.slot)? {
            context.delete_timer(TimeDomain::Processing, at);
            set_number(context, self.slot, None)?;
        }
        self.nested.clear(context)
    }
}
