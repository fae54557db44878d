//! What states with time to live hold, as plain maps, by the rules as Flink tells them.

use std::collections::BTreeMap;

use wasmill_model::function::{StateTtl, StateVisibility, UpdateType};

/// How long things live in these tests, ms.
pub(super) const LIVES_MS: i64 = 100;

/// Values, list elements or map entries: when they were last updated, and what they are.
pub(super) type Held = (i64, i64);

/// The model.
pub(super) struct Model {
    pub(super) ttl: StateTtl,
    pub(super) now: i64,
    pub(super) values: BTreeMap<u8, Held>,
    pub(super) lists: BTreeMap<u8, Vec<Held>>,
    pub(super) maps: BTreeMap<u8, BTreeMap<u8, Held>>,
}

impl Model {
    fn is_over(&self, (stamp, _): Held) -> bool {
        self.now - stamp >= LIVES_MS
    }

    fn shows(&self, held: Held) -> bool {
        !self.is_over(held) || self.ttl.visibility == StateVisibility::ReturnExpiredIfNotCleanedUp
    }

    fn reads_renew(&self) -> bool {
        self.ttl.update_type == UpdateType::OnReadAndWrite
    }

    /// What a read leaves.
    fn after_read(&self, held: Held) -> Option<Held> {
        match (self.is_over(held), self.reads_renew()) {
            (true, _) => None,
            (false, true) => Some((self.now, held.1)),
            (false, false) => Some(held),
        }
    }

    pub(super) fn value(&mut self, key: u8) -> Option<i64> {
        let held = self.values.remove(&key)?;
        if let Some(left) = self.after_read(held) {
            self.values.insert(key, left);
        }
        self.shows(held).then_some(held.1)
    }

    pub(super) fn list(&mut self, key: u8) -> Vec<i64> {
        let all = self.lists.remove(&key).unwrap_or_default();
        let shown = all.iter().filter(|held| self.shows(**held));
        let shown = shown.map(|held| held.1).collect();
        if all.iter().any(|held| !self.is_over(*held)) {
            let left = match self.reads_renew() {
                true => all.iter().filter_map(|held| self.after_read(*held)).collect(),
                false => all,
            };
            self.lists.insert(key, left);
        }
        shown
    }

    pub(super) fn map_value(&mut self, key: u8, map_key: u8) -> Option<i64> {
        let held = self.maps.get_mut(&key)?.remove(&map_key)?;
        if let Some(left) = self.after_read(held) {
            self.maps.entry(key).or_default().insert(map_key, left);
        }
        self.shows(held).then_some(held.1)
    }

    pub(super) fn map(&mut self, key: u8) -> Vec<(u8, i64)> {
        let keys: Vec<u8> = self.maps.entry(key).or_default().keys().copied().collect();
        let entries = keys.into_iter();
        entries
            .filter_map(|map_key| self.map_value(key, map_key).map(|value| (map_key, value)))
            .collect()
    }

    /// Whether all entries of a map are over.
    pub(super) fn map_is_over(&self, key: u8) -> bool {
        let mut entries = self.maps.get(&key).into_iter().flatten();
        entries.all(|(_, held)| self.is_over(*held))
    }

    pub(super) fn map_is_empty(&self, key: u8) -> bool {
        self.maps.get(&key).is_none_or(BTreeMap::is_empty)
    }
}
