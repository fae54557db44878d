//! The types of a job file, version 1. The JSON Schema is made of them, so their docs are the user's.
//!
//! Invariant: unknown fields are refused everywhere but within `config`, which belongs to connectors and
//! functions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill_model::graph::Tie;

pub mod asynchronous;
pub mod join;
pub mod state_ttl;
pub mod window;

use super::units::{DurationText, SizeText};

mod watermarks;

pub use watermarks::{
    Alignment, FunctionCall, TimeUnitName, TimestampFrom, WatermarkStrategyName, Watermarks,
};

/// A Wasmill job: operators that are connected by their inputs, from sources to sinks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JobFile {
    /// Version of this format: 1.
    pub version: u32,
    /// The job's name, for people.
    pub name: String,
    /// Parallelism of operators that set none. Default: that of the submission, then the host's.
    #[schemars(range(min = 1))]
    pub parallelism: Option<u32>,
    /// Number of key groups: an upper bound of the parallelism, fixed at the first run. Default: 128.
    #[schemars(range(min = 1, max = 32768))]
    pub max_parallelism: Option<u32>,
    /// Checkpointing; without it there are no checkpoints, and a failure starts the job anew.
    pub checkpointing: Option<Checkpointing>,
    /// What happens after a failure. Default: `none` without checkpointing, `exponential-delay` with it.
    pub restart: Option<Restart>,
    /// How often watermarks are made. Default: `200ms`; `0ms`: only by generators that emit with records.
    pub auto_watermark_interval: Option<DurationText>,
    /// A batch that is not full is sent on after this time. Default: `10ms`.
    pub buffer_timeout: Option<DurationText>,
    /// A batch is full at this size. Default: `32KiB`; at most `64KiB`.
    pub buffer_size: Option<SizeText>,
    /// How long tasks may take to end when the job is cancelled or fails; past it the job is over all the same.
    /// Default: `3min`; `0s`: no limit.
    pub cancellation_timeout: Option<DurationText>,
    /// Where keyed state is held. Default: the host's, which is `memory` where it has none.
    pub state_backend: Option<StateBackend>,
    /// Limits of the components of this job, by name, such as `memory-bytes-max: 256MiB` or
    /// `call-ms-max: 1s`.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub limits: Option<Value>,
    /// The components that `function` refers to, by a name of your choice: a path to a `.wasm` file (relative to the
    /// job file), the name of a plugin that the host has, or `sha256:<digest>`.
    #[serde(default)]
    pub plugins: BTreeMap<String, String>,
    /// The operators, in any order.
    #[schemars(length(min = 1))]
    pub operators: Vec<Operator>,
}

/// Checkpointing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checkpointing {
    /// From the trigger of one checkpoint to the trigger of the next.
    pub interval: DurationText,
    /// `exactly-once` holds back channels that delivered their barrier; `at-least-once` does not. Default: `exactly-once`.
    pub mode: Option<Mode>,
    /// Whether barriers overtake records, which then become part of the checkpoint, so that it does not wait for a slow
    /// operator. Needs `exactly-once` and one checkpoint at a time. Default: false.
    pub unaligned: Option<bool>,
    /// Barriers of unaligned checkpoints align like others until this long after the trigger, and overtake then. Default:
    /// `0s`, they overtake at once.
    pub aligned_checkpoint_timeout: Option<DurationText>,
    /// A checkpoint holds what has changed since the one before and names the rest again. Default: false.
    pub incremental: Option<bool>,
    /// A checkpoint that takes longer is given up. Default: `10min`.
    pub timeout: Option<DurationText>,
    /// Least time from the end of one checkpoint to the trigger of the next. Default: `0s`.
    pub min_pause: Option<DurationText>,
    /// How many may be under way at once. Default: 1.
    #[schemars(range(min = 1))]
    pub max_concurrent: Option<u32>,
    /// Consecutive failed checkpoints that are borne; one more fails the job. Default: 0.
    pub tolerable_failures: Option<u32>,
    /// Whether checkpoints stay when the job is cancelled. Default: false.
    pub retain_on_cancel: Option<bool>,
    /// How many completed checkpoints are kept. Default: 1.
    #[schemars(range(min = 1))]
    pub retained: Option<u32>,
}

