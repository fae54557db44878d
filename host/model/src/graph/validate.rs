//! Checks a logical graph: names, edges, cycles, formats, keys.

mod keys;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FunctionRef, InputRef, KeySelector, LogicalGraph, LogicalOperator, OperatorKind, Partitioner,
    RollingAggregation,
};
use super::{asynchronous, join, watermarks};
use crate::function::{Format, FunctionKind};
use crate::id::OperatorUid;

/// Why a graph is refused: the operator, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operator `{operator}`: {message}")]
pub struct GraphError {
    /// Where.
    pub operator: OperatorUid,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// What is allowed but unwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphWarning {
    /// Where.
    pub operator: OperatorUid,
    /// What may go wrong.
    pub message: String,
}

impl LogicalGraph {
    /// Checks the graph and puts its operators in topological order.
    pub fn validate(&mut self) -> Result<Vec<GraphWarning>, GraphError> {
        self.check_names_and_edges()?;
        self.sort()?;
        let inputs = self.check_keys_and_formats()?;
        for (operator, [input, second]) in self.operators.iter_mut().zip(inputs) {
            match &mut operator.kind {
                OperatorKind::IntervalJoin { spec } => spec.formats = [input, second],
                OperatorKind::KeyBy { format, .. } | OperatorKind::AssignTimestamps { format, .. } => {
                    *format = input;
                }
                OperatorKind::Window { spec } => {
                    spec.set_formats([input, second]);
                    // Windows of all elements are one subtask's.
                    if spec.all {
                        operator.parallelism = Some(1);
                    }
                }
                _ => {}
            }
        }
        Ok(self.warnings())
    }

    /// The operator of that uid.
    pub fn operator(&self, uid: &OperatorUid) -> Option<&LogicalOperator> {
        self.operators.iter().find(|o| o.uid == *uid)
    }

    fn check_names_and_edges(&self) -> Result<(), GraphError> {
        let mut seen = BTreeSet::new();
        for operator in &self.operators {
            if !seen.insert(&operator.uid) {
                return Err(error(
                    operator,
                    "this uid is used twice: uids must be distinct within a job",
                ));
            }
        }
        for operator in &self.operators {
            let source = matches!(operator.kind, OperatorKind::Source { .. });
            match (source, operator.inputs.len()) {
                (true, 0) => {}
                (true, _) => return Err(error(operator, "a source has no `inputs`: remove them")),
                (false, 0) => return Err(error(operator, "it has no input: name one in `inputs`")),
                (false, given) if operator.ports() == 2 && given != 2 => {
                    let message = format!(
                        "it has two inputs and {given} are named: name the first and the second in `inputs`; a union puts \
                         several streams into one"
                    );
                    return Err(error(operator, message));
                }
                (false, _) => {}
            }
            for input in &operator.inputs {
                let Some(from) = self.operator(&input.uid) else {
                    let known: Vec<_> = self.operators.iter().map(|o| o.uid.as_str()).collect();
                    let message = format!(
                        "input `{}` is no operator of this job; there are: {}",
                        input.uid,
                        known.join(", ")
                    );
                    return Err(error(operator, message));
                };
                if matches!(from.kind, OperatorKind::Sink { .. }) {
                    return Err(error(
                        operator,
                        format!("input `{}` is a sink, which has no output", input.uid),
                    ));
                }
                if let Some(side) = &input.side
                    && from.side_format(side).is_none()
                {
                    return Err(error(
                        operator,
                        format!("`{}` declares no side output `{side}`", input.uid),
                    ));
                }
            }
        }
        if !self
            .operators
            .iter()
            .any(|o| matches!(o.kind, OperatorKind::Source { .. }))
        {
            return Err(GraphError {
                operator: OperatorUid::new("-"),
                message: "the job has no source".to_owned(),
            });
        }
        Ok(())
    }

