//! A component's async function, for the engine's operator.
//!
//! Invariant: a call is about one element, so all that it answers is of that element. A call costs about a microsecond,
//! which no request over a network notices.

use std::sync::Arc;

use wasmill_engine::asynchronous::{AsyncFunction, Called};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::Batch;

use super::blueprint::Blueprint;
use super::function::FunctionOperator;

/// Of one subtask.
pub struct GuestAsyncFunction {
    function: FunctionOperator,
}

impl GuestAsyncFunction {
    /// From what all subtasks share.
    pub fn new(blueprint: Arc<Blueprint>) -> Self {
        Self {
            function: FunctionOperator::new(blueprint),
        }
    }
}

impl AsyncFunction for GuestAsyncFunction {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.function.open(context, None)
    }

    fn call(&mut self, row: &Batch, context: &mut OperatorContext) -> Result<Called, TaskError> {
        let mut out = Output::default();
        match self.function.process(0, row, context, &mut out) {
            Ok(_) => Ok(Called::Answered {
                emitted: out.drain().collect(),
                requests: self.function.take_requests(),
            }),
            Err(error) if self.function.asks_for_retry() => Ok(Called::Retry(error)),
            Err(error) => Err(error),
        }
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.function.close(context)
    }
}
