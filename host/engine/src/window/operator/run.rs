//! Does what was planned: state is read, the window function is called, state is written, results go out.

use std::ops::Range;

use wasmill_model::batch::Batch;
use wasmill_state::backend::{KeyedStateBackend, Locator, NONE, StateId, StateKey, Values, Write};

use super::WindowOperator;
use super::plan::{Action, Plan};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::output::Output;
use crate::window::element::Element;
use crate::window::emitter::{Emitter, StepId};
use crate::window::evictor::{EvictionTime, Evictor, EvictorContext};
use crate::window::function::{
    Accumulators, ElementsCall, ElementsFunction, ElementsStep, IncrementalCall, IncrementalFunction, Step,
    WindowFunction,
};
use crate::window::panes::{PaneId, Panes};

/// Elements of windows that fire are given to the function when they have so many bytes, one window's at least.
const FIRED_BYTES_MAX: usize = 1 << 20;

impl WindowOperator {
    /// `rows` is the batch that the plan is of.
    pub(super) fn run<'a>(
        &mut self,
        mut plan: Plan<'a>,
        rows: &'a Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        plan.store(&mut *context.state, &self.states)?;
        let contents = self
            .states
            .contents
            .ok_or_else(|| TaskError::host("window: not opened"))?;
        let keeps_elements = self.keeps_elements();
        let emitted = std::mem::take(&mut plan.emitted);
        let causes = std::mem::take(&mut plan.causes);
        let mut out = Emitter::new(emitted, causes, rows, out);
        match &mut self.settings.function {
            WindowFunction::Incremental(function) if !keeps_elements => {
                fold(plan, contents, &mut **function, context, &mut out)?;
            }
            function => {
                let evictor = self.settings.evictor.as_deref_mut();
                collect(plan, contents, evictor, function, context, &mut out)?;
            }
        }
        out.finish();
        Ok(())
    }
}

/// With one accumulator a pane.
fn fold<'a>(
    plan: Plan<'a>,
    contents: StateId,
    function: &mut dyn IncrementalFunction,
    context: &mut OperatorContext,
    out: &mut Emitter<'a, '_>,
) -> Result<(), TaskError> {
    if plan.actions.is_empty() {
        return Ok(());
    }
    let Plan {
        panes,
        actions,
        deferred,
        ..
    } = plan;
    let mut sources = Vec::new();
    let steps = incremental_steps(actions, &panes, &mut sources);
    if function.keeps_accumulators() {
        function.run(IncrementalCall {
            steps: &steps,
            sources: &sources,
            panes: &panes,
            accumulators: &mut Accumulators::default(),
            context,
            out,
        })?;
        Plan::register_deferred(context, &panes, &deferred, |pane| function.found_none(pane));
        return Ok(());
    }
    let keys: Vec<StateKey<'_>> = (0..panes.len() as u32)
        .map(|id| panes.state_key(PaneId(id)))
        .collect();
    let mut values = Values::default();
    context.state.get_many(contents, &keys, &mut values)?;
    let mut accumulators = Accumulators::of(std::mem::take(&mut values.bytes), &values.lengths);
    Plan::register_deferred(context, &panes, &deferred, |pane| {
        values.lengths.get(pane.index()) == Some(&NONE)
    });
    function.run(IncrementalCall {
        steps: &steps,
        sources: &sources,
        panes: &panes,
        accumulators: &mut accumulators,
        context,
        out,
    })?;
    let writes: Vec<_> = accumulators
        .changed()
        .map(|(pane, value)| Write {
            key: keys[pane.index()],
            locator: values
                .locators
                .get(pane.index())
                .copied()
                .unwrap_or(Locator::UNKNOWN),
            value,
        })
        .collect();
    context.state.write_batch(contents, &writes)?;
    Ok(())
}

/// The actions of a plan as steps of an incremental function.
fn incremental_steps<'a>(
    actions: Vec<Action<'a>>,
    panes: &Panes,
    sources: &mut Vec<PaneId>,
) -> Vec<Step<'a>> {
    let mut steps = Vec::with_capacity(actions.len());
    for (index, action) in actions.into_iter().enumerate() {
        let step = StepId(index as u32);
        steps.push(match action {
            Action::Add(pane, element) => Step::Add { pane, element },
            Action::Merge(target, parts) => {
                let start = sources.len();
                sources.extend(parts);
                Step::Merge {
                    target,
                    sources: start..sources.len(),
                }
            }
            Action::Fire(pane, fired) => Step::Fire {
                pane,
                fired,
                window: panes.window(fired),
                step,
                even_empty: false,
            },
            Action::Purge(pane) => Step::Purge { pane },
            Action::Clear(pane) => Step::Clear {
                pane,
                window: panes.window(pane),
                step,
            },
        });
    }
    steps
}