    fn sort(&mut self) -> Result<(), GraphError> {
        let mut pending = std::mem::take(&mut self.operators);
        let mut placed = BTreeSet::new();
        while !pending.is_empty() {
            let ready = pending
                .iter()
                .position(|o| o.inputs.iter().all(|i| placed.contains(&i.uid)));
            let Some(ready) = ready else {
                let stuck = error(&pending[0], "its inputs form a cycle: a dataflow must be acyclic");
                self.operators.append(&mut pending);
                return Err(stuck);
            };
            let operator = pending.remove(ready);
            placed.insert(operator.uid.clone());
            self.operators.push(operator);
        }
        Ok(())
    }

    /// Checks every edge and returns the formats of each operator's first and second input.
    fn check_keys_and_formats(&self) -> Result<Vec<[Format; 2]>, GraphError> {
        let mut inputs = Vec::with_capacity(self.operators.len());
        let mut formats: BTreeMap<&OperatorUid, Format> = BTreeMap::new();
        for operator in &self.operators {
            let given = |reference: &InputRef| match &reference.side {
                None => formats.get(&reference.uid).copied().unwrap_or_default(),
                Some(side) => self
                    .operator(&reference.uid)
                    .and_then(|o| o.side_format(side))
                    .unwrap_or_default(),
            };
            let input = operator.inputs.first().map(given);
            let second = operator.inputs.get(1).map(given).unwrap_or_default();
            for (number, reference) in operator.inputs.iter().enumerate() {
                let given = given(reference);
                let wanted = match operator.second_format().filter(|_| number == 1) {
                    Some(second) => second,
                    None => operator.input_format().or(input).unwrap_or_default(),
                };
                if !given.fits(wanted) {
                    let message = format!(
                        "it reads {wanted:?} but `{}` emits {given:?}: put a function between that converts",
                        reference.uid
                    );
                    return Err(error(operator, message));
                }
            }
            check_window(operator)?;
            check_function(operator)?;
            asynchronous::check(operator)?;
            join::check(operator)?;
            self.check_keyed(operator)?;
            self.check_both_keys(operator, &formats)?;
            let input = input.unwrap_or_default();
            check_key_fields(operator, input)?;
            if let OperatorKind::PartitionCustom { function } = &operator.kind {
                watermarks::check_function(operator, function, FunctionKind::Partitioner, input)?;
            }
            watermarks::check(
                operator,
                match &operator.kind {
                    OperatorKind::Source { format, .. } => *format,
                    _ => input,
                },
            )?;
            formats.insert(&operator.uid, operator.output_format(input));
            inputs.push([input, second]);
        }
        Ok(inputs)
    }

    fn check_keyed(&self, operator: &LogicalOperator) -> Result<(), GraphError> {
        let needs_key = match &operator.kind {
            OperatorKind::Function { description, .. } => description.kind.needs_key(),
            OperatorKind::Rolling { .. } | OperatorKind::IntervalJoin { .. } => true,
            OperatorKind::Window { spec } => !spec.all,
            _ => false,
        };
        let keyed = operator.inputs.iter().all(|input| {
            self.operator(&input.uid)
                .is_some_and(|from| matches!(from.kind, OperatorKind::KeyBy { .. }))
        });
        if needs_key && !keyed && join::is_join(operator) {
            return Err(error(operator, join::NOT_KEYED));
        }
        let first_keyed = operator.inputs.first().is_some_and(|input| self.is_keyed(input));
        let broadcast = operator
            .inputs
            .get(1)
            .is_some_and(|input| self.is_broadcast(input));
        if has_broadcast_state(operator) {
            if !broadcast {
                return Err(error(
                    operator,
                    "it has broadcast state, which every subtask must hold alike: put `partition: broadcast` before its second \
                     input",
                ));
            }
            if !needs_key || first_keyed {
                return Ok(());
            }
        }
        if needs_key && !keyed {
            if operator.ports() == 2 && first_keyed {
                return Err(error(
                    operator,
                    "its first input is keyed, its second is not: put a `key-by` before that too; only a function with \
                     broadcast state may have a broadcast one",
                ));
            }
            return Err(error(
                operator,
                "it needs a keyed stream: put a `key-by` before it",
            ));
        }
        let by_function = matches!(
            &operator.kind,
            OperatorKind::KeyBy {
                selector: KeySelector::Function,
                ..
            }
        );
        let after_selector = operator.inputs.iter().all(|input| {
            self.operator(&input.uid).is_some_and(|from| {
                matches!(&from.kind, OperatorKind::Function { description, .. } if description.kind == FunctionKind::KeySelector)
            })
        });
        if by_function && !after_selector {
            return Err(error(
                operator,
                "`key-by` by a function needs a function of kind key-selector",
            ));
        }
        Ok(())
    }

