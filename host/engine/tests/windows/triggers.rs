//! The oracle's own trigger, which tells of each of its calls.

use serde_json::json;
use wasmill_engine::error::TaskError;
use wasmill_engine::window::bounds::Window;
use wasmill_engine::window::element::Element;
use wasmill_engine::window::trigger::{Trigger, TriggerContext, TriggerResult};
use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use crate::build::port;
use crate::functions::{head, value};

/// Purges on a value divisible by 7, else fires on each third element of the window; fires at its middle, fires and
/// purges at its end.
pub(crate) struct Own;

fn count(context: &mut dyn TriggerContext) -> Option<i64> {
    let value = context.value(0).unwrap()?;
    Some(i64::from_le_bytes(value.try_into().unwrap()))
}

fn middle(window: Window) -> Timestamp {
    let (start, end) = window.bounds();
    start + (end - start) / 2
}

fn tell(
    call: &str,
    time: Option<Timestamp>,
    result: Option<TriggerResult>,
    context: &mut dyn TriggerContext,
) -> TriggerResult {
    let name = result.map(|result| match result {
        TriggerResult::Continue => "CONTINUE",
        TriggerResult::Fire => "FIRE",
        TriggerResult::Purge => "PURGE",
        TriggerResult::FireAndPurge => "FIRE_AND_PURGE",
    });
    let (head, count) = (head(context.window()), json!(count(context)));
    let told = format!(
        "{{{head}\"call\":\"{call}\",\"count\":{count},\"result\":{}}}",
        json!(name)
    );
    context.emit(port("calls"), time, told.as_bytes());
    result.unwrap_or_default()
}

impl Trigger for Own {
    fn slots(&self) -> Vec<&'static str> {
        vec!["own-count"]
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let count = count(context).unwrap_or(0) + 1;
        context.set_value(0, Some(&count.to_le_bytes()))?;
        let window = context.window();
        context.register_timer(TimeDomain::Event, window.max_timestamp());
        context.register_timer(TimeDomain::Event, middle(window));
        let result = match () {
            () if value(element.value) % 7 == 0 => TriggerResult::Purge,
            () if count % 3 == 0 => TriggerResult::Fire,
            () => TriggerResult::Continue,
        };
        Ok(tell("on-element", element.timestamp, Some(result), context))
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let window = context.window();
        let result = match () {
            () if time == window.max_timestamp() => TriggerResult::FireAndPurge,
            () if time == middle(window) => TriggerResult::Fire,
            () => TriggerResult::Continue,
        };
        Ok(tell("on-event-time", Some(time), Some(result), context))
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
        context.merge_values(0, &mut |a, b| Ok((number(a) + number(b)).to_le_bytes().to_vec()))?;
        context.register_timer(TimeDomain::Event, context.window().max_timestamp());
        tell("on-merge", None, None, context);
        Ok(())
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        tell("clear", None, None, context);
        context.set_value(0, None)?;
        let window = context.window();
        context.delete_timer(TimeDomain::Event, window.max_timestamp());
        context.delete_timer(TimeDomain::Event, middle(window));
        Ok(())
    }
}
