//! The write-back cache over a store: entries of all states of one backend, bounded in bytes.
//!
//! Slots lie in pages in the order in which they were written, as in a log, and are found by hash indexes, one set for
//! each state. Room is made from the oldest page on: a slot that was asked for since it was last looked at goes to the
//! end of the log, a dirty one is written to the store, any other is forgotten. Invariants: every live slot has one
//! entry in its state's index; a slot does not move unless the cache takes a new epoch; a dirty slot is in its page's
//! list; as long as a state is whole, the store holds nothing of it that the cache does not.

mod lookup;
mod room;

use std::collections::{BTreeSet, VecDeque};

use crate::backend::Locator;
use crate::memory::index::{Index, Location, PAGES_MAX};
use crate::memory::page::{
    ENTRY_BYTES_SHARED_MAX, Header, PAGE_BYTES, PageBytes, Slot, UNIT, holds, read_slot, slot_capacity,
    value_offset, write_slot,
};
use crate::memory::table::TableKey;

/// What a cache takes at most: locations reach no further.
pub(super) const BYTES_MAX: usize = PAGES_MAX / 2 * PAGE_BYTES;

/// Indexes of one state: each grows for itself, so that no batch waits for all to grow.
const SHARDS: usize = 32;

/// What a page takes beside its slots: its place, its alignment, the list of its dirty slots.
const PAGE_OVERHEAD: usize = 1024;

/// Of a slot: the store does not have it as it is here.
const DIRTY: u64 = 1 << 56;
/// The entry is known not to exist: the slot has no value.
const ABSENT: u64 = 1 << 57;
/// Asked for since room was last made here.
const ASKED: u64 = 1 << 58;
/// The store is known not to have the entry in any form.
const NEW: u64 = 1 << 59;
const FLAGS: u64 = DIRTY | ABSENT | ASKED | NEW;

/// What the cache knows of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    Value(&'a [u8]),
    Absent,
    Nothing,
}

/// What became of an entry that was to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    Done,
    /// It is larger than a slot: whoever calls writes it to the store.
    TooLarge,
}

#[derive(Default)]
pub(super) struct Cache {
    pages: Vec<CachePage>,
    /// Numbers of pages without memory.
    vacant: Vec<usize>,
    /// Full pages, the oldest first.
    full: VecDeque<usize>,
    states: Vec<CachedState>,
    epoch: u32,
    /// Bytes of pages in use, overhead included.
    page_bytes: usize,
    index_bytes: usize,
    /// Bytes of live slots.
    live_bytes: usize,
}

struct CachePage {
    bytes: PageBytes,
    state: usize,
    used: usize,
    /// Offsets of slots that became dirty, in units.
    dirty: Vec<u16>,
}

struct CachedState {
    shards: Vec<Index>,
    /// The page that is being filled.
    tail: Option<usize>,
    /// Pages that have dirty slots, and some that had.
    dirty_pages: BTreeSet<usize>,
    is_whole: bool,
}

impl CachedState {
    fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Index::default()).collect(),
            tail: None,
            dirty_pages: BTreeSet::new(),
            is_whole: true,
        }
    }

    #[inline]
    fn shard(&self, hash: u32) -> &Index {
        &self.shards[shard_of(hash)]
    }
}

/// By the upper bits: an index uses the lower ones.
#[inline]
fn shard_of(hash: u32) -> usize {
    (hash >> 27) as usize % SHARDS
}

fn is_in_page_size(key: TableKey<'_>, value: usize) -> bool {
    slot_capacity(key.key.len() + key.namespace.len() + value) <= ENTRY_BYTES_SHARED_MAX
}

impl Cache {
    /// Makes room for the states up to that number; one that is there is emptied.
    pub(super) fn add_state(&mut self, state: usize) {
        while self.states.len() <= state {
            self.states.push(CachedState::new());
        }
        self.forget_state(state);
    }

