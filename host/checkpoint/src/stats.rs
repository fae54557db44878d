//! What the API shows of a job's checkpoints: counts and the last ones.
//!
//! Invariant: `triggered` = `in_progress` + `completed` + `failed` over the life of a job in one host.

use serde::{Deserialize, Serialize};
use wasmill_model::element::SavepointFormat;
use wasmill_model::id::{CheckpointId, SubtaskId};
use wasmill_model::time::Timestamp;

use crate::manifest::ManifestKind;

/// Checkpoints of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStats {
    /// How many were restored from.
    pub restored: u64,
    /// How many were triggered.
    pub triggered: u64,
    /// How many are under way.
    pub in_progress: u64,
    /// How many completed.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// The last ones, newest first, at most [`CHECKPOINT_HISTORY_MAX`]; among them the latest checkpoint and savepoint that
    /// completed and the latest that failed, however old they are.
    pub history: Vec<CheckpointEntry>,
    /// What the running attempt was restored from.
    pub latest_restored: Option<RestoredEntry>,
}

/// Checkpoints that are kept for the API.
pub const CHECKPOINT_HISTORY_MAX: usize = 100;

/// One checkpoint or savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointEntry {
    /// Its number.
    pub id: CheckpointId,
    /// How it stands.
    pub status: CheckpointStatus,
    /// Whether it is a savepoint.
    pub is_savepoint: bool,
    /// Whether the job stops with it.
    pub is_stop: bool,
    /// How a savepoint holds keyed state; `None`: it is no savepoint.
    #[serde(default)]
    pub format: Option<SavepointFormat>,
    /// When it was triggered.
    pub triggered_at: Timestamp,
    /// When the last subtask acknowledged; −1 before.
    pub latest_ack_at: Timestamp,
    /// Bytes written.
    pub size: u64,
    /// Bytes of state, also of what an older checkpoint has stored.
    #[serde(default)]
    pub state_size: u64,
    /// From the trigger to the manifest, ms.
    pub duration_ms: u64,
    /// Number of subtasks.
    pub subtasks: u32,
    /// How many have acknowledged.
    pub acknowledged: u32,
    /// What these said, in the order in which they did.
    #[serde(default)]
    pub reports: Vec<Acknowledgement>,
    /// Where it is: a URL.
    pub external_path: Option<String>,
    /// Whether it was deleted since.
    pub discarded: bool,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What a subtask that has acknowledged said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Index of its vertex.
    pub vertex: u32,
    /// Its own within the vertex.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// How its part is.
    pub report: SubtaskReport,
}

/// How large a subtask's part of a checkpoint is, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskReport {
    /// Bytes written.
    pub size: u64,
    /// Bytes of state, also of what an older checkpoint has stored.
    pub state_size: u64,
    /// From the trigger to the first barrier, ms.
    pub start_delay_ms: u64,
    /// From the first barrier to the last, ms.
    pub alignment_ms: u64,
    /// In which the task did nothing else, ms.
    pub sync_ms: u64,
    /// In which the part was written beside the task, ms.
    pub async_ms: u64,
    /// Read during alignment.
    pub processed_bytes: u64,
    /// Of records in flight.
    pub persisted_bytes: u64,
    /// Whether the barrier overtook records.
    pub unaligned: bool,
}

/// How a checkpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckpointStatus {
    /// Not all have acknowledged.
    InProgress,
    /// Its manifest is written.
    Completed,
    /// Given up.
    Failed,
}

/// What an attempt was restored from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredEntry {
    /// Its number.
    pub id: CheckpointId,
    /// When.
    pub at: Timestamp,
    /// Whether it was a savepoint.
    pub is_savepoint: bool,
    /// Where it is.
    pub external_path: String,
}

/// How a triggered savepoint or checkpoint ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavepointOutcome {
    /// Done.
    Completed {
        /// Its number.
        id: CheckpointId,
        /// Where it is: a URL.
        location: String,
    },
    /// Not done, and why.
    Failed(String),
}

