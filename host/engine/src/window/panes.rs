//! The keys and panes of one batch, each under a small number.
//!
//! A pane is a key and a window. What a batch does to its panes is said by these numbers, so that state is read and
//! written once a pane, and a function finds all of a pane's work by an index.

use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::StateKey;

use super::bounds::{Namespace, Window};

/// A key of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub u32);

/// A pane of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaneId(pub u32);

impl PaneId {
    /// For arrays by pane.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Key {
    start: usize,
    end: usize,
    hash: u32,
    group: KeyGroup,
}

#[derive(Clone, Copy, Debug)]
struct Pane {
    key: KeyId,
    window: Window,
    namespace: Namespace,
}

/// The panes of a batch and their keys.
#[derive(Debug, Default)]
pub struct Panes {
    bytes: Vec<u8>,
    keys: Vec<Key>,
    panes: Vec<Pane>,
    key_index: Index,
    pane_index: Index,
}

impl Panes {
    /// The number of a key.
    pub fn key(&mut self, encoded: &[u8], hash: u32, group: KeyGroup) -> KeyId {
        let (bytes, keys) = (&mut self.bytes, &mut self.keys);
        let same = |id: u32| {
            let key = keys[id as usize];
            key.hash == hash && bytes[key.start..key.end] == *encoded
        };
        if let Some(id) = self.key_index.find(hash, same) {
            return KeyId(id);
        }
        let start = bytes.len();
        bytes.extend_from_slice(encoded);
        let end = bytes.len();
        keys.push(Key {
            start,
            end,
            hash,
            group,
        });
        let id = (keys.len() - 1) as u32;
        self.key_index.insert(id, |id| keys[id as usize].hash);
        KeyId(id)
    }

    /// The number of a key of which only bytes and group are known.
    pub fn key_of(&mut self, encoded: &[u8], group: KeyGroup) -> KeyId {
        self.key(encoded, key::hash(encoded) as u32, group)
    }

    /// The number of a pane.
    pub fn pane(&mut self, key: KeyId, window: Window) -> PaneId {
        let panes = &mut self.panes;
        let same = |id: u32| panes[id as usize].key == key && panes[id as usize].window == window;
        if let Some(id) = self.pane_index.find(pane_hash(key, window), same) {
            return PaneId(id);
        }
        panes.push(Pane {
            key,
            window,
            namespace: window.namespace(),
        });
        let id = (panes.len() - 1) as u32;
        self.pane_index.insert(id, |id| {
            let pane = &panes[id as usize];
            pane_hash(pane.key, pane.window)
        });
        PaneId(id)
    }

    /// A further pane, which [`Panes::pane`] does not find: for callers that know that it is new.
    pub(super) fn add_pane(&mut self, key: KeyId, window: Window) {
        self.panes.push(Pane {
            key,
            window,
            namespace: window.namespace(),
        });
    }

    /// How many panes there are.
    pub fn len(&self) -> usize {
        self.panes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The key of a pane.
    pub fn key_id(&self, pane: PaneId) -> KeyId {
        self.panes[pane.index()].key
    }

    /// The window of a pane.
    pub fn window(&self, pane: PaneId) -> Window {
        self.panes[pane.index()].window
    }

    /// The encoded key of a pane.
    pub fn key_bytes(&self, pane: PaneId) -> &[u8] {
        let key = self.keys[self.panes[pane.index()].key.0 as usize];
        &self.bytes[key.start..key.end]
    }

    /// Addresses state of a pane: of its key and window.
    pub fn state_key(&self, pane: PaneId) -> StateKey<'_> {
        StateKey {
            namespace: &self.panes[pane.index()].namespace,
            ..self.global_key(self.panes[pane.index()].key)
        }
    }

    /// Addresses state of a pane's key, whatever the window.
    pub fn state_of_key(&self, pane: PaneId) -> StateKey<'_> {
        self.global_key(self.panes[pane.index()].key)
    }

    pub(super) fn global_key(&self, key: KeyId) -> StateKey<'_> {
        let key = self.keys[key.0 as usize];
        StateKey {
            group: key.group,
            hash: key.hash,
            key: &self.bytes[key.start..key.end],
            namespace: &[],
            map_key: &[],
        }
    }
}

fn pane_hash(key: KeyId, window: Window) -> u32 {
    let (start, end) = window.bounds();
    let mixed = (start as u64 ^ (end as u64).rotate_left(32))
        .wrapping_add(u64::from(key.0))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

/// Finds numbers by hash: open addressing, never more than half full. Its order is nobody's concern.
#[derive(Debug, Default)]
struct Index {
    /// 0 or a number plus one.
    slots: Vec<u32>,
    length: usize,
}

impl Index {
    fn find(&self, hash: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                0 => return None,
                id if same(id - 1) => return Some(id - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Adds a number that is not in it.
    fn insert(&mut self, id: u32, hash_of: impl Fn(u32) -> u32) {
        if (self.length + 1) * 2 > self.slots.len() {
            let capacity = (self.slots.len() * 2).max(64);
            let old = std::mem::replace(&mut self.slots, vec![0; capacity]);
            for id in old.into_iter().filter(|id| *id != 0) {
                self.put(id - 1, hash_of(id - 1));
            }
        }
        self.put(id, hash_of(id));
        self.length += 1;
    }

    fn put(&mut self, id: u32, hash: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = id + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_panes_have_one_number_each() {
        let mut panes = Panes::default();
        let window = |start| Window::Time {
            start,
            end: start + 1,
        };
        for round in 0..2 {
            for n in 0..500u32 {
                // Hashes collide on purpose.
                let key = panes.key(&n.to_le_bytes(), n % 7, KeyGroup(0));
                assert_eq!(key, KeyId(n), "round {round}");
                let pane = panes.pane(key, window(i64::from(n % 3)));
                assert_eq!(pane, PaneId(n));
            }
        }
        assert_eq!(panes.len(), 500);
        assert_eq!(panes.key_bytes(PaneId(499)), 499u32.to_le_bytes());
        assert_eq!(panes.state_key(PaneId(4)).namespace, &*window(1).namespace());
        assert_eq!(panes.state_of_key(PaneId(4)).namespace, b"");
    }
}
