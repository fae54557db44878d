//! Windows of a logical graph (W1–W8): what a job says of them, and what is refused.
//!
//! Times are in milliseconds. The parts are Flink's; which of them go together is too.

use serde::{Deserialize, Serialize};

use super::{FunctionRef, RollingAggregation};
use crate::function::Format;

mod functions;
#[cfg(test)]
mod tests;

/// Windows that one element may be in. It bounds what a single element costs.
pub const WINDOWS_PER_ELEMENT_MAX: i64 = 100_000;

/// Everything that a window operator is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowSpec {
    /// Which windows an element belongs to.
    pub assigner: AssignerSpec,
    /// When a window fires; `None`: the assigner's own trigger.
    #[serde(default)]
    pub trigger: Option<TriggerSpec>,
    /// Which elements a firing leaves out.
    #[serde(default)]
    pub evictor: Option<EvictorSpec>,
    /// How long behind the watermark a window stays.
    #[serde(default)]
    pub lateness_ms: i64,
    /// Whether late elements go to the side output [`LATE`]; else they are counted and dropped.
    #[serde(default)]
    pub late_output: bool,
    /// Whether all elements share one set of windows, in one subtask (W8); else each key has its own.
    #[serde(default)]
    pub all: bool,
    /// What is computed.
    pub function: WindowFunctionSpec,
}

/// The name of the side output of late elements.
pub const LATE: &str = "late";

/// Which clock windows follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowClock {
    /// The timestamps of elements, and watermarks.
    #[default]
    Event,
    /// The host's clock.
    Processing,
}

/// Which windows an element belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum AssignerSpec {
    /// Windows of one size, one after another.
    Tumbling {
        /// Their clock.
        clock: WindowClock,
        /// Above 0.
        size_ms: i64,
        /// Less than the size either way.
        offset_ms: i64,
    },
    /// Windows of one size, a slide apart.
    Sliding {
        /// Their clock.
        clock: WindowClock,
        /// Above 0.
        size_ms: i64,
        /// Above 0.
        slide_ms: i64,
        /// Less than the slide either way.
        offset_ms: i64,
    },
    /// From an element to the end of its gap; those that meet are one.
    Session {
        /// Their clock.
        clock: WindowClock,
        /// How long.
        gap: GapSpec,
    },
    /// One for all elements; it never fires by itself.
    Global,
    /// The same, and it fires at the end of bounded input.
    GlobalEndOfStream,
    /// Each `size` elements.
    Count {
        /// Above 0.
        size: i64,
    },
    /// Every `slide` elements over the last `size`.
    CountSliding {
        /// Above 0.
        size: i64,
        /// Above 0.
        slide: i64,
    },
    /// As a component says.
    Function {
        /// Which clock ends them.
        clock: WindowClock,
        /// The component.
        function: Box<FunctionRef>,
    },
}

/// How long a session stays open behind an element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapSpec {
    /// The same for all, ms; above 0.
    Fixed(i64),
    /// By a field of the JSON record that holds ms.
    Field(String),
}

/// When a window fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum TriggerSpec {
    /// When the watermark passes its end.
    EventTime,
    /// When the clock passes its end.
    ProcessingTime,
    /// With each so many elements.
    Count {
        /// Above 0.
        count: i64,
    },
    /// At multiples of an interval by watermarks, and at the end.
    ContinuousEventTime {
        /// Above 0.
        interval_ms: i64,
    },
    /// At multiples of an interval by the clock.
    ContinuousProcessingTime {
        /// Above 0.
        interval_ms: i64,
    },
    /// When another trigger fires, or has not for a time.
    ProcessingTimeout {
        /// The other one.
        trigger: Box<TriggerSpec>,
        /// Above 0.
        timeout_ms: i64,
        /// Whether each element starts the time anew.
        reset_on_element: bool,
        /// Whether the other trigger forgets when the time is over.
        clear_on_timeout: bool,
    },
    /// When a field is further from that of the last firing.
    Delta {
        /// A number in the JSON record.
        field: String,
        /// A greater distance fires.
        threshold: f64,
    },
    /// At the end of bounded input.
    EndOfStream,
    /// Never.
    Never,
    /// With another trigger, and purges the window then.
    Purging {
        /// The other one.
        trigger: Box<TriggerSpec>,
    },
    /// When a component says.
    Function {
        /// The component.
        function: Box<FunctionRef>,
    },
}

/// Which elements a firing leaves out, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum EvictorSpec {
    /// Keeps the last ones.
    Count {
        /// Above 0.
        count: i64,
        /// After the function; else before it.
        after: bool,
    },
    /// Keeps those newer than the newest minus a time.
    Time {
        /// Above 0.
        size_ms: i64,
        /// After the function; else before it.
        after: bool,
    },
    /// Keeps those whose field is nearer to that of the last one.
    Delta {
        /// A number in the JSON record.
        field: String,
        /// A distance that is not less is left out.
        threshold: f64,
        /// After the function; else before it.
        after: bool,
    },
    /// Those that a component says.
    Function {
        /// The component.
        function: Box<FunctionRef>,
    },
}

