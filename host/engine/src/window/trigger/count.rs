//! The trigger that counts elements.

use super::{Trigger, TriggerContext, TriggerResult, merge_numbers, number, set_number};
use crate::error::TaskError;
use crate::window::element::Element;

/// Fires with each `count`-th element of the window; a rest never fires.
pub struct CountTrigger {
    /// How many; above 0.
    pub count: i64,
}

const COUNT: usize = 0;

impl Trigger for CountTrigger {
    fn slots(&self) -> Vec<&'static str> {
        vec!["trigger-count"]
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let count = number(context, COUNT)?.unwrap_or(0).saturating_add(1);
        if count >= self.count {
            set_number(context, COUNT, None)?;
            return Ok(TriggerResult::Fire);
        }
        set_number(context, COUNT, Some(count))?;
        Ok(TriggerResult::Continue)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        merge_numbers(context, COUNT, i64::saturating_add)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        set_number(context, COUNT, None)
    }
}
