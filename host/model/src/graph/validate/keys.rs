//! Whether the keys of two inputs can meet.

use std::collections::BTreeMap;

use super::{GraphError, error};
use crate::function::Format;
use crate::graph::{KeySelector, LogicalGraph, LogicalOperator, OperatorKind};
use crate::id::OperatorUid;

impl LogicalGraph {
    /// Keys of two inputs meet only where they are encoded alike: as many fields, and JSON on both sides or on
    /// none, for a number of JSON is another key than the same digits in CSV.
    pub(super) fn check_both_keys(
        &self,
        operator: &LogicalOperator,
        formats: &BTreeMap<&OperatorUid, Format>,
    ) -> Result<(), GraphError> {
        if operator.ports() < 2 {
            return Ok(());
        }
        let shapes = operator.inputs.iter().filter_map(|input| {
            let from = self.operator(&input.uid)?;
            let OperatorKind::KeyBy { selector, .. } = &from.kind else {
                return None;
            };
            let format = formats.get(&from.uid).copied().unwrap_or_default();
            Some(match selector {
                KeySelector::Field(_) => (1, format == Format::Json),
                KeySelector::Fields(fields) => (fields.len() + 1, format == Format::Json),
                KeySelector::Value | KeySelector::Function => (1, false),
            })
        });
        let shapes: Vec<_> = shapes.collect();
        match shapes[..] {
            [first, second] if first != second => Err(error(
                operator,
                "the keys of its two inputs are of different formats and would never meet: key both by as many fields, of \
                 JSON on both sides or on none",
            )),
            _ => Ok(()),
        }
    }
}
