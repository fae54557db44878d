//! Entries of one map state in one key group, in the byte order of their stored keys.
//!
//! Invariant: it is a persistent tree whose leaves are reference-counted, so a clone takes no time, and
//! a write after it copies one path and shares the rest with the clone.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::backend::{PAGE_ENTRY_BYTES, Page};

/// Memory that a tree takes for an entry beside key and value, estimated: two reference counts, two
/// pointers, allocations rounded up, and leaves that are three quarters full.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Map entries by stored key.
#[derive(Clone, Default)]
pub(super) struct MapTable {
    entries: OrdMap<Arc<[u8]>, Arc<[u8]>>,
    bytes: usize,
}

impl MapTable {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.entries.len() * ENTRY_OVERHEAD_BYTES
    }

    pub(super) fn get(&self, stored: &[u8]) -> Option<&[u8]> {
        self.entries.get(stored).map(|value| &**value)
    }

    pub(super) fn put(&mut self, stored: &[u8], value: &[u8]) {
        if let Some(present) = self.entries.get_mut(stored) {
            self.bytes = self.bytes - present.len() + value.len();
            match Arc::get_mut(present).filter(|bytes| bytes.len() == value.len()) {
                Some(bytes) => bytes.copy_from_slice(value),
                None => *present = Arc::from(value),
            }
            return;
        }
        self.bytes += stored.len() + value.len();
        self.entries.insert(Arc::from(stored), Arc::from(value));
    }

    pub(super) fn remove(&mut self, stored: &[u8]) {
        if let Some((key, value)) = self.entries.remove_with_key(stored) {
            self.bytes -= key.len() + value.len();
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
        for (stored, value) in self.entries.range::<_, [u8]>((bound, Bound::Unbounded)) {
            let Some(map_key) = stored.strip_prefix(prefix) else {
                break;
            };
            if bytes >= bytes_max && !out.entries.is_empty() {
                return;
            }
            bytes += map_key.len() + value.len() + PAGE_ENTRY_BYTES;
            out.entries.push((map_key.to_vec(), value.to_vec()));
        }
        out.done = true;
    }

    /// All entries in order of stored keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(stored, value)| (&**stored, &**value))
    }
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
