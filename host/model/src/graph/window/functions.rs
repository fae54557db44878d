//! The components of a window: which they are, and whether they are of the kinds that they are used as and go together.

use super::{AssignerSpec, EvictorSpec, LATE, TriggerSpec, WindowFunctionSpec, WindowSpec};
use crate::function::{Format, FunctionDescription, FunctionKind};
use crate::graph::FunctionRef;

/// States of the window operator itself.
const OWN_STATES: [&str; 3] = ["window-contents", "window-accumulator", "merging-window-set"];

impl WindowSpec {
    /// What is computed by a component behind which results leave, if any.
    pub fn last_function(&self) -> Option<&FunctionRef> {
        match &self.function {
            WindowFunctionSpec::Fold { function, process } => Some(process.as_ref().unwrap_or(function)),
            WindowFunctionSpec::Process { function } => Some(function),
            WindowFunctionSpec::Join { function, .. } | WindowFunctionSpec::CoGroup { function, .. } => {
                function.as_deref()
            }
            _ => None,
        }
    }

    /// The format that the elements of its second input must have, where it has one.
    pub(in crate::graph) fn second_format(&self) -> Option<Format> {
        let function = match &self.function {
            WindowFunctionSpec::Join { function, .. } | WindowFunctionSpec::CoGroup { function, .. } => {
                function
            }
            _ => return None,
        };
        if self.reads_json() {
            return Some(Format::Json);
        }
        let second = function
            .as_ref()
            .and_then(|function| function.description.second_input);
        Some(second.unwrap_or_default())
    }

    /// Whether it is of two inputs: a window join or a co-group.
    pub fn has_two_inputs(&self) -> bool {
        matches!(
            self.function,
            WindowFunctionSpec::Join { .. } | WindowFunctionSpec::CoGroup { .. }
        )
    }

    /// What validation has found out about the inputs.
    pub(in crate::graph) fn set_formats(&mut self, inputs: [Format; 2]) {
        match &mut self.function {
            WindowFunctionSpec::Collect { format } => *format = inputs[0],
            WindowFunctionSpec::Join { formats, .. } | WindowFunctionSpec::CoGroup { formats, .. } => {
                *formats = inputs;
            }
            _ => {}
        }
    }

    /// All components that it is made of.
    pub fn functions(&self) -> Vec<&FunctionRef> {
        let mut functions = Vec::new();
        match &self.function {
            WindowFunctionSpec::Fold { function, process } => {
                functions.push(&**function);
                functions.extend(process.as_deref());
            }
            WindowFunctionSpec::Process { function } => functions.push(function),
            WindowFunctionSpec::Join { function, .. } | WindowFunctionSpec::CoGroup { function, .. } => {
                functions.extend(function.as_deref());
            }
            _ => {}
        }
        if let AssignerSpec::Function { function, .. } = &self.assigner {
            functions.push(function);
        }
        functions.extend(self.trigger_function());
        if let Some(EvictorSpec::Function { function }) = &self.evictor {
            functions.push(function);
        }
        functions
    }

    /// The trigger that is a component, if any.
    pub fn trigger_function(&self) -> Option<&FunctionRef> {
        match self.trigger.as_ref()?.innermost() {
            TriggerSpec::Function { function } => Some(function),
            _ => None,
        }
    }

    /// The side outputs by port: 1 is the first of them. Those of the function, that of late elements, those of the
    /// trigger.
    pub fn side_outputs(&self) -> Vec<(&str, Format)> {
        let mut outputs = Vec::new();
        if let Some(function) = self.last_function() {
            outputs.extend(named(&function.description));
        }
        if self.late_output {
            // Late elements are as they came, whatever that is.
            outputs.push((LATE, Format::Raw));
        }
        if let Some(trigger) = self.trigger_function() {
            outputs.extend(named(&trigger.description));
        }
        outputs
    }
}

