//! The types of a job file's joins. Their docs are the user's, as the schema is made of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pairs of a left element (of the first input) and a right one (of the second) of the same key, whose timestamp is
/// between `lower` and `upper` behind that of the left one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IntervalJoin {
    /// The least distance, such as `-5s` (the right one comes up to 5 s before the left one) or `0s`.
    pub lower: String,
    /// The greatest distance, such as `10min`.
    pub upper: String,
    /// Whether a distance of exactly `lower` is out. Default: false.
    pub lower_exclusive: Option<bool>,
    /// Whether a distance of exactly `upper` is out. Default: false.
    pub upper_exclusive: Option<bool>,
    /// `true`: elements behind the watermark go to the side outputs `left-late` and `right-late`; else they are dropped.
    pub late_outputs: Option<bool>,
    /// A component's function of kind process-join that is given the pairs: `plugin/function`. Default: pairs are
    /// emitted as `{"left":…,"right":…}`.
    pub function: Option<String>,
}