/// With all elements of a pane in a list.
fn collect<'a>(
    plan: Plan<'a>,
    contents: StateId,
    mut evictor: Option<&mut (dyn Evictor + 'static)>,
    function: &mut WindowFunction,
    context: &mut OperatorContext,
    out: &mut Emitter<'a, '_>,
) -> Result<(), TaskError> {
    let Plan {
        panes,
        actions,
        deferred,
        ..
    } = plan;
    let mut had_nothing = vec![false; panes.len()];
    let (mut fired, mut element_bytes) = (Fired::default(), Vec::new());
    let keys: Vec<StateKey<'_>> = (0..panes.len() as u32)
        .map(|id| panes.state_key(PaneId(id)))
        .collect();
    context.state.prefetch(contents, &keys);
    for (index, action) in actions.into_iter().enumerate() {
        let step = StepId(index as u32);
        let state = &mut *context.state;
        match action {
            Action::Add(pane, element) => {
                element_bytes.clear();
                element.encode(&mut element_bytes);
                had_nothing[pane.index()] |= state.append(contents, keys[pane.index()], &element_bytes)?;
            }
            Action::Merge(target, sources) => merge_lists(state, contents, &panes, target, &sources)?,
            Action::Fire(pane, at) => {
                let key = panes.state_key(pane);
                let moment = EvictorContext {
                    pane: at,
                    panes: &panes,
                    operator: context,
                };
                if let Some(elements) = fired.read(contents, key, evictor.as_deref_mut(), moment)? {
                    fired.steps.push(ElementsStep::Fire {
                        pane: at,
                        window: panes.window(at),
                        step,
                        elements,
                    });
                }
            }
            Action::Purge(pane) => state.clear(contents, panes.state_key(pane))?,
            Action::Clear(pane) => fired.steps.push(ElementsStep::Clear {
                pane,
                window: panes.window(pane),
                step,
            }),
        }
        if fired.stored.bytes.len() >= FIRED_BYTES_MAX {
            fired.hand_over(&panes, function, context, out)?;
        }
    }
    Plan::register_deferred(context, &panes, &deferred, |pane| had_nothing[pane.index()]);
    fired.hand_over(&panes, function, context, out)
}

/// Appends lists to one another, and all of them to the target's.
fn merge_lists(
    state: &mut dyn KeyedStateBackend,
    contents: StateId,
    panes: &Panes,
    target: PaneId,
    sources: &[PaneId],
) -> Result<(), TaskError> {
    let mut elements = Values::default();
    for source in sources {
        elements.clear();
        state.list(contents, panes.state_key(*source), &mut elements)?;
        state.clear(contents, panes.state_key(*source))?;
        let mut rest = &elements.bytes[..];
        for length in &elements.lengths {
            let (element, others) = rest.split_at(*length as usize);
            state.append(contents, panes.state_key(target), element)?;
            rest = others;
        }
    }
    Ok(())
}

/// Firings that wait for the function.
#[derive(Default)]
struct Fired {
    steps: Vec<ElementsStep>,
    /// Elements of all firings, as they are stored.
    stored: Values,
    elements: Vec<Range<usize>>,
}

