//! Joins of a logical graph (G13): what a job says of them, and what is refused.

use serde::{Deserialize, Serialize};

use super::validate::{GraphError, error};
use super::{FunctionRef, LogicalOperator, OperatorKind};
use crate::function::{Format, FunctionKind, SideOutput};

/// Side outputs of elements that come too late: of the first input and of the second.
pub const LATE_SIDES: [&str; 2] = ["left-late", "right-late"];

/// What a join whose inputs are not keyed is told.
pub(super) const NOT_KEYED: &str = "a join needs both its inputs keyed: put a `key-by` before each of them";

/// An interval join: which pairs there are, and what is made of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IntervalJoinSpec {
    /// How far a right element may be behind a left one, ms; negative: before it.
    pub lower_ms: i64,
    /// The greatest such distance.
    pub upper_ms: i64,
    /// Whether `lower_ms` itself is out.
    #[serde(default)]
    pub lower_exclusive: bool,
    /// Whether `upper_ms` itself is out.
    #[serde(default)]
    pub upper_exclusive: bool,
    /// Whether late elements go to the side outputs [`LATE_SIDES`]; else they are dropped.
    #[serde(default)]
    pub late_outputs: bool,
    /// What a pair is given to; `None`: pairs are emitted as `{"left":…,"right":…}`.
    #[serde(default)]
    pub function: Option<Box<FunctionRef>>,
    /// Of both inputs. Filled in by validation.
    #[serde(default)]
    pub formats: [Format; 2],
}

impl IntervalJoinSpec {
    /// Refuses what cannot work; the message says what to do.
    pub fn check(&self) -> Result<(), String> {
        let (lower, upper) = (self.lower_ms, self.upper_ms);
        if lower > upper {
            return Err(format!(
                "the lower bound is {lower} ms, above the upper one, {upper} ms: no right element is between them; swap them"
            ));
        }
        let Some(function) = &self.function else {
            return Ok(());
        };
        let description = &function.description;
        let name = &description.name;
        if description.kind != FunctionKind::ProcessJoin {
            return Err(format!(
                "`{name}` takes no pairs: an interval join needs a function of kind process-join"
            ));
        }
        let taken = description.side_outputs.iter().find(|side| is_late(&side.name));
        match taken.filter(|_| self.late_outputs) {
            Some(side) => Err(format!(
                "`{name}` declares the side output `{}`, which late elements go to: rename it, or leave `late-outputs` out",
                side.name
            )),
            None => Ok(()),
        }
    }

    /// What both inputs have to be.
    pub(super) fn input_formats(&self) -> [Format; 2] {
        let Some(function) = &self.function else {
            return [Format::Raw; 2];
        };
        let description = &function.description;
        [description.input, description.second_input.unwrap_or_default()]
    }

    /// Of the results.
    pub(super) fn output_format(&self) -> Format {
        let function = self.function.as_ref();
        function.map_or(Format::Json, |function| function.description.output)
    }

    /// The side outputs of its function.
    pub fn own_sides(&self) -> &[SideOutput] {
        match &self.function {
            Some(function) => &function.description.side_outputs,
            None => &[],
        }
    }

    /// Which side output, counted from 0.
    pub fn side_index(&self, name: &str) -> Option<usize> {
        self.side(name).map(|(index, _)| index)
    }

    /// Which side output, counted from 0, and its format.
    pub(crate) fn side(&self, name: &str) -> Option<(usize, Format)> {
        let own = self.own_sides();
        if let Some(index) = own.iter().position(|side| side.name == name) {
            return Some((index, own[index].format));
        }
        let late = LATE_SIDES.iter().position(|side| *side == name);
        // Late elements are as they came, whatever that is.
        late.filter(|_| self.late_outputs)
            .map(|index| (own.len() + index, Format::Raw))
    }
}

fn is_late(side: &str) -> bool {
    LATE_SIDES.contains(&side)
}

impl LogicalOperator {
    /// Whether its inputs are one stream whose elements know which they came from: of windows of two streams. Their time
    /// is that of a union, not that of an operator with two inputs.
    pub fn unites_inputs(&self) -> bool {
        matches!(&self.kind, OperatorKind::Window { spec } if spec.has_two_inputs())
    }
}

/// Whether the operator joins two keyed streams.
pub(super) fn is_join(operator: &LogicalOperator) -> bool {
    matches!(operator.kind, OperatorKind::IntervalJoin { .. }) || operator.unites_inputs()
}

/// Checks a join, and that its function is no operator of its own.
pub(super) fn check(operator: &LogicalOperator) -> Result<(), GraphError> {
    match &operator.kind {
        OperatorKind::IntervalJoin { spec } => spec.check().map_err(|message| error(operator, message)),
        OperatorKind::Function { description, .. } if description.kind.is_joined() => {
            let message = match description.kind {
                FunctionKind::CoGroup => {
                    "its function is given what a window has of two streams: name it as the `function` of a `co-group`"
                }
                FunctionKind::Join => {
                    "its function is given the pairs of a window join: name it as the `function` of a `window-join`"
                }
                _ => {
                    "its function is given the pairs of a join: name it as the `function` of an `interval-join`"
                }
            };
            Err(error(operator, message))
        }
        _ => Ok(()),
    }
}
