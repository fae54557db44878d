//! Batches of reads and writes over the tables of one state: the hottest loops of the host.
//!
//! Each read stage loads one thing for many keys in a row: the loads of one stage do not wait for each
//! other, so a batch pays for memory latency once a stage instead of once a key. Invariant: results come
//! in the order of the keys, and nothing is allocated for a key.

use wasmill_model::key::KeyGroup;

use super::index::Location;
use super::ordered::{MapTable, encode_all};
use super::page::Header;
use super::table::{Table, TableFull, TableKey};
use super::{group, group_mut};
use crate::backend::{Locator, NONE, StateKey, Values, Write};

/// Keys that go through a stage together.
const STAGE_KEYS: usize = 32;

/// Fewer keys than this do not wait long enough to pay for the stages.
const STAGED_KEYS_MIN: usize = 4;

/// Why a batch stopped.
pub(super) enum BatchError {
    /// The group is not one of this backend's.
    Group(KeyGroup),
    /// A group's table is full.
    Full(KeyGroup),
}

pub(super) fn get_many(
    tables: &[Table],
    start: u16,
    keys: &[StateKey<'_>],
    out: &mut Values,
) -> Result<(), BatchError> {
    out.lengths.reserve(keys.len());
    out.locators.reserve(keys.len());
    keys.chunks(STAGE_KEYS)
        .try_for_each(|keys| get_stage(tables, start, keys, out))
}

fn get_stage(
    tables: &[Table],
    start: u16,
    keys: &[StateKey<'_>],
    out: &mut Values,
) -> Result<(), BatchError> {
    let (Some(first), Some(key)) = (tables.first(), keys.first()) else {
        return keys
            .first()
            .map_or(Ok(()), |key| Err(BatchError::Group(key.group)));
    };
    if keys.len() < STAGED_KEYS_MIN {
        return keys.iter().try_for_each(|key| {
            get(group(tables, start, key.group)?, table_key(key), out);
            Ok(())
        });
    }
    let mut stage = [Lookup::new(first, table_key(key)); STAGE_KEYS];
    let stage = &mut stage[..keys.len()];
    for (key, lookup) in keys.iter().zip(&mut *stage) {
        *lookup = Lookup::new(group(tables, start, key.group)?, table_key(key));
    }
    run(stage, out);
    Ok(())
}

/// Reads map entries; their stored keys are put together in `scratch`.
pub(super) fn get_many_entries(
    tables: &[MapTable],
    start: u16,
    keys: &[StateKey<'_>],
    (scratch, out): (&mut Vec<u8>, &mut Values),
) -> Result<(), BatchError> {
    for keys in keys.chunks(STAGE_KEYS) {
        let Some(first) = tables.first() else {
            return Err(BatchError::Group(keys[0].group));
        };
        for key in keys {
            group(tables, start, key.group)?;
        }
        let mut stage = [Lookup::new(first.entries(), TableKey::NONE); STAGE_KEYS];
        let stage = &mut stage[..keys.len()];
        encode_all(scratch, keys, |number, key| {
            let table = group(tables, start, keys[number].group);
            if let Ok(table) = table {
                stage[number] = Lookup::new(table.entries(), key);
            }
        });
        run(stage, out);
    }
    Ok(())
}

/// Takes lookups through all stages.
fn run(stage: &mut [Lookup<'_>], out: &mut Values) {
    // Loops of hardly more than a load: the shorter they are, the more loads are under way at once.
    for lookup in &mut *stage {
        lookup.home = lookup.at_home.first().copied().unwrap_or(0);
    }
    for lookup in &mut *stage {
        (lookup.location, lookup.slot) = lookup.table.likely(lookup.key.hash, lookup.home);
    }
    for lookup in &mut *stage {
        lookup.header = Header::read(lookup.slot, 0);
    }
    let mut lengths = [NONE; STAGE_KEYS];
    let mut locators = [Locator::UNKNOWN; STAGE_KEYS];
    for ((lookup, length), locator) in stage.iter().zip(&mut lengths).zip(&mut locators) {
        let found = lookup
            .table
            .value(lookup.key, lookup.location, lookup.slot, lookup.header);
        if let Some((location, value)) = found {
            *length = value.len() as u32;
            *locator = lookup.table.locator(location);
            push_bytes(&mut out.bytes, value);
        }
    }
    out.lengths.extend_from_slice(&lengths[..stage.len()]);
    out.locators.extend_from_slice(&locators[..stage.len()]);
}

fn get(table: &Table, key: TableKey<'_>, out: &mut Values) {
    match table.search(key) {
        Some((location, value)) => push(out, value, table.locator(location)),
        None => {
            out.lengths.push(NONE);
            out.locators.push(Locator::UNKNOWN);
        }
    }
}

/// One key on its way through the stages.
#[derive(Clone, Copy)]
struct Lookup<'a> {
    table: &'a Table,
    key: TableKey<'a>,
    at_home: &'a [u64],
    home: u64,
    location: Location,
    slot: &'a [u8],
    header: Header,
}

impl<'a> Lookup<'a> {
    #[inline]
    fn new(table: &'a Table, key: TableKey<'a>) -> Self {
        Self {
            table,
            key,
            at_home: table.home(key.hash),
            home: 0,
            location: Location::NONE,
            slot: &[],
            header: Header::NONE,
        }
    }
}

#[inline]
fn push_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    match value.first_chunk::<8>() {
        // The usual counter: a store instead of a call.
        Some(word) if value.len() == 8 => bytes.extend_from_slice(word),
        _ => bytes.extend_from_slice(value),
    }
}

/// Appends a value that was found.
fn push(out: &mut Values, value: &[u8], locator: Locator) {
    out.lengths.push(value.len() as u32);
    out.locators.push(locator);
    push_bytes(&mut out.bytes, value);
}

pub(super) fn write_batch(tables: &mut [Table], start: u16, writes: &[Write<'_>]) -> Result<(), BatchError> {
    for write in writes {
        let table = group_mut(tables, start, write.key.group)?;
        let key = table_key(&write.key);
        match write.value {
            Some(value) => table
                .put(key, write.locator, value)
                .map_err(|TableFull| BatchError::Full(write.key.group))?,
            None => {
                table.remove(key);
            }
        }
    }
    Ok(())
}

#[inline]
pub(super) fn table_key<'a>(key: &StateKey<'a>) -> TableKey<'a> {
    TableKey::new(key.hash, key.key, key.namespace)
}
