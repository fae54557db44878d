//! The seam to where results go: write, pre-commit at the barrier, commit on completion.

use wasmill_checkpoint::handle::Committable;
use wasmill_model::batch::Batch;
use wasmill_model::id::CheckpointId;

use crate::error::TaskError;
use crate::operator::RuntimeContext;
use crate::source::SourceSignal;

/// What a sink does about records that a restored job writes again (E1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkGuarantee {
    /// Nothing: they appear again.
    AtLeastOnce,
    /// Writing again changes nothing.
    Idempotent,
    /// They are visible only once committed, and are committed once.
    TwoPhaseCommit,
}

/// A sink as the job declares it.
pub trait Sink: Send + Sync {
    /// Makes the writer of a subtask.
    fn writer(&self, runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError>;

    /// Called once by the job before any writer is made, also at a fresh start: first commits all that
    /// the restored checkpoint holds, then aborts what any earlier run of this job left that is not
    /// among it. What is [`lost`] fails the job for good, any other error is tried again as the restart
    /// strategy says.
    fn recover(&self, context: &SinkRecovery) -> Result<(), TaskError>;

    /// What the sink promises.
    fn guarantee(&self) -> SinkGuarantee;
}

/// What recovery has to do.
#[derive(Clone, Debug)]
pub struct SinkRecovery {
    /// The job; transactions are named after it.
    pub job_id: wasmill_model::id::JobId,
    /// The sink's operator.
    pub operator: wasmill_model::id::OperatorUid,
    /// From the restored checkpoint, of all subtasks; committed first.
    pub committables: Vec<Committable>,
    /// The restored checkpoint; `None` on a fresh start.
    pub restored: Option<CheckpointId>,
}

/// Writes in one subtask. Calls come from its task, one after another.
pub trait SinkWriter: Send {
    /// Writes all rows of a batch; none of it becomes visible before its commit where the sink is
    /// two-phase.
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError>;

    /// As [`SinkWriter::write`], of the input with this index: for sinks that tell their inputs apart.
    fn write_from(&mut self, input: u16, batch: &Batch) -> Result<(), TaskError> {
        let _ = input;
        self.write(batch)
    }

    /// What comes between the rows, in order with them: for sinks that write that down too.
    fn on_signal(&mut self, signal: SourceSignal) -> Result<(), TaskError> {
        let _ = signal;
        Ok(())
    }

    /// At a barrier: makes what was written since the last one durable and returns what commits it:
    /// (version, bytes) each; nothing where nothing was written. A sink without transactions flushes.
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError>;

    /// Makes one committable visible; it may have been committed before.
    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError>;

    /// When the writer wants [`SinkWriter::flush`] called although nothing was written.
    fn flush(&mut self) -> Result<(), TaskError> {
        Ok(())
    }
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Visible now.
    Committed,
    /// Was visible already.
    Already,
    /// Could not be done now; try again.
    Retry(String),
    /// Can never be done: the data are lost. Names what and why.
    Lost(String),
}

/// The error of a committable that can never be committed. A restart would meet it again, so it ends the
/// job: somebody has to know of the loss before results go on after it.
pub fn lost(committable: &Committable, why: &str) -> TaskError {
    let message = format!(
        "what was written for checkpoint {} is lost and can never be committed: {why}; start a new job from an older \
         savepoint, or from the start of its sources",
        committable.checkpoint
    );
    TaskError::external(message).for_good()
}
