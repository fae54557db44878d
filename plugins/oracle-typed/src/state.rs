//! The five kinds of keyed state under a tape of operations; each result is emitted. `States.java`.

use serde::Serialize;

use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{collector, keyed_state};
use super::{event, json, number};

/// Entries or elements of one page.
const PAGE: u32 = 100;

/// What is emitted for a record.
#[derive(Serialize)]
struct Done<'a> {
    key: &'a str,
    op: &'a str,
    arg: i64,
    result: Answer,
}

/// What an operation gives.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Done(&'static str),
    Number(Option<i64>),
    Numbers(Vec<i64>),
    Text(Option<String>),
    Texts(Vec<String>),
    Truth(bool),
}

const DONE: Answer = Answer::Done("done");

fn unknown(op: &str) -> Error {
    Error::BadRecord(format!("no such operation: {op}"))
}

pub(crate) fn process_element(e: &Element) -> Result<(), Error> {
    let event = event(&e.value)?;
    let (op, arg) = (event.op.as_str(), event.arg);
    let result = match op.split_once('-').map(|(state, _)| state) {
        Some("value") => on_value(op, arg)?,
        Some("list") => on_list(op, arg)?,
        Some("map") => on_map(op, arg)?,
        _ => on_folded(op, arg)?,
    };
    let line = json(&Done {
        key: &event.key,
        op,
        arg,
        result,
    })?;
    collector::emit(line.as_bytes());
    Ok(())
}

fn optional(bytes: Option<Vec<u8>>) -> Result<Option<i64>, Error> {
    bytes.map(|bytes| number(&bytes)).transpose()
}

fn on_value(op: &str, arg: i64) -> Result<Answer, Error> {
    let slot = keyed_state::open_value("value");
    match op {
        "value-get" => return Ok(Answer::Number(optional(keyed_state::value_get(slot))?)),
        "value-update" => keyed_state::value_set(slot, &arg.to_le_bytes()),
        // No value is what clearing leaves.
        "value-update-null" | "value-clear" => keyed_state::value_clear(slot),
        _ => return Err(unknown(op)),
    }
    Ok(DONE)
}

fn on_list(op: &str, arg: i64) -> Result<Answer, Error> {
    let slot = keyed_state::open_list("list");
    let bytes = |number: i64| number.to_le_bytes().to_vec();
    match op {
        "list-get" => {
            let elements = keyed_state::list_get(slot);
            let numbers: Result<_, _> = elements.iter().map(|bytes| number(bytes)).collect();
            return Ok(Answer::Numbers(numbers?));
        }
        "list-add" => keyed_state::list_add(slot, &bytes(arg)),
        "list-add-all" => keyed_state::list_add_all(slot, &[bytes(arg), bytes(arg + 1)]),
        "list-update" => keyed_state::list_update(slot, &[bytes(arg), bytes(-arg)]),
        "list-update-empty" => keyed_state::list_update(slot, &[]),
        "list-clear" => keyed_state::list_clear(slot),
        _ => return Err(unknown(op)),
    }
    Ok(DONE)
}

/// A value of the map: empty where it is null.
fn nullable(bytes: &[u8]) -> Result<Option<i64>, Error> {
    match bytes.is_empty() {
        true => Ok(None),
        false => number(bytes).map(Some),
    }
}

/// All entries of the map.
fn entries(slot: u32) -> Result<Vec<(i64, Option<i64>)>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = keyed_state::map_entries(slot, after.as_deref(), PAGE);
        for entry in &page {
            all.push((number(&entry.key)?, nullable(&entry.value)?));
        }
        match page.last() {
            Some(last) if page.len() as u32 == PAGE => after = Some(last.key.clone()),
            _ => return Ok(all),
        }
    }
}

fn on_map(op: &str, arg: i64) -> Result<Answer, Error> {
    let slot = keyed_state::open_map("map");
    let (entry, next) = ((arg % 4).to_le_bytes(), (arg % 4 + 1).to_le_bytes());
    match op {
        "map-get" => {
            let value = keyed_state::map_get(slot, &entry);
            let value = value.map(|bytes| nullable(&bytes)).transpose()?;
            return Ok(Answer::Number(value.flatten()));
        }
        "map-put" => keyed_state::map_put(slot, &entry, &arg.to_le_bytes()),
        "map-put-null" => keyed_state::map_put(slot, &entry, &[]),
        "map-put-all" => {
            keyed_state::map_put(slot, &entry, &arg.to_le_bytes());
            keyed_state::map_put(slot, &next, &(arg + 1).to_le_bytes());
        }
        "map-contains" => return Ok(Answer::Truth(keyed_state::map_contains(slot, &entry))),
        "map-remove" => keyed_state::map_remove(slot, &entry),
        "map-is-empty" => return Ok(Answer::Truth(keyed_state::map_is_empty(slot))),
        "map-keys" => return Ok(sorted(entries(slot)?.iter().map(|(key, _)| key.to_string()))),
        "map-values" => return Ok(sorted(entries(slot)?.into_iter().map(|(_, value)| shown(value)))),
        "map-entries" => {
            let entries = entries(slot)?.into_iter();
            return Ok(sorted(
                entries.map(|(key, value)| format!("{key}={}", shown(value))),
            ));
        }
        "map-remove-odd-by-iterator" => {
            for (key, _) in entries(slot)?.iter().filter(|(key, _)| key % 2 == 1) {
                keyed_state::map_remove(slot, &key.to_le_bytes());
            }
        }
        "map-clear" => keyed_state::map_clear(slot),
        _ => return Err(unknown(op)),
    }
    Ok(DONE)
}

fn on_folded(op: &str, arg: i64) -> Result<Answer, Error> {
    let slot = |name| keyed_state::open_accumulator(name);
    match op {
        "reducing-get" => {
            let sum = keyed_state::accumulator_get(slot("reducing"));
            return Ok(Answer::Number(optional(sum)?));
        }
        "reducing-add" => keyed_state::accumulator_add(slot("reducing"), &arg.to_le_bytes()),
        "reducing-clear" => keyed_state::accumulator_clear(slot("reducing")),
        "aggregating-get" => {
            let text = keyed_state::accumulator_get(slot("aggregating"));
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            return Ok(Answer::Text(text));
        }
        "aggregating-add" => {
            let before = keyed_state::accumulator_get(slot("aggregating"));
            let mut text = before.unwrap_or_else(|| b"Contains".to_vec());
            text.extend_from_slice(format!("-{arg}").as_bytes());
            keyed_state::accumulator_set(slot("aggregating"), &text);
        }
        "aggregating-clear" => keyed_state::accumulator_clear(slot("aggregating")),
        _ => return Err(unknown(op)),
    }
    Ok(DONE)
}

/// A value as Java shows it.
fn shown(value: Option<i64>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// As texts in their own order: none is promised for a map.
fn sorted(texts: impl Iterator<Item = String>) -> Answer {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    Answer::Texts(texts)
}
