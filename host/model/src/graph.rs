//! The logical graph (stream graph, G2) of a job: what a job file says once names are resolved.
//!
//! Planning (`wasmill-engine`) makes the chained job graph and the parallel execution graph of it.

use serde::{Deserialize, Serialize};

use crate::function::{Format, FunctionDescription};
use crate::id::OperatorUid;
use crate::key::MaxParallelism;

pub mod asynchronous;
pub mod join;
mod validate;
mod watermarks;
pub mod window;

pub use validate::{GraphError, GraphWarning};
pub use watermarks::{
    FunctionRef, TimeUnit, TimestampSource, WatermarkAlignment, WatermarkGeneration, WatermarkStrategy,
};

/// A job as the engine takes it. Serialised into the host's data directory, so fields are only added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogicalGraph {
    /// The job's name, for people.
    pub name: String,
    /// In topological order after validation; sources first.
    pub operators: Vec<LogicalOperator>,
    /// Number of key groups; `None`: the host's default at the first run, kept from then on.
    pub max_parallelism: Option<MaxParallelism>,
    /// Checkpointing, buffer and restart settings.
    pub settings: JobSettings,
}

/// One operator of the logical graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogicalOperator {
    /// State is found again by it.
    pub uid: OperatorUid,
    /// Whether the user gave the uid; where not it was derived from the graph and the host warns (G4).
    pub uid_given: bool,
    /// For people; the uid where the job gives none.
    pub name: String,
    /// What it does.
    pub kind: OperatorKind,
    /// Where its records come from, in port order; empty for a source.
    pub inputs: Vec<InputRef>,
    /// Parallelism of this operator; `None`: the job's.
    pub parallelism: Option<u32>,
    /// Whether it may chain to its input.
    pub chaining: bool,
    /// Operators of one group may share a slot.
    pub slot_sharing_group: String,
}

/// A reference to an output of another operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputRef {
    /// The operator.
    pub uid: OperatorUid,
    /// A side output's name; `None`: the main output.
    pub side: Option<String>,
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum OperatorKind {
    /// A registered source.
    Source {
        /// Its registered name, such as `files`.
        connector: String,
        /// Its own settings.
        config: serde_json::Value,
        /// Format of its records.
        format: Format,
        /// Their event time; `None`: timestamps as the connector gives them, no watermark but the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watermarks: Option<WatermarkStrategy>,
    },
    /// Gives records timestamps and makes watermarks of them; those of its input end here, but for the last (T3).
    AssignTimestamps {
        /// How.
        strategy: WatermarkStrategy,
        /// Format of the records. Filled in by validation.
        #[serde(default)]
        format: Format,
    },
    /// A registered sink.
    Sink {
        /// Its registered name.
        connector: String,
        /// Its own settings.
        config: serde_json::Value,
        /// Format that it expects.
        format: Format,
    },
    /// A function of a component.
    Function {
        /// `sha256:<hex>`: pinned at submit.
        plugin: String,
        /// What the component says of it; holds the function's name.
        description: FunctionDescription,
        /// The job file's `config` for it.
        config: serde_json::Value,
        /// How it is called, where it is an async function (G14).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asynchronous: Option<Box<asynchronous::AsyncSpec>>,
    },
    /// Partitions by key (G6). Computes the key where it is native; with a function, that function's
    /// operator comes before this one and has set the key already.
    KeyBy {
        /// How the key is found.
        selector: KeySelector,
        /// Format of the records, where a field is to be found in them. Filled in by validation.
        #[serde(default)]
        format: Format,
    },
    /// Redistributes without a key (G8).
    Partition {
        /// To whom.
        partitioner: Partitioner,
    },
    /// Redistributes as a component's function says (G8).
    PartitionCustom {
        /// It.
        function: FunctionRef,
    },
    /// A rolling aggregation of the host (G7).
    Rolling {
        /// Which.
        aggregation: RollingAggregation,
    },
    /// Windows (W1–W8).
    Window {
        /// What they are made of.
        spec: window::WindowSpec,
    },
    /// Pairs of elements of two keyed streams that are near each other in time (G13).
    IntervalJoin {
        /// Which pairs, and what is made of them.
        spec: join::IntervalJoinSpec,
    },
    /// Merges streams of one type (G10); holds no state.
    Union,
}

/// How a native key is found in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySelector {
    /// The whole value.
    Value,
    /// A field: of JSON by name (dots go deeper), of CSV by number from 0.
    Field(String),
    /// Several fields.
    Fields(Vec<String>),
    /// A component's key selector, run by the operator before.
    Function,
}

/// Whom a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioner {
    /// The subtask with the same index.
    Forward,
    /// By key group.
    Hash,
    /// Round robin over all.
    Rebalance,
    /// Everyone.
    Broadcast,
    /// One at random, each time anew.
    Shuffle,
    /// Round robin over those next to the sender: where there are more targets each sender has some of its own,
    /// where there are fewer several senders share one.
    Rescale,
    /// Subtask 0.
    Global,
    /// Whom a function says.
    Custom,
}

