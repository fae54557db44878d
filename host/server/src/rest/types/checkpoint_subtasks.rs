//! Shapes of `/jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid`.

use serde::Serialize;
use utoipa::ToSchema;

use super::checkpoint::{CheckpointTask, Summary};

/// A checkpoint in the subtasks of one vertex.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointSubtasks {
    /// In all of them.
    #[serde(flatten)]
    pub task: CheckpointTask,
    /// Over those that have acknowledged.
    pub summary: SubtasksSummary,
    /// Each.
    pub subtasks: Vec<CheckpointSubtask>,
}

/// Over the subtasks that have acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubtasksSummary {
    /// Bytes written.
    pub checkpointed_size: Summary,
    /// Bytes of state.
    pub state_size: Summary,
    /// From the trigger to the acknowledgement, ms.
    pub end_to_end_duration: Summary,
    /// How long the snapshot took.
    pub checkpoint_duration: SnapshotDurations<Summary>,
    /// Of the barriers.
    pub alignment: AlignmentOf<Summary>,
    /// From the trigger to the first barrier, ms.
    pub start_delay: Summary,
}

/// How long a snapshot took, ms.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct SnapshotDurations<T> {
    /// In which the task did nothing else.
    pub sync: T,
    /// In which it was written beside the task.
    #[serde(rename = "async")]
    pub asynchronous: T,
}

/// What alignment cost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct AlignmentOf<T> {
    /// Always 0: channels are held back, nothing is buffered.
    pub buffered: T,
    /// Bytes read from the first barrier to the last.
    pub processed: T,
    /// Bytes of records in flight that are part of the checkpoint.
    pub persisted: T,
    /// From the first barrier to the last, ms.
    pub duration: T,
}

/// A checkpoint in one subtask.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CheckpointSubtask {
    /// It has acknowledged.
    Completed(Box<CompletedSubtask>),
    /// It has not.
    Pending(PendingSubtask),
}

/// A subtask that has not acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingSubtask {
    /// `pending`.
    #[serde(rename = "className")]
    pub class_name: String,
    /// From 0.
    pub index: u32,
    /// `pending_or_failed`.
    pub status: String,
}

/// A subtask that has acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompletedSubtask {
    /// `completed`.
    #[serde(rename = "className")]
    pub class_name: String,
    /// From 0.
    pub index: u32,
    /// When it acknowledged.
    pub ack_timestamp: i64,
    /// From the trigger until then, ms.
    pub end_to_end_duration: u64,
    /// Bytes written.
    pub checkpointed_size: u64,
    /// Bytes of state.
    pub state_size: u64,
    /// How long the snapshot took.
    pub checkpoint: SnapshotDurations<u64>,
    /// Of the barriers.
    pub alignment: AlignmentOf<u64>,
    /// From the trigger to the first barrier, ms.
    pub start_delay: u64,
    /// Whether the barrier overtook records.
    pub unaligned_checkpoint: bool,
    /// False: given-up checkpoints are not listed by subtask.
    pub aborted: bool,
    /// `completed`.
    pub status: String,
}
