//! Event time in a job file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::units::DurationText;

/// Timestamps and watermarks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Watermarks {
    /// How watermarks are made of timestamps; this or `generator`.
    pub strategy: Option<WatermarkStrategyName>,
    /// A component's function that makes them.
    pub generator: Option<FunctionCall>,
    /// For `bounded`: how far behind the highest timestamp a record may come.
    pub disorder: Option<DurationText>,
    /// Where timestamps come from. Default: from the record, as its source or the function before gave them.
    pub timestamp: Option<TimestampFrom>,
    /// After so long without a record the stream, or a split of a source, is idle: others do not wait for it.
    /// Default: never.
    pub idle_after: Option<DurationText>,
    /// Of a source: it waits for others when it is too far ahead of them.
    pub alignment: Option<Alignment>,
}

/// How watermarks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WatermarkStrategyName {
    /// There are none but the last, at the end of input.
    None,
    /// Timestamps ascend: the highest less 1 ms.
    Monotonous,
    /// The highest less `disorder` less 1 ms.
    Bounded,
}

/// A function of a component that is no operator of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FunctionCall {
    /// `plugin/function`.
    pub function: String,
    /// Passed to its `open`.
    pub config: Option<Value>,
}

/// Where a timestamp comes from: exactly one of `field`, `ingestion` and `function`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TimestampFrom {
    /// A field with a whole number: of JSON by name (dots go deeper), of CSV by number from 0.
    pub field: Option<String>,
    /// What the field counts since the epoch. Default: `ms`.
    pub unit: Option<TimeUnitName>,
    /// `true`: the processing time at which the record comes.
    pub ingestion: Option<bool>,
    /// A component's timestamp assigner: `plugin/function`.
    pub function: Option<String>,
    /// Passed to the `open` of the function.
    pub config: Option<Value>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnitName {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// Watermark alignment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Alignment {
    /// Sources of one group wait for each other. Default: `default`.
    pub group: Option<String>,
    /// How far its watermark may be ahead of the lowest of the group.
    pub max_drift: DurationText,
    /// How often each subtask says how far it is. Default: `1s`.
    pub update_interval: Option<DurationText>,
}