/// A rolling aggregation over a field of JSON records (G7). The first record of a key is kept whole;
/// sum, min and max replace the field in it, min-by and max-by keep the record that won.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollingAggregation {
    /// Sum of a field.
    Sum(String),
    /// Least value of a field.
    Min(String),
    /// Greatest value of a field.
    Max(String),
    /// The record with the least value; of equal ones the first or the last.
    MinBy(String, #[serde(default)] Tie),
    /// The record with the greatest value.
    MaxBy(String, #[serde(default)] Tie),
    /// How many records there were, as `{"key":…,"count":…}`.
    Count,
}

/// Which of equal records is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tie {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

/// Settings of a job. Durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct JobSettings {
    /// Parallelism of operators that set none.
    pub parallelism: u32,
    /// `None`: checkpointing is off.
    pub checkpointing: Option<CheckpointSettings>,
    /// `None`: none without checkpointing, exponential delay with it (C9).
    pub restart: Option<RestartStrategy>,
    /// How often watermarks are made, ms of processing time; 0: only by generators that emit with records.
    pub auto_watermark_interval_ms: u64,
    /// A batch that is not full is sent after this time, ms.
    pub buffer_timeout_ms: u64,
    /// A batch is full at this size; at most 64 KiB.
    pub buffer_bytes: u32,
    /// A job whose tasks are not gone so long after they were told to end is over all the same, ms; 0: never.
    pub cancellation_timeout_ms: u64,
    /// Limits of components.
    pub limits: serde_json::Value,
    /// Where keyed state is held: `memory` or `rocksdb`.
    pub state_backend: String,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            parallelism: 1,
            checkpointing: None,
            restart: None,
            auto_watermark_interval_ms: 200,
            buffer_timeout_ms: 10,
            buffer_bytes: 32 * 1024,
            cancellation_timeout_ms: 180_000,
            limits: serde_json::Value::Null,
            state_backend: "memory".to_owned(),
        }
    }
}

/// Checkpointing settings (C4). Durations in milliseconds; the defaults are Flink's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CheckpointSettings {
    /// Whether barriers are aligned (C2).
    pub mode: CheckpointMode,
    /// Whether barriers overtake records, which are then part of the checkpoint (C3); exactly once only.
    pub unaligned: bool,
    /// So long barriers of unaligned checkpoints align first; 0: not at all.
    pub aligned_timeout_ms: u64,
    /// Whether a checkpoint holds what has changed since one before, and names the rest again (S7).
    pub incremental: bool,
    /// From the trigger of one to the trigger of the next.
    pub interval_ms: u64,
    /// A checkpoint that takes longer is given up.
    pub timeout_ms: u64,
    /// From the end of one to the trigger of the next.
    pub min_pause_ms: u64,
    /// How many may be under way at once.
    pub max_concurrent: u32,
    /// Consecutive failures that are borne; one more fails the job.
    pub tolerable_failures: u32,
    /// Whether checkpoints stay when the job is cancelled.
    pub retain_on_cancel: bool,
    /// How many completed ones are kept.
    pub retained: u32,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self {
            mode: CheckpointMode::ExactlyOnce,
            unaligned: false,
            aligned_timeout_ms: 0,
            incremental: false,
            interval_ms: 0,
            timeout_ms: 600_000,
            min_pause_ms: 0,
            max_concurrent: 1,
            tolerable_failures: 0,
            retain_on_cancel: false,
            retained: 1,
        }
    }
}

/// What a checkpoint guarantees of the state (C2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointMode {
    /// Barriers align: input after a barrier waits until all inputs have delivered theirs.
    #[default]
    ExactlyOnce,
    /// Nothing waits: records may count twice after a restore.
    AtLeastOnce,
}

/// What happens after a failure (C9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum RestartStrategy {
    /// The job fails.
    None,
    /// A number of attempts with a pause before each.
    FixedDelay {
        /// How many restarts.
        attempts: u32,
        /// The pause.
        delay_ms: u64,
    },
    /// A pause before each restart, until too many failures come within an interval.
    FailureRate {
        /// So many are borne.
        max_failures_per_interval: u32,
        /// Within so long.
        interval_ms: u64,
        /// The pause.
        delay_ms: u64,
    },
    /// Ever longer pauses, without end.
    ExponentialDelay {
        /// The first pause.
        initial_ms: u64,
        /// The longest pause.
        max_ms: u64,
        /// From one pause to the next.
        multiplier: f64,
        /// After running so long without failure the pause starts anew.
        reset_after_ms: u64,
        /// Share of the pause by which it varies at random, 0 to 1.
        jitter: f64,
    },
}

impl RestartStrategy {
    /// Flink's exponential delay: 1 s to 1 min by 1.5, reset after an hour, jitter 0.1.
    pub const EXPONENTIAL_DEFAULT: Self = Self::ExponentialDelay {
        initial_ms: 1_000,
        max_ms: 60_000,
        multiplier: 1.5,
        reset_after_ms: 3_600_000,
        jitter: 0.1,
    };
}
