//! Which slots of a table have changed, and what becomes of them at a freeze.
//!
//! Invariants: a slot whose header says that it has changed is named in the open lot; an entry that has changed since a
//! lot began is named, by the place where it lies now, in that lot or a later one.

use std::sync::Arc;

use wasmill_model::id::CheckpointId;

use super::{Table, TableKey};
use crate::memory::changes::{Changes, Freeze, Lot};
use crate::memory::index::Location;
use crate::memory::page::{Header, PageBytes, read_slot};
use crate::snapshot::append_element;

/// Of a slot whose entry was put since the last freeze, or that was free since then.
pub(super) const CHANGED: u64 = 1 << 56;
/// Of one whose entry was not there at the last freeze: nobody need know when it goes.
pub(super) const NEW: u64 = 1 << 57;

/// What changed in a page is copied where it is at most this part of it; else the page is shared with the snapshot, and
/// copied whole when it is next written to.
const COPIED_PART: usize = 8;

/// Changes of a table between two freezes.
#[derive(Default)]
pub(in crate::memory) struct TableLot {
    slots: Vec<Location>,
    /// Key and namespace of entries that are gone, or were at some time.
    removed: Arc<Vec<u8>>,
    removed_count: usize,
}

impl Lot for TableLot {
    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Location>() + self.removed.capacity()
    }

    fn len(&self) -> usize {
        self.slots.len() + self.removed_count
    }
}

/// A table on its way into a checkpoint that may be built on.
pub(in crate::memory) enum FrozenTable {
    /// All of it.
    Whole(Vec<Arc<PageBytes>>),
    /// What has changed since the base.
    Changes(TableChanges),
}

impl Default for FrozenTable {
    fn default() -> Self {
        Self::Changes(TableChanges::default())
    }
}

impl FrozenTable {
    /// Whether it is all of the table.
    pub(in crate::memory) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// Entries that were put, and those that were removed; one may be among both.
#[derive(Default)]
pub(in crate::memory) struct TableChanges {
    /// Key, namespace and value one after another, each as an element of a run.
    pub(in crate::memory) copied: Vec<u8>,
    pub(in crate::memory) shared: Vec<(Arc<PageBytes>, Vec<Location>)>,
    /// Key and namespace in the same way.
    pub(in crate::memory) removed: Vec<Arc<Vec<u8>>>,
}

impl Table {
    /// What the header of a slot says that is written to.
    #[inline]
    pub(super) fn flags(&self) -> u64 {
        match self.changes {
            Some(_) => CHANGED,
            None => 0,
        }
    }

    /// The same where the entry of a slot is written to or moves elsewhere.
    pub(super) fn flags_of(&self, location: Location) -> u64 {
        let page = self.pages.get(location.page());
        let header = page.map_or(Header::NONE, |page| Header::read(page.bytes(), location.offset()));
        self.flags() | header.0 & NEW
    }

    /// A slot has changed whose header did not say so.
    #[cold]
    pub(super) fn note(&mut self, location: Location) {
        if let Some(changes) = &mut self.changes {
            changes.open.slots.push(location);
        }
    }

    /// An entry is about to go.
    pub(super) fn note_removed(&mut self, key: TableKey<'_>, location: Location) {
        if self.changes.is_none() || self.flags_of(location) & NEW != 0 {
            return;
        }
        if let Some(changes) = &mut self.changes {
            let lot = &mut changes.open;
            let removed = Arc::make_mut(&mut lot.removed);
            append_element(removed, key.key);
            append_element(removed, key.namespace);
            lot.removed_count += 1;
        }
    }

    /// Entries have moved, ascending by where they were; all others are gone with their slots.
    pub(super) fn relocate(&mut self, moved: &[(Location, Location)]) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        for lot in changes.lots_mut() {
            let slots = std::mem::take(&mut lot.slots);
            lot.slots = slots
                .into_iter()
                .filter_map(|old| {
                    let at = moved.binary_search_by_key(&old.0, |(old, _)| old.0);
                    at.ok().map(|at| moved[at].1)
                })
                .collect();
        }
    }

    /// How many entries have changed since a checkpoint, some perhaps counted twice; all where that is not known.
    pub(in crate::memory) fn changed(&self, since: Option<CheckpointId>) -> usize {
        let changes = self.changes.as_ref();
        changes.map_or(self.len(), |changes| changes.len_since(since))
    }

    /// Ends a lot. Whether all changes since the base are known, so that [`frozen`](Self::frozen) may give them alone.
    pub(in crate::memory) fn end_lot(&mut self, freeze: Freeze) -> bool {
        let Some(mut changes) = self.changes.take() else {
            self.changes = Some(Box::new(Changes::since(freeze.checkpoint)));
            return false;
        };
        for location in &changes.open.slots {
            let Some(page) = self.pages.get_mut(location.page()) else {
                continue;
            };
            let header = Header::read(page.bytes(), location.offset());
            if header.0 & (CHANGED | NEW) != 0 {
                Header(header.0 & !(CHANGED | NEW)).write(page.bytes_mut(), location.offset());
            }
        }
        let is_known = changes.close(freeze);
        self.changes = Some(changes);
        is_known
    }

    /// What goes into the checkpoint, after [`end_lot`](Self::end_lot).
    pub(in crate::memory) fn frozen(&mut self, freeze: Freeze, is_known: bool) -> FrozenTable {
        let Some(mut changes) = self.changes.take() else {
            return FrozenTable::Whole(self.share());
        };
        let frozen = match is_known {
            true => FrozenTable::Changes(self.collect(&changes)),
            false => FrozenTable::Whole(self.share()),
        };
        changes.bound(freeze, self.page_bytes);
        self.changes = Some(changes);
        frozen
    }

