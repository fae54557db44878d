//! Components as parts of windows: functions, triggers, evictors and assigners.

pub(crate) mod assigner;
pub(crate) mod evictor;
pub(crate) mod function;
pub(crate) mod join;
pub(crate) mod rows;
pub(crate) mod trigger;

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_model::row::RowRef;
use wasmill_state::backend::StateId;

use self::rows::{PaneRows, PaneWork};
use super::blueprint::Blueprint;
use super::function::FunctionOperator;
use super::work::Work;
use crate::journal::effects::TimerOp;

/// A function as a part of a window: it is called for panes.
pub(crate) struct Part {
    operator: FunctionOperator,
    out: Output,
}

impl Part {
    fn new(blueprint: Arc<Blueprint>) -> Self {
        Self {
            operator: FunctionOperator::new(blueprint),
            out: Output::default(),
        }
    }

    /// What its instances share.
    fn blueprint(&self) -> &Arc<Blueprint> {
        self.operator.blueprint()
    }

    /// Opens it; `accumulators` is the state of a function that folds.
    fn open(
        &mut self,
        accumulators: Option<StateId>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        self.operator.open_part(accumulators, context)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.operator.close(context)
    }

    /// Calls for all rows; `each` sees the rows that it emitted, with the row that caused each and the output.
    fn call(
        &mut self,
        rows: &dyn PaneRows,
        context: &mut OperatorContext,
        mut each: impl FnMut(u32, u16, RowRef<'_>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut from = 0;
        while from < rows.len() {
            let work = Work::Panes(PaneWork::of(rows, from));
            let consumed = self.operator.run(&work, context, &mut self.out)?;
            for (port, batch) in self.out.drain() {
                for row in &batch {
                    each(from + row.key_field(), port, row)?;
                }
            }
            from += consumed;
        }
        Ok(())
    }

    /// The timers of the last call, in order.
    fn take_timers(&mut self) -> Vec<TimerOp> {
        self.operator.take_timers()
    }

    /// An answer that does not fit what was asked.
    fn lied(&self, message: &str) -> TaskError {
        self.operator.lied(message)
    }
}
