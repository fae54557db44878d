//! The trigger that looks how far an element is from that of the last firing.

use super::{Trigger, TriggerContext, TriggerResult};
use crate::error::TaskError;
use crate::window::element::Element;

/// How far two elements are from each other.
pub trait DeltaFunction: Send {
    /// From the older value to the newer one.
    fn delta(&mut self, older: &[u8], newer: &[u8]) -> Result<f64, TaskError>;
}

/// Fires when an element is further than the threshold from that of the last firing.
pub struct DeltaTrigger {
    /// The measure.
    pub function: Box<dyn DeltaFunction>,
    /// A greater distance fires.
    pub threshold: f64,
}

const LAST: usize = 0;

impl Trigger for DeltaTrigger {
    fn slots(&self) -> Vec<&'static str> {
        vec!["trigger-last-element"]
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
        let Some(last) = context.value(LAST)? else {
            context.set_value(LAST, Some(element.value))?;
            return Ok(TriggerResult::Continue);
        };
        if self.function.delta(&last, element.value)? > self.threshold {
            context.set_value(LAST, Some(element.value))?;
            return Ok(TriggerResult::Fire);
        }
        Ok(TriggerResult::Continue)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        context.set_value(LAST, None)
    }
}
