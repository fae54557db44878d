//! Window assigners that are components (W4): one call for a batch.

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_engine::window::assigner::{WindowAssigner, WindowTime};
use wasmill_engine::window::bounds::Window;
use wasmill_engine::window::trigger::Trigger;
use wasmill_model::batch::Batch;
use wasmill_model::graph::window::WINDOWS_PER_ELEMENT_MAX;
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;

use crate::operator::blueprint::Blueprint;
use crate::operator::function::FunctionOperator;

/// A component's assigner.
pub(crate) struct ComponentAssigner {
    operator: FunctionOperator,
    out: Output,
    time: WindowTime,
    merges: bool,
    windows: Vec<Window>,
    /// Where the windows of each row of the batch end.
    ends: Vec<usize>,
}

impl ComponentAssigner {
    /// Of one subtask.
    pub(crate) fn new(blueprint: Arc<Blueprint>, time: WindowTime) -> Self {
        Self {
            merges: blueprint.description().merges,
            operator: FunctionOperator::new(blueprint),
            out: Output::default(),
            time,
            windows: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The windows of one row: start and end, 16 bytes each; a start and an end of time are the global window.
    fn take(&mut self, value: &[u8]) -> Result<(), TaskError> {
        let (windows, rest) = value.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(self
                .operator
                .lied("an assigner answers start and end of each window, 16 bytes"));
        }
        if windows.len() as i64 > WINDOWS_PER_ELEMENT_MAX {
            let message = format!(
                "an element in {} windows, and {WINDOWS_PER_ELEMENT_MAX} is the limit",
                windows.len()
            );
            return Err(self.operator.lied(&message));
        }
        for window in windows {
            let (mut start, mut end) = ([0; 8], [0; 8]);
            start.copy_from_slice(&window[..8]);
            end.copy_from_slice(&window[8..]);
            let (start, end) = (i64::from_le_bytes(start), i64::from_le_bytes(end));
            if start >= end {
                let message = format!("a window from {start} to {end}: it must end after its start");
                return Err(self.operator.lied(&message));
            }
            let is_global = (start, end) == Window::Global.bounds();
            self.windows.push(match is_global {
                true => Window::Global,
                false => Window::Time { start, end },
            });
        }
        self.ends.push(self.windows.len());
        Ok(())
    }
}

impl WindowAssigner for ComponentAssigner {
    fn is_event_time(&self) -> bool {
        self.time == WindowTime::Event
    }

    fn merges(&self) -> bool {
        self.merges
    }

    fn default_trigger(&self) -> Box<dyn Trigger> {
        self.time.trigger()
    }

    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.operator.open_part(None, context)
    }

    fn prepare(&mut self, batch: &Batch, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.windows.clear();
        self.ends.clear();
        let mut from = 0;
        while from < batch.rows() {
            let rest = batch.skip(from);
            let mut out = std::mem::take(&mut self.out);
            from += self.operator.process(0, &rest, context, &mut out)?;
            for (_, answers) in out.drain() {
                answers.iter().try_for_each(|row| self.take(row.value()))?;
            }
            self.out = out;
        }
        if self.ends.len() != batch.rows() as usize {
            return Err(self.operator.lied("an assigner answers one row for each element"));
        }
        Ok(())
    }

    fn assign(
        &mut self,
        index: u32,
        _row: RowRef<'_>,
        _processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError> {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        windows.extend_from_slice(&self.windows[start..self.ends[index]]);
        Ok(())
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.operator.close(context)
    }
}
