//! Entries of one map state in one key group.
//!
//! Single entries are found by hash, under the stored prefix of key and namespace and the map key; what walks a map in the
//! byte order of its keys has their order beside that. Invariants: the order names just the entries of the table; it changes
//! only when an entry comes or goes, so reads and overwrites cost what they cost a value state.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use wasmill_model::id::CheckpointId;
use xxhash_rust::xxh3::xxh3_64;

use super::changes::Freeze;
use super::page::PageBytes;
use super::table::{Epochs, FrozenTable, Table, TableFull, TableKey};
use crate::backend::{Locator, PAGE_ENTRY_BYTES, Page, StateKey};
use crate::stored_key;

/// Memory that the order takes for an entry beside its stored key, estimated: pointer and length in leaves that are
/// two thirds full, and the rounding up of an allocation.
const ORDER_OVERHEAD_BYTES: usize = 40;

/// Map entries by stored key.
pub(super) struct MapTable {
    entries: Table,
    order: BTreeSet<Box<[u8]>>,
    /// Of all keys in the order.
    order_bytes: usize,
}

/// A stored key, and where the prefix of its key and namespace ends.
#[derive(Clone, Copy)]
pub(super) struct MapKey<'a> {
    stored: &'a [u8],
    prefix: usize,
}

impl<'a> MapKey<'a> {
    /// Puts it together in `out`.
    pub(super) fn encode(out: &'a mut Vec<u8>, key: &[u8], namespace: &[u8], map_key: &[u8]) -> Self {
        out.clear();
        let prefix = append(out, (key, namespace), map_key);
        Self { stored: out, prefix }
    }

    fn table(self) -> TableKey<'a> {
        let (key, namespace) = self.stored.split_at(self.prefix);
        TableKey {
            hash: xxh3_64(self.stored) as u32,
            key,
            namespace,
        }
    }
}

/// Where the entry of a stored key is, whose prefix is so long.
fn address(stored: &[u8], prefix: usize) -> TableKey<'_> {
    MapKey { stored, prefix }.table()
}

/// Appends a stored key. The length of its prefix.
fn append(out: &mut Vec<u8>, (key, namespace): (&[u8], &[u8]), map_key: &[u8]) -> usize {
    let start = out.len();
    stored_key::encode_prefix(out, key, namespace);
    let prefix = out.len() - start;
    out.extend_from_slice(map_key);
    prefix
}

/// Stored keys of several entries, one behind another in `out`; each is given to `each` with its number.
pub(super) fn encode_all<'a>(
    out: &'a mut Vec<u8>,
    keys: &[StateKey<'_>],
    mut each: impl FnMut(usize, TableKey<'a>),
) {
    out.clear();
    for key in keys {
        append(out, (key.key, key.namespace), key.map_key);
    }
    let mut rest = &out[..];
    for (number, key) in keys.iter().enumerate() {
        let prefix = stored_key::prefix_length(key.key, key.namespace);
        let (stored, behind) = rest.split_at(prefix + key.map_key.len());
        rest = behind;
        each(number, MapKey { stored, prefix }.table());
    }
}

impl MapTable {
    pub(super) fn new(epochs: &Epochs) -> Self {
        Self {
            entries: Table::new(epochs),
            order: BTreeSet::new(),
            order_bytes: 0,
        }
    }

    /// What single entries are looked for in.
    pub(super) fn entries(&self) -> &Table {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.order_bytes + self.order.len() * ORDER_OVERHEAD_BYTES
    }

    pub(super) fn put(&mut self, key: MapKey<'_>, locator: Locator, value: &[u8]) -> Result<(), TableFull> {
        let count = self.entries.len();
        self.entries.put(key.table(), locator, value)?;
        if self.entries.len() > count {
            self.order_bytes += key.stored.len();
            self.order.insert(Box::from(key.stored));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: MapKey<'_>) {
        if self.entries.remove(key.table()) {
            self.order_bytes -= key.stored.len();
            self.order.remove(key.stored);
        }
    }

    /// Removes all entries whose stored key begins with `prefix`.
    pub(super) fn clear(&mut self, prefix: &[u8]) {
        let from_prefix = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.order.range::<[u8], _>(from_prefix);
        let keys: Vec<Box<[u8]>> = keys.take_while(|key| key.starts_with(prefix)).cloned().collect();
        for stored in &keys {
            self.remove(MapKey {
                stored,
                prefix: prefix.len(),
            });
        }
    }

    /// Goes on through the entries, from where the last call stopped, and removes those of whose value `is_over` says so;
    /// whether the end was reached.
    pub(super) fn clean(&mut self, slots_left: &mut u64, is_over: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let (order, order_bytes) = (&mut self.order, &mut self.order_bytes);
        self.entries.clean(slots_left, is_over, address, &mut |stored| {
            *order_bytes -= stored.len();
            order.remove(stored);
        })
    }

    /// Fills `out` with the entries of `prefix` after the map key `after`.
    pub(super) fn page(&self, prefix: &[u8], after: Option<&[u8]>, bytes_max: usize, out: &mut Page) {
        let start = [prefix, after.unwrap_or_default()].concat();
        let bound = match after {
            Some(_) => Bound::Excluded(&*start),
            None => Bound::Included(&*start),
        };
        let mut bytes = 0;
        for stored in self.order.range::<[u8], _>((bound, Bound::Unbounded)) {
            let Some(map_key) = stored.strip_prefix(prefix) else {
                break;
            };
            if bytes >= bytes_max && !out.entries.is_empty() {
                return;
            }
            let key = MapKey {
                stored,
                prefix: prefix.len(),
            };
            let Some(value) = self.entries.get(key.table()) else {
                continue;
            };
            bytes += map_key.len() + value.len() + PAGE_ENTRY_BYTES;
            out.entries.push((map_key.to_vec(), value.to_vec()));
        }
        out.done = true;
    }

    /// What it holds now.
    pub(super) fn share(&mut self) -> Vec<Arc<PageBytes>> {
        self.entries.share()
    }

    /// How many entries have changed since a checkpoint, some perhaps counted twice; all where that is not known.
    pub(super) fn changed(&self, since: Option<CheckpointId>) -> usize {
        self.entries.changed(since)
    }

    /// What goes into a checkpoint that may be built on.
    pub(super) fn freeze(&mut self, freeze: Freeze) -> FrozenTable {
        let is_known = self.entries.end_lot(freeze);
        self.entries.frozen(freeze, is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_goes_with_its_entries() {
        let mut table = MapTable::new(&Epochs::default());
        let mut scratch = Vec::new();
        let mut key = |at: u16| {
            MapKey::encode(&mut scratch, b"key", b"", &at.to_be_bytes())
                .stored
                .to_vec()
        };
        let keys: Vec<Vec<u8>> = (0..500).map(&mut key).collect();
        let prefix = stored_key::prefix_length(b"key", b"");
        for value in [&b"first"[..], b"second"] {
            for stored in &keys {
                table
                    .put(MapKey { stored, prefix }, Locator::UNKNOWN, value)
                    .unwrap();
            }
            assert_eq!((table.len(), table.order.len()), (500, 500));
        }
        table.clear(&keys[0][..prefix]);
        assert_eq!((table.len(), table.order.len(), table.order_bytes), (0, 0, 0));
    }
}
