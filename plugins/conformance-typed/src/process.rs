//! `process`: runs a script of commands on every kind of keyed state, timers and outputs.

use std::cell::Cell;

use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::{collector, keyed_state as state, runtime, timers};
use crate::command::{self, Command};

/// Elements that one page asks for; few, so that tests read several pages.
const PAGE: u32 = 2;

#[derive(Clone, Copy, Default)]
struct Slots {
    value: u32,
    cold: u32,
    list: u32,
    map: u32,
    reducing: u32,
    folded: u32,
    aggregating: u32,
    script: u32,
    event_chain: u32,
    processing_chain: u32,
}

thread_local! {
    static SLOTS: Cell<Slots> = const { Cell::new(Slots {
        value: 0, cold: 0, list: 0, map: 0, reducing: 0, folded: 0, aggregating: 0, script: 0,
        event_chain: 0, processing_chain: 0,
    }) };
}

pub fn open() {
    SLOTS.set(Slots {
        value: state::open_value("value"),
        cold: state::open_value("cold"),
        list: state::open_list("list"),
        map: state::open_map("map"),
        reducing: state::open_accumulator("reducing"),
        folded: state::open_accumulator("folded"),
        aggregating: state::open_accumulator("aggregating"),
        script: state::open_value("script"),
        event_chain: state::open_value("event-chain"),
        processing_chain: state::open_value("processing-chain"),
    });
}

/// The record or timer at hand.
#[derive(Clone, Copy)]
struct At {
    /// What `~N` counts from.
    base: i64,
    /// What `t` tells.
    timestamp: Option<i64>,
}

pub fn process_element(e: &Element) -> Result<(), Error> {
    let at = At {
        base: e.timestamp.unwrap_or(0),
        timestamp: e.timestamp,
    };
    if runtime::value_is_null() {
        return run(Command::IsNull, at);
    }
    let script = std::str::from_utf8(&e.value).map_err(|error| Error::BadRecord(error.to_string()))?;
    run_script(script, ';', at)
}

pub fn on_timer(time: i64, processing_time: bool) -> Result<(), Error> {
    let slots = SLOTS.get();
    let (domain, chain) = if processing_time {
        ("processing", slots.processing_chain)
    } else {
        ("event", slots.event_chain)
    };
    emit(&format!("timer {domain} {time}"));
    let links = state::value_get(chain).map(text);
    if let Some((left, step)) = links.as_deref().and_then(command::chain) {
        if left > 1 {
            state::value_set(chain, format!("{} {step}", left - 1).as_bytes());
            let next = time.saturating_add(step);
            if processing_time {
                timers::register_processing_timer(next);
            } else {
                timers::register_event_timer(next);
            }
        } else {
            state::value_clear(chain);
        }
    }
    if let Some(script) = state::value_get(slots.script) {
        state::value_clear(slots.script);
        let at = At {
            base: time,
            timestamp: (!processing_time).then_some(time),
        };
        run_script(&text(script), '|', at)?;
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn emit(line: &str) {
    collector::emit(line.as_bytes());
}

fn emit_option(name: char, value: Option<String>) {
    match value {
        Some(value) => emit(&format!("{name}={value}")),
        None => emit(&format!("{name} none")),
    }
}

fn integer(bytes: &[u8]) -> i64 {
    bytes.try_into().map(i64::from_le_bytes).unwrap_or_default()
}

fn run_script(script: &str, separator: char, at: At) -> Result<(), Error> {
    for text in script.split(separator) {
        let unknown = || Error::BadRecord(format!("unknown command {text}"));
        run(command::parse(text).ok_or_else(unknown)?, at)?;
    }
    Ok(())
}

fn run(command: Command<'_>, at: At) -> Result<(), Error> {
    let slots = SLOTS.get();
    match command {
        Command::ValueSet(text) => state::value_set(slots.value, text.as_bytes()),
        Command::ValueClear => state::value_clear(slots.value),
        Command::ValueGet => emit_option('v', state::value_get(slots.value).map(text)),
        Command::ColdSet(text) => state::value_set(slots.cold, text.as_bytes()),
        Command::ColdClear => state::value_clear(slots.cold),
        Command::ColdGet => emit_option('c', state::value_get(slots.cold).map(text)),
        Command::ListAdd(text) => state::list_add(slots.list, text.as_bytes()),
        Command::ListUpdate(text) => {
            let elements: Vec<Vec<u8>> = command::elements(text)
                .into_iter()
                .map(String::into_bytes)
                .collect();
            state::list_update(slots.list, &elements);
        }
        Command::ListClear => state::list_clear(slots.list),
        Command::ListGet => emit(&format!("l=[{}]", list(slots.list).join(","))),
        Command::ReducingAdd(number) => {
            let former = state::accumulator_get(slots.reducing).map_or(0, |bytes| integer(&bytes));
            state::accumulator_set(slots.reducing, &former.wrapping_add(number).to_le_bytes());
        }
        Command::ReducingClear => state::accumulator_clear(slots.reducing),
        Command::ReducingGet => emit_option('r', number(slots.reducing)),
        Command::FoldedAdd(number) => state::accumulator_add(slots.folded, &number.to_le_bytes()),
        Command::FoldedClear => state::accumulator_clear(slots.folded),
        Command::FoldedGet => emit_option('f', number(slots.folded)),
        Command::AggregatingAdd(added) => {
            let former = state::accumulator_get(slots.aggregating).map_or("Contains".to_owned(), text);
            state::accumulator_set(slots.aggregating, format!("{former}-{added}").as_bytes());
        }
        Command::AggregatingClear => state::accumulator_clear(slots.aggregating),
        Command::AggregatingGet => emit_option('a', state::accumulator_get(slots.aggregating).map(text)),
        Command::Fail(_) | Command::Trap => return Err(super::fail(command)),
        other => run_on_map(other, slots, at),
    }
    Ok(())
}

fn number(slot: u32) -> Option<String> {
    state::accumulator_get(slot).map(|bytes| integer(&bytes).to_string())
}

fn list(slot: u32) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = state::list_page(slot, all.len() as u32, PAGE);
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(text));
    }
}