impl Fired {
    /// Reads the elements of a window that fires; `None` where it has none.
    fn read(
        &mut self,
        contents: StateId,
        key: StateKey<'_>,
        evictor: Option<&mut (dyn Evictor + 'static)>,
        mut moment: EvictorContext<'_>,
    ) -> Result<Option<Range<usize>>, TaskError> {
        let first = self.elements.len();
        let mut start = self.stored.bytes.len();
        self.stored.lengths.clear();
        moment.operator.state.list(contents, key, &mut self.stored)?;
        for length in &self.stored.lengths {
            self.elements.push(start..start + *length as usize);
            start += *length as usize;
        }
        if self.elements.len() == first {
            return Ok(None);
        }
        if let Some(evictor) = evictor {
            self.evict(contents, key, first, evictor, &mut moment)?;
        }
        Ok(Some(first..self.elements.len()))
    }

    /// Lets the evictor run before and after the function, which does not change elements, and stores what is left.
    fn evict(
        &mut self,
        contents: StateId,
        key: StateKey<'_>,
        first: usize,
        evictor: &mut dyn Evictor,
        moment: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError> {
        let all = self.elements.split_off(first);
        let stored = &self.stored.bytes;
        let before = keep(evictor, EvictionTime::Before, stored, all.clone(), moment)?;
        let after = keep(evictor, EvictionTime::After, stored, before.clone(), moment)?;
        if after.len() < all.len() {
            let state = &mut *moment.operator.state;
            state.clear(contents, key)?;
            for element in after {
                state.append(contents, key, &stored[element])?;
            }
        }
        self.elements.extend(before);
        Ok(())
    }

    fn hand_over<'a>(
        &mut self,
        panes: &Panes,
        function: &mut WindowFunction,
        context: &mut OperatorContext,
        out: &mut Emitter<'a, '_>,
    ) -> Result<(), TaskError> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let elements = decode(&self.stored.bytes, &self.elements)?;
        match function {
            WindowFunction::Elements(function) => {
                hand_elements(&self.steps, &elements, panes, &mut **function, context, out)?;
            }
            WindowFunction::Incremental(function) => {
                fold_elements(&self.steps, &elements, panes, &mut **function, context, out)?;
            }
        }
        drop(elements);
        self.steps.clear();
        self.elements.clear();
        self.stored.bytes.clear();
        Ok(())
    }
}

fn hand_elements<'a>(
    steps: &[ElementsStep],
    elements: &[Element<'_>],
    panes: &Panes,
    function: &mut dyn ElementsFunction,
    context: &mut OperatorContext,
    out: &mut Emitter<'a, '_>,
) -> Result<(), TaskError> {
    function.run(ElementsCall {
        steps,
        elements,
        panes,
        context,
        out,
    })
}

/// An incremental function behind an evictor: it runs over what was left, from nothing.
fn fold_elements<'a>(
    fired: &[ElementsStep],
    elements: &[Element<'_>],
    panes: &Panes,
    function: &mut dyn IncrementalFunction,
    context: &mut OperatorContext,
    out: &mut Emitter<'a, '_>,
) -> Result<(), TaskError> {
    let mut steps = Vec::new();
    for step in fired {
        match *step {
            ElementsStep::Fire {
                pane,
                window,
                step,
                elements: ref range,
            } => {
                let added = elements[range.clone()].iter();
                steps.extend(added.map(|element| Step::Add {
                    pane,
                    element: *element,
                }));
                steps.push(Step::Fire {
                    pane,
                    fired: pane,
                    window,
                    step,
                    even_empty: true,
                });
                steps.push(Step::Purge { pane });
            }
            ElementsStep::Clear { pane, window, step } => steps.push(Step::Clear { pane, window, step }),
        }
    }
    function.run(IncrementalCall {
        steps: &steps,
        sources: &[],
        panes,
        accumulators: &mut Accumulators::empty(panes.len()),
        context,
        out,
    })
}

fn decode<'b>(bytes: &'b [u8], ranges: &[Range<usize>]) -> Result<Vec<Element<'b>>, TaskError> {
    let element = |range: &Range<usize>| Element::decode(&bytes[range.clone()]);
    let elements: Option<_> = ranges.iter().map(element).collect();
    elements.ok_or_else(|| TaskError::host("a stored element of a window is damaged"))
}

/// Those of the elements that the evictor leaves.
fn keep(
    evictor: &mut dyn Evictor,
    when: EvictionTime,
    bytes: &[u8],
    mut stored: Vec<Range<usize>>,
    moment: &mut EvictorContext<'_>,
) -> Result<Vec<Range<usize>>, TaskError> {
    let elements = decode(bytes, &stored)?;
    let mut keep = vec![true; elements.len()];
    evictor.evict(when, &elements, &mut keep, moment)?;
    let mut keep = keep.into_iter();
    stored.retain(|_| keep.next().unwrap_or(true));
    Ok(stored)
}
