//! A hash index from keys to locations: open addressing with linear probing.
//!
//! An entry is one u64: the 32-bit hash above, the location plus one below, 0 where there is none. Eight
//! entries share a cache line and the whole hash is compared in it, so a lookup costs one miss here and
//! one in the page; a table of control bytes beside the entries would cost one more. Invariant: an entry
//! lies at or after its home with no gap between.

/// Number of entries of the smallest index that is not empty.
const ENTRIES_MIN: usize = 8;

/// Where an entry lies within its table's pages: page number and offset in units of 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location(pub(crate) u32);

const OFFSET_BITS: u32 = 11;
/// Pages of one table: 32 GiB of full ones. The last number is kept free for "unknown".
pub(crate) const PAGES_MAX: usize = (1 << (32 - OFFSET_BITS)) - 1;

impl Location {
    /// Of no entry: behind all others.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// The start of the first page.
    pub(crate) const FIRST: Self = Self(0);

    #[inline]
    pub(crate) fn new(page: usize, offset: usize) -> Self {
        Self((page as u32) << OFFSET_BITS | (offset / 8) as u32)
    }

    #[inline]
    pub(crate) fn page(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    #[inline]
    pub(crate) fn offset(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize * 8
    }
}

#[derive(Default)]
pub(crate) struct Index {
    /// A power of two, or none.
    entries: Vec<u64>,
    used: usize,
}

impl Index {
    pub(crate) fn with_room_for(count: usize) -> Self {
        let mut index = Self::default();
        index.reserve(count);
        index
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * 8
    }

    /// The entries from the home of a hash on.
    #[inline]
    pub(crate) fn home(&self, hash: u32) -> &[u64] {
        let at = hash as usize & self.entries.len().wrapping_sub(1);
        self.entries.get(at..).unwrap_or_default()
    }

    /// The first location with this hash, given the entry at its home.
    #[inline]
    pub(crate) fn first(&self, hash: u32, home: u64) -> Option<Location> {
        if home == 0 {
            return None;
        }
        if (home >> 32) as u32 == hash {
            return Some(Location(home as u32 - 1));
        }
        self.find(hash, |_| true).map(|(_, location)| location)
    }

    /// The first location with this hash that `matches`, and its position.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: u32,
        mut matches: impl FnMut(Location) -> bool,
    ) -> Option<(usize, Location)> {
        let mask = self.entries.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            let entry = *self.entries.get(at)?;
            if entry == 0 {
                return None;
            }
            let location = Location(entry as u32 - 1);
            if (entry >> 32) as u32 == hash && matches(location) {
                return Some((at, location));
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a location; whoever calls it knows that it is not there.
    pub(crate) fn insert(&mut self, hash: u32, location: Location) {
        self.reserve(1);
        self.place(u64::from(hash) << 32 | u64::from(location.0 + 1));
    }

    /// Points the entry at a position elsewhere.
    pub(crate) fn set(&mut self, at: usize, location: Location) {
        self.entries[at] = self.entries[at] >> 32 << 32 | u64::from(location.0 + 1);
    }

    /// Takes the entry at a position out and closes the gap.
    pub(crate) fn remove(&mut self, at: usize) {
        let mask = self.entries.len() - 1;
        let mut gap = at;
        let mut next = (at + 1) & mask;
        while self.entries[next] != 0 {
            let home = (self.entries[next] >> 32) as usize & mask;
            // It may move into the gap unless its home lies behind the gap.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(gap) & mask {
                self.entries[gap] = self.entries[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[gap] = 0;
        self.used -= 1;
    }

    /// All locations, ascending, with their hashes.
    pub(crate) fn by_location(&self) -> Vec<(Location, u32)> {
        let entries = self.entries.iter().filter(|entry| **entry != 0);
        let mut all: Vec<_> = entries
            .map(|entry| (Location(*entry as u32 - 1), (entry >> 32) as u32))
            .collect();
        all.sort_unstable_by_key(|(location, _)| location.0);
        all
    }

    /// Makes room for more; at most two thirds are ever used, so that most lookups end at home.
    pub(crate) fn reserve(&mut self, additional: usize) {
        let needed = self.used + additional;
        if needed * 3 <= self.entries.len() * 2 {
            return;
        }
        let length = (needed * 3).div_ceil(2).next_power_of_two().max(ENTRIES_MIN);
        let old = std::mem::replace(&mut self.entries, vec![0; length]);
        self.used = 0;
        old.into_iter()
            .filter(|entry| *entry != 0)
            .for_each(|entry| self.place(entry));
    }

    /// Gives memory back where most of it is not used.
    pub(crate) fn shrink(&mut self) {
        if self.entries.len() <= ENTRIES_MIN || self.used * 8 > self.entries.len() {
            return;
        }
        let old = std::mem::take(&mut self.entries);
        self.used = 0;
        let entries: Vec<u64> = old.into_iter().filter(|entry| *entry != 0).collect();
        self.reserve(entries.len());
        entries.into_iter().for_each(|entry| self.place(entry));
    }

    fn place(&mut self, entry: u64) {
        let mask = self.entries.len() - 1;
        let mut at = (entry >> 32) as usize & mask;
        while self.entries[at] != 0 {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_map_holds_through_insertions_and_removals(
            operations in prop::collection::vec((0u32..40, 0u32..5), 0..400),
        ) {
            // Few hashes and many of them equal in their low bits: clusters wrap round and overlap.
            let mut index = Index::default();
            let mut model = BTreeMap::new();
            for (number, operation) in operations {
                let hash = (number % 4).wrapping_sub(2) ^ (number << 20);
                let found = index.find(hash, |location| location.0 == number);
                prop_assert_eq!(found.map(|(_, location)| location.0), model.get(&number).map(|()| number));
                match (operation, found) {
                    (0..3, None) => {
                        index.insert(hash, Location(number));
                        model.insert(number, ());
                    }
                    (3.., Some((at, _))) => {
                        index.remove(at);
                        model.remove(&number);
                    }
                    _ => {}
                }
                prop_assert_eq!(index.len(), model.len());
            }
        }
    }
}
