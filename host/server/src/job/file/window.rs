//! The types of a job file's `window`. Their docs are the user's, as the schema is made of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmill_model::graph::Tie;

use super::TieName;
use crate::job::units::DurationText;

/// Windows on a stream. Exactly one of `tumbling`, `sliding`, `session`, `global`, `count` and `assigner` says which,
/// and `function` what is computed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Window {
    /// Windows of one size, one after another.
    pub tumbling: Option<Tumbling>,
    /// Windows of one size that begin a slide apart.
    pub sliding: Option<Sliding>,
    /// Windows that last until nothing has come for a gap.
    pub session: Option<Session>,
    /// One window for all elements of a key.
    pub global: Option<GlobalWindow>,
    /// Windows of a number of elements.
    pub count: Option<CountWindow>,
    /// `PLUGIN/FUNCTION`: a component says which windows an element belongs to.
    pub assigner: Option<String>,
    /// Which clock `tumbling`, `sliding`, `session` and `assigner` follow. Default: `event`.
    pub time: Option<Clock>,
    /// `true`: all elements share one set of windows, in one subtask; the stream need not be keyed.
    pub all: Option<bool>,
    /// When a window fires. Default: at its end; a count window when it is full; a global one never.
    pub trigger: Option<Trigger>,
    /// Which elements a firing leaves out, for good. Default: none.
    pub evictor: Option<Evictor>,
    /// How long behind the watermark a window stays; late elements fire it again. Default: `0s`.
    pub lateness: Option<DurationText>,
    /// `true`: late elements go to the side output `late`; else they are counted and dropped.
    pub late_output: Option<bool>,
    /// What is computed.
    pub function: WindowFunction,
}

/// Which clock windows follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The timestamps of elements, and watermarks.
    Event,
    /// The host's clock.
    Processing,
}

/// Windows of one size, one after another.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tumbling {
    /// Above 0.
    pub size: DurationText,
    /// Shifts them, such as `15min` or `-15min`; less than the size. Default: `0s`, aligned to the epoch.
    pub offset: Option<String>,
}

/// Windows of one size that begin a slide apart.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sliding {
    /// Above 0.
    pub size: DurationText,
    /// From the start of one to the start of the next; above 0.
    pub slide: DurationText,
    /// Shifts them, such as `15min` or `-15min`; less than the slide. Default: `0s`, aligned to the epoch.
    pub offset: Option<String>,
}

/// Sessions. Exactly one of the fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Session {
    /// How long nothing has to come; above 0.
    pub gap: Option<DurationText>,
    /// A field of JSON records that holds it, in ms.
    pub gap_field: Option<String>,
}

/// The global window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GlobalWindow {
    /// Fires by the `trigger` alone.
    Never,
    /// Fires at the end of bounded input where there is no `trigger`.
    EndOfStream,
}

/// Windows of a number of elements.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CountWindow {
    /// How many; above 0.
    pub size: i64,
    /// Fires every so many elements over the last `size`. Default: each `size` elements are a window of their own.
    pub slide: Option<i64>,
}

/// When a window fires. Exactly one of the fields but `purging`, `timeout`, `reset-timeout-on-element` and
/// `clear-on-timeout`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Trigger {
    /// `true`: when the watermark passes the window's end, and with every element behind that.
    pub event_time: Option<bool>,
    /// `true`: when the clock passes the window's end.
    pub processing_time: Option<bool>,
    /// With each so many elements.
    pub count: Option<i64>,
    /// At multiples of an interval by watermarks, and at the window's end.
    pub continuous_event_time: Option<DurationText>,
    /// At multiples of an interval by the clock.
    pub continuous_processing_time: Option<DurationText>,
    /// When a number is further from that of the last firing than a threshold.
    pub delta: Option<Delta>,
    /// `true`: at the end of bounded input; for global windows.
    pub end_of_stream: Option<bool>,
    /// `true`: never; for global windows.
    pub never: Option<bool>,
    /// `PLUGIN/FUNCTION`: when a component says.
    pub function: Option<String>,
    /// Fires as well when the trigger has not for so long, by the clock.
    pub timeout: Option<DurationText>,
    /// `true`: each element starts the time-out anew.
    pub reset_timeout_on_element: Option<bool>,
    /// `true`: the trigger forgets what it has counted when the time-out comes.
    pub clear_on_timeout: Option<bool>,
    /// `true`: the window's contents go when it fires.
    pub purging: Option<bool>,
}

/// How far a number in a JSON record is from that of another.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delta {
    /// The field that holds it.
    pub field: String,
    /// From which distance on.
    pub threshold: f64,
}

/// Which elements a firing leaves out. Exactly one of the fields but `after`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Evictor {
    /// Keeps the last so many.
    pub count: Option<i64>,
    /// Keeps those newer than the newest minus this time.
    pub time: Option<DurationText>,
    /// Leaves out those whose number is as far as the threshold from that of the last one, or further.
    pub delta: Option<Delta>,
    /// `PLUGIN/FUNCTION`: those that a component says; it has no `after`.
    pub function: Option<String>,
    /// `true`: after the function has seen them.
    pub after: Option<bool>,
}

/// What a window computes. Exactly one of the fields but `tie`; `process` (or `apply`) may stand behind `reduce` and
/// `aggregate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WindowFunction {
    /// `true`: how many elements there are, as `{"key":…,"start":…,"end":…,"count":…}`.
    pub count: Option<bool>,
    /// `true`: all elements, as `{"key":…,"start":…,"end":…,"elements":[…]}`.
    pub collect: Option<bool>,
    /// `PLUGIN/FUNCTION`: a component's reduce function.
    pub reduce: Option<String>,
    /// `PLUGIN/FUNCTION`: a component's aggregate function.
    pub aggregate: Option<String>,
    /// `PLUGIN/FUNCTION`: a component's process window function, over all elements or over the one result of
    /// `reduce` or `aggregate`.
    pub process: Option<String>,
    /// Another word for `process`, of which one is said.
    pub apply: Option<String>,
    /// Sum of a field of JSON records; the other fields are those of the first record.
    pub sum: Option<String>,
    /// Least value of a field.
    pub min: Option<String>,
    /// Greatest value of a field.
    pub max: Option<String>,
    /// The record with the least value of a field.
    pub min_by: Option<String>,
    /// The record with the greatest value of a field.
    pub max_by: Option<String>,
    /// For `min-by` and `max-by`: which of equal records is kept. Default: `first`.
    #[schemars(with = "Option<TieName>")]
    pub tie: Option<Tie>,
}
