//! Sessions: windows of a key that meet become one (W2).
//!
//! The contents of a merged window stay where those of one of its parts were: its *state window*. So merging moves
//! the least, and nothing where a session only grows. Invariant: no two windows of a key meet, and every state
//! window belongs to one of them.
//!
//! Which part's contents come first in the merged ones is Flink's order, that of a Java `HashSet`: a reduce that
//! looks at order gives the same answer.

use wasmill_model::time::Timestamp;

use super::bounds::Window;

/// The windows of one key, each with its state window, by start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergingWindowSet {
    mapping: Vec<(Window, Window)>,
}

/// What happened to other windows when one was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The windows that are no more, in Flink's order.
    pub merged: Vec<Window>,
    /// Where the contents of the merged window lie.
    pub state: Window,
    /// Whose contents have to go there, in this order.
    pub sources: Vec<Window>,
}

const ENTRY: usize = 32;

impl MergingWindowSet {
    /// From its bytes; `None` where they are not a set.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<ENTRY>() else {
            return None;
        };
        let entry = |entry: &[u8; ENTRY]| {
            let (window, state) = entry.split_at(ENTRY / 2);
            Some((Window::from_namespace(window)?, Window::from_namespace(state)?))
        };
        let mapping = entries.iter().map(entry).collect::<Option<_>>()?;
        Some(Self { mapping })
    }

    /// Its bytes; `None` where there is no window.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.mapping.len() * ENTRY);
        for (window, state) in &self.mapping {
            bytes.extend_from_slice(&window.namespace());
            bytes.extend_from_slice(&state.namespace());
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The state window of a window; `None` where it is not one of the set.
    pub fn state_window(&self, window: Window) -> Option<Window> {
        self.position(window).map(|at| self.mapping[at].1)
    }

    /// Drops a window.
    pub fn retire(&mut self, window: Window) {
        if let Some(at) = self.position(window) {
            self.mapping.remove(at);
        }
    }

    /// Adds a window and returns the one that it is part of now, with what was merged into that, if anything was.
    pub fn add(&mut self, new: Window) -> (Window, Option<Merge>) {
        let first = self
            .mapping
            .partition_point(|(w, _)| w.bounds().1 < new.bounds().0);
        let length = self.mapping[first..].partition_point(|(w, _)| w.bounds().0 <= new.bounds().1);
        let met = &self.mapping[first..first + length];
        let result = met.iter().fold(new, |whole, (window, _)| whole.cover(*window));
        match met {
            [] => {
                self.mapping.insert(first, (new, new));
                return (new, None);
            }
            // It holds the new one already. Flink loses its contents where the two are equal: a fault.
            [(window, _)] if *window == result => return (result, None),
            _ => {}
        }
        let merged = java_order(met.iter().map(|(window, _)| *window), new);
        let states = merged.iter().filter_map(|window| self.state_window(*window));
        let mut states = states.collect::<Vec<_>>().into_iter();
        let state = states.next().unwrap_or(new);
        let sources = states.filter(|source| *source != state).collect();
        self.mapping.splice(first..first + length, [(result, state)]);
        let merge = Merge {
            merged,
            state,
            sources,
        };
        (result, Some(merge))
    }

    fn position(&self, window: Window) -> Option<usize> {
        let at = self
            .mapping
            .partition_point(|(w, _)| w.bounds() < window.bounds());
        (self.mapping.get(at)?.0 == window).then_some(at)
    }
}

/// The windows as a Java `HashSet` iterates over them when it was filled with them and `new` by start, and `new` was
/// removed from it.
fn java_order(met: impl Iterator<Item = Window>, new: Window) -> Vec<Window> {
    let mut windows: Vec<Window> = met.filter(|window| *window != new).collect();
    let (mut capacity, size) = (16, windows.len() + 1);
    while size > capacity * 3 / 4 {
        capacity *= 2;
    }
    windows.sort_by_key(|window| {
        let hash = java_hash(*window);
        (hash ^ (hash >> 16)) as usize & (capacity - 1)
    });
    windows
}

