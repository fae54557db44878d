//! Checkpoints of the memory backend as segments: the first holds everything, each further one what has changed since the
//! one before it.
//!
//! Invariant: the segments that a checkpoint names, applied in their order, give what was frozen. Which segments those
//! are, and when everything is written anew, follows from the segments of the base and the numbers of entries alone.

mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmill_model::element::StateFormat;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroup, KeyGroupRange};

pub use self::read::read_segments;
use self::write::{FrozenSegment, SegmentTables};
use super::changes::Freeze;
use super::table::{FrozenTable, Table};
use super::{MemoryBackend, Tables};
use crate::backend::KeyedStateBackend;
use crate::native::{FilesWanted, NativeSnapshot};
use crate::snapshot::{Continues, Replaced, SnapshotHeader};
use crate::timers::{TimeDomain, TimerQueue};

/// The format, by the name that manifests give it.
pub const SEGMENTS: &str = "memory-delta-1";

/// When a checkpoint is written whole. Nothing else decides it, so that what a restore has to read is bounded: by the
/// default rule it is less than three times what there is.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRule {
    /// State that takes fewer bytes is written in the canonical format: much of it then lies in the manifest, and what it
    /// holds beside is not worth a file a checkpoint.
    pub bytes_min: u64,
    /// Segments of one checkpoint at most: a restore opens them all.
    pub segments_max: usize,
    /// The first segment, which holds everything, times this: so much may all others take.
    pub deltas_max: f64,
    /// Entries there are, times this: so many may have changed since the base.
    pub changed_max: f64,
}

impl Default for SegmentRule {
    fn default() -> Self {
        Self {
            bytes_min: 256 * 1024,
            segments_max: 64,
            deltas_max: 0.5,
            changed_max: 0.5,
        }
    }
}

impl SegmentRule {
    /// Whatever changes is a segment of its own: for tests, whose state is small.
    pub const ALWAYS: Self = Self {
        bytes_min: 0,
        segments_max: usize::MAX,
        deltas_max: f64::INFINITY,
        changed_max: f64::INFINITY,
    };

    /// Whether a checkpoint builds on segments of these sizes and does not write everything anew.
    fn builds_on(&self, segments: &[u64], changed: usize, entries: usize) -> bool {
        let Some((whole, deltas)) = segments.split_first() else {
            return false;
        };
        let within = |part: u64, of: u64, max: f64| part == 0 || part as f64 <= of as f64 * max;
        segments.len() < self.segments_max
            && within(deltas.iter().sum(), *whole, self.deltas_max)
            && within(changed as u64, entries as u64, self.changed_max)
    }
}

/// Checkpoints behind the base that may yet be built on: more than may be under way.
const CHAINS_MAX: usize = 16;

/// The same whose timers are known: they hold memory of timers that are no more.
const TIMERS_MAX: usize = 3;

/// Of a timer, beside those of its bucket.
const TIMER_BYTES: u64 = 64;

/// What the backend knows of its checkpoints.
#[derive(Default)]
pub(super) struct Segments {
    rule: SegmentRule,
    /// The segments of each checkpoint since the base.
    chains: BTreeMap<CheckpointId, Vec<Segment>>,
    /// The timers of each.
    timers: BTreeMap<CheckpointId, TimerQueue>,
    /// A segment of a base was not to be had: whoever wrote it knows it no more.
    is_lost: Arc<AtomicBool>,
}

/// One segment, which has the number of the checkpoint that it was written for.
#[derive(Clone)]
struct Segment {
    checkpoint: CheckpointId,
    /// 0 until it is written.
    bytes: Arc<AtomicU64>,
}

impl Segment {
    fn name(&self) -> String {
        self.checkpoint.0.to_string()
    }
}

impl Segments {
    /// The segments that a checkpoint on this base begins with; none where it is written whole.
    fn base(&mut self, base: Option<CheckpointId>, changed: usize, entries: usize) -> Vec<Segment> {
        // A base never goes back, but to none at all.
        self.chains.retain(|checkpoint, _| Some(*checkpoint) >= base);
        if self.is_lost.swap(false, Ordering::Relaxed) {
            self.chains.clear();
        }
        let chain = base.and_then(|base| self.chains.get(&base));
        let chain = chain.cloned().unwrap_or_default();
        let sizes: Vec<u64> = chain
            .iter()
            .map(|segment| segment.bytes.load(Ordering::Relaxed))
            .collect();
        match self.rule.builds_on(&sizes, changed, entries) {
            true => chain,
            false => Vec::new(),
        }
    }

    /// The timers of the base, as far as they are known; those of this checkpoint are, from now on.
    fn timers_since(&mut self, base: Option<CheckpointId>, wanted: FilesWanted<'_>) -> Option<TimerQueue> {
        self.timers.retain(|checkpoint, _| Some(*checkpoint) >= base);
        let since = base.and_then(|base| self.timers.get(&base)).cloned();
        self.timers.insert(wanted.checkpoint, wanted.timers.clone());
        forget_old(&mut self.timers, base, TIMERS_MAX);
        since
    }
}

/// Keeps the base and the newest.
fn forget_old<T>(of: &mut BTreeMap<CheckpointId, T>, base: Option<CheckpointId>, count_max: usize) {
    let oldest = of.keys().rev().nth(count_max).copied();
    of.retain(|checkpoint, _| Some(*checkpoint) == base || Some(*checkpoint) > oldest);
}

impl MemoryBackend {
    /// The same with another rule for its checkpoints.
    pub fn with_segments(mut self, rule: SegmentRule) -> Self {
        self.segments.rule = rule;
        self
    }

