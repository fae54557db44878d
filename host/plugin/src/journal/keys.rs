//! The keys of one guest call, by index: what frames, answers and imports speak of.
//!
//! Invariant: every distinct key of the call is held once, in order of first appearance; an index that
//! a guest names is checked against [`CallKeys`] before it is used.

use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::StateKey;

/// "None" among the key and namespace indexes of a frame; of namespaces it is the void one.
pub const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    start: u32,
    length: u32,
    hash: u32,
    group: KeyGroup,
}

/// Distinct keys, namespaces, the (key, namespace) pairs whose state travels, and the key of each row.
/// Cleared and filled anew for each call; it keeps its memory.
#[derive(Default)]
pub struct CallKeys {
    /// Encoded keys one after another.
    arena: Vec<u8>,
    slots: Vec<Slot>,
    /// Open addressing by the lower bits of the hash: index + 1, 0 where empty. At most half full.
    table: Vec<u32>,
    /// Namespaces one after another, and where each ends.
    namespaces: Vec<u8>,
    namespace_ends: Vec<u32>,
    /// Empty where pair i is key i in the void namespace.
    pairs: Vec<(u32, u32)>,
    /// Of each row of the call; empty where the function is not keyed.
    rows: Vec<u32>,
    /// How many rows there are.
    row_count: u32,
    /// How many of the keys, at their end, are of no row: a scan of a keyed state found them.
    scanned: usize,
}

impl CallKeys {
    /// Forgets the last call; `rows_max` bounds the rows of this one.
    pub fn begin(&mut self, rows_max: usize) {
        self.arena.clear();
        self.slots.clear();
        self.namespaces.clear();
        self.namespace_ends.clear();
        self.pairs.clear();
        self.rows.clear();
        self.row_count = 0;
        self.scanned = 0;
        let capacity = (rows_max.max(4) * 2).next_power_of_two();
        self.table.clear();
        self.table.resize(capacity, 0);
    }

