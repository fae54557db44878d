//! What a call knows of states that do not travel: values it has read, and its own writes.
//!
//! Invariant: an entry tells what the host would answer once the call's writes are applied. The table
//! lives for one call and keeps its memory for the next.

use crate::frame::NONE;

/// Which value of which key.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) slot: u32,
    pub(crate) key: u32,
    pub(crate) namespace: u32,
    pub(crate) map_key: &'a [u8],
}

/// What is known of a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    /// Nothing: ask the host.
    Unknown,
    /// There is no value.
    Absent,
    /// The value.
    Value(&'a [u8]),
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    slot: u32,
    key: u32,
    namespace: u32,
    map_key_at: u32,
    map_key_len: u32,
    value_at: u32,
    value_len: u32,
}

/// A hash table of entries over one arena of bytes.
#[derive(Default)]
pub(crate) struct Overlay {
    /// Index of an entry and 1; 0 is free. The length is a power of two, at most half of it in use.
    table: Vec<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// Maps that were cleared as a whole: what has no entry there is absent.
    cleared: Vec<(u32, u32, u32)>,
}

impl Overlay {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        if self.entries.is_empty() && self.cleared.is_empty() {
            return;
        }
        self.table.fill(0);
        self.entries.clear();
        self.arena.clear();
        self.cleared.clear();
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    /// What is known of a place.
    pub(crate) fn get(&self, place: Place<'_>) -> Known<'_> {
        if let Some(index) = self.find(place, hash(place)) {
            let entry = &self.entries[index];
            return match entry.value_len {
                NONE => Known::Absent,
                len => Known::Value(&self.arena[entry.value_at as usize..][..len as usize]),
            };
        }
        if self.cleared.contains(&(place.slot, place.key, place.namespace)) {
            return Known::Absent;
        }
        Known::Unknown
    }

    /// Notes a value, or its absence.
    pub(crate) fn put(&mut self, place: Place<'_>, value: Option<&[u8]>) {
        let hash = hash(place);
        let value_at = self.arena.len() as u32;
        let value_len = value.map_or(NONE, |value| value.len() as u32);
        self.arena.extend_from_slice(value.unwrap_or_default());
        if let Some(index) = self.find(place, hash) {
            self.entries[index].value_at = value_at;
            self.entries[index].value_len = value_len;
            return;
        }
        let map_key_at = self.arena.len() as u32;
        self.arena.extend_from_slice(place.map_key);
        self.entries.push(Entry {
            hash,
            slot: place.slot,
            key: place.key,
            namespace: place.namespace,
            map_key_at,
            map_key_len: place.map_key.len() as u32,
            value_at,
            value_len,
        });
        if self.entries.len() * 2 > self.table.len() {
            self.grow();
        } else {
            let last = self.entries.len() - 1;
            self.insert(last);
        }
    }

    /// Notes that a state holds nothing any more for a key.
    pub(crate) fn clear_state(&mut self, slot: u32, key: u32, namespace: u32) {
        for entry in &mut self.entries {
            if (entry.slot, entry.key, entry.namespace) == (slot, key, namespace) {
                entry.value_len = NONE;
            }
        }
        if !self.cleared.contains(&(slot, key, namespace)) {
            self.cleared.push((slot, key, namespace));
        }
    }

    fn find(&self, place: Place<'_>, hash: u64) -> Option<usize> {
        let mask = self.table.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        while let Some(index) = (self.table[at] as usize).checked_sub(1) {
            let entry = &self.entries[index];
            let map_key = &self.arena[entry.map_key_at as usize..][..entry.map_key_len as usize];
            if entry.hash == hash
                && (entry.slot, entry.key, entry.namespace) == (place.slot, place.key, place.namespace)
                && map_key == place.map_key
            {
                return Some(index);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn insert(&mut self, index: usize) {
        let mask = self.table.len() - 1;
        let mut at = self.entries[index].hash as usize & mask;
        while self.table[at] != 0 {
            at = (at + 1) & mask;
        }
        self.table[at] = index as u32 + 1;
    }

    fn grow(&mut self) {
        let length = (self.table.len() * 2).max(64);
        self.table.clear();
        self.table.resize(length, 0);
        for index in 0..self.entries.len() {
            self.insert(index);
        }
    }
}

/// FxHash: the keys come from the function itself, and the table lives for one call.
fn hash(place: Place<'_>) -> u64 {
    const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;
    let mut hash = 0_u64;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(SEED);
    add(u64::from(place.slot) << 32 | u64::from(place.key));
    add(u64::from(place.namespace) << 32 | place.map_key.len() as u64);
    let (words, rest) = place.map_key.as_chunks::<8>();
    for word in words {
        add(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(u64::from_le_bytes(last));
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: u32, map_key: &[u8]) -> Place<'_> {
        Place {
            slot: 0,
            key,
            namespace: NONE,
            map_key,
        }
    }

    #[test]
    fn what_was_put_is_known_and_the_rest_is_not() {
        let mut overlay = Overlay::default();
        for n in 0..1000_u32 {
            overlay.put(place(n % 7, &n.to_be_bytes()), Some(&n.to_le_bytes()));
        }
        overlay.put(place(0, &7_u32.to_be_bytes()), None);
        assert_eq!(overlay.get(place(0, &7_u32.to_be_bytes())), Known::Absent);
        assert_eq!(
            overlay.get(place(1, &8_u32.to_be_bytes())),
            Known::Value(&8_u32.to_le_bytes())
        );
        assert_eq!(overlay.get(place(2, &8_u32.to_be_bytes())), Known::Unknown);
    }

    #[test]
    fn a_cleared_map_holds_only_what_came_later() {
        let mut overlay = Overlay::default();
        overlay.put(place(1, b"old"), Some(b"1"));
        overlay.clear_state(0, 1, NONE);
        overlay.put(place(1, b"new"), Some(b"2"));
        assert_eq!(overlay.get(place(1, b"old")), Known::Absent);
        assert_eq!(overlay.get(place(1, b"never")), Known::Absent);
        assert_eq!(overlay.get(place(1, b"new")), Known::Value(b"2"));
        assert_eq!(overlay.get(place(2, b"never")), Known::Unknown);
        overlay.clear();
        assert_eq!(overlay.get(place(1, b"new")), Known::Unknown);
    }
}
