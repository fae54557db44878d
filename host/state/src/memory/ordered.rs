//! Entries of one map state in one key group, in the byte order of their stored keys.
//!
//! Invariants: it is a persistent tree whose leaves are reference-counted, so a clone takes no time, and
//! a write after it copies one path and shares the rest with the clone; an entry whose stamp is that of the table has
//! been noted as changed since the last freeze.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::changes::{Changes, Freeze, Lot};
use crate::backend::{PAGE_ENTRY_BYTES, Page};
use crate::snapshot::append_element;

/// Memory that a tree takes for an entry beside key and value, estimated: two reference counts, two
/// pointers, a stamp, allocations rounded up, and leaves that are three quarters full.
const ENTRY_OVERHEAD_BYTES: usize = 100;

/// Changes of a small table take up to so many bytes before they are given up.
const NOTED_BYTES_MIN: usize = 1 << 20;

/// Before each value.
const STAMP_BYTES: usize = size_of::<u32>();

/// Map entries by stored key. A value lies behind the stamp of the table at the time of its last write.
#[derive(Default)]
pub(super) struct MapTable {
    entries: OrdMap<Arc<[u8]>, Arc<[u8]>>,
    bytes: usize,
    /// Another one after each freeze that may be built on.
    stamp: u32,
    /// Once there was such a freeze.
    changes: Option<Box<Changes<MapLot>>>,
}

/// Stored keys that were put or removed between two freezes, each as an element of a run.
#[derive(Default)]
struct MapLot {
    keys: Arc<Vec<u8>>,
    count: usize,
}

impl Lot for MapLot {
    fn bytes(&self) -> usize {
        self.keys.capacity()
    }

    fn len(&self) -> usize {
        self.count
    }
}

/// What a table held when it was frozen.
#[derive(Clone, Default)]
pub(super) struct FrozenMap(OrdMap<Arc<[u8]>, Arc<[u8]>>);

impl FrozenMap {
    /// All entries in order of stored keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = self.0.iter();
        entries.map(|(stored, stamped)| (&**stored, value_of(stamped)))
    }

    pub(super) fn get(&self, stored: &[u8]) -> Option<&[u8]> {
        self.0.get(stored).map(|stamped| value_of(stamped))
    }
}

/// A table on its way into a checkpoint that may be built on.
pub(super) struct FrozenMapTable {
    pub(super) entries: FrozenMap,
    /// Stored keys that have changed since the base, each as an element of a run; `None`: all is wanted.
    pub(super) changed: Option<Vec<Arc<Vec<u8>>>>,
}

impl Default for FrozenMapTable {
    fn default() -> Self {
        Self {
            entries: FrozenMap::default(),
            changed: Some(Vec::new()),
        }
    }
}

fn value_of(stamped: &[u8]) -> &[u8] {
    stamped.get(STAMP_BYTES..).unwrap_or_default()
}

