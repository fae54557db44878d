//! Answers host-calls from the model.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::answer::{Cursor, output_rows, writes};
use super::model::{LogLine, Model};
use crate::host::native::Host;

pub(super) struct ModelHost(pub(super) Rc<RefCell<Model>>);

impl Host for ModelHost {
    fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let mut model = self.0.borrow_mut();
        let mut cursor = Cursor(request);
        let op = cursor.u8()?;
        cursor.take(3)?;
        match op {
            2 => get_many(&model, &mut cursor),
            3 => map_page(&model, &mut cursor),
            4 => list_page(&model, &mut cursor),
            5 => writes(cursor.0)?
                .iter()
                .try_for_each(|write| model.write(write))
                .map(|()| Vec::new()),
            6 => {
                let _kind = cursor.u32()?;
                let name = String::from_utf8_lossy(cursor.0).into_owned();
                Ok(model.register_metric(name).to_le_bytes().to_vec())
            }
            7 => {
                for row in output_rows(cursor.0)? {
                    model.emit(row);
                }
                Ok(Vec::new())
            }
            8 => broadcast_page(&model, &mut cursor),
            9 => keys_page(&mut model, &mut cursor),
            10 => map_is_empty(&model, &mut cursor),
            other => Err(format!("host-call {other} is unknown")),
        }
    }

    fn log(&mut self, level: u32, message: &str) {
        self.0.borrow_mut().log.push(LogLine {
            level,
            message: message.to_owned(),
        });
    }
}

fn namespace(cursor: &mut Cursor<'_>) -> Result<(), String> {
    match cursor.u32()? {
        u32::MAX => Ok(()),
        other => Err(format!("namespace {other} is not of this frame")),
    }
}

fn get_many(model: &Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let (slot, count) = (cursor.u32()?, cursor.u32()?);
    let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let key = model.key(cursor.u32()?)?.to_vec();
        namespace(cursor)?;
        let map_key_len = cursor.length()?;
        let value = model.get(slot, &key, cursor.take(map_key_len)?);
        let length = value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
        lengths.extend_from_slice(&length.to_le_bytes());
        bytes.extend(value.unwrap_or_default());
    }
    lengths.extend(bytes);
    Ok(lengths)
}

/// Entries until the page is full: at least one where there is one.
fn page<T>(entries: impl Iterator<Item = T>, bytes_max: usize, write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let (mut body, mut count, mut is_done) = (Vec::new(), 0_u32, true);
    for entry in entries {
        let before = body.len();
        write(&entry, &mut body);
        if count > 0 && body.len() > bytes_max {
            body.truncate(before);
            is_done = false;
            break;
        }
        count += 1;
    }
    let mut page = count.to_le_bytes().to_vec();
    page.extend_from_slice(&u32::from(is_done).to_le_bytes());
    page.extend(body);
    page
}

fn map_page(model: &Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let slot = cursor.u32()?;
    let key = model.key(cursor.u32()?)?.to_vec();
    namespace(cursor)?;
    let (bytes_max, has_after, after_len) = (cursor.length()?, cursor.u32()?, cursor.length()?);
    let after = cursor.take(after_len)?;
    Ok(map_entries(
        &model.map_of(slot, &key),
        has_after,
        after,
        bytes_max,
    ))
}

fn map_is_empty(model: &Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let slot = cursor.u32()?;
    let key = model.key(cursor.u32()?)?.to_vec();
    namespace(cursor)?;
    let is_empty = model.map_of(slot, &key).is_empty();
    Ok(u32::from(is_empty).to_le_bytes().to_vec())
}

fn map_entries(
    entries: &BTreeMap<Vec<u8>, Vec<u8>>,
    has_after: u32,
    after: &[u8],
    bytes_max: usize,
) -> Vec<u8> {
    let entries = entries
        .iter()
        .filter(|(map_key, _)| has_after == 0 || map_key.as_slice() > after);
    page(entries, bytes_max, |(map_key, value), out| {
        out.extend_from_slice(&(map_key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(map_key);
        out.extend_from_slice(value);
    })
}

fn broadcast_page(model: &Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let slot = cursor.u32()?;
    let (bytes_max, has_after, after_len) = (cursor.length()?, cursor.u32()?, cursor.length()?);
    let after = cursor.take(after_len)?;
    Ok(map_entries(
        &model.broadcast_of(slot),
        has_after,
        after,
        bytes_max,
    ))
}

/// Three keys a page, so that tests meet its end.
fn keys_page(model: &mut Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let (slot, restart, _) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let keys = model.scan(slot, restart != 0, 3);
    let mut out = (keys.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&u32::from(keys.len() < 3).to_le_bytes());
    for (index, key) in keys {
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend(key);
    }
    Ok(out)
}

fn list_page(model: &Model, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let slot = cursor.u32()?;
    let key = model.key(cursor.u32()?)?.to_vec();
    namespace(cursor)?;
    let (start, bytes_max) = (cursor.length()?, cursor.length()?);
    let elements = model.list_of(slot, &key);
    Ok(page(elements.iter().skip(start), bytes_max, |element, out| {
        out.extend_from_slice(&(element.len() as u32).to_le_bytes());
        out.extend_from_slice(element);
    }))
}
