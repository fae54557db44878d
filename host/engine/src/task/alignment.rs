//! Barrier alignment (C1, C2): when a subtask takes its snapshot, and which channels wait until then. Pure.
//!
//! Invariant: exactly once, no item after a barrier is read from a channel before the snapshot of that
//! barrier is taken or given up. At least once, nothing waits. Channels whose records have ended deliver
//! barriers like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmill_model::element::Barrier;
use wasmill_model::graph::CheckpointMode;
use wasmill_model::id::CheckpointId;

/// Checkpoints that are remembered at once: older ones count as given up (Flink's bound).
const TRACKED_MAX: usize = 50;

/// The barriers of one subtask's channels.
pub(crate) struct Alignment {
    mode: CheckpointMode,
    channels: usize,
    held: Vec<bool>,
    /// Barriers that some channels have delivered; one at a time where channels are held back.
    pending: BTreeMap<CheckpointId, Pending>,
    /// Nothing at or below it is taken any more.
    settled: Option<CheckpointId>,
    /// Given up above `settled`.
    aborted: BTreeSet<CheckpointId>,
}

struct Pending {
    barrier: Arc<Barrier>,
    delivered: Vec<bool>,
}

impl Alignment {
    /// For a subtask with that many input channels.
    pub(crate) fn new(mode: CheckpointMode, channels: usize) -> Self {
        Self {
            mode,
            channels,
            held: vec![false; channels],
            pending: BTreeMap::new(),
            settled: None,
            aborted: BTreeSet::new(),
        }
    }

    /// Whether a channel must not be read now.
    #[inline]
    pub(crate) fn is_held(&self, channel: usize) -> bool {
        self.held[channel]
    }

    /// The newest barrier that is waited for.
    #[inline]
    pub(crate) fn aligning(&self) -> Option<&Arc<Barrier>> {
        let (_, newest) = self.pending.last_key_value()?;
        Some(&newest.barrier)
    }

    /// A channel has delivered a barrier. Returns it where the snapshot is to be taken now, before
    /// anything else is read.
    pub(crate) fn on_barrier(&mut self, channel: usize, barrier: &Arc<Barrier>) -> Option<Arc<Barrier>> {
        let checkpoint = barrier.checkpoint;
        if self.is_over(checkpoint) {
            return None;
        }
        if self.mode == CheckpointMode::ExactlyOnce {
            if self.pending.keys().any(|pending| *pending > checkpoint) {
                // The channel of the newer barrier never had this one.
                self.note_aborted(checkpoint);
                return None;
            }
            self.give_up_before(checkpoint);
            self.held[channel] = true;
        }
        let channels = self.channels;
        let pending = self.pending.entry(checkpoint).or_insert_with(|| Pending {
            barrier: barrier.clone(),
            delivered: vec![false; channels],
        });
        pending.delivered[channel] = true;
        if pending.delivered.iter().all(|delivered| *delivered) {
            let barrier = pending.barrier.clone();
            self.settle(checkpoint);
            return Some(barrier);
        }
        while self.pending.len() > TRACKED_MAX {
            self.pending.pop_first();
        }
        None
    }

