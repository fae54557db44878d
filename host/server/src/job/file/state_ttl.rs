//! The types of a job file's `state-ttl`. Their docs are the user's, as the schema is made of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::units::DurationText;

/// How long what a state holds lives: each value, list element and map entry by itself, in processing time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StateTtl {
    /// From the last update of its time.
    pub time_to_live: DurationText,
    /// What updates its time. Default: `on-create-and-write`.
    pub update_type: Option<UpdateType>,
    /// What is read of something whose time is over. Default: `never-return-expired`.
    pub visibility: Option<StateVisibility>,
    /// Whether savepoints and full checkpoints leave out what is over. Default: false.
    pub cleanup_full_snapshot: Option<bool>,
    /// State in memory is gone through piece by piece while it is used, and what is over goes.
    pub cleanup_incrementally: Option<IncrementalCleanup>,
    /// Compactions of state in RocksDB leave out what is over.
    pub cleanup_in_rocksdb_compact_filter: Option<CompactFilterCleanup>,
    /// Turns those of the last two off that are not named here. Default: false.
    pub disable_cleanup_in_background: Option<bool>,
}

/// State in memory is gone through piece by piece while it is used, and what is over goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IncrementalCleanup {
    /// Entries that are looked at for each access of the state. Default: 5.
    pub cleanup_size: Option<u32>,
    /// Whether for each record too. Default: false.
    pub run_cleanup_for_every_record: Option<bool>,
}

/// Compactions of state in RocksDB leave out what is over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CompactFilterCleanup {
    /// A compaction asks for the time once in so many entries. Default: 1000.
    pub query_time_after_num_entries: Option<u64>,
    /// A file that is older is compacted; `0s`: its age does not count. Default: `30d`.
    pub periodic_compaction_time: Option<DurationText>,
}

/// What updates the time from which something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateType {
    /// A write.
    OnCreateAndWrite,
    /// A write or a read.
    OnReadAndWrite,
}

/// What is read of something whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StateVisibility {
    /// Nothing.
    NeverReturnExpired,
    /// What is there still; reading removes it.
    ReturnExpiredIfNotCleanedUp,
}