    fn collect(&mut self, changes: &Changes<TableLot>) -> TableChanges {
        let mut slots: Vec<Location> = changes.lots().flat_map(|lot| &lot.slots).copied().collect();
        slots.sort_unstable_by_key(|location| location.0);
        slots.dedup();
        let mut collected = TableChanges::default();
        for slots in slots.chunk_by(|a, b| a.page() == b.page()) {
            let Some(page) = slots.first().and_then(|first| self.pages.get_mut(first.page())) else {
                continue;
            };
            let bytes = page.bytes();
            let headers = slots.iter().map(|slot| Header::read(bytes, slot.offset()));
            let (taken, has_large) = headers.fold((0, false), |(taken, has_large), header| {
                (taken + header.capacity(), has_large || header.is_large())
            });
            if has_large || taken * COPIED_PART > bytes.len() {
                collected.shared.push((page.share(), slots.to_vec()));
                continue;
            }
            for slot in slots.iter().filter_map(|slot| read_slot(bytes, slot.offset())) {
                for part in [slot.key, slot.namespace, slot.value] {
                    append_element(&mut collected.copied, part);
                }
            }
        }
        let removed = changes.lots().filter(|lot| !lot.removed.is_empty());
        collected.removed = removed.map(|lot| Arc::clone(&lot.removed)).collect();
        collected
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Epochs, Grown};
    use super::*;
    use crate::backend::Locator;
    use crate::memory::page::walk;
    use crate::snapshot::take_bytes;

    type Model = BTreeMap<u8, Vec<u8>>;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, usize),
        Grow(u8, usize),
        Remove(u8),
        RemoveAll,
        /// Keeps the pages shared for a while.
        Share,
        /// Whether it becomes the base.
        Freeze(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = || prop_oneof![8 => 0..60usize, 2 => 60..600usize, 1 => 3_000..9_000usize];
        prop_oneof![
            12 => (0..60u8, length()).prop_map(|(key, length)| Step::Put(key, length)),
            4 => (0..60u8, 0..100usize).prop_map(|(key, more)| Step::Grow(key, more)),
            10 => (0..60u8).prop_map(Step::Remove),
            1 => Just(Step::RemoveAll),
            1 => Just(Step::Share),
            4 => any::<bool>().prop_map(Step::Freeze),
        ]
    }

    /// Some keys have the same hash.
    fn name(key: &u8) -> TableKey<'_> {
        TableKey::new(u32::from(*key % 7), std::slice::from_ref(key), b"ns")
    }

    fn apply(model: &mut Model, frozen: &FrozenTable) {
        let put = |model: &mut Model, key: &[u8], value: &[u8]| drop(model.insert(key[0], value.to_vec()));
        let changes = match frozen {
            FrozenTable::Whole(pages) => {
                model.clear();
                let slots = pages.iter().flat_map(|page| walk(page.get()));
                slots.for_each(|slot| put(model, slot.key, slot.value));
                return;
            }
            FrozenTable::Changes(changes) => changes,
        };
        for log in &changes.removed {
            let mut rest = &log[..];
            while let Some(key) = take_bytes(&mut rest) {
                take_bytes(&mut rest).unwrap();
                model.remove(&key[0]);
            }
        }
        let mut rest = &changes.copied[..];
        while let Some(key) = take_bytes(&mut rest) {
            take_bytes(&mut rest).unwrap();
            put(model, key, take_bytes(&mut rest).unwrap());
        }
        for (page, slots) in &changes.shared {
            let slots = slots.iter().map(|slot| read_slot(page.get(), slot.offset()));
            slots.flatten().for_each(|slot| put(model, slot.key, slot.value));
        }
    }

    proptest! {
        #[test]
        fn a_base_and_what_changed_since_is_what_the_table_held(steps in prop::collection::vec(step(), 0..500)) {
            let (mut table, mut model) = (Table::new(&Epochs::default()), Model::new());
            let (mut base, mut shared) = (None::<(CheckpointId, Model)>, Vec::new());
            for (at, step) in (1u64..).zip(steps) {
                let value = |length: usize| vec![at as u8; length];
                match step {
                    Step::Put(key, length) => {
                        table.put(name(&key), Locator::UNKNOWN, &value(length)).unwrap();
                        model.insert(key, value(length));
                    }
                    Step::Grow(key, more) => {
                        if let Grown::Value(grown) = table.grow(name(&key), more, 10_000).unwrap() {
                            let start = grown.len() - more;
                            grown[start..].copy_from_slice(&value(more));
                            model.get_mut(&key).unwrap().extend(value(more));
                        }
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(table.remove(name(&key)), model.remove(&key).is_some());
                    }
                    Step::RemoveAll => {
                        for key in std::mem::take(&mut model).into_keys() {
                            table.remove(name(&key));
                        }
                    }
                    Step::Share => {
                        shared.push(table.share());
                        shared.truncate(2);
                    }
                    Step::Freeze(completes) => {
                        let checkpoint = CheckpointId(at);
                        let known = base.as_ref().map(|(base, _)| *base);
                        let freeze = Freeze { checkpoint, confirmed: known, base: known };
                        let is_known = table.end_lot(freeze);
                        let frozen = table.frozen(freeze, is_known);
                        let mut restored = base.as_ref().map(|(_, model)| model.clone()).unwrap_or_default();
                        apply(&mut restored, &frozen);
                        prop_assert_eq!(&restored, &model);
                        if completes {
                            base = Some((checkpoint, restored));
                        }
                        shared.clear();
                    }
                }
            }
        }
    }
}
