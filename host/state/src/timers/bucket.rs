//! The timers of one time and one key group.
//!
//! Timers lie one after another in one buffer. Invariants: no two that are live have the same key and namespace;
//! where there are more than a few, each live one is in the hash index; once the first was taken, `order` holds each
//! live one, the first last, and there is no index.

use std::cmp::Reverse;

use xxhash_rust::xxh3::xxh3_64;

/// Up to so many are searched one by one.
const UNINDEXED_MAX: usize = 8;

/// Lengths of key and namespace, `u32` each.
const HEAD_BYTES: usize = 8;

/// A timer begins at a multiple of this, in which offsets count: so a bucket holds 32 GiB, as a table of state.
const UNIT: usize = 8;

/// Set in the length of the key of a timer that is gone.
const GONE: u32 = 1 << 31;

/// Bytes of timers that are gone which are always borne.
const WASTE_BYTES_MIN: usize = 1024;

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Bucket {
    bytes: Vec<u8>,
    live: u32,
    /// Bytes of timers that are gone.
    waste: usize,
    /// Offsets in units plus one by hash, 0 where there is none; open addressing. Empty: all are searched.
    index: Vec<u32>,
    /// Offsets, in reverse order of firing; empty until the first is taken.
    order: Vec<u32>,
}

/// Key and namespace of a timer.
pub(super) type Name<'a> = (&'a [u8], &'a [u8]);

impl Bucket {
    pub(super) fn len(&self) -> usize {
        self.live as usize
    }

    /// Adds a timer; false where it was there already.
    pub(super) fn insert(&mut self, name: Name<'_>) -> bool {
        let hash = hash(name);
        if self.find(name, hash).is_some() {
            return false;
        }
        let offset = self.push(name);
        if !self.order.is_empty() {
            let at = self.order.partition_point(|other| self.name(*other) > name);
            self.order.insert(at, offset);
        } else if self.index.is_empty() {
            if self.len() > UNINDEXED_MAX {
                self.build_index();
            }
        } else if self.len() * 2 > self.index.len() {
            self.build_index();
        } else {
            self.put(offset, hash);
        }
        true
    }

    /// Removes a timer; false where there was none.
    pub(super) fn remove(&mut self, name: Name<'_>) -> bool {
        let Some(offset) = self.find(name, hash(name)) else {
            return false;
        };
        if !self.order.is_empty() {
            let at = self.order.partition_point(|other| self.name(*other) > name);
            self.order.remove(at);
        }
        self.discard(offset);
        true
    }

    /// Takes at most `max` timers in the order of firing.
    pub(super) fn take(&mut self, max: usize, mut each: impl FnMut(Name<'_>)) {
        if self.order.is_empty() {
            self.order = self.sorted();
            self.index = Vec::new();
        }
        for _ in 0..max {
            let Some(offset) = self.order.pop() else { return };
            each(self.name(offset));
            self.discard(offset);
        }
    }

    /// Gives all in the order of firing.
    pub(super) fn for_each<'a>(&'a self, mut each: impl FnMut(Name<'a>)) {
        let sorted;
        let order = match self.order.is_empty() {
            true => {
                sorted = self.sorted();
                &sorted
            }
            false => &self.order,
        };
        order.iter().rev().for_each(|offset| each(self.name(*offset)));
    }

    fn sorted(&self) -> Vec<u32> {
        let mut offsets: Vec<u32> = self.offsets().collect();
        offsets.sort_unstable_by_key(|offset| Reverse(self.name(*offset)));
        offsets
    }

    fn push(&mut self, (key, namespace): Name<'_>) -> u32 {
        let offset = (self.bytes.len() / UNIT) as u32;
        for part in [key, namespace] {
            self.bytes.extend_from_slice(&(part.len() as u32).to_ne_bytes());
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(namespace);
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIT), 0);
        self.live += 1;
        offset
    }

    /// Lengths of key and namespace of the timer at an offset, and whether it is gone.
    fn head(&self, offset: u32) -> (usize, usize, bool) {
        let length = |at: usize| {
            let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        let start = offset as usize * UNIT;
        let (key, namespace) = (length(start), length(start + 4));
        ((key & !GONE) as usize, namespace as usize, key & GONE != 0)
    }

    fn name(&self, offset: u32) -> Name<'_> {
        let (key, namespace, _) = self.head(offset);
        let start = offset as usize * UNIT + HEAD_BYTES;
        let parts = self.bytes.get(start..start + key + namespace);
        parts
            .unwrap_or_default()
            .split_at_checked(key)
            .unwrap_or_default()
    }