/// What alignment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every record has its effect on state once.
    ExactlyOnce,
    /// After a recovery records may have their effect on state twice.
    AtLeastOnce,
}

/// Restart strategy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Restart {
    /// Which.
    pub strategy: Strategy,
    /// `fixed-delay`: how many restarts. Default: 3.
    pub attempts: Option<u32>,
    /// `fixed-delay`, `failure-rate`: the pause before each restart. Default: `1s`.
    pub delay: Option<DurationText>,
    /// `failure-rate`: so many failures within the interval are borne. Default: 1.
    pub max_failures_per_interval: Option<u32>,
    /// `failure-rate`: within so long. Default: `1min`.
    pub failure_rate_interval: Option<DurationText>,
    /// `exponential-delay`: the first pause. Default: `1s`.
    pub initial: Option<DurationText>,
    /// `exponential-delay`: the longest pause. Default: `1min`.
    pub max: Option<DurationText>,
    /// `exponential-delay`: from one pause to the next. Default: 1.5.
    pub multiplier: Option<f64>,
    /// `exponential-delay`: after running so long without failure the pause starts anew. Default: `1h`.
    pub reset_after: Option<DurationText>,
    /// `exponential-delay`: share of the pause by which it varies at random, 0 to 1. Default: 0.1.
    pub jitter: Option<f64>,
}

/// The restart strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The job fails.
    None,
    /// A number of attempts with a pause before each.
    FixedDelay,
    /// A pause before each restart, until too many failures come within an interval.
    FailureRate,
    /// Ever longer pauses, without end.
    ExponentialDelay,
}

impl Strategy {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FixedDelay => "fixed-delay",
            Self::FailureRate => "failure-rate",
            Self::ExponentialDelay => "exponential-delay",
        }
    }
}

/// The state backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StateBackend {
    /// Tables in the host's memory (Flink's `hashmap`).
    #[serde(alias = "hashmap")]
    Memory,
    /// RocksDB in a local directory, for state larger than memory.
    Rocksdb,
}

impl StateBackend {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Rocksdb];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Rocksdb => "rocksdb",
        }
    }

    /// The backend of a name; Flink's `hashmap` is `memory`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "hashmap" { "memory" } else { name };
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// As Flink's REST calls it.
    pub fn class(self) -> &'static str {
        match self {
            Self::Memory => "HashMapStateBackend",
            Self::Rocksdb => "EmbeddedRocksDBStateBackend",
        }
    }
}

/// Format of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// Any bytes.
    Raw,
    /// UTF-8 text without line ends.
    Lines,
    /// One JSON value a record.
    Json,
    /// One CSV row a record.
    Csv,
}

