//! Connected streams, broadcast state and timestamps. `Streams.java`, `Watermarks.java`.

use serde::Serialize;

use super::bindings::exports::wasmill::function::{
    broadcast_process_function, co_process_function, timestamp_assigner,
};
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{broadcast_state, collector, keyed_state, timers};
use super::{Component, Event, event, json, number};

/// Entries of broadcast state that one page asks for.
const PAGE: u32 = 100;

/// A total and the watermark that the function saw.
#[derive(Serialize)]
struct Read<'a> {
    key: &'a str,
    total: Option<i64>,
    watermark: i64,
}

/// What a timer finds.
#[derive(Serialize)]
struct Fired<'a> {
    key: &'a str,
    timer: i64,
    total: Option<i64>,
    watermark: i64,
}

/// An element and the rules that it reaches.
#[derive(Serialize)]
struct Reached<'a> {
    key: &'a str,
    value: i64,
    n: u64,
    rules: Vec<String>,
    watermark: i64,
    total: i64,
}

/// The total of a key.
#[derive(Serialize)]
struct Total<'a> {
    key: &'a str,
    total: Option<i64>,
}

fn no_timestamp() -> Error {
    Error::BadRecord("no timestamp".to_owned())
}

fn slot() -> u32 {
    keyed_state::open_value("total")
}

fn total() -> Result<Option<i64>, Error> {
    keyed_state::value_get(slot())
        .map(|bytes| number(&bytes))
        .transpose()
}

fn add(value: i64) -> Result<i64, Error> {
    let sum = total()?.unwrap_or(0).wrapping_add(value);
    keyed_state::value_set(slot(), &sum.to_le_bytes());
    Ok(sum)
}

fn emit(line: &impl Serialize) -> Result<(), Error> {
    collector::emit(json(line)?.as_bytes());
    Ok(())
}

impl co_process_function::Guest for Component {
    fn process_element1(e: Element) -> Result<(), Error> {
        add(event(&e.value)?.value).map(drop)
    }

    fn process_element2(e: Element) -> Result<(), Error> {
        timers::register_event_timer(e.timestamp.ok_or_else(no_timestamp)? + 100);
        emit(&Read {
            key: &event(&e.value)?.key,
            total: total()?,
            watermark: timers::current_watermark(),
        })
    }

    fn on_timer(at: i64, _processing_time: bool) -> Result<(), Error> {
        emit(&Fired {
            key: &String::from_utf8_lossy(&timers::current_key()),
            timer: at,
            total: total()?,
            watermark: timers::current_watermark(),
        })?;
        keyed_state::value_clear(slot());
        Ok(())
    }
}

/// The names of the rules that a value reaches, in order.
fn reached(value: i64) -> Result<Vec<String>, Error> {
    let slot = broadcast_state::open_broadcast("rules");
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = broadcast_state::broadcast_entries(slot, after.as_deref(), PAGE);
        let Some(last) = page.last() else {
            return Ok(names);
        };
        after = Some(last.key.clone());
        for rule in &page {
            if value >= number(&rule.value)? {
                names.push(String::from_utf8_lossy(&rule.key).into_owned());
            }
        }
    }
}

impl broadcast_process_function::Guest for Component {
    fn process_element(e: Element) -> Result<(), Error> {
        let Event { key, value, n, .. } = event(&e.value)?;
        let rules = reached(value)?;
        let total = add(rules.len() as i64)?;
        emit(&Reached {
            key: &key,
            value,
            n,
            rules,
            watermark: timers::current_watermark(),
            total,
        })
    }

    fn process_broadcast_element(e: Element) -> Result<(), Error> {
        let Event { key, value, .. } = event(&e.value)?;
        let rules = broadcast_state::open_broadcast("rules");
        if value < 0 {
            broadcast_state::broadcast_remove(rules, key.as_bytes());
        } else {
            broadcast_state::broadcast_put(rules, key.as_bytes(), &value.to_le_bytes());
        }
        if value % 10 != 0 {
            return Ok(());
        }
        let (state, mut restart) = (slot(), true);
        while let Some(key) = broadcast_state::next_key(state, restart) {
            restart = false;
            emit(&Total {
                key: &String::from_utf8_lossy(&key),
                total: total()?,
            })?;
        }
        Ok(())
    }

    fn on_timer(_at: i64, _processing_time: bool) -> Result<(), Error> {
        Ok(())
    }
}

impl timestamp_assigner::Guest for Component {
    fn extract_timestamp(e: Element) -> Result<i64, Error> {
        let ts = e.timestamp.ok_or_else(no_timestamp)?;
        Ok(ts.wrapping_add(event(&e.value)?.value))
    }
}
