//! host-call: batched requests for what did not travel in the frame.
//!
//! Invariant: a request is checked before any of it takes effect, and its effects sit in the journal of
//! the call; a response never exceeds the limit for one result.

use wasmill_model::function::StateKind;
use wasmill_model::row;
use wasmill_state::backend::Page;
use wasmill_state::ttl::read::Reading;

use super::answer::check_row;
use super::cursor::{Cursor, Short, put_u32};
use super::writes;
use crate::journal::effects::MetricKind;
use crate::journal::keyed::bytes as bound;
use crate::journal::keys::NONE;
use crate::journal::overlay::Address;
use crate::journal::scope::{CallScope, PAGE_BYTES_MAX};

/// Answers one request; the error says what was wrong with it.
pub fn host_call(scope: &mut CallScope, request: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(request);
    let op = cursor.u8().map_err(short)?;
    cursor.take(3).map_err(short)?;
    let body = cursor.rest();
    let answer = match op {
        1 => Ok(scope.context_json().as_bytes().to_vec()),
        2 => get_many(scope, body),
        3 => map_page(scope, body),
        4 => list_page(scope, body),
        5 => write(scope, body),
        6 => register_metric(scope, body),
        7 => emit(scope, body),
        8 => broadcast_page(scope, body),
        9 => keys_page(scope, body),
        10 => map_is_empty(scope, body),
        _ => return Err(format!("host-call: there is no operation {op}; they are 1 to 10")),
    };
    answer.map_err(|error| format!("host-call {op}: {error}"))
}

fn short(error: Short) -> String {
    format!("the request {error}")
}

/// Checks the place that a read names.
fn address(scope: &CallScope, slot: u32, key: u32, namespace: u32) -> Result<Address, String> {
    if scope.keys.contains(key, namespace) {
        return Ok(Address { slot, key, namespace });
    }
    Err(format!(
        "there is no key {key} or no namespace {} in this frame of {} keys",
        writes::namespace_text(namespace),
        scope.keys.len()
    ))
}

fn get_many(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let count = cursor.u32().map_err(short)?;
    let kinds = &[
        StateKind::Value,
        StateKind::Reducing,
        StateKind::Aggregating,
        StateKind::Map,
    ];
    let is_map = scope.state(slot, kinds, "get many")?.kind == StateKind::Map;
    let (mut lengths, mut bytes, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        let (key, namespace) = (cursor.u32().map_err(short)?, cursor.u32().map_err(short)?);
        let map_key_len = cursor.u32().map_err(short)? as usize;
        let map_key = cursor.take(map_key_len).map_err(short)?;
        let address = address(scope, slot, key, namespace)?;
        if !is_map && !map_key.is_empty() {
            return Err("a map key for a state that is no map".to_owned());
        }
        let Reading { value, is_removed } = if is_map {
            scope.map_read(address, map_key)?
        } else {
            scope.read(address)?
        };
        put_u32(
            &mut lengths,
            value.as_ref().map_or(NONE, |value| value.len() as u32),
        );
        bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        if is_removed && value.is_some() {
            put_u32(&mut removed, index);
        }
        if lengths.len() + bytes.len() > scope.limits().output_bytes_max {
            scope.hit_output();
            return Err(format!(
                "the answer exceeds the limit of {} bytes: ask for fewer keys at a time",
                scope.limits().output_bytes_max
            ));
        }
    }
    lengths.extend_from_slice(&bytes);
    lengths.extend_from_slice(&removed);
    Ok(lengths)
}

fn map_is_empty(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let (key, namespace) = (cursor.u32().map_err(short)?, cursor.u32().map_err(short)?);
    scope.state(slot, &[StateKind::Map], "map is empty")?;
    let address = address(scope, slot, key, namespace)?;
    let is_empty = scope.map_is_empty(address)?;
    Ok(u32::from(is_empty).to_le_bytes().to_vec())
}

fn map_page(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let (key, namespace) = (cursor.u32().map_err(short)?, cursor.u32().map_err(short)?);
    let bytes_max = cursor.u32().map_err(short)? as usize;
    let has_after = cursor.u32().map_err(short)?;
    let after_len = cursor.u32().map_err(short)? as usize;
    let after = cursor.take(after_len).map_err(short)?;
    scope.state(slot, &[StateKind::Map], "map page")?;
    let address = address(scope, slot, key, namespace)?;
    let after = match has_after {
        0 => None,
        1 => Some(after),
        _ => return Err(format!("has-after is {has_after}; it is 0 or 1")),
    };
    let page = scope.map_page(address, after, bound(bytes_max.clamp(1, PAGE_BYTES_MAX)))?;
    Ok(map_entries(&page))
}