/// One operator. Exactly one of `source`, `sink`, `function`, `async`, `key-by`, `partition`, `partition-custom`,
/// `rolling`, `window`, `interval-join`, `window-join`, `co-group`, `union` and `assign-timestamps` says what it does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Operator {
    /// Its state is found again by it, and other operators name it in `inputs`: `[A-Za-z0-9_-]{1,64}`. Derived from the
    /// graph where missing; give one to everything that has state.
    pub uid: Option<String>,
    /// For people. Default: the uid.
    pub name: Option<String>,
    /// A source connector, such as `files`, `socket`, `datagen` or `nexmark`.
    pub source: Option<String>,
    /// A sink connector, such as `files`, `print` or `discard`.
    pub sink: Option<String>,
    /// A component's function: `plugin/function`.
    pub function: Option<String>,
    /// Calls a component's async function.
    #[serde(rename = "async")]
    pub asynchronous: Option<asynchronous::Async>,
    /// What the function of an `async` may do beyond the sandbox.
    pub grants: Option<asynchronous::Grants>,
    /// Partitions by key; it must come before operators with keyed state.
    pub key_by: Option<KeyBy>,
    /// Redistributes records without a key.
    pub partition: Option<Partition>,
    /// Redistributes records as a component's partitioner says.
    pub partition_custom: Option<FunctionCall>,
    /// A rolling aggregation over a field of JSON records of a keyed stream.
    pub rolling: Option<Rolling>,
    /// Windows on a keyed stream, or with `all` on any.
    pub window: Option<window::Window>,
    /// Pairs of elements of two keyed streams that are near each other in time: `inputs: [left, right]`.
    pub interval_join: Option<join::IntervalJoin>,
    /// Pairs of elements of two keyed streams that are in one window: `inputs: [left, right]`.
    pub window_join: Option<join::WindowJoin>,
    /// The elements of two keyed streams in a window, those of one side may be none: `inputs: [left, right]`.
    pub co_group: Option<join::WindowJoin>,
    /// `true`: merges its inputs.
    pub union: Option<bool>,
    /// Gives records timestamps and makes watermarks of them; watermarks of its input end here.
    pub assign_timestamps: Option<Watermarks>,
    /// Of a source: the same, for each split by itself.
    pub watermarks: Option<Watermarks>,
    /// Of a `function`: how long what its keyed states hold lives, by the name of the state. It goes over what the
    /// component itself says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub state_ttl: BTreeMap<String, state_ttl::StateTtl>,
    /// Settings of the connector or function. In a connector's, `{env: NAME}` and `{file: PATH}` stand for secrets.
    pub config: Option<Value>,
    /// Format of a source's or sink's records. Default: `raw`.
    pub format: Option<RecordFormat>,
    /// Where its records come from: `uid`, or `uid.side` for a side output.
    pub inputs: Vec<String>,
    /// Parallelism of this operator. Default: the job's.
    #[schemars(range(min = 1))]
    pub parallelism: Option<u32>,
    /// Whether it may share a thread with its input. Default: true.
    pub chaining: Option<bool>,
    /// Operators of one group may share a slot. Default: `default`.
    pub slot_sharing_group: Option<String>,
}

/// How the key is found. Exactly one field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyBy {
    /// `true`: the whole record is the key.
    pub value: Option<bool>,
    /// A field: of JSON by name (dots go deeper), of CSV by number from 0.
    pub field: Option<String>,
    /// Several fields.
    pub fields: Option<Vec<String>>,
    /// A component's key selector: `plugin/function`.
    pub function: Option<String>,
}

/// Whom a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// The subtask with the same index.
    Forward,
    /// Round robin over all.
    Rebalance,
    /// Everyone.
    Broadcast,
    /// One at random, each time anew.
    Shuffle,
    /// Round robin over some: where there are more subtasks after than before each has some of its own.
    Rescale,
    /// Subtask 0.
    Global,
}

/// A rolling aggregation. Exactly one of the fields but `tie`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rolling {
    /// Sum of a field.
    pub sum: Option<String>,
    /// Least value of a field.
    pub min: Option<String>,
    /// Greatest value of a field.
    pub max: Option<String>,
    /// The record with the least value of a field.
    pub min_by: Option<String>,
    /// The record with the greatest value of a field.
    pub max_by: Option<String>,
    /// `true`: how many records there were, as `{"key":…,"count":…}`.
    pub count: Option<bool>,
    /// For `min-by` and `max-by`: which of equal records is kept. Default: `first`.
    #[schemars(with = "Option<TieName>")]
    pub tie: Option<Tie>,
}

/// Which of equal records is kept.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code, reason = "stands for the model's type in the schema")]
enum TieName {
    /// The first.
    First,
    /// The last.
    Last,
}
