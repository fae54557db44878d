//! Window functions, the trigger that tells of its calls, and the gap by element. `Windows.java`, `Triggers.java`.

use serde::{Deserialize, Serialize};

use super::bindings::exports::wasmill::function::trigger::TriggerResult;
use super::bindings::exports::wasmill::function::{
    aggregate_function, trigger, window_assigner, window_function,
};
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{collector, keyed_state, timers, window_context};
use super::{Component, event, json, number, serves};

/// Bytes of elements that are asked for at a time.
const PAGE_BYTES: u32 = 1 << 16;

#[derive(Serialize, Deserialize)]
struct Summary {
    count: i64,
    sum: i64,
    min: i64,
    max: i64,
}

fn summary(bytes: &[u8]) -> Result<Summary, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Failed(format!("no accumulator: {error}")))
}

impl aggregate_function::Guest for Component {
    fn create_accumulator() -> Result<Vec<u8>, Error> {
        let nothing = Summary {
            count: 0,
            sum: 0,
            min: i64::MAX,
            max: i64::MIN,
        };
        json(&nothing).map(String::into_bytes)
    }

    fn add(accumulator: Vec<u8>, e: Element) -> Result<Vec<u8>, Error> {
        let (mut all, value) = (summary(&accumulator)?, event(&e.value)?.value);
        all.count += 1;
        all.sum += value;
        all.min = all.min.min(value);
        all.max = all.max.max(value);
        json(&all).map(String::into_bytes)
    }

    fn get_result(accumulator: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(accumulator)
    }

    fn merge(a: Vec<u8>, b: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (a, b) = (summary(&a)?, summary(&b)?);
        let both = Summary {
            count: a.count + b.count,
            sum: a.sum + b.sum,
            min: a.min.min(b.min),
            max: a.max.max(b.max),
        };
        json(&both).map(String::into_bytes)
    }
}

/// `"start":…,"end":…,` of a window that has them.
fn head() -> String {
    match (window_context::window_start(), window_context::window_end()) {
        (i64::MIN, i64::MAX) => String::new(),
        (start, end) => format!("\"start\":{start},\"end\":{end},"),
    }
}

fn last_timestamp() -> i64 {
    match (window_context::window_start(), window_context::window_end()) {
        (i64::MIN, i64::MAX) => i64::MAX,
        (_, end) => end - 1,
    }
}

