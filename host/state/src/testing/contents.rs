//! All that keyed state holds, as plain maps: a model, and what a snapshot file is compared by.
//!
//! Invariant: two backends hold the same state exactly when their contents are equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{SnapshotFile, StateError};
use crate::snapshot::{Entry, GroupBlock, SnapshotReader};
use crate::timers::{TimeDomain, Timer, TimerQueue};

/// State name, key, namespace.
pub type Place = (String, Vec<u8>, Vec<u8>);

/// Entries and timers by what they are addressed with.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Value, reducing and aggregating states.
    pub values: BTreeMap<Place, Vec<u8>>,
    /// Map states.
    pub maps: BTreeMap<Place, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// List states.
    pub lists: BTreeMap<Place, Vec<Vec<u8>>>,
    /// Timers.
    pub timers: BTreeSet<(TimeDomain, Timer)>,
}

impl Contents {
    /// Reads a whole snapshot file.
    ///
    /// # Panics
    /// Where the file holds an entry twice, or map entries or timers out of order.
    pub fn read(file: &mut dyn SnapshotFile) -> Result<Self, StateError> {
        let mut reader = SnapshotReader::open(file)?;
        let names: Vec<String> = reader
            .header()
            .states
            .iter()
            .map(|state| state.name.clone())
            .collect();
        let groups: Vec<_> = reader.groups().collect();
        let mut contents = Self::default();
        for group in groups {
            reader.read_group(group, &mut |block| match block {
                GroupBlock::Entries { state, mut entries } => {
                    entries.try_for_each(|entry| entry.map(|entry| contents.add(&names[state], entry)))
                }
                GroupBlock::Timers { domain, timers } => {
                    assert!(timers.is_sorted(), "timers of group {} are out of order", group.0);
                    timers.into_iter().for_each(|timer| {
                        assert!(contents.timers.insert((domain, timer)), "a timer is there twice");
                    });
                    Ok(())
                }
            })?;
        }
        Ok(contents)
    }

    /// Adds what another holds; their entries must be of different keys.
    pub fn merge(&mut self, other: Self) {
        self.values.extend(other.values);
        self.maps.extend(other.maps);
        self.lists.extend(other.lists);
        self.timers.extend(other.timers);
    }

    /// Values, map entries and list elements.
    pub fn entries(&self) -> usize {
        let maps: usize = self.maps.values().map(BTreeMap::len).sum();
        let lists: usize = self.lists.values().map(Vec::len).sum();
        self.values.len() + maps + lists
    }

    /// Takes the timers of a queue.
    pub fn set_timers(&mut self, queue: &TimerQueue) {
        self.timers.clear();
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            queue.for_each(domain, |timer| {
                let timer = Timer {
                    timestamp: timer.timestamp,
                    group: timer.group,
                    key: timer.key.into(),
                    namespace: timer.namespace.into(),
                };
                self.timers.extend([(domain, timer)]);
            });
        }
    }

    fn add(&mut self, state: &str, entry: Entry<'_>) {
        let place = |key: &[u8], namespace: &[u8]| (state.to_owned(), key.to_vec(), namespace.to_vec());
        match entry {
            Entry::Value {
                key,
                namespace,
                value,
            } => {
                let before = self.values.insert(place(key, namespace), value.to_vec());
                assert!(before.is_none(), "state `{state}` holds key {key:?} twice");
            }
            Entry::Map {
                key,
                namespace,
                map_key,
                value,
            } => {
                let map = self.maps.entry(place(key, namespace)).or_default();
                let last = map.last_key_value().map(|(last, _)| last.as_slice());
                assert!(
                    last < Some(map_key),
                    "map state `{state}` is out of order at {map_key:?}"
                );
                map.insert(map_key.to_vec(), value.to_vec());
            }
            Entry::List {
                key,
                namespace,
                elements,
            } => {
                let list = self.lists.entry(place(key, namespace)).or_default();
                list.extend(elements.map(<[u8]>::to_vec));
            }
        }
    }
}
