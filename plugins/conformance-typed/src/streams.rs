//! Functions with two inputs: connected streams and broadcast state.

use std::cell::Cell;

use crate::Component;
use crate::bindings::exports::wasmill::function::{
    broadcast_process_function, co_flat_map_function, co_map_function, co_process_function,
};
use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::{broadcast_state, collector, keyed_state as state, timers};
use crate::{command, fail, text};

/// Entries that one page asks for; few, so that tests read several pages.
const PAGE: u32 = 2;

#[derive(Clone, Copy, Default)]
struct Slots {
    seen: u32,
    rules: u32,
    count: u32,
    last: u32,
}

thread_local! {
    static SLOTS: Cell<Slots> = const { Cell::new(Slots { seen: 0, rules: 0, count: 0, last: 0 }) };
}

pub fn open(function: &str) {
    SLOTS.set(match function {
        "co-process" => Slots {
            seen: state::open_value("seen"),
            ..Slots::default()
        },
        "broadcast" => Slots {
            rules: broadcast_state::open_broadcast("rules"),
            count: state::open_value("count"),
            last: state::open_map("last"),
            ..Slots::default()
        },
        "broadcast-plain" => Slots {
            rules: broadcast_state::open_broadcast("rules"),
            ..Slots::default()
        },
        _ => Slots::default(),
    });
}

fn emit(text: &str) {
    collector::emit(text.as_bytes());
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl co_map_function::Guest for Component {
    fn map1(e: Element) -> Result<Vec<u8>, Error> {
        Ok(format!("1:{}", text(&e)?).into_bytes())
    }

    fn map2(e: Element) -> Result<Vec<u8>, Error> {
        Ok(format!("2:{}", text(&e)?).into_bytes())
    }
}

impl co_flat_map_function::Guest for Component {
    fn flat_map1(e: Element) -> Result<(), Error> {
        text(&e)?.split_whitespace().for_each(emit);
        Ok(())
    }

    fn flat_map2(e: Element) -> Result<(), Error> {
        text(&e)?
            .split_whitespace()
            .for_each(|part| emit(&format!("2:{part}")));
        Ok(())
    }
}

fn seen() -> Option<String> {
    state::value_get(SLOTS.get().seen).map(|seen| utf8(&seen))
}

impl co_process_function::Guest for Component {
    fn process_element1(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        let seen = seen().map_or(value.to_owned(), |seen| format!("{seen},{value}"));
        state::value_set(SLOTS.get().seen, seen.as_bytes());
        Ok(())
    }

    fn process_element2(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        let seen = seen().unwrap_or_else(|| "none".to_owned());
        emit(&format!("{} {value} seen={seen}", utf8(&e.key)));
        if let Some(timestamp) = e.timestamp {
            timers::register_event_timer(timestamp.saturating_add(10));
        }
        Ok(())
    }

    fn on_timer(at: i64, _processing_time: bool) -> Result<(), Error> {
        let seen = seen().unwrap_or_else(|| "none".to_owned());
        emit(&format!("timer {at} seen={seen}"));
        state::value_clear(SLOTS.get().seen);
        Ok(())
    }
}

fn shown() -> String {
    let (slot, mut rules, mut after) = (SLOTS.get().rules, Vec::new(), None);
    loop {
        let page = broadcast_state::broadcast_entries(slot, after.as_deref(), PAGE);
        let Some(last) = page.last() else {
            return format!("{{{}}}", rules.join(","));
        };
        after = Some(last.key.clone());
        let entries = page.iter();
        rules.extend(entries.map(|entry| format!("{}={}", utf8(&entry.key), utf8(&entry.value))));
    }
}

/// Whether the command was one of broadcast state.
fn write(command: &str) -> bool {
    let slot = SLOTS.get().rules;
    if let Some((key, value)) = command.split_once('=') {
        broadcast_state::broadcast_put(slot, key.as_bytes(), value.as_bytes());
    } else if let Some(key) = command.strip_prefix('-') {
        broadcast_state::broadcast_remove(slot, key.as_bytes());
    } else if command == "clear" {
        broadcast_state::broadcast_clear(slot);
    } else {
        return false;
    }
    true
}

fn count() -> u64 {
    let count = state::value_get(SLOTS.get().count);
    let count = count.and_then(|count| <[u8; 8]>::try_from(count).ok());
    count.map_or(0, u64::from_le_bytes)
}

fn for_each_key(slot: u32, each: impl Fn(&str)) {
    let mut restart = true;
    while let Some(key) = broadcast_state::next_key(slot, restart) {
        restart = false;
        each(&utf8(&key));
    }
}

fn run(command: &str, e: &Element) {
    let Slots {
        count: slot, last, ..
    } = SLOTS.get();
    match command {
        "each" => for_each_key(slot, |key| {
            let last = state::map_get(last, b"last").unwrap_or_default();
            emit(&format!("{key}={} {}", count(), utf8(&last)));
        }),
        "reset" => for_each_key(last, |_| {
            state::value_clear(slot);
            state::map_clear(last);
        }),
        "double" => for_each_key(slot, |_| state::value_set(slot, &(count() * 2).to_le_bytes())),
        "key" => emit(&format!("key={}", utf8(&e.key))),
        _ => drop(write(command)),
    }
}

impl broadcast_process_function::Guest for Component {
    fn process_element(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        if write(value) {
            return Ok(());
        }
        let slots = SLOTS.get();
        if e.key.is_empty() {
            emit(&format!("{value} {}", shown()));
            return Ok(());
        }
        if let Some(at) = value.strip_prefix("t ") {
            let at = at.parse().map_err(|_| Error::BadRecord("no time".to_owned()))?;
            timers::register_event_timer(at);
        }
        let count = count() + 1;
        state::value_set(slots.count, &count.to_le_bytes());
        state::map_put(slots.last, b"last", value.as_bytes());
        emit(&format!("{} {value} {count} {}", utf8(&e.key), shown()));
        Ok(())
    }

    fn process_broadcast_element(e: Element) -> Result<(), Error> {
        let value = utf8(&e.value);
        for part in value.split(';') {
            if let Some(command) = command::failure(part) {
                return Err(fail(command));
            }
            run(part, &e);
        }
        Ok(())
    }

    fn on_timer(at: i64, _processing_time: bool) -> Result<(), Error> {
        emit(&format!("timer {at} {}", shown()));
        Ok(())
    }
}
