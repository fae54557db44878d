//! A trigger around another that purges wherever that one fires.

use wasmill_model::time::Timestamp;

use super::{Trigger, TriggerContext, TriggerResult};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::window::element::Element;

/// Purges at every firing of the nested trigger, whose slots and timers stay.
pub struct PurgingTrigger(pub Box<dyn Trigger>);

impl Trigger for PurgingTrigger {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.open(context)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.close(context)
    }

    fn slots(&self) -> Vec<&'static str> {
        self.0.slots()
    }

    fn can_merge(&self) -> bool {
        self.0.can_merge()
    }

    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        self.0.on_element(element, context).map(TriggerResult::and_purge)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        self.0.on_event_time(time, context).map(TriggerResult::and_purge)
    }

    fn on_processing_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        self.0
            .on_processing_time(time, context)
            .map(TriggerResult::and_purge)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        self.0.on_merge(context)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        self.0.clear(context)
    }
}
