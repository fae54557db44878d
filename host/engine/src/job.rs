//! A running job as others see it: what the host starts, asks and tells.

mod master;
pub mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_checkpoint::retention;
pub use wasmill_checkpoint::stats::SavepointTrigger;
use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_model::element::SavepointFormat;
use wasmill_model::graph::LogicalGraph;
use wasmill_model::id::JobId;
use wasmill_state::backends::StateBackends;

use crate::registry::Registry;
pub use master::{JobError, start};
use status::{JobStatus, SavepointOutcome};

/// What a host gives to run a job.
pub struct JobSpec {
    /// Its id: also names its directory in checkpoint storage.
    pub id: JobId,
    /// A validated graph.
    pub graph: LogicalGraph,
    /// What the graph's names mean.
    pub registry: Arc<Registry>,
    /// Where its checkpoints go: `<job id>/chk-<n>/…` below this.
    pub storage: Arc<dyn CheckpointStorage>,
    /// Where keyed state lives.
    pub state: Arc<dyn StateBackends>,
    /// Slots that the job may use; more are needed: it is refused.
    pub slots: u32,
    /// Where it starts from.
    pub restore: RestoreFrom,
    /// What it has taken over and deletes when it needs it no more, as its own checkpoints (claim mode).
    pub claimed: Option<Claimed>,
    /// From 0; the host counts its own restarts of the job.
    pub first_attempt: u32,
}

/// Where a job starts from.
pub enum RestoreFrom {
    /// Nothing: the sources' start.
    Fresh,
    /// The latest good checkpoint of this very job; its start where there is none.
    Latest,
    /// A checkpoint or savepoint directory, in a storage of its own.
    Path {
        /// The storage.
        storage: Arc<dyn CheckpointStorage>,
        /// The directory in it that holds the manifest.
        directory: String,
        /// Whether state that no operator claims is dropped instead of refused.
        allow_non_restored: bool,
    },
}

/// A checkpoint or savepoint of another job that is this one's now.
#[derive(Clone)]
pub struct Claimed {
    /// The storage.
    pub storage: Arc<dyn CheckpointStorage>,
    /// The directory in it that holds the manifest, and the job's note.
    pub directory: String,
    /// This job.
    pub job: JobId,
}

impl Claimed {
    /// Deletes it; one that is gone already, or is this job's no more, is no failure.
    pub(crate) fn delete(&self) {
        let Self {
            storage,
            directory,
            job,
        } = self;
        if let Err(error) = retention::dispose_claimed(&**storage, directory, *job) {
            tracing::warn!(directory, %error, "what the job had claimed could not be deleted");
        }
    }
}

/// A running or ended job.
pub trait JobHandle: Send + Sync {
    /// What it is doing; cheap enough to be asked every 100 ms.
    fn status(&self) -> JobStatus;

    /// Stops it without a savepoint. Returns at once; the status says when it is done.
    fn cancel(&self);

    /// Ends its tasks as a host that goes down does: the job stays as it is in storage, and goes on from
    /// its latest checkpoint when it is started again. Blocks until its tasks are gone.
    fn suspend(&self);

    /// Triggers a savepoint into a directory of `storage`; the sequence number is for `savepoint`. With
    /// `stop` the job finishes after it, with `drain` the watermark +∞ goes out first.
    fn trigger_savepoint(
        &self,
        storage: Arc<dyn CheckpointStorage>,
        directory: String,
        stop: Option<Stop>,
        format: SavepointFormat,
    ) -> SavepointTrigger;

    /// Triggers a savepoint after which the job triggers nothing more: for a caller that cancels it once the
    /// savepoint is complete. Where the savepoint fails the job goes on as before.
    fn trigger_last_savepoint(
        &self,
        storage: Arc<dyn CheckpointStorage>,
        directory: String,
        format: SavepointFormat,
    ) -> SavepointTrigger;

    /// Triggers a checkpoint now; a `full` one builds on no other, whatever the job's settings say.
    fn trigger_checkpoint(&self, full: bool) -> SavepointTrigger;

    /// How a trigger ended; `None` while it is under way.
    fn trigger_outcome(&self, trigger: SavepointTrigger) -> Option<SavepointOutcome>;

    /// Blocks until the job has ended and says how.
    fn wait(&self) -> JobStatus;

    /// To be called once the host has recorded how the job ended, so that no restart of the host will start
    /// it again: deletes its checkpoints where its settings do not keep them (C4). Returns at once. Before
    /// that they stay: a host that dies first must find them.
    fn release(&self) {}

    /// Metrics by name, as Flink names them: `<vertex id>.<subtask>.numRecordsIn`, and
    /// `<vertex id>.<subtask>.<operator>.<metric>` for those of operators and functions.
    fn metrics(&self) -> BTreeMap<String, f64>;
}

/// How a job is stopped with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Send the watermark +∞ first, so that timers and windows fire.
    pub drain: bool,
}
