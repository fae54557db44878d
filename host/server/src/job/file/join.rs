//! The types of a job file's joins. Their docs are the user's, as the schema is made of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::window::{Clock, CountWindow, Evictor, GlobalWindow, Session, Sliding, Trigger, Tumbling};
use crate::job::units::DurationText;

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

/// Windows over two keyed streams. Exactly one of `tumbling`, `sliding`, `session`, `global`, `count` and `assigner` says
/// which. Late elements are counted and dropped.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WindowJoin {
    /// Windows of one size, one after another.
    pub tumbling: Option<Tumbling>,
    /// Windows of one size that begin a slide apart.
    pub sliding: Option<Sliding>,
    /// Windows that last until nothing has come for a gap, from either stream.
    pub session: Option<Session>,
    /// One window for all elements of a key.
    pub global: Option<GlobalWindow>,
    /// Windows of a number of elements, those of both streams together.
    pub count: Option<CountWindow>,
    /// `PLUGIN/FUNCTION`: a component says which windows an element belongs to.
    pub assigner: Option<String>,
    /// Which clock `tumbling`, `sliding`, `session` and `assigner` follow. Default: `event`.
    pub time: Option<Clock>,
    /// When a window fires. Default: at its end; a count window when it is full; a global one never.
    pub trigger: Option<Trigger>,
    /// Which elements of both streams a firing leaves out, for good. Default: none.
    pub evictor: Option<Evictor>,
    /// How long behind the watermark a window stays; late elements fire it again. Default: `0s`.
    pub lateness: Option<DurationText>,
    /// `PLUGIN/FUNCTION`: what a component makes of a firing: of kind join in a `window-join`, which is given the pairs
    /// (default: they are emitted as `{"left":…,"right":…}`); of kind co-group in a `co-group`, which is given the elements
    /// of both streams at once (default: `{"key":…,"start":…,"end":…,"left":[…],"right":[…]}`).
    pub function: Option<String>,
}