    /// The coordinator has given a checkpoint up: nobody waits for it, and what comes of it is ignored.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if self.is_over(checkpoint) {
            return;
        }
        if self.pending.remove(&checkpoint).is_some() {
            self.held.fill(false);
        }
        self.note_aborted(checkpoint);
    }

    /// IMPORTANT: one that is forgotten must count as over: its barrier may still be on its way here, where others have
    /// passed it over, and a channel that was held back for it would be so for ever.
    fn note_aborted(&mut self, checkpoint: CheckpointId) {
        self.aborted.insert(checkpoint);
        while self.aborted.len() > TRACKED_MAX {
            let Some(oldest) = self.aborted.pop_first() else {
                return;
            };
            let newer = self.pending.split_off(&oldest);
            if !std::mem::replace(&mut self.pending, newer).is_empty() {
                self.held.fill(false);
            }
            self.settled = self.settled.max(Some(oldest));
        }
    }

    fn is_over(&self, checkpoint: CheckpointId) -> bool {
        self.settled.is_some_and(|settled| checkpoint <= settled) || self.aborted.contains(&checkpoint)
    }

    /// A newer barrier overtook an older checkpoint that did not get its barrier everywhere: some source
    /// never sent it, so it cannot complete.
    fn give_up_before(&mut self, checkpoint: CheckpointId) {
        let newer = self.pending.split_off(&checkpoint);
        let older = std::mem::replace(&mut self.pending, newer);
        if !older.is_empty() {
            self.held.fill(false);
        }
        for (checkpoint, _) in older {
            self.note_aborted(checkpoint);
        }
    }

    fn settle(&mut self, checkpoint: CheckpointId) {
        self.held.fill(false);
        self.settled = Some(checkpoint);
        self.pending = self.pending.split_off(&checkpoint);
        self.pending.remove(&checkpoint);
        self.aborted = self.aborted.split_off(&checkpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::element::{SnapshotKind, StateFormat};

    fn barrier(checkpoint: u64) -> Arc<Barrier> {
        Arc::new(Barrier {
            checkpoint: CheckpointId(checkpoint),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        })
    }

    fn held(alignment: &Alignment) -> Vec<bool> {
        (0..alignment.channels).map(|c| alignment.is_held(c)).collect()
    }

    #[test]
    fn exactly_once_holds_delivered_channels_until_all_have_delivered() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 3);
        assert_eq!(alignment.on_barrier(1, &barrier(1)), None);
        assert_eq!(held(&alignment), [false, true, false]);
        assert_eq!(alignment.on_barrier(0, &barrier(1)), None);
        assert_eq!(held(&alignment), [true, true, false]);
        assert_eq!(alignment.on_barrier(2, &barrier(1)), Some(barrier(1)));
        assert_eq!(held(&alignment), [false; 3]);
    }

    #[test]
    fn one_channel_is_aligned_at_once() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 1);
        assert_eq!(alignment.on_barrier(0, &barrier(1)), Some(barrier(1)));
        assert_eq!(alignment.on_barrier(0, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn a_newer_barrier_gives_an_older_checkpoint_up() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 2);
        assert_eq!(alignment.on_barrier(0, &barrier(1)), None);
        assert_eq!(alignment.on_barrier(1, &barrier(2)), None);
        assert_eq!(
            held(&alignment),
            [false, true],
            "channel 0 must read on to its barrier 2"
        );
        assert_eq!(alignment.on_barrier(0, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn an_older_barrier_behind_a_newer_one_of_another_channel_changes_nothing() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 3);
        assert_eq!(alignment.on_barrier(0, &barrier(2)), None);
        assert_eq!(alignment.on_barrier(1, &barrier(1)), None);
        assert_eq!(held(&alignment), [true, false, false]);
        assert_eq!(alignment.on_barrier(1, &barrier(2)), None);
        assert_eq!(held(&alignment), [true, true, false]);
        assert_eq!(alignment.on_barrier(2, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn an_aborted_checkpoint_releases_its_channels_and_its_late_barriers_are_ignored() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 2);
        assert_eq!(alignment.on_barrier(0, &barrier(1)), None);
        alignment.abort(CheckpointId(1));
        assert_eq!(held(&alignment), [false, false]);
        assert_eq!(alignment.on_barrier(1, &barrier(1)), None);
        assert_eq!(held(&alignment), [false, false]);
        assert_eq!(alignment.on_barrier(1, &barrier(2)), None);
        assert_eq!(alignment.on_barrier(0, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn an_abort_that_comes_before_the_barrier_holds_nothing_back() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 2);
        alignment.abort(CheckpointId(3));
        assert_eq!(alignment.on_barrier(0, &barrier(3)), None);
        assert_eq!(held(&alignment), [false, false]);
    }

    #[test]
    fn the_late_barrier_of_a_checkpoint_given_up_long_ago_holds_nothing_back() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 2);
        for checkpoint in 1..500 {
            alignment.abort(CheckpointId(checkpoint));
        }
        for checkpoint in 1..500 {
            assert_eq!(alignment.on_barrier(0, &barrier(checkpoint)), None);
            assert_eq!(held(&alignment), [false, false], "{checkpoint}");
        }
        assert!(alignment.aborted.len() <= TRACKED_MAX);
        assert_eq!(alignment.on_barrier(0, &barrier(500)), None);
        assert_eq!(alignment.on_barrier(1, &barrier(500)), Some(barrier(500)));
    }

    #[test]
    fn aborting_one_checkpoint_leaves_the_alignment_of_another_alone() {
        let mut alignment = Alignment::new(CheckpointMode::ExactlyOnce, 2);
        assert_eq!(alignment.on_barrier(0, &barrier(2)), None);
        alignment.abort(CheckpointId(1));
        assert_eq!(held(&alignment), [true, false]);
        assert_eq!(alignment.on_barrier(1, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn at_least_once_holds_nothing_and_counts_several_checkpoints_at_once() {
        let mut alignment = Alignment::new(CheckpointMode::AtLeastOnce, 2);
        assert_eq!(alignment.on_barrier(0, &barrier(1)), None);
        assert_eq!(alignment.on_barrier(0, &barrier(2)), None);
        assert_eq!(held(&alignment), [false, false]);
        assert_eq!(alignment.on_barrier(1, &barrier(1)), Some(barrier(1)));
        assert_eq!(alignment.on_barrier(1, &barrier(2)), Some(barrier(2)));
    }

    #[test]
    fn checkpoints_that_never_align_are_forgotten_at_the_bound() {
        let mut alignment = Alignment::new(CheckpointMode::AtLeastOnce, 2);
        for checkpoint in 1..500 {
            assert_eq!(alignment.on_barrier(0, &barrier(checkpoint)), None);
        }
        assert!(alignment.pending.len() <= TRACKED_MAX);
    }
}
