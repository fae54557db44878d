//! Window functions that are components (W6): one call for all panes of a batch.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{OperatorContext, RuntimeContext};
use wasmill_engine::window::element::Element;
use wasmill_engine::window::emitter::Emitter;
use wasmill_engine::window::function::{
    AccumulatorEncoding, ElementsCall, ElementsFunction, ElementsStep, IncrementalCall, IncrementalFunction,
    Step,
};
use wasmill_engine::window::panes::{PaneId, Panes};
use wasmill_model::function::FunctionKind;
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;
use wasmill_state::backend::{Locator, StateId, Write};
use wasmill_state::migration::Migration;

use super::Part;
use super::rows::{ElementsRows, IncrementalRows};
use crate::operator::blueprint::Blueprint;
use crate::operator::migration::GuestMigration;

/// A reduce or aggregate function, and the process function behind it where there is one.
pub(crate) struct ComponentFold {
    fold: Part,
    process: Option<ComponentProcess>,
    accumulator: AccumulatorEncoding,
    /// The state of the accumulators.
    state: Option<StateId>,
    /// By pane of the last run: whether it had an accumulator, where that is known.
    found: Vec<Cell<Option<bool>>>,
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
                migrates_from: state.migrates_from,
            },
        );
        Self {
            fold: Part::new(fold),
            process: process.map(ComponentProcess::new),
            accumulator,
            state: None,
            found: Vec::new(),
        }
    }
}

impl IncrementalFunction for ComponentFold {
    fn accumulator(&self) -> AccumulatorEncoding {
        self.accumulator.clone()
    }

    fn migration(&self, runtime: &Arc<RuntimeContext>) -> Option<Box<dyn Migration>> {
        let blueprint = self.fold.blueprint();
        let declared = blueprint.description().state.first()?;
        declared.migrates_from?;
        Some(Box::new(GuestMigration::new(blueprint, runtime, &declared.name)))
    }

    fn keeps_accumulators(&self) -> bool {
        true
    }

    fn open(&mut self, accumulators: StateId, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.state = Some(accumulators);
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
        let purged = purged_last(steps, panes.len());
        let order = rows(steps, purged.is_some());
        self.found.clear();
        self.found.resize(panes.len(), Cell::new(None));
        let rows = IncrementalRows {
            steps,
            order: &order,
            sources,
            panes,
            found: &self.found,
        };
        let mut results = Results::default();
        self.fold.call(&rows, context, |row, port, result| {
            let index = order.get(row as usize).copied().unwrap_or(u32::MAX);
            match (&self.process, steps.get(index as usize)) {
                (Some(_), _) => results.push(index, result),
                (None, Some(Step::Fire { step, .. })) => emit(out, *step, port, result),
                (None, _) => {}
            }
            Ok(())
        })?;
        if let (Some(purged), Some(state)) = (purged, self.state) {
            purge(&purged, state, panes, context)?;
        }
        match &mut self.process {
            Some(process) => results.process(steps, panes, process, context, out),
            None => Ok(()),
        }
    }

    fn found_none(&self, pane: PaneId) -> bool {
        let found = self.found.get(pane.index()).and_then(Cell::get);
        found != Some(true)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.fold.close(context)?;
        match &mut self.process {
            Some(process) => process.close(context),
            None => Ok(()),
        }
    }
}

/// The panes that are purged, where that can be left to the end: nothing is added after it. Windows that fire by a
/// timer mostly end so, and then the host removes their accumulators without a word to the component.
fn purged_last(steps: &[Step<'_>], panes: usize) -> Option<Vec<PaneId>> {
    let (mut purged, mut is_purged) = (Vec::new(), vec![false; panes]);
    for step in steps {
        match step {
            Step::Add { .. } | Step::Merge { .. } => return None,
            Step::Fire { pane, .. } if is_purged[pane.index()] => return None,
            Step::Purge { pane } => {
                is_purged[pane.index()] = true;
                purged.push(*pane);
            }
            Step::Fire { .. } | Step::Clear { .. } => {}
        }
    }
    Some(purged)
}

/// The steps that concern a component that folds: that a window is gone does not, for it keeps accumulators alone.
fn rows(steps: &[Step<'_>], host_purges: bool) -> Vec<u32> {
    let concerns = |step: &Step<'_>| match step {
        Step::Add { .. } | Step::Merge { .. } | Step::Fire { .. } => true,
        Step::Purge { .. } => !host_purges,
        Step::Clear { .. } => false,
    };
    let steps = (0..).zip(steps);
    steps
        .filter(|(_, step)| concerns(step))
        .map(|(index, _)| index)
        .collect()
}

fn purge(
    purged: &[PaneId],
    state: StateId,
    panes: &Panes,
    context: &mut OperatorContext,
) -> Result<(), TaskError> {
    let writes: Vec<_> = purged
        .iter()
        .map(|pane| Write {
            key: panes.state_key(*pane),
            locator: Locator::UNKNOWN,
            value: None,
        })
        .collect();
    context.state.write_batch(state, &writes)?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use wasmill_engine::window::bounds::Window;
    use wasmill_engine::window::emitter::StepId;

    use super::*;

    const PANES: [PaneId; 2] = [PaneId(0), PaneId(1)];

    fn fire<'a>(pane: PaneId) -> Step<'a> {
        Step::Fire {
            pane,
            fired: pane,
            window: Window::Global,
            step: StepId(0),
            even_empty: false,
        }
    }

    fn purge<'a>(pane: PaneId) -> Step<'a> {
        Step::Purge { pane }
    }

    fn clear<'a>(pane: PaneId) -> Step<'a> {
        Step::Clear {
            pane,
            window: Window::Global,
            step: StepId(0),
        }
    }

    #[test]
    fn windows_that_end_are_purged_by_the_host_and_the_component_sees_their_results_alone() {
        let [a, b] = PANES;
        let steps = [fire(a), purge(a), clear(a), fire(b), purge(b), clear(b)];
        assert_eq!(purged_last(&steps, PANES.len()), Some(vec![a, b]));
        assert_eq!(rows(&steps, true), [0, 3]);
    }

    #[test]
    fn a_pane_that_is_purged_in_the_middle_is_purged_by_the_component() {
        let [a, b] = PANES;
        let element = Element {
            timestamp: None,
            value: b"x",
            is_null: false,
            extension: &[],
            is_second: false,
        };
        let added = [purge(a), Step::Add { pane: a, element }];
        let merged = [
            purge(b),
            Step::Merge {
                target: a,
                sources: 0..1,
            },
        ];
        let fired_again = [fire(a), purge(a), fire(b), fire(a)];
        for steps in [&added[..], &merged, &fired_again] {
            assert_eq!(purged_last(steps, PANES.len()), None);
        }
        assert_eq!(rows(&fired_again, false), [0, 1, 2, 3]);
    }
}