/// What a window computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum WindowFunctionSpec {
    /// How many elements there are, as `{"key":…,"start":…,"end":…,"count":…}`.
    Count,
    /// A reduction of JSON records by a field.
    Reduce {
        /// Which; not the count.
        aggregation: RollingAggregation,
    },
    /// All elements, as `{"key":…,"start":…,"end":…,"elements":[…]}`.
    Collect {
        /// Of the elements. Filled in by validation.
        #[serde(default)]
        format: Format,
    },
    /// A component's reduce or aggregate function.
    Fold {
        /// It.
        function: Box<FunctionRef>,
        /// The process window function that sees each result, if any.
        process: Option<Box<FunctionRef>>,
    },
    /// A component's process window function over all elements.
    Process {
        /// It.
        function: Box<FunctionRef>,
    },
    /// The pairs of elements of two inputs.
    Join {
        /// What a pair is given to, of kind join; `None`: pairs are emitted as `{"left":…,"right":…}`.
        function: Option<Box<FunctionRef>>,
        /// Of both inputs. Filled in by validation.
        #[serde(default)]
        formats: [Format; 2],
    },
    /// The elements of two inputs, all of a window at once.
    CoGroup {
        /// What they are given to, of kind co-group; `None`: they are emitted as
        /// `{"key":…,"start":…,"end":…,"left":[…],"right":[…]}`.
        function: Option<Box<FunctionRef>>,
        /// Of both inputs. Filled in by validation.
        #[serde(default)]
        formats: [Format; 2],
    },
}

impl WindowSpec {
    /// Refuses what cannot work; the message says what to do.
    pub fn check(&self) -> Result<(), String> {
        self.assigner.check()?;
        if self.lateness_ms < 0 {
            let lateness = self.lateness_ms;
            return Err(format!(
                "the allowed lateness is {lateness} ms: it must be 0 or more"
            ));
        }
        if let Some(trigger) = &self.trigger {
            trigger.check()?;
            self.check_fit(trigger)?;
        }
        match &self.evictor {
            None => {}
            Some(EvictorSpec::Count { count, .. }) => above_zero("the evictor's count", *count)?,
            Some(EvictorSpec::Time { size_ms, .. }) => above_zero("the evictor's size", *size_ms)?,
            Some(EvictorSpec::Delta { threshold, .. }) => check_threshold("evictor", *threshold)?,
            Some(EvictorSpec::Function { .. }) => {}
        }
        if matches!(
            self.function,
            WindowFunctionSpec::Reduce {
                aggregation: RollingAggregation::Count
            }
        ) {
            return Err("a count is no reduction by a field: use the function `count`".to_owned());
        }
        functions::check(self)
    }

    fn check_fit(&self, trigger: &TriggerSpec) -> Result<(), String> {
        if self.assigner.merges() && !trigger.can_merge() {
            let name = trigger.name();
            return Err(format!(
                "windows that merge need a trigger that can, and `{name}` cannot: use an event-time, processing-time, count \
                 or continuous trigger"
            ));
        }
        let has_end = self.assigner.has_end();
        let misfit = match trigger.innermost() {
            TriggerSpec::EventTime | TriggerSpec::ProcessingTime if !has_end => {
                "it fires at a window's end, and these windows have none: use a count, continuous, delta or time-out trigger"
            }
            TriggerSpec::EndOfStream | TriggerSpec::Never if has_end => {
                "it belongs to global windows, and these end by time: use an event-time or processing-time trigger"
            }
            _ => return Ok(()),
        };
        let name = trigger.innermost().name();
        Err(format!("the trigger `{name}` does not fit the windows: {misfit}"))
    }

    /// The format that its elements must have, if any.
    pub(super) fn input_format(&self) -> Option<Format> {
        if self.reads_json() {
            return Some(Format::Json);
        }
        match &self.function {
            WindowFunctionSpec::Fold { function, .. } | WindowFunctionSpec::Process { function } => {
                Some(function.description.input)
            }
            WindowFunctionSpec::Join { function, .. } | WindowFunctionSpec::CoGroup { function, .. } => {
                function.as_ref().map(|function| function.description.input)
            }
            _ => None,
        }
    }

