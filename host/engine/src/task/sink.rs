//! A sink as an operator of a chain (E1, E2): collects what its writer pre-commits, commits on completion.
//!
//! Invariant: every committable that was pre-committed is in each later snapshot until it is committed, and
//! none is committed before its checkpoint is complete.

use std::sync::Arc;

use wasmill_checkpoint::handle::{Committable, OperatorState};
use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, Tick};
use wasmill_model::id::CheckpointId;
use wasmill_model::time::{TimeSignal, Timestamp};

use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext, OperatorSnapshot};
use crate::output::Output;
use crate::pause_points;
use crate::sink::{Commit, Sink, SinkWriter, lost};
use crate::source::SourceSignal;

/// How long a writer may keep what it has written to itself, ms.
const FLUSH_MS: u64 = 20;
/// The pause before the first repetition of a commit, ms; it doubles.
const RETRY_FIRST_MS: u64 = 50;
/// The longest pause between repetitions, ms.
const RETRY_LONGEST_MS: u64 = 5_000;
/// Commits that could not be done so often fail the task: recovery tries again.
const RETRIES_MAX: u32 = 20;

/// Wraps a [`SinkWriter`].
pub(crate) struct SinkOperator {
    sink: Arc<dyn Sink>,
    writer: Option<Box<dyn SinkWriter>>,
    /// In the order of pre-commit, so by ascending checkpoint.
    pending: Vec<Committable>,
    completed: Option<CheckpointId>,
    retries: u32,
    retry_at: Option<Timestamp>,
    flush_at: Option<Timestamp>,
}

impl SinkOperator {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            writer: None,
            pending: Vec::new(),
            completed: None,
            retries: 0,
            retry_at: None,
            flush_at: None,
        }
    }

    fn writer(&mut self) -> Result<&mut Box<dyn SinkWriter>, TaskError> {
        let missing = || TaskError::host("a sink was used before it was opened");
        self.writer.as_mut().ok_or_else(missing)
    }

    /// Commits all that is due, in order; stops at the first that has to be tried again.
    fn commit(&mut self, now: Timestamp) -> Result<(), TaskError> {
        self.retry_at = None;
        let due = self.due();
        if due == 0 {
            return Ok(());
        }
        pause_points::hit("before-commit");
        let pending = std::mem::take(&mut self.pending);
        let mut done = 0;
        let mut result = Ok(());
        for committable in &pending[..due] {
            match self.writer()?.commit(committable) {
                Ok(Commit::Committed | Commit::Already) => {
                    done += 1;
                    self.retries = 0;
                }
                Ok(Commit::Retry(reason)) => {
                    result = self.retry_later(committable, &reason, now);
                    break;
                }
                Ok(Commit::Lost(reason)) => {
                    result = Err(lost(committable, &reason));
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.pending = pending;
        self.pending.drain(..done);
        if self.due() == 0 {
            pause_points::hit("after-commit");
        }
        result
    }

    fn due(&self) -> usize {
        let completed = self.completed;
        let is_due = |c: &Committable| completed.is_some_and(|completed| c.checkpoint <= completed);
        self.pending.iter().take_while(|c| is_due(c)).count()
    }

    fn retry_later(&mut self, what: &Committable, reason: &str, now: Timestamp) -> Result<(), TaskError> {
        if self.retries >= RETRIES_MAX {
            return Err(TaskError::external(format!(
                "what was written for checkpoint {} could not be committed in {} attempts: {reason}",
                what.checkpoint,
                RETRIES_MAX + 1
            )));
        }
        let pause = (RETRY_FIRST_MS << self.retries.min(16)).min(RETRY_LONGEST_MS);
        self.retries += 1;
        self.retry_at = Some(now.saturating_add_unsigned(pause));
        tracing::warn!(
            checkpoint = what.checkpoint.0,
            reason,
            "a commit has to be tried again"
        );
        Ok(())
    }
}

impl Operator for SinkOperator {
    /// What was restored was committed already, by [`Sink::recover`].
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.writer = Some(self.sink.writer(&context.runtime)?);
        Ok(())
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        _: &mut Output,
    ) -> Result<u32, TaskError> {
        self.writer()?.write_from(port, batch)?;
        if self.flush_at.is_none() {
            self.flush_at = Some(context.processing_time.saturating_add_unsigned(FLUSH_MS));
        }
        Ok(batch.rows())
    }

    fn on_watermark(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        let watermark = context.watermark;
        self.writer()?
            .on_signal(SourceSignal::Time(TimeSignal::Watermark(watermark)))
    }

    fn on_status(&mut self, is_idle: bool, _: &mut OperatorContext) -> Result<(), TaskError> {
        let signal = if is_idle {
            TimeSignal::Idle
        } else {
            TimeSignal::Active
        };
        self.writer()?.on_signal(SourceSignal::Time(signal))
    }

    fn on_tick(&mut self, tick: Tick, _: &mut OperatorContext) -> Result<(), TaskError> {
        self.writer()?.on_signal(SourceSignal::Tick(tick))
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        context: &mut OperatorContext,
    ) -> Result<OperatorSnapshot, TaskError> {
        let checkpoint = barrier.checkpoint;
        let prepared = self.writer()?.prepare_commit(checkpoint)?;
        self.flush_at = None;
        let sink = context.runtime.operator.clone();
        self.pending
            .extend(prepared.into_iter().map(|(version, bytes)| Committable {
                sink: sink.clone(),
                checkpoint,
                version,
                bytes,
            }));
        Ok(OperatorSnapshot {
            state: OperatorState {
                committables: self.pending.clone(),
                ..OperatorState::default()
            },
            keyed: None,
        })
    }

    fn on_checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        self.completed = self.completed.max(Some(checkpoint));
        // A repetition that waits keeps its turn: more completions do not make it more likely.
        if self.retry_at.is_some() {
            return Ok(());
        }
        self.commit(context.processing_time)
    }

    fn on_end(&mut self, _: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        self.flush_at = None;
        self.writer()?.flush()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.retry_at.into_iter().chain(self.flush_at).min()
    }

    fn on_wake(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        let now = context.processing_time;
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            self.writer()?.flush()?;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.commit(now)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.due() == 0
    }

    fn settle(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.commit(context.processing_time)
    }

    fn close(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        match &mut self.writer {
            Some(writer) => writer.flush(),
            None => Ok(()),
        }
    }
}
