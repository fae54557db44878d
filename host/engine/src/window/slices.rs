//! Windows from slices (W9): an element touches one slice, whatever windows it is in.
//!
//! For tumbling and sliding event-time windows with the default trigger, no evictor, no lateness, and a function whose
//! accumulators merge in any order. Results are those of [`super::operator`], timers are not: one serves all keys of a
//! key group and window (`due`). What a key keeps, and how running aggregates make a window cost a constant number of
//! merges, is in `stored`.
//!
//! One difference: a window that has fired for a key stays gone for it, also right after a restore, when the watermark
//! begins anew; elements for it are late.

mod add;
mod behind;
mod build;
mod due;
mod fire;
mod slicing;
mod stored;

use std::sync::atomic::Ordering;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::function::StateKind;
use wasmill_model::key::MaxParallelism;
use wasmill_state::backend::{StateId, Values};
use wasmill_state::timers::{TimeDomain, Timer};

use self::add::Adds;
use self::slicing::Slicing;
use super::bounds::Window;
use super::element::Element;
use super::emitter::{Emitter, Planned, PlannedRecord, StepId};
use super::function::IncrementalFunction;
use super::operator::declaration;
use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;

/// What windows from slices are made of. Times are in ms.
pub struct SliceSettings {
    /// Of a window.
    pub size: i64,
    /// From one window to the next; the size of tumbling ones.
    pub slide: i64,
    /// Less than the slide either way.
    pub offset: i64,
    /// The output of late elements; `None`: they are counted and dropped.
    pub late_port: Option<u16>,
    /// Whether the stream is keyed; else all elements share one set of windows.
    pub is_keyed: bool,
}

/// Tumbling or sliding windows on a stream.
pub struct SlicedWindows {
    slicing: Slicing,
    function: Box<dyn IncrementalFunction>,
    late_port: Option<u16>,
    is_keyed: bool,
    states: States,
    max_parallelism: MaxParallelism,
}

/// The states of the operator.
#[derive(Clone, Copy)]
struct States {
    /// By key: its slices.
    slices: StateId,
    /// By key group and window: the keys to fire.
    due: StateId,
}

impl SlicedWindows {
    /// Of its parts; gives the function back where windows cannot be made of slices.
    pub fn new(
        settings: &SliceSettings,
        mut function: Box<dyn IncrementalFunction>,
    ) -> Result<Self, Box<dyn IncrementalFunction>> {
        let slicing = Slicing::new(settings.size, settings.slide, settings.offset);
        match slicing.filter(|_| function.merging().is_some()) {
            None => Err(function),
            Some(slicing) => Ok(Self {
                slicing,
                function,
                late_port: settings.late_port,
                is_keyed: settings.is_keyed,
                states: States {
                    slices: StateId(0),
                    due: StateId(0),
                },
                max_parallelism: MaxParallelism::DEFAULT,
            }),
        }
    }

    /// Emits or counts late elements, in the order of their rows.
    fn pass_late(&self, mut late: Vec<(u32, Element<'_>)>, context: &OperatorContext, out: &mut Output) {
        let Some(port) = self.late_port else {
            let counter = &context.metrics.late_records_dropped;
            let _ = counter.fetch_add(late.len() as u64, Ordering::Relaxed);
            return;
        };
        late.sort_by_key(|(row, _)| *row);
        let planned = late.into_iter().map(|(cause, element)| Planned {
            before: StepId(0),
            port,
            cause,
            record: PlannedRecord::Late(element),
        });
        Emitter::new(planned.collect(), Vec::new(), &Batch::default(), out).finish();
    }
}

/// The values of a batch's keys.
struct StoredKeys {
    values: Values,
    starts: Vec<usize>,
}

impl StoredKeys {
    fn new(values: Values) -> Self {
        let mut end = 0;
        let starts = values.lengths.iter().map(|length| {
            let start = end;
            end += if *length == wasmill_state::backend::NONE {
                0
            } else {
                *length as usize
            };
            start
        });
        Self {
            starts: starts.collect(),
            values,
        }
    }

    fn get(&self, key: usize) -> Option<&[u8]> {
        let length = self.values.lengths[key];
        let start = self.starts[key];
        (length != wasmill_state::backend::NONE).then(|| &self.values.bytes[start..start + length as usize])
    }
}

fn damaged() -> TaskError {
    TaskError::host("the stored slices of a window are damaged")
}

impl Operator for SlicedWindows {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.max_parallelism = context.runtime.max_parallelism;
        let mut slices =
            self.function
                .accumulator()
                .apply(declaration("window-slices", StateKind::Aggregating, "raw"));
        // IMPORTANT: stored numbers mean nothing to windows of another size: it must not be restored into them.
        slices.encoding = format!("{}; {}", self.slicing.encoding(), slices.encoding);
        let due = declaration("window-slices-due", StateKind::List, "window-slices-due");
        self.states = States {
            slices: context.state.register(&slices)?,
            due: context.state.register(&due)?,
        };
        self.function.open(self.states.slices, context)
    }

    fn process(
        &mut self,
        _port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut adds = Adds::default();
        for (index, row) in batch.iter().enumerate() {
            self.plan(index as u32, row, &mut adds, context)?;
        }
        self.add(&mut adds, context, out)?;
        if !adds.late.is_empty() {
            self.pass_late(adds.late, context, out);
        }
        Ok(batch.rows())
    }

    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let Some(first) = timers.first().filter(|_| domain == TimeDomain::Event) else {
            return Ok(timers.len() as u32);
        };
        let window = Window::from_namespace(&first.namespace)
            .ok_or_else(|| TaskError::host("a timer of windows without one"))?;
        // Firing a window makes timers of later ones only: those of the same window can go together.
        let same = timers
            .iter()
            .take_while(|timer| timer.namespace == first.namespace);
        self.fire(window, &timers[..same.count()], context, out)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.function.close(context)
    }
}