fn named(description: &FunctionDescription) -> impl Iterator<Item = (&str, Format)> {
    let outputs = description.side_outputs.iter();
    outputs.map(|output| (output.name.as_str(), output.format))
}

pub(super) fn check(spec: &WindowSpec) -> Result<(), String> {
    match &spec.function {
        WindowFunctionSpec::Fold { function, process } => {
            let fold = [FunctionKind::Reduce, FunctionKind::Aggregate];
            is_one_of(function, &fold, "folds elements")?;
            if let Some(process) = process {
                check_process(spec, process)?;
                let (result, input) = (function.description.output, process.description.input);
                if !result.fits(input) {
                    return Err(format!(
                        "`{}` makes {result:?} and `{}` reads {input:?}: their formats must be the same",
                        function.description.name, process.description.name
                    ));
                }
            }
        }
        WindowFunctionSpec::Process { function } => check_process(spec, function)?,
        WindowFunctionSpec::Join {
            function: Some(function),
            ..
        } => {
            is_one_of(
                function,
                &[FunctionKind::Join],
                "is given the pairs of a window join",
            )?;
            check_state_names(function)?;
        }
        WindowFunctionSpec::CoGroup {
            function: Some(function),
            ..
        } => {
            is_one_of(
                function,
                &[FunctionKind::CoGroup],
                "is given the sides of a co-group",
            )?;
            check_state_names(function)?;
        }
        _ => {}
    }
    if let AssignerSpec::Function { function, .. } = &spec.assigner {
        is_one_of(function, &[FunctionKind::WindowAssigner], "assigns windows")?;
    }
    if let Some(trigger) = spec.trigger_function() {
        is_one_of(trigger, &[FunctionKind::Trigger], "decides when windows fire")?;
    }
    if let Some(EvictorSpec::Function { function }) = &spec.evictor {
        is_one_of(function, &[FunctionKind::Evictor], "leaves elements out")?;
    }
    let outputs = spec.side_outputs();
    let twice = outputs
        .iter()
        .enumerate()
        .find(|(at, (name, _))| outputs[..*at].iter().any(|(before, _)| before == name));
    match twice {
        Some((_, (name, _))) if *name == LATE => Err(format!(
            "the function has a side output `{LATE}` as well: remove `late-output`, or name that of the function otherwise"
        )),
        Some((_, (name, _))) => Err(format!(
            "function and trigger both have a side output `{name}`: name one of them otherwise"
        )),
        None => Ok(()),
    }
}

fn is_one_of(function: &FunctionRef, kinds: &[FunctionKind], what: &str) -> Result<(), String> {
    let description = &function.description;
    match kinds.contains(&description.kind) {
        true => Ok(()),
        false => Err(format!(
            "`{}` is of kind {:?}, and what {what} is of kind {}",
            description.name,
            description.kind,
            kinds
                .iter()
                .map(|kind| format!("{kind:?}"))
                .collect::<Vec<_>>()
                .join(" or ")
        )),
    }
}

fn check_process(spec: &WindowSpec, function: &FunctionRef) -> Result<(), String> {
    is_one_of(function, &[FunctionKind::Window], "processes windows")?;
    let states = &function.description.state;
    // As in Flink: what one of two windows that merge holds has nowhere to go.
    if let Some(state) = states
        .iter()
        .find(|state| state.per_window && spec.assigner.merges())
    {
        return Err(format!(
            "state `{}` of `{}` is per window, and these windows merge: keep it for the key instead",
            state.name, function.description.name
        ));
    }
    check_state_names(function)
}

fn check_state_names(function: &FunctionRef) -> Result<(), String> {
    let taken = function
        .description
        .state
        .iter()
        .find(|state| OWN_STATES.contains(&state.name.as_str()) || state.name.starts_with("trigger-"));
    match taken {
        Some(state) => Err(format!(
            "state `{}` of `{}` has a name that the window operator uses itself: name it otherwise",
            state.name, function.description.name
        )),
        None => Ok(()),
    }
}
