//! Batches of reads: as the tables in memory, each stage loads one thing for many keys in a row.

use super::{ABSENT, ASKED, Cache, Known};
use crate::backend::{Locator, NONE, StateKey, Values};
use crate::memory::index::Location;
use crate::memory::page::{Header, holds, value_offset};
use crate::memory::table::TableKey;

/// Keys that go through a stage together.
const STAGE_KEYS: usize = 32;

/// One key on its way through the stages.
#[derive(Clone, Copy)]
struct Lookup<'a> {
    key: TableKey<'a>,
    home: u64,
    location: Location,
    slot: &'a [u8],
    header: Header,
}

impl Cache {
    /// Appends what is known for each key to `out`, as if nothing were there where nothing is known; the numbers of
    /// those keys go to `missing`.
    pub(in crate::stored) fn get_many(
        &mut self,
        state: usize,
        keys: &[StateKey<'_>],
        out: &mut Values,
        missing: &mut Vec<u32>,
    ) {
        out.lengths.reserve(keys.len());
        out.locators.reserve(keys.len());
        let is_whole = self.is_whole(state);
        for (stage, keys) in keys.chunks(STAGE_KEYS).enumerate() {
            let first = (stage * STAGE_KEYS) as u32;
            let mut found = [Location::NONE; STAGE_KEYS];
            self.get_stage(state, keys, &mut found, out);
            if is_whole {
                continue;
            }
            for (number, location) in (first..).zip(&found[..keys.len()]) {
                match *location {
                    Location::NONE => missing.push(number),
                    location => self.flag(location, ASKED),
                }
            }
        }
    }

    fn get_stage<'a>(
        &'a self,
        state: usize,
        keys: &[StateKey<'a>],
        found: &mut [Location; STAGE_KEYS],
        out: &mut Values,
    ) {
        let of = &self.states[state];
        let empty = Lookup {
            key: TableKey::new(0, &[], &[]),
            home: 0,
            location: Location::NONE,
            slot: &[],
            header: Header::NONE,
        };
        let mut stage = [empty; STAGE_KEYS];
        let stage = &mut stage[..keys.len()];
        for (key, lookup) in keys.iter().zip(&mut *stage) {
            lookup.key = TableKey::new(key.hash, key.key, key.namespace);
            let home = of.shard(lookup.key.hash).home(lookup.key.hash);
            lookup.home = home.first().copied().unwrap_or(0);
        }
        for lookup in &mut *stage {
            let hash = lookup.key.hash;
            lookup.location = of.shard(hash).first(hash, lookup.home).unwrap_or(Location::NONE);
            let page = self.pages.get(lookup.location.page());
            lookup.slot = page.map_or(&[], |page| page.bytes.get_from(lookup.location.offset()));
        }
        for lookup in &mut *stage {
            lookup.header = Header::read(lookup.slot, 0);
        }
        for (lookup, found) in stage.iter().zip(found) {
            let (value, location) = self.value(state, lookup);
            *found = location;
            out.lengths.push(value.map_or(NONE, |value| value.len() as u32));
            out.locators.push(match location {
                Location::NONE => Locator::UNKNOWN,
                location => Locator(u64::from(self.epoch) << 32 | u64::from(location.0)),
            });
            push_bytes(&mut out.bytes, value.unwrap_or_default());
        }
    }

    /// The value of the slot that was loaded if it is the key's; else the whole search.
    #[inline]
    fn value<'a>(&'a self, state: usize, lookup: &Lookup<'a>) -> (Option<&'a [u8]>, Location) {
        let Lookup {
            key, slot, header, ..
        } = *lookup;
        if header.identity() == Header::wanted(key.key.len(), key.namespace.len())
            && holds(slot, 0, key.key, key.namespace)
        {
            let start = value_offset(0, key.key, key.namespace);
            let value = slot.get(start..start + header.value_length());
            return (value.filter(|_| header.0 & ABSENT == 0), lookup.location);
        }
        if lookup.location == Location::NONE {
            return (None, Location::NONE);
        }
        self.search(state, key)
    }

    #[cold]
    fn search(&self, state: usize, key: TableKey<'_>) -> (Option<&[u8]>, Location) {
        let Some((_, location)) = self.find(state, key) else {
            return (None, Location::NONE);
        };
        let value = self.slot(location).filter(|(_, header)| header.0 & ABSENT == 0);
        (value.map(|(slot, _)| slot.value), location)
    }

    /// Appends what is known of one entry to `out`; whether nothing is.
    pub(in crate::stored) fn get_one(&mut self, state: usize, key: TableKey<'_>, out: &mut Values) -> bool {
        out.locators.push(Locator::UNKNOWN);
        let known = self.get(state, key);
        match known {
            Known::Value(value) => {
                out.lengths.push(value.len() as u32);
                out.bytes.extend_from_slice(value);
            }
            _ => out.lengths.push(NONE),
        }
        known == Known::Nothing
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
