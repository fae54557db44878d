//! Shapes of `/jobs/:jobid/checkpoints`, `/savepoints` and below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wasmill_model::element::SavepointFormat;

use super::job::QueueStatus;

/// `/jobs/:jobid/checkpoints`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checkpoints {
    /// How many.
    pub counts: CheckpointCounts,
    /// Over the completed ones that are remembered.
    pub summary: CheckpointSummary,
    /// The latest of each kind.
    pub latest: LatestCheckpoints,
    /// The last ones, newest first.
    pub history: Vec<Checkpoint>,
}

/// How many checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointCounts {
    /// Restored from.
    pub restored: u64,
    /// Triggered.
    pub total: u64,
    /// Under way.
    pub in_progress: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
}

/// Sizes and times of the completed checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointSummary {
    /// Bytes written.
    pub checkpointed_size: Summary,
    /// Bytes of state.
    pub state_size: Summary,
    /// From the trigger to the manifest, ms.
    pub end_to_end_duration: Summary,
    /// Always 0.
    pub alignment_buffered: Summary,
    /// Bytes read during alignment.
    pub processed_data: Summary,
    /// Bytes of records in flight.
    pub persisted_data: Summary,
}

/// Of several values.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Summary {
    /// Least.
    pub min: u64,
    /// Greatest.
    pub max: u64,
    /// Mean.
    pub avg: u64,
    /// 50 % are below.
    pub p50: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// 99.9 % are below.
    pub p999: f64,
}

impl Summary {
    /// Of any values; all 0 without.
    pub fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.collect();
        values.sort_unstable();
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize] as f64;
        Self {
            min: *min,
            max: *max,
            avg: values.iter().sum::<u64>() / values.len() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

/// The latest of each kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatestCheckpoints {
    /// Completed checkpoint.
    pub completed: Option<Checkpoint>,
    /// Completed savepoint.
    pub savepoint: Option<Checkpoint>,
    /// Failed one.
    pub failed: Option<Checkpoint>,
    /// What the running attempt was restored from.
    pub restored: Option<RestoredCheckpoint>,
}

/// What an attempt was restored from.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoredCheckpoint {
    /// Number.
    pub id: u64,
    /// When.
    pub restore_timestamp: i64,
    /// Whether it was a savepoint.
    pub is_savepoint: bool,
    /// Where it is.
    pub external_path: String,
}

/// A checkpoint or savepoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Checkpoint {
    /// `completed`, `failed` or `in_progress`.
    #[serde(rename = "className")]
    pub class_name: String,
    /// Number.
    pub id: u64,
    /// `COMPLETED`, `FAILED` or `IN_PROGRESS`.
    pub status: String,
    /// Whether it is a savepoint.
    pub is_savepoint: bool,
    /// `CANONICAL` or `NATIVE` for savepoints.
    #[serde(rename = "savepointFormat")]
    pub savepoint_format: Option<String>,
    /// When it was triggered.
    pub trigger_timestamp: i64,
    /// When the last subtask acknowledged.
    pub latest_ack_timestamp: i64,
    /// Bytes written.
    pub checkpointed_size: u64,
    /// Bytes of state, also of what older checkpoints have stored.
    pub state_size: u64,
    /// From the trigger to the manifest, ms.
    pub end_to_end_duration: u64,
    /// Always 0.
    pub alignment_buffered: u64,
    /// Bytes read during alignment.
    pub processed_data: u64,
    /// Bytes of records in flight.
    pub persisted_data: u64,
    /// Number of subtasks.
    pub num_subtasks: u32,
    /// How many have acknowledged.
    pub num_acknowledged_subtasks: u32,
    /// `CHECKPOINT`, `UNALIGNED_CHECKPOINT`, `SAVEPOINT` or `SYNC_SAVEPOINT`.
    pub checkpoint_type: String,
    /// By vertex; empty in lists.
    pub tasks: BTreeMap<String, CheckpointTask>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_path: Option<String>,
    /// Whether it was deleted since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<bool>,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_timestamp: Option<i64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
}

/// A checkpoint in one vertex.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckpointTask {
    /// Number of the checkpoint.
    pub id: u64,
    /// `COMPLETED` once all its subtasks have acknowledged; else that of the checkpoint.
    pub status: String,
    /// When the last of them acknowledged; −1: none has.
    pub latest_ack_timestamp: i64,
    /// Bytes written.
    pub checkpointed_size: u64,
    /// Bytes of state.
    pub state_size: u64,
    /// From the trigger to the last acknowledgement, ms.
    pub end_to_end_duration: u64,
    /// Always 0.
    pub alignment_buffered: u64,
    /// Bytes read during alignment.
    pub processed_data: u64,
    /// Bytes of records in flight.
    pub persisted_data: u64,
    /// Number of subtasks.
    pub num_subtasks: u32,
    /// How many have acknowledged.
    pub num_acknowledged_subtasks: u32,
}

