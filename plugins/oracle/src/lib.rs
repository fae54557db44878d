//! The functions that cases of the oracle drive: what Flink's side of a case has in Java, here as components.
//!
//! Invariant: each function does what `tests/oracle/*.java` says and nothing about the case it is used in: fields of
//! the results are in the same order, so that the lines compare byte by byte.

mod connected;
mod joins;
mod state;
mod streams;
mod timers;
mod windows;

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::{Error, Result};

/// A record of a tape. `n` is its line; `op` and `arg` are there where a tape names operations.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// Its key.
    pub key: String,
    /// A number.
    pub value: i64,
    /// What a function is to do.
    #[serde(default, skip_serializing)]
    pub op: String,
    /// With what.
    #[serde(default, skip_serializing)]
    pub arg: i64,
    /// The tape's line.
    pub n: u64,
}

/// A result as one line.
fn json(result: &impl Serialize) -> Result<String> {
    serde_json::to_string(result)
        .map_err(|error| Error::failed(format_args!("the result cannot be JSON: {error}")))
}

wasmill_sdk::export! {
    "timers" => process timers::Timers,
    "state" => process state::States,
    "split" => flat_map streams::Split,
    "pass" => map streams::Pass,
    "shifted-time" => timestamp_assigner streams::ShiftedTime,
    "plus" => reduce streams::Plus,
    "stats" => aggregate windows::Stats,
    "bounds" => window windows::Bounds,
    "elements" => window windows::Sums,
    "context" => window windows::InContext,
    "own" => trigger windows::Own,
    "session-dynamic" => window_assigner windows::DynamicGap,
    "shared" => keyed_co_process connected::Shared,
    "keyed-rules" => keyed_broadcast_process connected::KeyedRules,
    "pair-times" => process_join joins::PairTimes,
    "pair" => join joins::InnerPair,
    "group" => co_group joins::Group,
}
