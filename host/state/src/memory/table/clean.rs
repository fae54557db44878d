//! A table gone through piece by piece, to remove entries whose time is over.
//!
//! Invariant: an entry that is there while the table is gone through, from its start to its end, is come by at least once,
//! unless it is put anew meanwhile.

use super::{Table, TableKey};
use crate::memory::index::Location;
use crate::memory::page::{Header, PAGE_BYTES, Page, Slot};

/// What came next.
pub(in crate::memory) enum Walked {
    /// An entry.
    Entry(Location),
    /// As much was looked at as was to be.
    Paused,
    /// Nothing: the next is the first again.
    End,
}

/// Finds an entry's key from key and namespace, one behind the other, and the length of the key.
pub(in crate::memory) type Address = for<'n> fn(&'n [u8], usize) -> TableKey<'n>;

/// Of an entry whose hash is that of its key and namespace.
pub(in crate::memory) fn address_of_key(names: &[u8], length: usize) -> TableKey<'_> {
    let (key, namespace) = names.split_at(length);
    TableKey::new(wasmill_model::key::hash(key) as u32, key, namespace)
}

impl Table {
    /// Goes on from where the last call stopped to the next entry; each slot on the way counts.
    pub(in crate::memory) fn walk_on(&mut self, slots_left: &mut u64) -> Walked {
        loop {
            let at = self.cleaned;
            let Some(page) = self.pages.get(at.page()).map(Page::bytes) else {
                self.cleaned = Location::FIRST;
                return Walked::End;
            };
            let header = match at.offset() < page.len() {
                true => Header::read(page, at.offset()),
                false => Header::NONE,
            };
            if header.is_large() {
                // It has the page for itself.
                self.cleaned = Location::new(at.page() + 1, 0);
            } else if header.capacity() == 0 {
                self.cleaned = Location::new(at.page() + 1, 0);
                continue;
            }
            let Some(left) = slots_left.checked_sub(1) else {
                self.cleaned = at;
                return Walked::Paused;
            };
            *slots_left = left;
            if !header.is_large() {
                let end = at.offset() + header.capacity();
                // NOTE: the end of a full page is no location in it.
                self.cleaned = match end < PAGE_BYTES {
                    true => Location::new(at.page(), end),
                    false => Location::new(at.page() + 1, 0),
                };
            }
            if header.is_live() {
                return Walked::Entry(at);
            }
        }
    }

    /// What lies at a location that was come by.
    pub(in crate::memory) fn entry(&self, location: Location) -> Option<Slot<'_>> {
        self.slot(location)
    }

    /// Goes on through the table and removes entries of whose value `is_over` says so; whether the end was reached.
    /// `removed` is given key and namespace of each, one behind the other.
    pub(in crate::memory) fn clean(
        &mut self,
        slots_left: &mut u64,
        is_over: &mut dyn FnMut(&[u8]) -> bool,
        address: Address,
        removed: &mut dyn FnMut(&[u8]),
    ) -> bool {
        let mut has_removed = false;
        let is_end = loop {
            match self.walk_on(slots_left) {
                Walked::Entry(at) => {
                    if self.slot(at).is_some_and(|slot| is_over(slot.value)) {
                        self.remove_at(at, address, removed);
                        has_removed = true;
                    }
                }
                Walked::Paused => break false,
                Walked::End => break true,
            }
        };
        if has_removed {
            self.tidy();
        }
        is_end
    }

    /// Removes an entry; no other moves.
    fn remove_at(&mut self, location: Location, address: Address, removed: &mut dyn FnMut(&[u8])) {
        let mut names = std::mem::take(&mut self.scratch);
        names.clear();
        let Some(slot) = self.slot(location) else {
            return;
        };
        names.extend_from_slice(slot.key);
        names.extend_from_slice(slot.namespace);
        let key = address(&names, slot.key.len());
        if let Some((at, _)) = self.index.find(key.hash, |present| present == location) {
            self.note_removed(key, location);
            self.index.remove(at);
            self.release(location);
            removed(&names);
        }
        self.scratch = names;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::Epochs;
    use super::*;
    use crate::backend::Locator;

    fn name(key: &u8) -> TableKey<'_> {
        let key = std::slice::from_ref(key);
        TableKey::new(wasmill_model::key::hash(key) as u32, key, b"w")
    }

    proptest! {
        #[test]
        fn one_pass_removes_all_that_is_over_whatever_is_put_and_removed_meanwhile(
            steps in prop::collection::vec((0..200u8, 0..3u8, prop_oneof![8 => 0..60usize, 1 => 3_000..9_000usize]), 0..400),
            pace in 2..40u64,
        ) {
            let (mut table, mut model) = (Table::new(&Epochs::default()), BTreeMap::new());
            // The first byte says whether a value is over; those put during the pass are not.
            let value = |over: bool, length: usize| [&[u8::from(over)][..], &vec![7; length]].concat();
            for (key, kind, length) in &steps {
                let value = value(kind % 2 == 0, *length);
                table.put(name(key), Locator::UNKNOWN, &value).unwrap();
                model.insert(*key, value);
            }
            let mut calls = 0..10_000;
            for (key, kind, length) in steps.iter().rev().cycle() {
                let mut is_over = |value: &[u8]| value[0] == 1;
                if table.clean(&mut { pace }, &mut is_over, address_of_key, &mut |_| ()) || calls.next().is_none() {
                    break;
                }
                match kind {
                    0 => {
                        table.put(name(key), Locator::UNKNOWN, &value(false, length / 2)).unwrap();
                        model.insert(*key, value(false, length / 2));
                    }
                    _ => {
                        table.remove(name(key));
                        model.remove(key);
                    }
                }
            }
            prop_assert!(calls.next().is_some());
            model.retain(|_, value| value[0] == 0);
            let held: BTreeMap<u8, Vec<u8>> =
                table.slots().map(|slot| (slot.key[0], slot.value.to_vec())).collect();
            prop_assert_eq!(&held, &model);
            prop_assert_eq!(table.len(), model.len());
            for (key, value) in &model {
                prop_assert_eq!(table.get(name(key)), Some(&value[..]));
            }
        }
    }
}