impl MapTable {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let changes = self.changes.as_ref().map_or(0, |changes| changes.bytes());
        self.bytes + self.entries.len() * ENTRY_OVERHEAD_BYTES + changes
    }

    pub(super) fn get(&self, stored: &[u8]) -> Option<&[u8]> {
        self.entries.get(stored).map(|stamped| value_of(stamped))
    }

    pub(super) fn put(&mut self, stored: &[u8], value: &[u8]) {
        let stamp = self.stamp.to_ne_bytes();
        let Some(present) = self.entries.get_mut(stored) else {
            self.bytes += stored.len() + value.len();
            self.entries.insert(Arc::from(stored), stamped(stamp, value));
            self.note(stored);
            return;
        };
        self.bytes = self.bytes - value_of(present).len() + value.len();
        let is_noted = present.starts_with(&stamp);
        match Arc::get_mut(present).filter(|bytes| bytes.len() == STAMP_BYTES + value.len()) {
            Some(bytes) => {
                bytes[..STAMP_BYTES].copy_from_slice(&stamp);
                bytes[STAMP_BYTES..].copy_from_slice(value);
            }
            None => *present = stamped(stamp, value),
        }
        if !is_noted {
            self.note(stored);
        }
    }

    pub(super) fn remove(&mut self, stored: &[u8]) {
        if let Some((key, value)) = self.entries.remove_with_key(stored) {
            self.bytes -= key.len() + value_of(&value).len();
            if !value.starts_with(&self.stamp.to_ne_bytes()) {
                self.note(stored);
            }
        }
    }

    /// Removes all entries whose stored key begins with `prefix`.
    pub(super) fn clear(&mut self, prefix: &[u8]) {
        let keys: Vec<Arc<[u8]>> = keys_of(&self.entries, prefix).cloned().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Fills `out` with the entries of `prefix` after the map key `after`.
    pub(super) fn page(&self, prefix: &[u8], after: Option<&[u8]>, bytes_max: usize, out: &mut Page) {
        let start = [prefix, after.unwrap_or_default()].concat();
        let bound = match after {
            Some(_) => Bound::Excluded(&*start),
            None => Bound::Included(&*start),
        };
        let mut bytes = 0;
        for (stored, stamped) in self.entries.range::<_, [u8]>((bound, Bound::Unbounded)) {
            let Some(map_key) = stored.strip_prefix(prefix) else {
                break;
            };
            if bytes >= bytes_max && !out.entries.is_empty() {
                return;
            }
            let value = value_of(stamped);
            bytes += map_key.len() + value.len() + PAGE_ENTRY_BYTES;
            out.entries.push((map_key.to_vec(), value.to_vec()));
        }
        out.done = true;
    }

    /// What it holds now.
    pub(super) fn share(&self) -> FrozenMap {
        FrozenMap(self.entries.clone())
    }

    /// How many entries have changed, some perhaps counted twice; all where that is not known.
    pub(super) fn changed(&self) -> usize {
        let changes = self.changes.as_ref();
        changes.map_or(self.len(), |changes| changes.len())
    }

    /// What goes into a checkpoint that may be built on.
    pub(super) fn freeze(&mut self, freeze: Freeze) -> FrozenMapTable {
        self.stamp = self.stamp.wrapping_add(1);
        let bytes = self.bytes + self.entries.len() * ENTRY_OVERHEAD_BYTES;
        let entries = self.share();
        let Some(changes) = &mut self.changes else {
            self.changes = Some(Box::new(Changes::since(freeze.checkpoint)));
            return FrozenMapTable {
                entries,
                changed: None,
            };
        };
        let is_known = changes.close(freeze);
        let keys = changes.lots().map(|lot| Arc::clone(&lot.keys));
        let changed = is_known.then(|| keys.collect());
        changes.bound(freeze, bytes);
        FrozenMapTable { entries, changed }
    }

    /// An entry is or was another than at the last freeze.
    fn note(&mut self, stored: &[u8]) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        let lot = &mut changes.open;
        append_element(Arc::make_mut(&mut lot.keys), stored);
        lot.count += 1;
        // Entries that come and go are named each time: then it is as well to write the table whole.
        let bytes_max = NOTED_BYTES_MIN.max(2 * self.bytes);
        if lot.keys.len() > bytes_max {
            self.changes = None;
        }
    }
}

fn stamped(stamp: [u8; STAMP_BYTES], value: &[u8]) -> Arc<[u8]> {
    // The usual small value without an allocation but the one that stays.
    let mut small = [0; 128];
    let length = STAMP_BYTES + value.len();
    if let Some(bytes) = small.get_mut(..length) {
        bytes[..STAMP_BYTES].copy_from_slice(&stamp);
        bytes[STAMP_BYTES..].copy_from_slice(value);
        return Arc::from(&*bytes);
    }
    [&stamp, value].concat().into()
}

fn keys_of<'a>(
    entries: &'a OrdMap<Arc<[u8]>, Arc<[u8]>>,
    prefix: &'a [u8],
) -> impl Iterator<Item = &'a Arc<[u8]>> {
    entries
        .range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
        .map(|(key, _)| key)
        .take_while(move |key| key.starts_with(prefix))
}