/// Names one triggered savepoint or checkpoint of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SavepointTrigger(pub u64);

impl CheckpointStats {
    pub(crate) fn triggered(
        &mut self,
        id: CheckpointId,
        kind: ManifestKind,
        format: SavepointFormat,
        subtasks: u32,
        now: Timestamp,
    ) {
        let is_savepoint = matches!(kind, ManifestKind::Savepoint | ManifestKind::StopWithSavepoint);
        self.triggered += 1;
        self.in_progress += 1;
        let entry = CheckpointEntry {
            id,
            status: CheckpointStatus::InProgress,
            is_savepoint,
            is_stop: kind == ManifestKind::StopWithSavepoint,
            format: is_savepoint.then_some(format),
            triggered_at: now,
            latest_ack_at: -1,
            size: 0,
            state_size: 0,
            reports: Vec::new(),
            duration_ms: 0,
            subtasks,
            acknowledged: 0,
            external_path: None,
            discarded: false,
            failure: None,
        };
        while self.history.len() >= CHECKPOINT_HISTORY_MAX {
            self.history.remove(self.oldest_but_latest());
        }
        self.history.insert(0, entry);
    }

    /// The oldest entry but those that are the latest of their sort, which the API shows however old they are.
    fn oldest_but_latest(&self) -> usize {
        let latest = |status, savepoint: Option<bool>| {
            let is = |entry: &CheckpointEntry| {
                entry.status == status && savepoint.is_none_or(|savepoint| entry.is_savepoint == savepoint)
            };
            self.history.iter().position(is)
        };
        let kept = [
            latest(CheckpointStatus::Completed, Some(false)),
            latest(CheckpointStatus::Completed, Some(true)),
            latest(CheckpointStatus::Failed, None),
        ];
        let mut from_oldest = (0..self.history.len()).rev();
        from_oldest
            .find(|at| !kept.contains(&Some(*at)))
            .unwrap_or_default()
    }

    pub(crate) fn acknowledged(
        &mut self,
        id: CheckpointId,
        subtask: SubtaskId,
        report: SubtaskReport,
        now: Timestamp,
    ) {
        if let Some(entry) = self.entry(id) {
            entry.acknowledged += 1;
            entry.size = entry.size.saturating_add(report.size);
            entry.state_size = entry.state_size.saturating_add(report.state_size);
            entry.latest_ack_at = now;
            entry.reports.push(Acknowledgement {
                vertex: subtask.vertex.0,
                index: subtask.index,
                at: now,
                report,
            });
        }
    }

    pub(crate) fn completed(&mut self, id: CheckpointId, size: u64, location: &str, now: Timestamp) {
        self.in_progress -= 1;
        self.completed += 1;
        if let Some(entry) = self.entry(id) {
            entry.status = CheckpointStatus::Completed;
            entry.size = size;
            entry.external_path = Some(location.to_owned());
            entry.end(now);
        }
    }

    pub(crate) fn failed(&mut self, id: CheckpointId, reason: &str, now: Timestamp) {
        self.in_progress -= 1;
        self.failed += 1;
        if let Some(entry) = self.entry(id) {
            entry.status = CheckpointStatus::Failed;
            entry.failure = Some(reason.to_owned());
            entry.discarded = true;
            entry.end(now);
        }
    }

    pub(crate) fn discarded(&mut self, id: CheckpointId) {
        if let Some(entry) = self.entry(id) {
            entry.discarded = true;
        }
    }

    /// Older ones than the history holds are counted only.
    fn entry(&mut self, id: CheckpointId) -> Option<&mut CheckpointEntry> {
        self.history.iter_mut().find(|entry| entry.id == id)
    }
}

impl CheckpointEntry {
    fn end(&mut self, now: Timestamp) {
        self.duration_ms = u64::try_from(now.saturating_sub(self.triggered_at)).unwrap_or(0);
    }
}
