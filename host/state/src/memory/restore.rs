//! Entries of a snapshot into tables.
//!
//! Invariant: entries that the tables cannot hold, or that belong to another kind of state, are an error
//! before any of them is counted on.

use wasmill_model::key::{self, KeyGroup};

use super::batch::BatchError;
use super::list::ListKey;
use super::ordered::MapKey;
use super::table::{TableFull, TableKey};
use super::{Tables, group_mut};
use crate::backend::{Locator, StateError};
use crate::snapshot::{Entries, Entry};

/// Adds the entries of one block. `prefix` is memory for stored keys.
pub(super) fn entries(
    tables: &mut Tables,
    start: u16,
    group: KeyGroup,
    entries: Entries<'_>,
    prefix: &mut Vec<u8>,
) -> Result<Result<(), BatchError>, StateError> {
    for entry in entries {
        let added = match (entry?, &mut *tables) {
            (
                Entry::Value {
                    key,
                    namespace,
                    value,
                },
                Tables::Values(tables),
            ) => {
                let table_key = TableKey::new(key::hash(key) as u32, key, namespace);
                group_mut(tables, start, group).and_then(|table| {
                    let put = table.put(table_key, Locator::UNKNOWN, value);
                    put.map_err(|TableFull| BatchError::Full(group))
                })
            }
            (
                Entry::Map {
                    key,
                    namespace,
                    map_key,
                    value,
                },
                Tables::Maps(tables),
            ) => {
                let map_key = MapKey::encode(prefix, key, namespace, map_key);
                group_mut(tables, start, group).and_then(|table| {
                    let put = table.put(map_key, Locator::UNKNOWN, value);
                    put.map_err(|TableFull| BatchError::Full(group))
                })
            }
            (
                Entry::List {
                    key,
                    namespace,
                    elements,
                },
                Tables::Lists(tables),
            ) => {
                let list = ListKey::new(key::hash(key) as u32, key, namespace);
                group_mut(tables, start, group).and_then(|table| {
                    let mut elements = elements;
                    elements
                        .try_for_each(|element| table.append(list, element).map(|_| ()))
                        .map_err(|TableFull| BatchError::Full(group))
                })
            }
            _ => {
                return Err(StateError::Usage {
                    name: format!("of key group {}", group.0),
                    message: "its entries belong to a state of another kind".to_owned(),
                });
            }
        };
        if let Err(error) = added {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}
