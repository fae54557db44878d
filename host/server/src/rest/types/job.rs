//! Shapes of `/jobs` and below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Counts;
use super::vertex::IoMetrics;

/// `/jobs`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobIds {
    /// All jobs, newest first.
    pub jobs: Vec<JobIdWithStatus>,
}

/// A job's id and state.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobIdWithStatus {
    /// 32 hexadecimal characters.
    pub id: String,
    /// State.
    pub status: String,
}

/// `/jobs/overview`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobsOverview {
    /// All jobs, newest first.
    pub jobs: Vec<JobOverview>,
}

/// A job in the overview.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobOverview {
    /// Its id.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// `STREAMING`.
    #[serde(rename = "jobType")]
    pub job_type: String,
    /// `Default`.
    #[serde(rename = "schedulerType")]
    pub scheduler_type: String,
    /// When it was submitted.
    pub start_time: i64,
    /// When it ended.
    pub end_time: i64,
    /// Since its start, or until its end.
    pub duration: i64,
    /// State.
    pub state: String,
    /// When it entered its state.
    pub last_modification: i64,
    /// Subtasks by state, in lower case, and `total`.
    pub tasks: Counts,
    /// 0.
    pub pending_operators: u32,
}

/// `/jobs/:jobid`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobDetail {
    /// Its id.
    pub jid: String,
    /// Its id.
    pub application_id: String,
    /// Its name.
    pub name: String,
    /// False, as in Flink.
    #[serde(rename = "isStoppable")]
    pub is_stoppable: bool,
    /// State.
    pub state: String,
    /// `STREAMING`.
    pub job_type: String,
    /// `Default`.
    #[serde(rename = "schedulerType")]
    pub scheduler_type: String,
    /// When it was submitted.
    pub start_time: i64,
    /// When it ended.
    pub end_time: i64,
    /// Since its start, or until its end.
    pub duration: i64,
    /// Number of key groups.
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: i64,
    /// The host's clock.
    pub now: i64,
    /// When it entered each state last; 0: never.
    pub timestamps: BTreeMap<String, i64>,
    /// The chains of operators.
    pub vertices: Vec<JobVertex>,
    /// Vertices by state, in upper case.
    pub status_counts: Counts,
    /// The graph.
    pub plan: JobPlan,
    /// 0.
    pub pending_operators: u32,
}

/// A vertex of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobVertex {
    /// 32 hexadecimal characters.
    pub id: String,
    /// Of its sharing group, derived from the name.
    #[serde(rename = "slotSharingGroupId")]
    pub slot_sharing_group_id: String,
    /// The operators in it.
    pub name: String,
    /// Number of key groups.
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: i64,
    /// Number of subtasks.
    pub parallelism: u32,
    /// The state of all its subtasks taken together.
    pub status: String,
    /// When its first subtask was deployed.
    pub start_time: i64,
    /// When its last one ended.
    pub end_time: i64,
    /// Since then, or until then.
    pub duration: i64,
    /// Subtasks by state, in upper case.
    pub tasks: Counts,
    /// Sums over its subtasks.
    pub metrics: IoMetrics,
}

/// `/jobs/:jobid/plan`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanAnswer {
    /// The graph.
    pub plan: JobPlan,
}

/// The graph of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPlan {
    /// The job's id.
    pub jid: String,
    /// The job's name.
    pub name: String,
    /// `STREAMING`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Vertices, sinks first as in Flink.
    pub nodes: Vec<PlanNode>,
}

/// A vertex in the graph.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanNode {
    /// The vertex's id.
    pub id: String,
    /// Empty, as in Flink.
    pub operator: String,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Empty, as in Flink.
    pub operator_strategy: String,
    /// The operators in it.
    pub description: String,
    /// Empty, as in Flink.
    pub optimizer_properties: BTreeMap<String, String>,
    /// Where its records come from; missing for sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<PlanInput>,
}

/// An edge of the graph.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanInput {
    /// The vertex that sends.
    pub id: String,
    /// Which input.
    pub num: usize,
    /// `pipelined_bounded`.
    pub exchange: String,
    /// `HASH`, `REBALANCE`, `FORWARD` or `BROADCAST`.
    pub ship_strategy: String,
}

/// `/jobs/:jobid/status`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobStatusAnswer {
    /// State.
    pub status: String,
}

/// `/jobs/:jobid/config`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobConfig {
    /// The job's id.
    pub jid: String,
    /// The job's name.
    pub name: String,
    /// Its settings.
    pub execution_config: ExecutionConfig,
}

/// A job's settings.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutionConfig {
    /// In words.
    pub restart_strategy: String,
    /// Of operators that set none.
    pub job_parallelism: u32,
    /// True: batches are shared.
    pub object_reuse_mode: bool,
    /// The job file's settings, without any connector's.
    pub user_config: BTreeMap<String, String>,
}

/// `/jobs/:jobid/exceptions`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Exceptions {
    /// The failures, newest first.
    #[serde(rename = "exceptionHistory")]
    pub history: ExceptionHistory,
}

/// The failures of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionHistory {
    /// Newest first.
    pub entries: Vec<ExceptionInfo>,
    /// Whether there were more.
    pub truncated: bool,
}

/// A failure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionInfo {
    /// Its kind.
    pub exception_name: String,
    /// All that is known, a guest's backtrace included.
    pub stacktrace: String,
    /// When.
    pub timestamp: i64,
    /// The task.
    pub task_name: Option<String>,
    /// Where the host serves.
    pub endpoint: Option<String>,
    /// The host.
    pub task_manager_id: Option<String>,
    /// None.
    pub failure_labels: BTreeMap<String, String>,
    /// None.
    pub concurrent_exceptions: Vec<String>,
}

/// `/jobs/:jobid/accumulators`: there are none.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobAccumulators {
    /// None.
    pub job_accumulators: Vec<String>,
    /// None.
    pub user_task_accumulators: Vec<String>,
    /// None.
    pub serialized_user_task_accumulators: BTreeMap<String, String>,
}

/// `/jobs/:jobid/execution-result`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionResult {
    /// `IN_PROGRESS` or `COMPLETED`.
    pub status: QueueStatus,
}

/// How far an operation is.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueStatus {
    /// `IN_PROGRESS` or `COMPLETED`.
    pub id: String,
}

/// `/jobs/:jobid/guarantees`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Guarantees {
    /// One for each sink.
    pub guarantees: Vec<SinkGuarantee>,
}

/// Which guarantee a sink gets.
#[derive(Debug, Serialize, ToSchema)]
pub struct SinkGuarantee {
    /// The sink's uid.
    pub sink: String,
    /// `exactly-once`, `at-least-once` or `at-most-once`.
    pub guarantee: String,
    /// Which source, sink or setting decides it.
    pub reason: String,
}

/// A job that was accepted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SubmitAnswer {
    /// Its id.
    pub jobid: String,
    /// What is allowed but unwise, each with its place in the job file.
    pub warnings: Vec<String>,
}

/// A job file that is good.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ValidateAnswer {
    /// The job's name.
    pub name: String,
    /// How many operators it has, those included that a `key-by` adds.
    pub operators: usize,
    /// What is allowed but unwise, each with its place in the job file.
    pub warnings: Vec<String>,
}
