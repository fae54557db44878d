//! `diff`: what one savepoint holds and the other does not.

use std::cmp::Ordering;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::OfflineError;
use super::document::Document;
use super::identity::Identity;
use super::line::to_line;
use super::read::{Filter, Savepoint};
use super::sort::{Record, Sorted, Sorter};

/// How many entries differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Only in the newer one.
    pub added: u64,
    /// Only in the older one.
    pub removed: u64,
    /// In both, and not the same.
    pub changed: u64,
}

/// Writes a line for each entry that differs, in the order of the format. Elements of lists are compared by their place.
pub fn diff(
    older: &Savepoint,
    newer: &Savepoint,
    filter: &Filter,
    out: &mut dyn Write,
) -> Result<Differences, OfflineError> {
    // A name that is only in one of them is a difference like others.
    older
        .names(filter)
        .or_else(|error| newer.names(filter).map_err(|_| error))?;
    let (mut old, mut new) = (sorted(older, filter)?, sorted(newer, filter)?);
    let mut found = Differences::default();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let before = take_if(&mut old, order.is_le())?;
        let after = take_if(&mut new, order.is_ge())?;
        let line = match (before, after) {
            (Some(before), Some(after)) if before.value == after.value => continue,
            (Some(before), Some(after)) => {
                found.changed += 1;
                let was = line(older.document(), &before)?;
                let mut line = marked("changed", line(newer.document(), &after)?);
                for name in ["value", "element", "raw-state", "committable", "last-update"] {
                    if let Some(value) = was.get(name).filter(|value| line.get(name) != Some(*value)) {
                        line.insert(format!("was-{name}"), value.clone());
                    }
                }
                line
            }
            (Some(before), None) => {
                found.removed += 1;
                marked("removed", line(older.document(), &before)?)
            }
            (None, Some(after)) => {
                found.added += 1;
                marked("added", line(newer.document(), &after)?)
            }
            (None, None) => continue,
        };
        writeln!(out, "{}", Value::Object(line))
            .map_err(|error| OfflineError(format!("the differences could not be written: {error}")))?;
    }
}

fn sorted(savepoint: &Savepoint, filter: &Filter) -> Result<Sorted, OfflineError> {
    let mut sorter = Sorter::new();
    savepoint.visit(filter, &mut |identity, value| {
        sorter.push(identity.order(), value.to_vec())
    })?;
    sorter.finish()
}

fn take_if(sorted: &mut Sorted, wanted: bool) -> Result<Option<Record>, OfflineError> {
    match wanted {
        true => sorted.take(),
        false => Ok(None),
    }
}

fn line(document: &Document, record: &Record) -> Result<Map<String, Value>, OfflineError> {
    let identity = Identity::of_order(&record.order)
        .ok_or_else(|| OfflineError("an entry lost its place: this is a bug".to_owned()))?;
    to_line(document, &identity, &record.value).map_err(OfflineError)
}

fn marked(change: &str, entry: Map<String, Value>) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("change".to_owned(), Value::from(change));
    line.extend(entry);
    line
}