    /// The index of a key; added where it is new. Called at most `rows_max` times after `begin`.
    #[inline]
    pub fn key(&mut self, hash: u32, group: KeyGroup, encoded: &[u8]) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                break;
            }
            let slot = self.slots[entry as usize - 1];
            if slot.hash == hash && self.bytes_of(slot) == encoded {
                return entry - 1;
            }
            at = (at + 1) & mask;
        }
        let index = self.add_key(hash, group, encoded);
        self.table[at] = index + 1;
        index
    }

    /// Adds a key that is known to be new.
    pub fn add_key(&mut self, hash: u32, group: KeyGroup, encoded: &[u8]) -> u32 {
        self.slots.push(Slot {
            start: self.arena.len() as u32,
            length: encoded.len() as u32,
            hash,
            group,
        });
        self.arena.extend_from_slice(encoded);
        self.slots.len() as u32 - 1
    }

    /// The index of a key that a scan found: one that the rows of the call do not have.
    pub fn scanned_key(&mut self, hash: u32, group: KeyGroup, encoded: &[u8]) -> u32 {
        if (self.slots.len() + 1) * 2 > self.table.len() {
            let mask = self.table.len() * 2 - 1;
            self.table.clear();
            self.table.resize(mask + 1, 0);
            for (index, slot) in self.slots.iter().enumerate() {
                let mut at = slot.hash as usize & mask;
                while self.table[at] != 0 {
                    at = (at + 1) & mask;
                }
                self.table[at] = index as u32 + 1;
            }
        }
        let known = self.slots.len();
        let index = self.key(hash, group, encoded);
        self.scanned += self.slots.len() - known;
        index
    }

    /// Whether a scan found the key.
    pub fn is_scanned(&self, key: u32) -> bool {
        let index = key as usize;
        index < self.slots.len() && index >= self.slots.len() - self.scanned
    }

    /// The index of a namespace; [`NONE`] for the void one.
    pub fn namespace(&mut self, encoded: &[u8]) -> u32 {
        if encoded.is_empty() {
            return NONE;
        }
        // Timers of few namespaces fire in one call, and the same one again and again: the last is tried first.
        let mut known = (0..self.namespace_ends.len() as u32).rev();
        known
            .find(|index| self.namespace_bytes(*index) == encoded)
            .unwrap_or_else(|| self.add_namespace(encoded))
    }

    /// Adds a namespace, whether it is known or not.
    pub fn add_namespace(&mut self, encoded: &[u8]) -> u32 {
        self.namespaces.extend_from_slice(encoded);
        self.namespace_ends.push(self.namespaces.len() as u32);
        self.namespace_ends.len() as u32 - 1
    }

    /// Adds a pair whose state travels.
    pub fn add_pair(&mut self, key: u32, namespace: u32) {
        self.pairs.push((key, namespace));
    }

    /// Adds a row that belongs to a key.
    #[inline]
    pub fn row(&mut self, key: u32) {
        self.rows.push(key);
        self.row_count += 1;
    }

    /// Says how many rows there are where none has a key.
    pub fn set_rows_without_keys(&mut self, rows: u32) {
        self.row_count = rows;
    }

    /// Sets the pairs whose state travels. Not called where all are in the void namespace.
    pub fn set_pairs(&mut self, pairs: Vec<(u32, u32)>) {
        self.pairs = pairs;
    }

    /// The pairs; `None` where pair i is key i in the void namespace.
    pub fn explicit_pairs(&self) -> Option<&[(u32, u32)]> {
        (!self.pairs.is_empty()).then_some(&self.pairs[..])
    }

    /// How many pairs there are.
    pub fn pair_count(&self) -> usize {
        if self.pairs.is_empty() {
            self.slots.len() - self.scanned
        } else {
            self.pairs.len()
        }
    }

    /// How many entries a block of STATE has: one for each key, or for each pair.
    pub fn entry_count(&self, by_key: bool) -> usize {
        match by_key {
            true => self.slots.len(),
            false => self.pair_count(),
        }
    }

    /// The address of an entry of a block of STATE.
    #[inline]
    pub fn entry_state(&self, entry: usize, by_key: bool) -> StateKey<'_> {
        match by_key {
            true => self.state_key(entry as u32, NONE),
            false => self.pair_state(entry),
        }
    }

    /// The address of a pair's state.
    #[inline]
    pub fn pair_state(&self, pair: usize) -> StateKey<'_> {
        match self.pairs.get(pair) {
            Some((key, namespace)) => self.state_key(*key, *namespace),
            None => self.state_key(pair as u32, NONE),
        }
    }

    /// How many rows there are.
    pub fn row_count(&self) -> u32 {
        self.row_count
    }

    /// The key of a row; `None` where the row does not exist or has no key.
    #[inline]
    pub fn key_of_row(&self, row: u32) -> Option<u32> {
        self.rows.get(row as usize).copied()
    }

    /// How many distinct keys there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a guest may name this key and this namespace.
    #[inline]
    pub fn contains(&self, key: u32, namespace: u32) -> bool {
        (key as usize) < self.slots.len()
            && (namespace == NONE || (namespace as usize) < self.namespace_ends.len())
    }

    /// The encoded key (tag and body) of an index that was checked.
    #[inline]
    pub fn encoded(&self, key: u32) -> &[u8] {
        self.slots
            .get(key as usize)
            .map_or(&[], |slot| self.bytes_of(*slot))
    }

    /// What a guest sees of a key.
    #[inline]
    pub fn body(&self, key: u32) -> &[u8] {
        key::body(self.encoded(key))
    }

    /// The key's group.
    pub fn group(&self, key: u32) -> KeyGroup {
        self.slots
            .get(key as usize)
            .map_or(KeyGroup(0), |slot| slot.group)
    }

    /// How many namespaces there are.
    pub fn namespace_count(&self) -> u32 {
        self.namespace_ends.len() as u32
    }

    /// A namespace's bytes; empty for the void one.
    #[inline]
    pub fn namespace_bytes(&self, namespace: u32) -> &[u8] {
        let at = namespace as usize;
        let Some(end) = self.namespace_ends.get(at) else {
            return &[];
        };
        let start = at.checked_sub(1).map_or(0, |before| self.namespace_ends[before]);
        &self.namespaces[start as usize..*end as usize]
    }

    /// Addresses the state of a key and namespace that were checked, with an empty map key.
    #[inline]
    pub fn state_key(&self, key: u32, namespace: u32) -> StateKey<'_> {
        let slot = self.slots.get(key as usize);
        StateKey {
            group: slot.map_or(KeyGroup(0), |slot| slot.group),
            hash: slot.map_or(0, |slot| slot.hash),
            key: self.encoded(key),
            namespace: self.namespace_bytes(namespace),
            map_key: &[],
        }
    }

    #[inline]
    fn bytes_of(&self, slot: Slot) -> &[u8] {
        &self.arena[slot.start as usize..(slot.start + slot.length) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_share_an_index_and_equal_hashes_do_not() {
        let mut keys = CallKeys::default();
        keys.begin(4);
        let a = keys.key(7, KeyGroup(1), b"ba");
        let b = keys.key(7, KeyGroup(1), b"bb");
        assert_eq!((a, b, keys.key(7, KeyGroup(1), b"ba")), (0, 1, 0));
        assert_eq!(
            (keys.body(0), keys.body(1), keys.len()),
            (&b"a"[..], &b"b"[..], 2)
        );
    }

    #[test]
    fn a_table_at_its_bound_still_finds_every_key() {
        let mut keys = CallKeys::default();
        for _ in 0..2 {
            keys.begin(1000);
            for i in 0..1000u32 {
                // All hashes collide: the worst that input can do.
                assert_eq!(keys.key(42, KeyGroup(0), &i.to_le_bytes()), i);
            }
            assert_eq!(keys.key(42, KeyGroup(0), &999u32.to_le_bytes()), 999);
        }
    }

    #[test]
    fn keys_of_a_scan_are_without_bound_and_no_pairs() {
        let mut keys = CallKeys::default();
        keys.begin(1);
        keys.set_rows_without_keys(1);
        for _ in 0..2 {
            for i in 0..1000u32 {
                assert_eq!(keys.scanned_key(i % 7, KeyGroup(0), &i.to_le_bytes()), i);
            }
        }
        assert_eq!((keys.len(), keys.pair_count()), (1000, 0));
        assert!(keys.is_scanned(0) && keys.is_scanned(999) && !keys.is_scanned(1000));
        keys.begin(1);
        keys.key(1, KeyGroup(0), b"k");
        assert!(!keys.is_scanned(0));
    }

    #[test]
    fn the_void_namespace_has_no_index() {
        let mut keys = CallKeys::default();
        keys.begin(1);
        keys.key(1, KeyGroup(0), b"k");
        assert_eq!(keys.namespace(b""), NONE);
        assert_eq!((keys.namespace(b"w"), keys.namespace(b"w")), (0, 0));
        assert!(
            keys.contains(0, NONE) && keys.contains(0, 0) && !keys.contains(0, 1) && !keys.contains(1, NONE)
        );
    }
}
