//! What a job says of itself: the material of the REST API, in its vocabulary.

use serde::{Deserialize, Serialize};
pub use wasmill_checkpoint::stats::{
    Acknowledgement, CHECKPOINT_HISTORY_MAX, CheckpointEntry, CheckpointStats, CheckpointStatus,
    RestoredEntry, SavepointOutcome, SubtaskReport,
};
use wasmill_model::graph::Partitioner;
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::time::Timestamp;

/// Flink's job states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Being set up.
    Initializing,
    /// Set up, tasks not yet running.
    Created,
    /// All tasks run.
    Running,
    /// A failure is being handled that ends the job.
    Failing,
    /// Ended by a failure.
    Failed,
    /// Being cancelled.
    Cancelling,
    /// Ended by the user.
    Canceled,
    /// Ended by itself.
    Finished,
    /// Waiting for the restart strategy, or restoring.
    Restarting,
    /// The host went down in an orderly way; it goes on with the next start.
    Suspended,
}

impl JobState {
    /// Whether nothing can happen any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled | Self::Finished)
    }
}

/// Flink's states of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskState {
    /// Not yet given to the executor.
    Created,
    /// Given to the executor.
    Deploying,
    /// Restoring and opening.
    Initializing,
    /// At work.
    Running,
    /// Ended by itself.
    Finished,
    /// Being cancelled.
    Canceling,
    /// Cancelled.
    Canceled,
    /// Failed.
    Failed,
}

/// A job at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// When it entered each state last, in the order of entering.
    pub entered: Vec<(JobState, Timestamp)>,
    /// Number of key groups.
    pub max_parallelism: u16,
    /// From 0.
    pub attempt: u32,
    /// The parts of the job graph, sources first.
    pub vertices: Vec<VertexStatus>,
    /// Checkpoints and savepoints.
    pub checkpoints: CheckpointStats,
    /// Failures, newest first, at most [`EXCEPTIONS_MAX`].
    pub exceptions: Vec<ExceptionEntry>,
    /// Which guarantee each sink gets and why (E1).
    pub guarantees: Vec<Guarantee>,
}

/// Failures that are kept for the API.
pub const EXCEPTIONS_MAX: usize = 16;

/// One vertex: a chain of operators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VertexStatus {
    /// 32 hexadecimal characters, derived from the uids in the chain.
    pub id: String,
    /// The operators' names joined by ` -> `; of a source `Source: name`, of a sink `Sink: name`.
    pub name: String,
    /// The operators.
    pub operators: Vec<OperatorUid>,
    /// Its slot sharing group.
    pub slot_sharing_group: String,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Whence it gets its input: index into the job's vertices and how records are shipped.
    pub inputs: Vec<(usize, Partitioner)>,
    /// Its subtasks.
    pub subtasks: Vec<SubtaskStatus>,
}

/// One subtask. Times in milliseconds, sums since its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubtaskStatus {
    /// Its state.
    pub state: TaskState,
    /// When it was deployed; −1 before.
    pub started_at: Timestamp,
    /// When it ended; −1 before.
    pub ended_at: Timestamp,
    /// Records and bytes from channels.
    pub records_in: u64,
    /// Bytes from channels.
    pub bytes_in: u64,
    /// Records to channels.
    pub records_out: u64,
    /// Bytes to channels.
    pub bytes_out: u64,
    /// Time at work.
    pub busy_ms: u64,
    /// Time without input.
    pub idle_ms: u64,
    /// Time in which no credit was there to send.
    pub backpressured_ms: u64,
    /// The chain's event-time clock.
    pub watermark: Timestamp,
}

/// One failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExceptionEntry {
    /// Its kind, such as `PluginFailure`.
    pub name: String,
    /// All that is known.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// `name (1/2)`, where it was a task.
    pub task: Option<String>,
}

/// Which guarantee a sink gets (E1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// The sink.
    pub sink: OperatorUid,
    /// `exactly-once`, `at-least-once` or `at-most-once`.
    pub guarantee: String,
    /// Which source, sink or setting decides it.
    pub reason: String,
}
