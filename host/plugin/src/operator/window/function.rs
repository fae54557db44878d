//! Window functions that are components (W6): one call for all panes of a batch.

use std::ops::Range;
use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::window::element::Element;
use wasmill_engine::window::emitter::Emitter;
use wasmill_engine::window::function::{
    AccumulatorEncoding, ElementsCall, ElementsFunction, ElementsStep, IncrementalCall, IncrementalFunction,
    Step,
};
use wasmill_engine::window::panes::Panes;
use wasmill_model::function::FunctionKind;
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;
use wasmill_state::backend::StateId;

use super::Part;
use super::rows::{ElementsRows, IncrementalRows};
use crate::operator::blueprint::Blueprint;

/// A reduce or aggregate function, and the process function behind it where there is one.
pub(crate) struct ComponentFold {
    fold: Part,
    process: Option<ComponentProcess>,
    accumulator: AccumulatorEncoding,
}

impl ComponentFold {
    /// Of one subtask.
    pub(crate) fn new(fold: Arc<Blueprint>, process: Option<Arc<Blueprint>>) -> Self {
        let declared = fold.description().state.first();
        let accumulator = declared.map_or_else(
            || AccumulatorEncoding::named("raw"),
            |state| AccumulatorEncoding {
                encoding: state.encoding.clone(),
                schema: state.schema.clone(),
                schema_version: state.schema_version,
            },
        );
        Self {
            fold: Part::new(fold),
            process: process.map(ComponentProcess::new),
            accumulator,
        }
    }
}

impl IncrementalFunction for ComponentFold {
    fn accumulator(&self) -> AccumulatorEncoding {
        self.accumulator.clone()
    }

    fn keeps_accumulators(&self) -> bool {
        true
    }

    fn open(&mut self, accumulators: StateId, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.fold.open(Some(accumulators), context)?;
        match &mut self.process {
            Some(process) => process.open(context),
            None => Ok(()),
        }
    }

    fn run(&mut self, call: IncrementalCall<'_, '_, '_>) -> Result<(), TaskError> {
        let IncrementalCall {
            steps,
            sources,
            panes,
            context,
            out,
            ..
        } = call;
        let rows = IncrementalRows {
            steps,
            sources,
            panes,
        };
        let Some(process) = &mut self.process else {
            return self.fold.call(&rows, context, |row, port, result| {
                if let Some(Step::Fire { step, .. }) = steps.get(row as usize) {
                    emit(out, *step, port, result);
                }
                Ok(())
            });
        };
        let mut results = Results::default();
        self.fold.call(&rows, context, |row, _, result| {
            results.push(row, result);
            Ok(())
        })?;
        results.process(steps, panes, process, context, out)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.fold.close(context)?;
        match &mut self.process {
            Some(process) => process.close(context),
            None => Ok(()),
        }
    }
}

/// Results of a fold that a process function is to see.
#[derive(Default)]
struct Results {
    bytes: Vec<u8>,
    /// Step, timestamp, place in `bytes`, null or not.
    each: Vec<(u32, Option<Timestamp>, Range<usize>, bool)>,
}

impl Results {
    fn push(&mut self, step: u32, result: RowRef<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(result.value());
        let place = start..self.bytes.len();
        self.each
            .push((step, result.timestamp(), place, result.is_null()));
    }

    /// Each firing with its one result, and each window that is gone, in the order of steps.
    fn process(
        &self,
        steps: &[Step<'_>],
        panes: &Panes,
        process: &mut ComponentProcess,
        context: &mut OperatorContext,
        out: &mut Emitter<'_, '_>,
    ) -> Result<(), TaskError> {
        let elements: Vec<_> = self
            .each
            .iter()
            .map(|(_, timestamp, place, is_null)| Element {
                timestamp: *timestamp,
                value: &self.bytes[place.clone()],
                is_null: *is_null,
                extension: &[],
                is_second: false,
            })
            .collect();
        let mut results = self.each.iter().enumerate().peekable();
        let mut fired = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Fire {
                    fired: pane,
                    window,
                    step,
                    ..
                } => {
                    while let Some((at, _)) = results.next_if(|(_, result)| result.0 as usize <= index) {
                        fired.push(ElementsStep::Fire {
                            pane: *pane,
                            window: *window,
                            step: *step,
                            elements: at..at + 1,
                        });
                    }
                }
                Step::Clear { pane, window, step } => fired.push(ElementsStep::Clear {
                    pane: *pane,
                    window: *window,
                    step: *step,
                }),
                Step::Add { .. } | Step::Merge { .. } | Step::Purge { .. } => {}
            }
        }
        process.call(&fired, &elements, panes, context, out)
    }
}

/// A process window function, or a co-group function: that is given the same, by sides.
pub(crate) struct ComponentProcess {
    part: Part,
    has_sides: bool,
}

impl ComponentProcess {
    /// Of one subtask.
    pub(crate) fn new(blueprint: Arc<Blueprint>) -> Self {
        Self {
            has_sides: blueprint.description().kind == FunctionKind::CoGroup,
            part: Part::new(blueprint),
        }
    }

    fn call(
        &mut self,
        steps: &[ElementsStep],
        elements: &[Element<'_>],
        panes: &Panes,
        context: &mut OperatorContext,
        out: &mut Emitter<'_, '_>,
    ) -> Result<(), TaskError> {
        let rows = ElementsRows {
            steps,
            elements,
            panes,
            has_sides: self.has_sides,
        };
        self.part.call(&rows, context, |row, port, result| {
            if let Some(ElementsStep::Fire { step, .. } | ElementsStep::Clear { step, .. }) =
                steps.get(row as usize)
            {
                emit(out, *step, port, result);
            }
            Ok(())
        })
    }
}

impl ElementsFunction for ComponentProcess {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.part.open(None, context)
    }

    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        self.call(call.steps, call.elements, call.panes, call.context, call.out)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.part.close(context)
    }
}

pub(super) fn emit(
    out: &mut Emitter<'_, '_>,
    step: wasmill_engine::window::emitter::StepId,
    port: u16,
    row: RowRef<'_>,
) {
    match row.is_null() {
        true => out.emit_null(step, port, row.timestamp()),
        false => out.emit(step, port, row.timestamp(), row.value()),
    }
}
