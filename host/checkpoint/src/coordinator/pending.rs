//! A checkpoint under way, from its trigger to the answer about its manifest.
//!
//! Invariant: a subtask is either among those waited for or among those whose state is there, and the
//! manifest is asked for only when nobody is waited for.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::element::SnapshotKind;
use wasmill_model::id::{CheckpointId, SubtaskId};
use wasmill_model::time::Timestamp;

use super::protocol::{Acknowledged, Destination};
use crate::handle::OperatorState;
use crate::handle::{Data, SubtaskState};
use crate::manifest::ManifestKind;
use crate::stats::SavepointTrigger;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Some subtasks have not answered.
    Collecting,
    /// All have; another manifest is written first.
    Queued,
    /// Its manifest is being written: it can no longer be given up.
    Writing,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: ManifestKind,
    pub(super) destination: Destination,
    /// Of a stop: whether the watermark +∞ went out, after which sources cannot go on.
    pub(super) drained: bool,
    /// Of a savepoint: whether the job is cancelled after it.
    pub(super) is_last: bool,
    /// Who wished for it.
    pub(super) triggers: Vec<SavepointTrigger>,
    pub(super) triggered_at: Timestamp,
    pub(super) phase: Phase,
    /// Whether its tasks are gone: there is nobody to tell of the outcome.
    pub(super) orphaned: bool,
    waiting: BTreeSet<SubtaskId>,
    states: BTreeMap<SubtaskId, SubtaskState>,
    /// Names of the files in the states that are there.
    files: Vec<String>,
    size: u64,
}

impl Pending {
    pub(super) fn new(
        kind: ManifestKind,
        destination: Destination,
        subtasks: BTreeSet<SubtaskId>,
        now: Timestamp,
    ) -> Self {
        Self {
            kind,
            destination,
            drained: false,
            is_last: false,
            triggers: Vec::new(),
            triggered_at: now,
            phase: Phase::Collecting,
            orphaned: false,
            waiting: subtasks,
            states: BTreeMap::new(),
            files: Vec::new(),
            size: 0,
        }
    }

    /// Takes a subtask's part; false where none is waited for from it.
    pub(super) fn acknowledge(&mut self, subtask: SubtaskId, state: SubtaskState, size: u64) -> bool {
        if !self.waiting.remove(&subtask) {
            return false;
        }
        self.files.extend(files_of(&state));
        self.states.insert(subtask, state);
        self.size = self.size.saturating_add(size);
        if self.waiting.is_empty() {
            self.phase = Phase::Queued;
        }
        true
    }

    pub(super) fn waits_for(&self, subtask: SubtaskId) -> bool {
        self.waiting.contains(&subtask)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What subtasks are asked for.
    pub(super) fn snapshot_kind(&self) -> SnapshotKind {
        match self.kind {
            ManifestKind::Checkpoint | ManifestKind::Final => SnapshotKind::Checkpoint,
            ManifestKind::Savepoint => SnapshotKind::Savepoint,
            ManifestKind::StopWithSavepoint => SnapshotKind::StopWithSavepoint,
        }
    }

    /// Hands the states over for the manifest; to be called once.
    pub(super) fn start_writing(&mut self, checkpoint: CheckpointId) -> Acknowledged {
        debug_assert!(self.waiting.is_empty(), "a manifest needs all acknowledgements");
        self.phase = Phase::Writing;
        Acknowledged {
            checkpoint,
            kind: self.kind,
            destination: self.destination,
            triggered_at: self.triggered_at,
            subtasks: std::mem::take(&mut self.states),
            size: self.size,
        }
    }

    /// The files that the acknowledged states name; still known when the manifest has been asked for.
    pub(super) fn files(&self) -> Vec<String> {
        self.files.clone()
    }
}

/// The files of its own that a subtask's state names.
pub(super) fn files_of(state: &SubtaskState) -> Vec<String> {
    names_of(state, false).collect()
}

/// The shared files that a subtask's state names.
pub(super) fn shared_of(state: &SubtaskState) -> BTreeSet<String> {
    names_of(state, true).collect()
}

fn names_of(state: &SubtaskState, shared: bool) -> impl Iterator<Item = String> {
    let data = state.operators.values().flat_map(OperatorState::data);
    let files = data.filter_map(Data::file);
    files
        .filter(move |file| file.shared == shared)
        .map(|file| file.name.to_owned())
}

/// Whether completing one of this kind makes sinks commit.
pub(super) fn commits(kind: ManifestKind) -> bool {
    kind != ManifestKind::Savepoint
}

/// Whether it is the job's own, counted for retention and failures.
pub(super) fn is_checkpoint(kind: ManifestKind) -> bool {
    matches!(kind, ManifestKind::Checkpoint | ManifestKind::Final)
}
