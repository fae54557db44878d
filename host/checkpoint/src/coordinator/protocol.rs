//! What the coordinator is told and what it asks for.
//!
//! The master of a job carries the actions out in their order. What it does in the background (writing
//! a manifest, deleting) it answers by an event; nothing else of it is awaited.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::element::{Barrier, SavepointFormat};
use wasmill_model::id::{CheckpointId, SubtaskId};
use wasmill_model::time::Timestamp;

use crate::handle::SubtaskState;
use crate::manifest::ManifestKind;
use crate::stats::{SavepointOutcome, SavepointTrigger, SubtaskReport};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed: to be sent when [`next_wake`](super::Coordinator::next_wake) is reached.
    Tick,
    /// All tasks run: the schedule starts from now. Nothing is triggered before.
    TasksRunning,
    /// The tasks are gone or going, to be restarted or for good: all that is under way is given up, but a
    /// manifest that is being written; see [`is_settled`](super::Coordinator::is_settled).
    TasksStopped {
        /// Why; goes into the statistics.
        reason: String,
    },
    /// A person wants a checkpoint now.
    TriggerCheckpoint {
        /// Names the wish.
        trigger: SavepointTrigger,
        /// Whether it builds on no other one, whatever the settings say.
        full: bool,
    },
    /// A person wants a savepoint now; where it goes is known to the master by the trigger.
    TriggerSavepoint {
        /// Names the wish and its destination.
        trigger: SavepointTrigger,
        /// Whether the job stops with it.
        kind: SavepointKind,
        /// How it holds keyed state.
        format: SavepointFormat,
    },
    /// A subtask has written its part.
    Ack {
        /// Of which.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskId,
        /// What it holds.
        state: SubtaskState,
        /// How large it is and how long it took.
        report: SubtaskReport,
    },
    /// A subtask could not write its part.
    Decline {
        /// Of which.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskId,
        /// Why.
        reason: String,
    },
    /// Every subtask has processed the end of its input: the final checkpoint is due.
    AllInputsEnded,
    /// Answer to [`Action::WriteManifest`]: it is there, durable.
    ManifestWritten {
        /// Of which.
        checkpoint: CheckpointId,
        /// Where: a URL.
        location: String,
    },
    /// Answer to [`Action::WriteManifest`]: it is not there.
    ManifestFailed {
        /// Of which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// The job has reached a terminal state: its checkpoints are kept or deleted by the settings.
    JobEnded(JobEnd),
}

/// How a job ended, as far as its checkpoints are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// By itself or by stop: checkpoints are deleted.
    Finished,
    /// By the user: deleted unless they are retained.
    Canceled,
    /// By a failure: kept.
    Failed,
}

/// What a savepoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavepointKind {
    /// The job goes on; sinks commit nothing for it.
    Savepoint,
    /// As a plain one, but nothing is triggered after it: the job is about to be cancelled. What it committed
    /// later would be done again by a job that starts from the savepoint.
    Last,
    /// The job stops with it; with `drain` the watermark +∞ goes out before the barrier.
    Stop {
        /// Whether timers and windows fire first.
        drain: bool,
    },
}

/// Where files of a checkpoint go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// The job's own directory, `chk-<n>`.
    Job,
    /// The directory that came with this trigger.
    Savepoint(SavepointTrigger),
}

/// A checkpoint whose subtasks have all acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// What it is.
    pub kind: ManifestKind,
    /// Where its files are.
    pub destination: Destination,
    /// When it was triggered.
    pub triggered_at: Timestamp,
    /// State of all subtasks.
    pub subtasks: BTreeMap<SubtaskId, SubtaskState>,
    /// Bytes written by all subtasks.
    pub size: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send the barrier to the tasks of sources.
    Trigger {
        /// It.
        barrier: Arc<Barrier>,
        /// Where subtasks write their files.
        destination: Destination,
        /// Whether the watermark +∞ goes out before it.
        drain: bool,
    },
    /// Write the manifest and answer with `ManifestWritten` or `ManifestFailed`. Of a stop-with-savepoint
    /// also the note that [`crate::restore`] looks for, before the answer.
    WriteManifest(Box<Acknowledged>),
    /// Tell all subtasks that it is complete: sinks commit everything up to it.
    NotifyComplete {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// Tell all subtasks that it is given up. Sources that stopped with it go on.
    NotifyAborted {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// Delete the job's own checkpoint: subsumed, given up, or not retained.
    DeleteCheckpoint {
        /// Which.
        checkpoint: CheckpointId,
        /// Shared files that go with it, after it.
        shared: Vec<String>,
    },
    /// Delete what the job has taken over from another one: it has checkpoints enough of its own.
    DeleteClaimed,
    /// Delete shared files of the job that nothing names any more.
    DeleteShared {
        /// Their names.
        names: Vec<String>,
    },
    /// Delete files that no manifest names: a late result, or one of a savepoint that was given up.
    DeleteFiles {
        /// Of which.
        checkpoint: CheckpointId,
        /// Where.
        destination: Destination,
        /// Names relative to the checkpoint's directory.
        names: Vec<String>,
    },
    /// A wish is fulfilled or refused.
    TriggerDone {
        /// Which.
        trigger: SavepointTrigger,
        /// How it ended.
        outcome: SavepointOutcome,
    },
    /// More failures than are borne: the restart strategy has the word.
    FailJob {
        /// What failed and which setting decides.
        reason: String,
    },
    /// The final checkpoint or the stop-with-savepoint is complete and told of: tasks may end when they
    /// have committed.
    JobMayFinish,
}