    /// Those that are live, as they lie.
    fn offsets(&self) -> impl Iterator<Item = u32> {
        let mut next = 0;
        std::iter::from_fn(move || {
            while (next as usize * UNIT) < self.bytes.len() {
                let offset = next;
                let (key, namespace, is_gone) = self.head(offset);
                next += units(key, namespace) as u32;
                if !is_gone {
                    return Some(offset);
                }
            }
            None
        })
    }

    fn find(&self, name: Name<'_>, hash: u64) -> Option<u32> {
        if !self.order.is_empty() {
            let found = self.order.binary_search_by(|other| name.cmp(&self.name(*other)));
            return found.ok().map(|at| self.order[at]);
        }
        let Some(mask) = self.index.len().checked_sub(1) else {
            return self.offsets().find(|offset| self.name(*offset) == name);
        };
        let mut at = hash as usize & mask;
        while self.index[at] != 0 {
            if self.name(self.index[at] - 1) == name {
                return Some(self.index[at] - 1);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn put(&mut self, offset: u32, hash: u64) {
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = offset + 1;
    }

    fn build_index(&mut self) {
        self.index = vec![0; (self.len() * 4).next_power_of_two()];
        let offsets: Vec<u32> = self.offsets().collect();
        for offset in offsets {
            let hash = hash(self.name(offset));
            self.put(offset, hash);
        }
    }

    /// Takes a timer out of the index and marks it as gone; it is in `order` no more.
    fn discard(&mut self, offset: u32) {
        if !self.index.is_empty() {
            self.unindex(offset);
        }
        let (key, namespace, _) = self.head(offset);
        let start = offset as usize * UNIT;
        self.bytes[start..start + 4].copy_from_slice(&(key as u32 | GONE).to_ne_bytes());
        self.live -= 1;
        self.waste += units(key, namespace) * UNIT;
        if self.waste > WASTE_BYTES_MIN.max(self.bytes.len() / 2) {
            self.compact();
        }
    }

    fn unindex(&mut self, offset: u32) {
        let mask = self.index.len() - 1;
        let mut gap = hash(self.name(offset)) as usize & mask;
        while self.index[gap] != offset + 1 {
            gap = (gap + 1) & mask;
        }
        let mut next = (gap + 1) & mask;
        while self.index[next] != 0 {
            let home = hash(self.name(self.index[next] - 1)) as usize & mask;
            // It may move into the gap unless its home lies behind the gap.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(gap) & mask) {
                self.index[gap] = self.index[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.index[gap] = 0;
    }

    /// Writes the live ones anew, in the order of `order` where there is one.
    fn compact(&mut self) {
        let is_ordered = !self.order.is_empty();
        let offsets: Vec<u32> = match is_ordered {
            true => self.order.clone(),
            false => self.offsets().collect(),
        };
        let mut compact = Self::default();
        compact.bytes.reserve(self.bytes.len() - self.waste);
        for offset in offsets {
            let moved = compact.push(self.name(offset));
            if is_ordered {
                compact.order.push(moved);
            }
        }
        if compact.len() > UNINDEXED_MAX && !is_ordered {
            compact.build_index();
        }
        *self = compact;
    }
}

/// What a timer with a key and namespace of these lengths takes.
fn units(key: usize, namespace: usize) -> usize {
    (HEAD_BYTES + key + namespace).div_ceil(UNIT)
}

fn hash((key, namespace): Name<'_>) -> u64 {
    xxh3_64(key) ^ xxh3_64(namespace).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u8),
        Remove(u8, u8),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<u8>(), 0..4u8).prop_map(|(key, namespace)| Step::Insert(key, namespace)),
            3 => (any::<u8>(), 0..4u8).prop_map(|(key, namespace)| Step::Remove(key, namespace)),
            1 => (0..40usize).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn a_bucket_is_an_ordered_set(steps in prop::collection::vec(step(), 1..1_500)) {
            let mut bucket = Bucket::default();
            let mut model: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
            // Keys of several lengths, one a prefix of another.
            let name = |key: u8, namespace: u8| (vec![key; usize::from(key % 5)], vec![7; usize::from(namespace)]);
            for step in steps {
                match step {
                    Step::Insert(key, namespace) => {
                        let name = name(key, namespace);
                        prop_assert_eq!(bucket.insert((&name.0, &name.1)), model.insert(name.clone()));
                    }
                    Step::Remove(key, namespace) => {
                        let name = name(key, namespace);
                        prop_assert_eq!(bucket.remove((&name.0, &name.1)), model.remove(&name));
                    }
                    Step::Take(max) => {
                        let mut taken = Vec::new();
                        bucket.take(max, |(key, namespace)| taken.push((key.to_vec(), namespace.to_vec())));
                        let expected: Vec<_> = (0..max).map_while(|_| model.pop_first()).collect();
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(bucket.len(), model.len());
            }
            let mut all = Vec::new();
            bucket.for_each(|(key, namespace)| all.push((key.to_vec(), namespace.to_vec())));
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
