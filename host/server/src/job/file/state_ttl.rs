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