    pub(super) fn freeze_segment(&mut self, wanted: FilesWanted<'_>) -> Option<NativeSnapshot> {
        // What nobody builds on is as good in the format that all read.
        let StateFormat::Incremental { base } = wanted.format else {
            return None;
        };
        let timers = [TimeDomain::Event, TimeDomain::Processing].map(|domain| wanted.timers.len(domain));
        let bytes = self.size().bytes + (timers[0] + timers[1]) as u64 * TIMER_BYTES;
        if bytes < self.segments.rule.bytes_min {
            return None;
        }
        let (changed, entries) = self.changed(base);
        let chain = self.segments.base(base, changed, entries);
        let builds = !chain.is_empty();
        let freeze = Freeze {
            checkpoint: wanted.checkpoint,
            confirmed: base,
            base: base.filter(|_| builds),
        };
        let states = self.states.numbered_mut();
        let frozen = states.map(|(id, state)| {
            let tables = freeze_tables(&mut state.held, freeze);
            ((id, state.declaration.clone()), tables)
        });
        let (states, tables): (Vec<_>, Vec<_>) = frozen.unzip();
        let timers_before = self.segments.timers_since(base, wanted).filter(|_| builds);
        let header = SnapshotHeader {
            checkpoint: wanted.checkpoint,
            range: self.range,
            max_parallelism: self.max_parallelism,
            states: states
                .iter()
                .map(|(_, declaration)| declaration.clone())
                .collect(),
        };
        let continues = Continues {
            after: chain.last().map(|segment| segment.checkpoint),
            replaced: match builds {
                true => replaced(&tables, self.range),
                false => Vec::new(),
            },
            timers_replaced: builds && timers_before.is_none(),
        };
        let segment = Segment {
            checkpoint: wanted.checkpoint,
            bytes: Arc::default(),
        };
        let before = chain.iter().map(Segment::name).collect();
        let of_this = chain.into_iter().chain([segment.clone()]).collect();
        self.segments.chains.insert(wanted.checkpoint, of_this);
        forget_old(&mut self.segments.chains, base, CHAINS_MAX);
        Some(NativeSnapshot {
            format: SEGMENTS,
            states,
            files: Box::new(FrozenSegment {
                header,
                continues,
                before,
                segment,
                is_lost: Arc::clone(&self.segments.is_lost),
                tables,
                timers_before: timers_before.unwrap_or_default(),
                timers: wanted.timers.clone(),
            }),
            hold_timers: true,
        })
    }

    /// How many entries have changed since the base, some perhaps counted twice, and how many there are.
    fn changed(&self, base: Option<CheckpointId>) -> (usize, usize) {
        let tables = self.states.iter().map(|state| match &state.held {
            Tables::Values(tables) => sum(tables.iter().map(|table| (table.changed(base), table.len()))),
            Tables::Maps(tables) => sum(tables.iter().map(|table| (table.changed(base), table.len()))),
            Tables::Lists(tables) => sum(tables.iter().map(|table| table.changed(base))),
        });
        sum(tables)
    }
}

fn sum(pairs: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    pairs.fold((0, 0), |total, pair| (total.0 + pair.0, total.1 + pair.1))
}

fn freeze_tables(tables: &mut Tables, freeze: Freeze) -> SegmentTables {
    match tables {
        Tables::Values(tables) => {
            let frozen = tables.iter_mut().map(|table: &mut Table| {
                let is_known = table.end_lot(freeze);
                table.frozen(freeze, is_known)
            });
            SegmentTables::Values(frozen.collect())
        }
        Tables::Maps(tables) => {
            SegmentTables::Maps(tables.iter_mut().map(|table| table.freeze(freeze)).collect())
        }
        Tables::Lists(tables) => {
            SegmentTables::Lists(tables.iter_mut().map(|table| table.freeze(freeze)).collect())
        }
    }
}

/// The tables that are written whole though others are not.
fn replaced(states: &[SegmentTables], range: KeyGroupRange) -> Vec<Replaced> {
    let of = |(state, tables): (u16, &SegmentTables)| {
        let is_whole: Vec<bool> = match tables {
            SegmentTables::Values(tables) | SegmentTables::Maps(tables) => {
                tables.iter().map(FrozenTable::is_whole).collect()
            }
            SegmentTables::Lists(tables) => tables.iter().map(|table| table.open.is_whole()).collect(),
        };
        let groups = range.iter().zip(is_whole);
        let groups: Vec<KeyGroup> = groups.filter_map(|(group, is)| is.then_some(group)).collect();
        (!groups.is_empty()).then_some(Replaced { state, groups })
    };
    (0..).zip(states).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_written_anew_once_deltas_are_half_of_it_or_too_many() {
        let rule = SegmentRule::default();
        assert!(!rule.builds_on(&[], 0, 100), "there is nothing to build on");
        assert!(rule.builds_on(&[1_000], 50, 100));
        assert!(!rule.builds_on(&[1_000], 51, 100), "most has changed");
        assert!(rule.builds_on(&[1_000, 300, 200], 1, 100));
        assert!(!rule.builds_on(&[1_000, 300, 201], 1, 100));
        assert!(rule.builds_on(&[1_000], 0, 0));
        let many = |count: usize| [&[1 << 20][..], &vec![1; count - 1]].concat();
        assert!(rule.builds_on(&many(63), 1, 100));
        assert!(!rule.builds_on(&many(64), 1, 100));
        assert!(SegmentRule::ALWAYS.builds_on(&[1, 1_000], 100, 1));
    }
}