/// `TimeWindow.hashCode`.
fn java_hash(window: Window) -> u32 {
    let (start, end): (Timestamp, Timestamp) = window.bounds();
    let mut bits = start.wrapping_add(end) as u64;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(start: i64, end: i64) -> Window {
        Window::Time { start, end }
    }

    #[test]
    fn a_window_that_meets_none_stands_alone() {
        let mut set = MergingWindowSet::default();
        assert_eq!(set.add(window(0, 10)), (window(0, 10), None));
        assert_eq!(set.add(window(11, 20)), (window(11, 20), None));
        assert_eq!(set.state_window(window(0, 10)), Some(window(0, 10)));
        assert_eq!(set.state_window(window(0, 20)), None);
    }

    #[test]
    fn a_window_that_equals_the_merged_one_keeps_its_state_window() {
        let mut set = MergingWindowSet::default();
        set.add(window(0, 10));
        let (result, merge) = set.add(window(5, 20));
        assert_eq!(result, window(0, 20));
        let merge = merge.unwrap();
        assert_eq!((merge.merged, merge.state), (vec![window(0, 10)], window(0, 10)));
        assert_eq!(set.add(window(0, 20)), (window(0, 20), None));
        assert_eq!(set.state_window(window(0, 20)), Some(window(0, 10)));
    }

    #[test]
    fn the_bytes_of_a_set_are_read_back() {
        let mut set = MergingWindowSet::default();
        assert_eq!(set.encode(), None);
        set.add(window(-5, 10));
        set.add(window(20, 30));
        set.add(window(8, 12));
        let bytes = set.encode().unwrap();
        assert_eq!(bytes.len(), 64);
        assert_eq!(MergingWindowSet::decode(&bytes), Some(set));
        assert_eq!(MergingWindowSet::decode(&bytes[1..]), None);
    }

    proptest! {
        #[test]
        fn merged_windows_are_the_connected_intervals_and_their_state_is_in_one_place(
            added in prop::collection::vec((0..200i64, 1..20i64, prop::bool::weighted(0.1)), 1..80),
        ) {
            let mut set = MergingWindowSet::default();
            // The model: intervals by plain search, and which state windows hold something.
            let mut model: Vec<(i64, i64)> = Vec::new();
            let mut holding: Vec<Window> = Vec::new();
            for (start, length, retire) in added {
                let (mut low, mut high) = (start, start + length);
                let (met, rest): (Vec<_>, Vec<_>) = model.iter().partition(|(s, e)| *s <= high && *e >= low);
                met.iter().for_each(|(s, e)| (low, high) = (low.min(*s), high.max(*e)));
                model = rest;
                model.push((low, high));
                let (result, merge) = set.add(window(start, start + length));
                prop_assert_eq!(result, window(low, high));
                if let Some(merge) = merge {
                    prop_assert_eq!(merge.merged.len(), met.len());
                    for source in &merge.sources {
                        prop_assert!(holding.contains(source));
                        holding.retain(|held| held != source);
                    }
                    prop_assert!(holding.contains(&merge.state));
                    prop_assert_eq!(set.state_window(result), Some(merge.state));
                } else if met.is_empty() {
                    holding.push(result);
                }
                if retire {
                    let state = set.state_window(result).unwrap();
                    holding.retain(|held| *held != state);
                    set.retire(result);
                    model.retain(|(s, e)| (*s, *e) != (low, high));
                }
                prop_assert_eq!(set.mapping.len(), model.len());
                let mut states: Vec<_> = set.mapping.iter().map(|(_, state)| *state).collect();
                states.sort();
                holding.sort();
                prop_assert_eq!(&states, &holding);
                let bytes = set.encode().unwrap_or_default();
                prop_assert_eq!(MergingWindowSet::decode(&bytes), Some(set.clone()));
            }
        }
    }
}