    fn is_keyed(&self, input: &InputRef) -> bool {
        self.operator(&input.uid)
            .is_some_and(|from| matches!(from.kind, OperatorKind::KeyBy { .. }))
    }

    fn is_broadcast(&self, input: &InputRef) -> bool {
        let partitioner = Partitioner::Broadcast;
        self.operator(&input.uid)
            .is_some_and(|from| from.kind == OperatorKind::Partition { partitioner })
    }

    fn warnings(&self) -> Vec<GraphWarning> {
        let unnamed = self.operators.iter().filter(|o| !o.uid_given && o.has_state());
        unnamed
            .map(|o| GraphWarning {
                operator: o.uid.clone(),
                message: "it has state but no `uid`: the one derived from the graph changes with the graph, and its state \
                          is then not found again"
                    .to_owned(),
            })
            .collect()
    }
}

/// Whether its second input is broadcast: every subtask has all of it.
fn has_broadcast_state(operator: &LogicalOperator) -> bool {
    matches!(&operator.kind, OperatorKind::Function { description, .. } if description.broadcast_state.is_some())
}

impl LogicalOperator {
    /// Whether a checkpoint holds something of it.
    pub fn has_state(&self) -> bool {
        match &self.kind {
            OperatorKind::Source { .. }
            | OperatorKind::Sink { .. }
            | OperatorKind::Rolling { .. }
            | OperatorKind::IntervalJoin { .. }
            | OperatorKind::Window { .. } => true,
            OperatorKind::Function { description, .. } => {
                description.kind.needs_key()
                    || description.is_buffering()
                    || description.kind == FunctionKind::Async
                    || description.broadcast_state.is_some()
            }
            OperatorKind::AssignTimestamps { strategy, .. } => strategy.keeps_state(),
            OperatorKind::KeyBy { .. }
            | OperatorKind::Partition { .. }
            | OperatorKind::PartitionCustom { .. }
            | OperatorKind::Union => false,
        }
    }

    /// The components that it calls, as digests.
    pub fn plugins(&self) -> Vec<&str> {
        let mut functions: Vec<&FunctionRef> = Vec::new();
        match &self.kind {
            OperatorKind::Function { plugin, .. } => return vec![plugin],
            OperatorKind::PartitionCustom { function } => functions.push(function),
            OperatorKind::Window { spec } => functions.extend(spec.functions()),
            OperatorKind::IntervalJoin { spec } => functions.extend(spec.function.as_deref()),
            _ => {}
        }
        if let Some(strategy) = self.watermarks() {
            functions.extend(strategy.functions());
        }
        functions
            .iter()
            .map(|function| function.plugin.as_str())
            .collect()
    }

    /// The format of a side output; `None`: it has no such side output.
    pub fn side_format(&self, side: &str) -> Option<Format> {
        match &self.kind {
            OperatorKind::Function { description, .. } => description
                .side_outputs
                .iter()
                .find(|o| o.name == side)
                .map(|o| o.format),
            OperatorKind::Window { spec } => {
                let outputs = spec.side_outputs();
                outputs
                    .iter()
                    .find(|(name, _)| *name == side)
                    .map(|(_, format)| *format)
            }
            OperatorKind::IntervalJoin { spec } => spec.side(side).map(|(_, format)| format),
            _ => None,
        }
    }

    /// How many inputs it tells apart; several streams may go into one.
    pub fn ports(&self) -> u16 {
        match &self.kind {
            OperatorKind::Function { description, .. } => description.ports(),
            OperatorKind::IntervalJoin { .. } => 2,
            OperatorKind::Window { spec } if spec.has_two_inputs() => 2,
            _ => 1,
        }
    }