fn map_entries(page: &Page) -> Vec<u8> {
    let mut out = page_header(page);
    for (key, value) in &page.entries {
        put_u32(&mut out, key.len() as u32);
        put_u32(&mut out, value.len() as u32);
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out
}

fn broadcast_page(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let bytes_max = cursor.u32().map_err(short)? as usize;
    let has_after = cursor.u32().map_err(short)?;
    let after_len = cursor.u32().map_err(short)? as usize;
    let after = cursor.take(after_len).map_err(short)?;
    let after = (has_after != 0).then_some(after);
    let page = scope.broadcast_page(slot, after, bytes_max.clamp(1, PAGE_BYTES_MAX))?;
    Ok(map_entries(&page))
}

fn keys_page(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let mut restart = cursor.u32().map_err(short)? != 0;
    let bytes_max = cursor.u32().map_err(short)? as usize;
    let (mut entries, mut count, mut done) = (Vec::new(), 0, 1);
    while let Some(key) = scope.next_key(slot, std::mem::take(&mut restart))? {
        let body = scope.keys.body(key);
        put_u32(&mut entries, key);
        put_u32(&mut entries, body.len() as u32);
        entries.extend_from_slice(body);
        count += 1;
        if entries.len() >= bytes_max.min(PAGE_BYTES_MAX) {
            done = 0;
            break;
        }
    }
    let mut out = Vec::with_capacity(8 + entries.len());
    put_u32(&mut out, count);
    put_u32(&mut out, done);
    out.append(&mut entries);
    Ok(out)
}

fn list_page(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let slot = cursor.u32().map_err(short)?;
    let (key, namespace) = (cursor.u32().map_err(short)?, cursor.u32().map_err(short)?);
    let start = cursor.u32().map_err(short)?;
    let bytes_max = cursor.u32().map_err(short)? as usize;
    scope.state(slot, &[StateKind::List], "list page")?;
    let address = address(scope, slot, key, namespace)?;
    let page = scope.list_page(address, start.into(), bound(bytes_max.clamp(1, PAGE_BYTES_MAX)))?;
    let mut out = page_header(&page);
    for (_, element) in &page.entries {
        put_u32(&mut out, element.len() as u32);
        out.extend_from_slice(element);
    }
    Ok(out)
}

fn page_header(page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, page.entries.len() as u32);
    put_u32(&mut out, u32::from(page.done));
    out
}

fn write(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let rows = scope.keys.row_count();
    let each = |apply: &mut dyn FnMut(&writes::WriteEntry<'_>) -> Result<(), String>| {
        let (mut cursor, mut number) = (Cursor::new(body), 0);
        while !cursor.is_done() {
            let entry = writes::read(&mut cursor).and_then(|entry| apply(&entry));
            entry.map_err(|error| format!("entry {number}: {error}"))?;
            number += 1;
        }
        Ok::<(), String>(())
    };
    each(&mut |entry| writes::check(entry, rows, scope).map(|_| ()))?;
    each(&mut |entry| match writes::check(entry, rows, scope)? {
        Some(address) => writes::journal(entry, address, scope),
        None => match writes::broadcast(entry) {
            Some(write) => scope.broadcast_write(entry.slot, write),
            None => Ok(()),
        },
    })?;
    Ok(Vec::new())
}

fn register_metric(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor::new(body);
    let code = cursor.u32().map_err(short)?;
    let kind = MetricKind::from_code(code)
        .ok_or_else(|| format!("there is no kind {code} of metric; 1 is counter, 2 gauge, 3 histogram"))?;
    let name = std::str::from_utf8(cursor.rest()).map_err(|_| "the name is not UTF-8".to_owned())?;
    Ok(scope.metrics.register(name, kind)?.to_le_bytes().to_vec())
}

fn emit(scope: &mut CallScope, body: &[u8]) -> Result<Vec<u8>, String> {
    let limits = scope.limits();
    if scope.emissions.bytes_of_call() + body.len() > limits.output_bytes_max {
        scope.hit_output();
        return Err(format!(
            "the call emits more than the limit of {} bytes: consume fewer rows a call, or raise the job's `limits.output-bytes-max`",
            limits.output_bytes_max
        ));
    }
    let rows = scope.keys.row_count();
    let ports = 0..=scope.description().side_outputs.len() as u16;
    let (mut at, mut index) = (0, 0);
    while at < body.len() {
        let row = row::read(body, at).map_err(|error| format!("row {index}: {error}"))?;
        check_row(row, &ports, rows).map_err(|error| format!("row {index}: {error}"))?;
        scope
            .check_size("a value", row.value().len())
            .map_err(|error| format!("row {index}: {error}"))?;
        at += row.len();
        index += 1;
    }
    at = 0;
    while let Ok(row) = row::read(body, at) {
        let header = row.header();
        scope.last_cause = scope.last_cause.max(Some(row.key_field()));
        scope
            .emissions
            .push(header.port, row::RowHeader { port: 0, ..header }, row.value());
        at += row.len();
    }
    Ok(Vec::new())
}