    /// Room for the slots of a state of which the store holds entries.
    pub(super) fn add_stored_state(&mut self, state: usize) {
        self.add_state(state);
        self.states[state].is_whole = false;
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> usize {
        self.page_bytes + self.index_bytes
    }

    /// Entries held, and some that are known to be absent.
    pub(super) fn entries(&self) -> u64 {
        let shards = self.states.iter().flat_map(|state| &state.shards);
        shards.map(|shard| shard.len() as u64).sum()
    }

    /// Whether the store holds nothing of the state that is not here.
    pub(super) fn is_whole(&self, state: usize) -> bool {
        self.states[state].is_whole
    }

    /// What is known of an entry.
    pub(super) fn get(&mut self, state: usize, key: TableKey<'_>) -> Known<'_> {
        let Some((_, location)) = self.find(state, key) else {
            return match self.states[state].is_whole {
                true => Known::Absent,
                false => Known::Nothing,
            };
        };
        self.flag(location, ASKED);
        match self.slot(location) {
            Some((_, header)) if header.0 & ABSENT != 0 => Known::Absent,
            Some((slot, _)) => Known::Value(slot.value),
            None => Known::Nothing,
        }
    }

    /// Notes what the store has of an entry of which nothing is known.
    pub(super) fn fill(&mut self, state: usize, key: TableKey<'_>, value: Option<&[u8]>) {
        let bytes = value.unwrap_or_default();
        if !is_in_page_size(key, bytes.len()) || self.find(state, key).is_some() {
            return;
        }
        let flags = if value.is_none() { ABSENT } else { 0 };
        self.insert(state, key, bytes, flags, 0);
    }

    /// Writes an entry, or removes it.
    #[inline]
    pub(super) fn put(
        &mut self,
        state: usize,
        key: TableKey<'_>,
        locator: Locator,
        value: Option<&[u8]>,
    ) -> Put {
        if let Some(value) = value
            && (locator.0 >> 32) as u32 == self.epoch
            && self.update(state, Location(locator.0 as u32), key, value)
        {
            return Put::Done;
        }
        match value {
            Some(value) => self.put_by_search(state, key, value, 0),
            None => self.remove(state, key),
        }
    }

    /// As `put`; a new slot has room for so many bytes more.
    pub(super) fn put_by_search(
        &mut self,
        state: usize,
        key: TableKey<'_>,
        value: &[u8],
        room: usize,
    ) -> Put {
        let found = self.find(state, key);
        if !is_in_page_size(key, value.len()) {
            if let Some((at, location)) = found {
                self.drop_slot(state, key, at, location);
            }
            self.states[state].is_whole = false;
            return Put::TooLarge;
        }
        let Some((at, location)) = found else {
            let flags = if self.states[state].is_whole {
                DIRTY | NEW
            } else {
                DIRTY
            };
            self.insert(state, key, value, flags, room);
            return Put::Done;
        };
        if self.update(state, location, key, value) {
            return Put::Done;
        }
        let flags = written(self.header(location));
        self.kill(location);
        let moved = self.append(state, key, value, flags, room);
        self.states[state].shards[shard_of(key.hash)].set(at, moved);
        Put::Done
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, state: usize, key: TableKey<'_>) -> Put {
        let is_whole = self.states[state].is_whole;
        let Some((at, location)) = self.find(state, key) else {
            if is_whole {
                return Put::Done;
            }
            if !is_in_page_size(key, 0) {
                return Put::TooLarge;
            }
            self.insert(state, key, &[], DIRTY | ABSENT, 0);
            return Put::Done;
        };
        let flags = self.header(location).0 & FLAGS;
        if flags & NEW != 0 && is_whole {
            self.drop_slot(state, key, at, location);
        } else if flags & NEW != 0 {
            // NOTE: the store never had it, so there is nothing to write; it is dirty because it is in the list.
            self.rewrite(location, 0, flags | ABSENT | ASKED);
        } else if flags & ABSENT == 0 {
            self.rewrite(location, 0, DIRTY | ABSENT | ASKED);
            self.note_dirty(state, location, flags);
        }
        Put::Done
    }

    /// Forgets an entry that the store has as it is here, or is about to lose.
    pub(super) fn forget(&mut self, state: usize, key: TableKey<'_>) {
        if let Some((at, location)) = self.find(state, key) {
            self.drop_slot(state, key, at, location);
        }
    }

    /// Makes a value `more` bytes longer in its place and returns it; `None` where it is not here or has no room.
    pub(super) fn grow(&mut self, state: usize, key: TableKey<'_>, more: usize) -> Option<&mut [u8]> {
        let (_, location) = self.find(state, key)?;
        let header = self.header(location);
        let flags = header.0 & FLAGS;
        let length = header.value_length() + more;
        let (start, offset) = (
            value_offset(location.offset(), key.key, key.namespace),
            location.offset(),
        );
        if flags & ABSENT != 0 || start - offset + length > header.capacity() {
            return None;
        }
        self.rewrite(location, length, written(header) | ASKED);
        self.note_dirty(state, location, flags);
        self.pages[location.page()]
            .bytes
            .get_mut()
            .get_mut(start..start + length)
    }

    /// Overwrites the value of the slot at a location if it is the key's, in this state, and has room.
    #[inline]
    fn update(&mut self, state: usize, location: Location, key: TableKey<'_>, value: &[u8]) -> bool {
        let TableKey { key, namespace, .. } = key;
        let Some(page) = self.pages.get_mut(location.page()) else {
            return false;
        };
        let offset = location.offset();
        let bytes = page.bytes.get_mut();
        let header = Header::read(bytes, offset);
        let start = value_offset(offset, key, namespace);
        if page.state != state
            || header.identity() != Header::wanted(key.len(), namespace.len())
            || start - offset + value.len() > header.capacity()
            || !holds(bytes, offset, key, namespace)
        {
            return false;
        }
        let flags = written(header) | ASKED;
        if header.0 & FLAGS != flags || header.value_length() != value.len() {
            let units = header.capacity() / UNIT;
            Header(Header::live(units, key.len(), namespace.len(), value.len()).0 | flags)
                .write(bytes, offset);
        }
        match (
            bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<8>),
            value.first_chunk::<8>(),
        ) {
            // The usual counter: a store instead of a call.
            (Some(to), Some(from)) if value.len() == 8 => *to = *from,
            _ => bytes[start..start + value.len()].copy_from_slice(value),
        }
        if header.0 & DIRTY == 0 {
            self.note_dirty(state, location, 0);
        }
        true
    }

    fn find(&self, state: usize, key: TableKey<'_>) -> Option<(usize, Location)> {
        let wanted = Header::wanted(key.key.len(), key.namespace.len());
        self.states[state].shard(key.hash).find(key.hash, |location| {
            let Some(page) = self.pages.get(location.page()) else {
                return false;
            };
            let (bytes, offset) = (page.bytes.get(), location.offset());
            Header::read(bytes, offset).identity() == wanted && holds(bytes, offset, key.key, key.namespace)
        })
    }

    fn slot(&self, location: Location) -> Option<(Slot<'_>, Header)> {
        let bytes = self.pages.get(location.page())?.bytes.get();
        let header = Header::read(bytes, location.offset());
        Some((read_slot(bytes, location.offset())?, header))
    }

    fn header(&self, location: Location) -> Header {
        let page = self.pages.get(location.page());
        page.map_or(Header::NONE, |page| {
            Header::read(page.bytes.get(), location.offset())
        })
    }

    fn flag(&mut self, location: Location, flags: u64) {
        let header = self.header(location);
        if header.0 & flags != flags {
            let bytes = self.pages[location.page()].bytes.get_mut();
            Header(header.0 | flags).write(bytes, location.offset());
        }
    }

    /// Sets the flags of a live slot and the length of its value, whose bytes stay.
    fn rewrite(&mut self, location: Location, value: usize, flags: u64) {
        let page = self.pages[location.page()].bytes.get_mut();
        let header = Header::read(page, location.offset());
        header.with_value(value, flags).write(page, location.offset());
    }

    /// Adds a slot of which there is none yet.
    fn insert(&mut self, state: usize, key: TableKey<'_>, value: &[u8], flags: u64, room: usize) {
        let location = self.append(state, key, value, flags | ASKED, room);
        let shard = &mut self.states[state].shards[shard_of(key.hash)];
        let before = shard.bytes();
        shard.insert(key.hash, location);
        self.index_bytes += shard.bytes() - before;
    }

    /// Writes a slot at the end of the log.
    fn append(
        &mut self,
        state: usize,
        TableKey { key, namespace, .. }: TableKey<'_>,
        value: &[u8],
        flags: u64,
        room: usize,
    ) -> Location {
        let payload = key.len() + namespace.len() + value.len();
        let capacity = slot_capacity(payload + room).min(ENTRY_BYTES_SHARED_MAX);
        let number = self.tail_with(state, capacity);
        let page = &mut self.pages[number];
        let offset = page.used;
        let slot = Slot {
            key,
            namespace,
            value,
        };
        let bytes = page.bytes.get_mut();
        write_slot(bytes, offset, capacity, slot, flags);
        page.used += capacity;
        self.live_bytes += capacity;
        let location = Location::new(number, offset);
        if flags & DIRTY != 0 {
            self.note_dirty(state, location, 0);
        }
        location
    }

    /// The page that is being filled, with room for a slot.
    fn tail_with(&mut self, state: usize, capacity: usize) -> usize {
        if let Some(tail) = self.states[state].tail {
            if self.pages[tail].used + capacity <= PAGE_BYTES {
                return tail;
            }
            self.full.push_back(tail);
        }
        let page = CachePage {
            bytes: PageBytes::zeroed(PAGE_BYTES),
            state,
            used: 0,
            dirty: Vec::new(),
        };
        self.page_bytes += PAGE_BYTES + PAGE_OVERHEAD;
        let number = match self.vacant.pop() {
            Some(number) => {
                self.pages[number] = page;
                number
            }
            None => {
                self.pages.push(page);
                self.pages.len() - 1
            }
        };
        self.states[state].tail = Some(number);
        number
    }

    /// Takes a page's memory away.
    fn give_back(&mut self, number: usize) {
        let page = &mut self.pages[number];
        page.bytes = PageBytes::default();
        page.used = 0;
        page.dirty = Vec::new();
        self.page_bytes -= PAGE_BYTES + PAGE_OVERHEAD;
        self.vacant.push(number);
    }

    /// Puts a slot into the list of its page unless it is there; `before` is what flags it had.
    fn note_dirty(&mut self, state: usize, location: Location, before: u64) {
        if before & DIRTY != 0 {
            return;
        }
        let dirty = &mut self.pages[location.page()].dirty;
        if dirty.is_empty() {
            self.states[state].dirty_pages.insert(location.page());
        }
        dirty.push((location.offset() / UNIT) as u16);
    }

    fn kill(&mut self, location: Location) {
        let page = self.pages[location.page()].bytes.get_mut();
        let header = Header::read(page, location.offset());
        header.freed().write(page, location.offset());
        self.live_bytes -= header.capacity();
    }

    fn drop_slot(&mut self, state: usize, key: TableKey<'_>, at: usize, location: Location) {
        self.kill(location);
        self.states[state].shards[shard_of(key.hash)].remove(at);
    }
}

/// The flags of an entry that is written over one with this header: what the store knows of it does not change.
fn written(before: Header) -> u64 {
    let is_new = before.0 & NEW != 0 || before.0 & (ABSENT | DIRTY) == ABSENT;
    DIRTY | if is_new { NEW } else { 0 }
}