/// `/jobs/:jobid/checkpoints/config`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointConfig {
    /// `exactly_once` or `at_least_once`.
    pub mode: String,
    /// ms; 2^63 − 1: off.
    pub interval: i64,
    /// ms.
    pub timeout: u64,
    /// ms.
    pub min_pause: u64,
    /// At once.
    pub max_concurrent: u32,
    /// Whether they are kept.
    pub externalization: Externalization,
    /// `HashMapStateBackend` or `EmbeddedRocksDBStateBackend`.
    pub state_backend: String,
    /// `FileSystemCheckpointStorage`, as Flink calls object stores too, or `JobManagerCheckpointStorage` for `memory:`.
    pub checkpoint_storage: String,
    /// Whether barriers overtake records.
    pub unaligned_checkpoints: bool,
    /// Consecutive ones that are borne.
    pub tolerable_failed_checkpoints: u32,
    /// ms.
    pub aligned_checkpoint_timeout: u64,
    /// True.
    pub checkpoints_after_tasks_finish: bool,
    /// False.
    pub state_changelog_enabled: bool,
    /// Unused.
    pub changelog_periodic_materialization_interval: u64,
    /// Unused.
    pub changelog_storage: String,
}

/// Whether checkpoints are kept when the job is cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct Externalization {
    /// They are.
    pub enabled: bool,
    /// They are not.
    pub delete_on_cancellation: bool,
}

/// How a savepoint holds keyed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FormatType {
    /// In the format of all backends.
    #[default]
    Canonical,
    /// In the files of the job's backend, where it has such.
    Native,
}

impl From<FormatType> for SavepointFormat {
    fn from(format: FormatType) -> Self {
        match format {
            FormatType::Canonical => Self::Canonical,
            FormatType::Native => Self::Native,
        }
    }
}

/// What a checkpoint that somebody asks for builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckpointType {
    /// What the job's settings say.
    Configured,
    /// On no other one.
    Full,
    /// As `CONFIGURED`: a job without incremental checkpoints takes none.
    Incremental,
}

/// Body of `POST /jobs/:jobid/savepoints`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SavepointRequest {
    /// Directory, URL or path; default: `savepoints` in the data directory.
    #[serde(rename = "target-directory")]
    pub target_directory: Option<String>,
    /// Whether the job is cancelled after it.
    #[serde(rename = "cancel-job")]
    pub cancel_job: bool,
    /// Default: `CANONICAL`.
    #[serde(rename = "formatType")]
    pub format_type: Option<FormatType>,
    /// 32 hexadecimal characters of the client's choice: the same once more triggers nothing.
    #[serde(rename = "triggerId")]
    pub trigger_id: Option<String>,
}

/// Body of `POST /jobs/:jobid/stop`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct StopRequest {
    /// Directory, URL or path; default: `savepoints` in the data directory.
    pub target_directory: Option<String>,
    /// Whether the watermark +∞ goes out first.
    pub drain: bool,
    /// Default: `CANONICAL`.
    pub format_type: Option<FormatType>,
    /// As for savepoints.
    pub trigger_id: Option<String>,
}

/// Body of `POST /jobs/:jobid/checkpoints`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CheckpointRequest {
    /// Default: `CONFIGURED`.
    pub checkpoint_type: Option<CheckpointType>,
    /// As for savepoints.
    pub trigger_id: Option<String>,
}

/// Body of `POST /savepoint-disposal`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DisposalRequest {
    /// The savepoint's directory, URL or path.
    pub savepoint_path: String,
}

/// What was triggered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TriggerAnswer {
    /// 32 hexadecimal characters.
    pub request_id: String,
}

/// How a savepoint stands; one that failed is status 500 with `errors`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavepointStatus {
    /// `IN_PROGRESS` or `COMPLETED`.
    pub status: QueueStatus,
    /// Once completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<SavepointLocation>,
}

/// Where a savepoint is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavepointLocation {
    /// URL of its directory.
    pub location: String,
}

/// How a triggered checkpoint stands; one that failed is status 500 with `errors`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointTriggerStatus {
    /// `IN_PROGRESS` or `COMPLETED`.
    pub status: QueueStatus,
    /// Once completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<CheckpointNumber>,
}

/// Which checkpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointNumber {
    /// Number.
    pub checkpoint_id: u64,
}

/// How a disposal stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct DisposalStatus {
    /// `COMPLETED`.
    pub status: QueueStatus,
    /// Nothing to say.
    pub operation: super::Empty,
}
