//! Window joins whose function is a component (G13): the pairs of many firings in a call.

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::join::window::Sides;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::window::element::Element;
use wasmill_engine::window::emitter::{Emitter, StepId};
use wasmill_engine::window::function::{ElementsCall, ElementsFunction, ElementsStep};
use wasmill_engine::window::panes::Panes;

use super::Part;
use super::function::emit;
use super::rows::{PairRows, Partners};
use crate::operator::blueprint::Blueprint;

/// Pairs that are laid out at once at most, but for those of one left element.
const PAIRS_MAX: u32 = 64 * 1024;

/// A function that is given the pairs of a window join.
pub(crate) struct ComponentJoin(Part);

impl ComponentJoin {
    /// Of one subtask.
    pub(crate) fn new(blueprint: Arc<Blueprint>) -> Self {
        Self(Part::new(blueprint))
    }
}

impl ElementsFunction for ComponentJoin {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.open(None, context)
    }

    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        let sides: Vec<Sides> = call
            .steps
            .iter()
            .map(|step| match step {
                ElementsStep::Fire { elements, .. } => Sides::of(call.elements, elements.clone()),
                ElementsStep::Clear { .. } => Sides::default(),
            })
            .collect();
        let mut waiting = Waiting {
            partners: Vec::new(),
            steps: Vec::new(),
            pairs: 0,
            elements: call.elements,
            panes: call.panes,
        };
        for (fired, sides) in call.steps.iter().zip(&sides) {
            let ElementsStep::Fire {
                pane, window, step, ..
            } = fired
            else {
                continue;
            };
            if sides.right.is_empty() {
                continue;
            }
            for left in &sides.left {
                if waiting.pairs >= PAIRS_MAX {
                    waiting.hand_over(&mut self.0, call.context, call.out)?;
                }
                waiting.partners.push(Partners {
                    first: waiting.pairs,
                    pane: *pane,
                    timestamp: window.max_timestamp(),
                    left: call.elements[*left],
                    right: &sides.right,
                });
                waiting.steps.push(*step);
                // The elements of a window are in memory: they are fewer.
                waiting.pairs = waiting.pairs.saturating_add(sides.right.len() as u32);
            }
        }
        waiting.hand_over(&mut self.0, call.context, call.out)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.close(context)
    }
}

/// Pairs that wait for the function.
struct Waiting<'c> {
    partners: Vec<Partners<'c>>,
    /// What the pairs of each left element are emitted under.
    steps: Vec<StepId>,
    pairs: u32,
    elements: &'c [Element<'c>],
    panes: &'c Panes,
}

impl Waiting<'_> {
    fn hand_over(
        &mut self,
        function: &mut Part,
        context: &mut OperatorContext,
        out: &mut Emitter<'_, '_>,
    ) -> Result<(), TaskError> {
        if self.pairs == 0 {
            return Ok(());
        }
        let rows = PairRows {
            partners: &self.partners,
            len: self.pairs,
            elements: self.elements,
            panes: self.panes,
        };
        let steps = &self.steps;
        function.call(&rows, context, |row, port, result| {
            emit(out, steps[rows.place(row)], port, result);
            Ok(())
        })?;
        self.partners.clear();
        self.steps.clear();
        self.pairs = 0;
        Ok(())
    }
}
