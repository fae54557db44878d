//! The seam between the task and what happens to records.
//!
//! All calls of an operator come from its task, one after another. A call that fails ends the task:
//! the job goes back to a checkpoint, so an operator need not undo anything outside itself.

use std::sync::Arc;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, Tick};
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_model::time::{TimeSignal, Timestamp};
use wasmill_state::backend::{KeyedStateBackend, StateSnapshot};
use wasmill_state::timers::{TimeDomain, Timer, TimerQueue};

use crate::error::TaskError;
use crate::metrics::OperatorMetrics;
use crate::output::Output;

/// What an operator knows of where it runs (G9); it does not change while it runs.
#[derive(Clone, Debug)]
pub struct RuntimeContext {
    /// The job.
    pub job_id: JobId,
    /// Its name.
    pub job_name: String,
    /// The operator.
    pub operator: OperatorUid,
    /// The chain that the task runs, as `a -> b`.
    pub task_name: String,
    /// From 0.
    pub subtask_index: u32,
    /// Of the operator.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
    /// Key groups of this subtask.
    pub key_groups: KeyGroupRange,
    /// From 0; grows with every restart of the job.
    pub attempt: u32,
}

/// What an operator works with during a call.
pub struct OperatorContext {
    /// Where it runs.
    pub runtime: Arc<RuntimeContext>,
    /// Keyed state; an operator that is not keyed has an empty one.
    pub state: Box<dyn KeyedStateBackend>,
    /// Timers of the operator.
    pub timers: TimerQueue,
    /// The operator's event-time clock.
    pub watermark: Timestamp,
    /// The operator's processing-time clock: one reading a step.
    pub processing_time: Timestamp,
    /// Counters that the host publishes.
    pub metrics: Arc<OperatorMetrics>,
}

/// What happens to records.
pub trait Operator: Send {
    /// Called once, before anything else. Keyed state and timers in `context` are restored already;
    /// `restored` holds the rest: operator state (redistributed), raw state, committables. `None` on a
    /// fresh start.
    fn open(
        &mut self,
        context: &mut OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError>;

    /// Processes rows from the front of a batch that came in on `port` and returns how many: at least
    /// one. The task submits the rest again. A step should stay under 10 ms.
    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError>;

    /// Processes timers of one domain from the front of those that are due, in firing order, and returns
    /// how many: at least one. They are removed from the queue already; the task puts back those not
    /// processed and orders anew. An operator that registers or deletes a timer at or before the clock of
    /// the domain must stop after that timer.
    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let _ = (domain, context, out);
        Ok(timers.len() as u32)
    }

    /// The clock in `context` has advanced and due timers were processed; the watermark goes downstream
    /// after this.
    fn on_watermark(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let _ = (context, out);
        Ok(())
    }

    /// Whether watermarks and idleness of its input end here: it emits its own by [`Output::signal`]. Of its
    /// input's watermarks it hears only the last one, [`wasmill_model::time::WATERMARK_END`].
    fn makes_watermarks(&self) -> bool {
        false
    }

    /// Whether it takes no row now: it has as many in flight as it may. It takes some later, without a call.
    fn is_full(&self) -> bool {
        false
    }

    /// After [`Operator::on_watermark`] or [`Operator::on_status`]: whether the signal waits behind what is in flight.
    /// The operator emits it by [`Output::signal`] when its turn has come; else the task passes it on.
    fn delay_signal(&mut self, signal: TimeSignal) -> bool {
        let _ = signal;
        false
    }

    /// Whether something has come from outside the dataflow that [`Operator::on_ready`] is to take. What makes it so
    /// wakes the task.
    fn has_ready(&self) -> bool {
        false
    }

    /// Where [`Operator::has_ready`]: takes a step's worth of what has come, and emits. There is credit.
    fn on_ready(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let _ = (context, out);
        Ok(())
    }

    /// After [`Operator::on_end`]: whether nothing is in flight any more. The end goes on only then.
    fn is_drained(&self) -> bool {
        true
    }

    /// All inputs are idle now, or one of them is active again; the same goes downstream after this.
    fn on_status(&mut self, is_idle: bool, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = (is_idle, context);
        Ok(())
    }

    /// The input drives the job, and a step of it begins: what comes until the next one is caused by it. The
    /// clock in `context` stands at the step's time already.
    fn on_tick(&mut self, tick: Tick, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = (tick, context);
        Ok(())
    }

    /// At a barrier, when all rows before it are processed. Must be quick; keyed state and timers are
    /// frozen by the task itself. A sink pre-commits here.
    fn snapshot(
        &mut self,
        barrier: &Barrier,
        context: &mut OperatorContext,
    ) -> Result<OperatorSnapshot, TaskError> {
        let _ = (barrier, context);
        Ok(OperatorSnapshot::default())
    }

    /// A checkpoint is complete: everything up to it may be committed. Not every checkpoint is told of,
    /// and completing one implies all before it.
    fn on_checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let _ = (checkpoint, context);
        Ok(())
    }

    /// All inputs have ended and the final watermark was processed, but where a source was stopped: event time
    /// then stays where it is. Emits what is left.
    ///
    /// Called again after a restore from a checkpoint that was taken after it, for the input then ends
    /// anew (C5): what it emits must come from state that emitting removes, so that a second call emits
    /// nothing. The same holds of what [`Operator::on_watermark`] emits at the final watermark; timers
    /// that have fired are gone by themselves.
    fn on_end(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let _ = (context, out);
        Ok(())
    }

    /// When the operator would like [`Operator::on_wake`] although nothing came in, in processing time.
    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    /// Before each [`Operator::on_wake`]: for how long the task could not go on for want of credit so far, ms.
    /// Idleness does not count that.
    fn on_backpressured(&mut self, total_ms: i64) {
        let _ = total_ms;
    }

    /// The time of [`Operator::wake_at`] has come; afterwards it must be later, or none.
    fn on_wake(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let _ = (context, out);
        Ok(())
    }

    /// Whether it may be closed: a sink that has commits to repeat says no, and wakes up for them.
    fn is_settled(&self) -> bool {
        true
    }

    /// The job is cancelled or the host goes down: what waits to be done again is tried once more. What still
    /// cannot be done is in the latest checkpoint.
    fn settle(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Called once at an orderly end: finished, stopped or cancelled; not after a failure.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }
}

/// What an operator adds to a checkpoint beside keyed state and timers.
#[derive(Default)]
pub struct OperatorSnapshot {
    /// Operator state, raw state and committables; its `keyed` is ignored.
    pub state: OperatorState,
    /// Keyed state that the operator froze itself instead of the task: for backends to come.
    pub keyed: Option<Box<dyn StateSnapshot>>,
}