fn run_on_map(command: Command<'_>, slots: Slots, at: At) {
    match command {
        Command::MapPut(key, value) => state::map_put(slots.map, key.as_bytes(), value.as_bytes()),
        Command::MapRemove(key) => state::map_remove(slots.map, key.as_bytes()),
        Command::MapClear => state::map_clear(slots.map),
        Command::MapGet(key) => match state::map_get(slots.map, key.as_bytes()) {
            Some(value) => emit(&format!("m {key}={}", text(value))),
            None => emit(&format!("m {key} none")),
        },
        Command::MapContains(key) => {
            emit(&format!(
                "m {key} {}",
                state::map_contains(slots.map, key.as_bytes())
            ));
        }
        Command::MapEntries => emit(&format!("m={{{}}}", entries(slots.map).join(","))),
        Command::MapIsEmpty => emit(&format!("m empty {}", state::map_is_empty(slots.map))),
        other => run_effect(other, slots, at),
    }
}

fn entries(slot: u32) -> Vec<String> {
    let mut all = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state::map_entries(slot, after.as_deref(), PAGE);
        let Some(last) = page.last() else {
            return all;
        };
        after = Some(last.key.clone());
        all.extend(
            page.into_iter()
                .map(|entry| format!("{}:{}", text(entry.key), text(entry.value))),
        );
    }
}

fn run_effect(command: Command<'_>, slots: Slots, at: At) {
    match command {
        Command::RegisterEvent(time) => timers::register_event_timer(time.resolve(at.base)),
        Command::DeleteEvent(time) => timers::delete_event_timer(time.resolve(at.base)),
        Command::RegisterProcessing(time) => timers::register_processing_timer(time.resolve(at.base)),
        Command::DeleteProcessing(time) => timers::delete_processing_timer(time.resolve(at.base)),
        Command::OnTimer(script) => state::value_set(slots.script, script.as_bytes()),
        Command::EventChain(chain) => {
            state::value_set(slots.event_chain, chain.as_bytes());
            timers::register_event_timer(first(chain, at.base));
        }
        Command::ProcessingChain(chain) => {
            state::value_set(slots.processing_chain, chain.as_bytes());
            timers::register_processing_timer(first(chain, at.base));
        }
        Command::Emit(text) => emit(text),
        Command::EmitAt(time, text) => collector::emit_at(text.as_bytes(), time),
        Command::Side(text) => collector::emit_to("side", text.as_bytes()),
        Command::Other(text) => collector::emit_to("other", text.as_bytes()),
        Command::Key => emit(&format!("k={}", text(timers::current_key()))),
        Command::Watermark => emit(&format!("w={}", timers::current_watermark())),
        Command::ProcessingTime => emit(&format!("p={}", timers::current_processing_time())),
        Command::Timestamp => emit_option('t', at.timestamp.map(|time| time.to_string())),
        Command::IsNull => emit(&format!("n {}", runtime::value_is_null())),
        Command::Header(name) => match runtime::header(name) {
            Some(value) => emit(&format!("h {name}={}", text(value))),
            None => emit(&format!("h {name} none")),
        },
        Command::Log(text) => runtime::log(2, text),
        Command::Counter(count) => runtime::counter_add("conformance_counter", count),
        Command::Gauge(value) => runtime::gauge_set("conformance_gauge", value),
        Command::Histogram(value) => runtime::histogram_record("conformance_histogram", value),
        // All others are taken by `run` and `run_on_map`.
        _ => {}
    }
}

/// The first timer of a chain.
fn first(chain: &str, base: i64) -> i64 {
    base.saturating_add(command::chain(chain).map_or(0, |(_, step)| step))
}