    fn second_format(&self) -> Option<Format> {
        match &self.kind {
            OperatorKind::Function { description, .. } => description.second_input,
            OperatorKind::IntervalJoin { spec } => Some(spec.input_formats()[1]),
            OperatorKind::Window { spec } => spec.second_format(),
            _ => None,
        }
    }

    fn input_format(&self) -> Option<Format> {
        match &self.kind {
            OperatorKind::Sink { format, .. } => Some(*format),
            OperatorKind::Function { description, .. } => Some(description.input),
            // A count does not look into the record.
            OperatorKind::Rolling {
                aggregation: RollingAggregation::Count,
            } => None,
            OperatorKind::Rolling { .. } => Some(Format::Json),
            OperatorKind::Window { spec } => spec.input_format(),
            OperatorKind::IntervalJoin { spec } => Some(spec.input_formats()[0]),
            _ => None,
        }
    }

    fn output_format(&self, input: Format) -> Format {
        match &self.kind {
            OperatorKind::Source { format, .. } => *format,
            // A filter and a key selector pass records on as they are.
            OperatorKind::Function { description, .. } => match description.kind {
                FunctionKind::Filter | FunctionKind::KeySelector => input,
                _ => description.output,
            },
            OperatorKind::Rolling { .. } => Format::Json,
            OperatorKind::Window { spec } => {
                let function = spec.last_function();
                function.map_or(Format::Json, |function| function.description.output)
            }
            OperatorKind::IntervalJoin { spec } => spec.output_format(),
            _ => input,
        }
    }
}

/// A part of a window is no operator of its own.
fn check_function(operator: &LogicalOperator) -> Result<(), GraphError> {
    match &operator.kind {
        OperatorKind::Function { description, .. }
            if description.kind.is_of_windows() && !description.kind.is_joined() =>
        {
            let message = format!(
                "`{}` is of kind {:?}: name it in a `window`",
                description.name, description.kind
            );
            Err(error(operator, message))
        }
        _ => Ok(()),
    }
}

fn check_window(operator: &LogicalOperator) -> Result<(), GraphError> {
    let OperatorKind::Window { spec } = &operator.kind else {
        return Ok(());
    };
    spec.check().map_err(|message| error(operator, message))?;
    if spec.all && operator.parallelism.is_some_and(|parallelism| parallelism > 1) {
        return Err(error(
            operator,
            "windows of all elements run in one subtask: remove `parallelism`, or put a `key-by` before them",
        ));
    }
    Ok(())
}

/// Fields can be found in JSON by name and in CSV by number.
fn check_key_fields(operator: &LogicalOperator, input: Format) -> Result<(), GraphError> {
    let OperatorKind::KeyBy { selector, .. } = &operator.kind else {
        return Ok(());
    };
    let fields: &[String] = match selector {
        KeySelector::Field(field) => std::slice::from_ref(field),
        KeySelector::Fields(fields) if fields.is_empty() => {
            return Err(error(operator, "`fields` is empty: name one"));
        }
        KeySelector::Fields(fields) => fields,
        KeySelector::Value | KeySelector::Function => return Ok(()),
    };
    check_fields(operator, fields, input)
}

pub(super) fn check_fields(
    operator: &LogicalOperator,
    fields: &[String],
    input: Format,
) -> Result<(), GraphError> {
    match input {
        Format::Json => Ok(()),
        Format::Csv => match fields.iter().find(|field| field.parse::<u16>().is_err()) {
            Some(field) => Err(error(
                operator,
                format!("`{field}` is no column number: columns of CSV count from 0"),
            )),
            None => Ok(()),
        },
        other => {
            let message = format!(
                "it looks for a field in records of format {other:?}: declare `json` or `csv` where they come from{}",
                match operator.kind {
                    OperatorKind::KeyBy { .. } => ", or use `key-by: {value: true}`",
                    _ => "",
                }
            );
            Err(error(operator, message))
        }
    }
}

pub(super) fn error(operator: &LogicalOperator, message: impl Into<String>) -> GraphError {
    GraphError {
        operator: operator.uid.clone(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
