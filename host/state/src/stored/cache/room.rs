//! What leaves the cache: dirty slots to the store, old ones to make room.
//!
//! Invariant: what is handed out as a change counts as stored from then on; whoever takes it applies it before the store
//! is asked again.

use super::{ABSENT, ASKED, Cache, CachePage, CachedState, DIRTY, FLAGS, NEW, PAGE_OVERHEAD};
use crate::memory::index::{Index, Location};
use crate::memory::page::{Header, PAGE_BYTES, Slot, UNIT, read_slot};
use crate::memory::table::TableKey;

/// Pages that room is looked for in before slots go that were asked for: where all were, as when the cache is full for the
/// first time, no call goes through all of it.
const PAGES_SPARED_MAX: usize = 64;

/// Is given the state, the slot's key parts, and the value unless it is a removal.
pub(in crate::stored) type Emit<'a> = dyn FnMut(usize, &[u8], &[u8], Option<&[u8]>) + 'a;

/// What stays of a page whose memory is taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    AskedFor,
    Nothing,
}

impl Cache {
    /// Forgets all of a state, dirty or not: the store is to be emptied of it too.
    pub(in crate::stored) fn forget_state(&mut self, state: usize) {
        let gone = std::mem::replace(&mut self.states[state], CachedState::new());
        self.index_bytes -= gone.shards.iter().map(Index::bytes).sum::<usize>();
        self.epoch = self.epoch.wrapping_add(1);
        for number in 0..self.pages.len() {
            if self.pages[number].state == state && self.pages[number].used > 0 {
                self.live_bytes -= live_bytes(&self.pages[number]);
                self.give_back(number);
            }
        }
        let pages = &self.pages;
        self.full.retain(|number| pages[*number].used > 0);
    }

    /// Hands all dirty slots of a state to `emit`.
    pub(in crate::stored) fn flush(&mut self, state: usize, emit: &mut Emit<'_>) {
        for number in std::mem::take(&mut self.states[state].dirty_pages) {
            if self.pages[number].state != state {
                continue;
            }
            for unit in std::mem::take(&mut self.pages[number].dirty) {
                self.flush_slot(state, Location::new(number, usize::from(unit) * UNIT), emit);
            }
        }
    }

    fn flush_slot(&mut self, state: usize, location: Location, emit: &mut Emit<'_>) {
        let Some((slot, header)) = self.slot(location) else {
            return;
        };
        if header.0 & DIRTY == 0 {
            return;
        }
        write_out(state, slot, header.0, emit);
        if header.0 & ABSENT != 0 && self.states[state].is_whole {
            // What is not here is not there either: the slot would only take room.
            let hash = hash_of(slot);
            let shard = &mut self.states[state].shards[super::shard_of(hash)];
            if let Some((at, _)) = shard.find(hash, |present| present == location) {
                shard.remove(at);
            }
            self.kill(location);
            return;
        }
        self.rewrite(location, header.value_length(), header.0 & (ABSENT | ASKED));
    }

    /// Makes room until no more than `limit` bytes are taken, where that is possible: each state keeps a page.
    pub(in crate::stored) fn shrink(&mut self, limit: usize, emit: &mut Emit<'_>) {
        if self.bytes() <= limit {
            return;
        }
        self.epoch = self.epoch.wrapping_add(1);
        // Once round: what pages strand at their ends comes back with them, and would be moved for ever.
        let mut to_compact = self.full.len();
        let mut spared = 0;
        while self.bytes() > limit {
            let Some(page) = self.full.pop_front() else {
                break;
            };
            // Where dead slots take a good part of it, nothing that lives has to go.
            let room = limit.saturating_sub(self.index_bytes);
            let keeps_all = to_compact > 0 && self.live_bytes + PAGE_BYTES + PAGE_OVERHEAD <= room / 4 * 3;
            to_compact = to_compact.saturating_sub(1);
            let keep = match keeps_all {
                true => Keep::All,
                false if spared < PAGES_SPARED_MAX => Keep::AskedFor,
                false => Keep::Nothing,
            };
            spared += 1;
            self.reclaim(page, keep, emit);
        }
        self.shrink_indexes();
    }

    fn reclaim(&mut self, number: usize, keep: Keep, emit: &mut Emit<'_>) {
        let state = self.pages[number].state;
        let mut slots: Vec<_> = slots(&self.pages[number]).collect();
        let bytes = std::mem::take(&mut self.pages[number].bytes);
        for (offset, header) in slots.drain(..) {
            let Some(slot) = read_slot(bytes.get(), offset) else {
                continue;
            };
            self.live_bytes -= header.capacity();
            let hash = hash_of(slot);
            let location = Location::new(number, offset);
            let shard = &self.states[state].shards[super::shard_of(hash)];
            let Some((at, _)) = shard.find(hash, |present| present == location) else {
                continue;
            };
            let flags = header.0 & FLAGS;
            if keep == Keep::All || (keep == Keep::AskedFor && flags & ASKED != 0) {
                let (key, payload) = (
                    TableKey {
                        hash,
                        key: slot.key,
                        namespace: slot.namespace,
                    },
                    slot.key.len() + slot.namespace.len() + slot.value.len(),
                );
                let room = header.capacity().saturating_sub(payload + UNIT);
                let kept = if keep == Keep::All { flags } else { flags & !ASKED };
                let moved = self.append(state, key, slot.value, kept, room);
                self.states[state].shards[super::shard_of(hash)].set(at, moved);
                continue;
            }
            if flags & DIRTY != 0 {
                write_out(state, slot, flags, emit);
            }
            self.states[state].shards[super::shard_of(hash)].remove(at);
            self.states[state].is_whole &= flags & ABSENT != 0;
        }
        self.give_back(number);
    }

    /// Indexes from which most has gone give their memory back.
    fn shrink_indexes(&mut self) {
        for shard in self.states.iter_mut().flat_map(|state| &mut state.shards) {
            let before = shard.bytes();
            shard.shrink();
            self.index_bytes = self.index_bytes + shard.bytes() - before;
        }
    }
}

fn write_out(state: usize, slot: Slot<'_>, flags: u64, emit: &mut Emit<'_>) {
    match flags & (ABSENT | NEW) {
        0 | NEW => emit(state, slot.key, slot.namespace, Some(slot.value)),
        ABSENT => emit(state, slot.key, slot.namespace, None),
        // The store never had it.
        _ => {}
    }
}

/// The hash by which a slot is found.
fn hash_of(slot: Slot<'_>) -> u32 {
    let key_hash = wasmill_model::key::hash(slot.key) as u32;
    TableKey::new(key_hash, slot.key, slot.namespace).hash
}

/// Bytes of the live slots of a page.
fn live_bytes(page: &CachePage) -> usize {
    slots(page).map(|(_, header)| header.capacity()).sum()
}

/// The live slots of a page: offset and header.
fn slots(page: &CachePage) -> impl Iterator<Item = (usize, Header)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        while next < page.used {
            let (offset, header) = (next, Header::read(page.bytes.get(), next));
            // A slot is never without capacity; if one were, the page would end there.
            next = if header.capacity() > 0 {
                next + header.capacity()
            } else {
                page.used
            };
            if header.is_live() {
                return Some((offset, header));
            }
        }
        None
    })
}