    /// Whether it reads fields of JSON records.
    fn reads_json(&self) -> bool {
        let by_field = matches!(
            &self.assigner,
            AssignerSpec::Session {
                gap: GapSpec::Field(_),
                ..
            }
        );
        let delta_trigger = self
            .trigger
            .as_ref()
            .is_some_and(|trigger| matches!(trigger.innermost(), TriggerSpec::Delta { .. }));
        let delta_evictor = matches!(self.evictor, Some(EvictorSpec::Delta { .. }));
        by_field
            || delta_trigger
            || delta_evictor
            || matches!(self.function, WindowFunctionSpec::Reduce { .. })
    }
}

impl AssignerSpec {
    fn has_end(&self) -> bool {
        matches!(
            self,
            Self::Tumbling { .. } | Self::Sliding { .. } | Self::Session { .. } | Self::Function { .. }
        )
    }

    fn merges(&self) -> bool {
        match self {
            Self::Session { .. } => true,
            Self::Function { function, .. } => function.description.merges,
            _ => false,
        }
    }

    fn check(&self) -> Result<(), String> {
        match *self {
            Self::Tumbling {
                size_ms, offset_ms, ..
            } => {
                above_zero("the window's size", size_ms)?;
                check_offset(offset_ms, size_ms, "size")
            }
            Self::Sliding {
                size_ms,
                slide_ms,
                offset_ms,
                ..
            } => {
                above_zero("the window's size", size_ms)?;
                above_zero("the window's slide", slide_ms)?;
                check_offset(offset_ms, slide_ms, "slide")?;
                if size_ms / slide_ms > WINDOWS_PER_ELEMENT_MAX {
                    return Err(format!(
                        "each element is in {} windows, and {WINDOWS_PER_ELEMENT_MAX} is the limit: use a longer slide or a \
                         shorter size",
                        size_ms / slide_ms
                    ));
                }
                Ok(())
            }
            Self::Session {
                gap: GapSpec::Fixed(gap),
                ..
            } => above_zero("the session's gap", gap),
            Self::Session { .. } | Self::Global | Self::GlobalEndOfStream | Self::Function { .. } => Ok(()),
            Self::Count { size } => above_zero("the window's size", size),
            Self::CountSliding { size, slide } => {
                above_zero("the window's size", size)?;
                above_zero("the window's slide", slide)
            }
        }
    }
}

impl TriggerSpec {
    /// The trigger inside those that wrap another.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::Purging { trigger } | Self::ProcessingTimeout { trigger, .. } => trigger.innermost(),
            other => other,
        }
    }

    fn can_merge(&self) -> bool {
        match self {
            Self::EventTime
            | Self::ProcessingTime
            | Self::Count { .. }
            | Self::ContinuousEventTime { .. }
            | Self::ContinuousProcessingTime { .. } => true,
            Self::Purging { trigger } => trigger.can_merge(),
            Self::Function { function } => function.description.merges,
            Self::ProcessingTimeout { .. } | Self::Delta { .. } | Self::EndOfStream | Self::Never => false,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::EventTime => "event-time",
            Self::ProcessingTime => "processing-time",
            Self::Count { .. } => "count",
            Self::ContinuousEventTime { .. } => "continuous-event-time",
            Self::ContinuousProcessingTime { .. } => "continuous-processing-time",
            Self::ProcessingTimeout { .. } => "processing-timeout",
            Self::Delta { .. } => "delta",
            Self::EndOfStream => "end-of-stream",
            Self::Never => "never",
            Self::Purging { trigger } => trigger.name(),
            Self::Function { function } => &function.description.name,
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::EventTime
            | Self::ProcessingTime
            | Self::EndOfStream
            | Self::Never
            | Self::Function { .. } => Ok(()),
            Self::Count { count } => above_zero("the trigger's count", *count),
            Self::ContinuousEventTime { interval_ms } | Self::ContinuousProcessingTime { interval_ms } => {
                above_zero("the trigger's interval", *interval_ms)
            }
            Self::ProcessingTimeout {
                trigger, timeout_ms, ..
            } => {
                above_zero("the trigger's time-out", *timeout_ms)?;
                trigger.check()
            }
            Self::Delta { threshold, .. } => check_threshold("trigger", *threshold),
            Self::Purging { trigger } => trigger.check(),
        }
    }
}

fn above_zero(what: &str, value: i64) -> Result<(), String> {
    match value > 0 {
        true => Ok(()),
        false => Err(format!("{what} is {value}: it must be above 0")),
    }
}

fn check_offset(offset: i64, bound: i64, name: &str) -> Result<(), String> {
    match offset.unsigned_abs() < bound.unsigned_abs() {
        true => Ok(()),
        false => Err(format!(
            "the window's offset is {offset} ms: it must be less than the {name}, {bound} ms, either way"
        )),
    }
}

fn check_threshold(whose: &str, threshold: f64) -> Result<(), String> {
    match threshold.is_finite() && threshold >= 0.0 {
        true => Ok(()),
        false => Err(format!(
            "the {whose}'s threshold is {threshold}: it must be a number of 0 or more"
        )),
    }
}