fn elements() -> Vec<Element> {
    let mut all = Vec::new();
    loop {
        let page = window_context::next_elements(PAGE_BYTES);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn plus_one(state: &str) -> Result<i64, Error> {
    let slot = keyed_state::open_value(state);
    let before = keyed_state::value_get(slot)
        .map(|bytes| number(&bytes))
        .transpose()?;
    let count = before.unwrap_or(0) + 1;
    keyed_state::value_set(slot, &count.to_le_bytes());
    Ok(count)
}

impl window_function::Guest for Component {
    fn process() -> Result<(), Error> {
        let key = String::from_utf8_lossy(&timers::current_key()).into_owned();
        if serves("bounds") {
            for result in elements() {
                let result = String::from_utf8_lossy(&result.value).into_owned();
                let fields = result.trim_start_matches('{');
                collector::emit(format!("{{{}\"key\":\"{key}\",{fields}", head()).as_bytes());
            }
            return Ok(());
        }
        let (mut sum, mut lines) = (0, Vec::new());
        for element in elements() {
            let event = event(&element.value)?;
            sum += event.value;
            lines.push(event.n);
        }
        if serves("elements") {
            lines.sort_unstable();
            let line = format!(
                "{{{}\"key\":\"{key}\",\"sum\":{sum},\"n\":{}}}",
                head(),
                json(&lines)?
            );
            collector::emit(line.as_bytes());
            return Ok(());
        }
        let (of_window, of_key) = (plus_one("of-window")?, plus_one("of-key")?);
        let line = format!(
            "{{{}\"key\":\"{key}\",\"sum\":{sum},\"watermark\":{},\"firings-of-window\":{of_window},\"firings-of-key\":{of_key}}}",
            head(),
            timers::current_watermark()
        );
        collector::emit(line.as_bytes());
        if sum >= 200 {
            collector::emit_to("big", format!("{{{}\"key\":\"{key}\"}}", head()).as_bytes());
        }
        Ok(())
    }

    fn clear() -> Result<(), Error> {
        if !serves("context") {
            return Ok(());
        }
        let slot = keyed_state::open_value("of-window");
        let firings = keyed_state::value_get(slot)
            .map(|bytes| number(&bytes))
            .transpose()?;
        let line = format!(
            "{{\"cleared\":{},\"firings\":{}}}",
            last_timestamp(),
            json(&firings)?
        );
        collector::emit_to("cleared", line.as_bytes());
        keyed_state::value_clear(slot);
        Ok(())
    }
}

fn middle() -> i64 {
    let (start, end) = (window_context::window_start(), window_context::window_end());
    start + (end - start) / 2
}

fn count(slot: u32) -> Result<Option<i64>, Error> {
    keyed_state::value_get(slot)
        .map(|bytes| number(&bytes))
        .transpose()
}

/// Tells of a call of the trigger.
fn tell(call: &str, result: Option<TriggerResult>) -> Result<(), Error> {
    let name = result.map(|result| match result {
        TriggerResult::Proceed => "CONTINUE",
        TriggerResult::Fire => "FIRE",
        TriggerResult::Purge => "PURGE",
        TriggerResult::FireAndPurge => "FIRE_AND_PURGE",
    });
    let count = count(keyed_state::open_value("count"))?;
    let line = format!(
        "{{{}\"call\":\"{call}\",\"count\":{},\"result\":{}}}",
        head(),
        json(&count)?,
        json(&name)?
    );
    collector::emit_to("calls", line.as_bytes());
    Ok(())
}

impl trigger::Guest for Component {
    fn on_element(e: Element) -> Result<TriggerResult, Error> {
        let slot = keyed_state::open_value("count");
        let count = count(slot)?.unwrap_or(0) + 1;
        keyed_state::value_set(slot, &count.to_le_bytes());
        timers::register_event_timer(last_timestamp());
        timers::register_event_timer(middle());
        let result = match () {
            () if event(&e.value)?.value % 7 == 0 => TriggerResult::Purge,
            () if count % 3 == 0 => TriggerResult::Fire,
            () => TriggerResult::Proceed,
        };
        tell("on-element", Some(result))?;
        Ok(result)
    }

    fn on_event_time(at: i64) -> Result<TriggerResult, Error> {
        let result = match () {
            () if at == last_timestamp() => TriggerResult::FireAndPurge,
            () if at == middle() => TriggerResult::Fire,
            () => TriggerResult::Proceed,
        };
        tell("on-event-time", Some(result))?;
        Ok(result)
    }

    fn on_processing_time(_: i64) -> Result<TriggerResult, Error> {
        Ok(TriggerResult::Proceed)
    }

    fn on_merge() -> Result<(), Error> {
        let slot = keyed_state::open_value("count");
        let mut sum = count(slot)?;
        for merged in 0..window_context::merged_windows() {
            window_context::use_window(Some(merged));
            if let Some(part) = count(slot)? {
                sum = Some(sum.unwrap_or(0) + part);
                keyed_state::value_clear(slot);
            }
        }
        window_context::use_window(None);
        if let Some(sum) = sum {
            keyed_state::value_set(slot, &sum.to_le_bytes());
        }
        timers::register_event_timer(last_timestamp());
        tell("on-merge", None)
    }

    fn clear() -> Result<(), Error> {
        tell("clear", None)?;
        keyed_state::value_clear(keyed_state::open_value("count"));
        timers::delete_event_timer(last_timestamp());
        timers::delete_event_timer(middle());
        Ok(())
    }
}

impl window_assigner::Guest for Component {
    fn assign_windows(e: Element) -> Result<Vec<(i64, i64)>, Error> {
        let start = e
            .timestamp
            .ok_or_else(|| Error::BadRecord("no timestamp".to_owned()))?;
        let gap = 60 * (1 + event(&e.value)?.value.rem_euclid(8));
        Ok(vec![(start, start + gap)])
    }
}
