//! What the master of a job and those who hold its handle share.
//!
//! Invariant: the master alone writes the status; handles read it and leave requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmill_checkpoint::coordinator::SavepointKind;
use wasmill_checkpoint::fence::Fence;
use wasmill_checkpoint::stats::{SavepointOutcome, SavepointTrigger};
use wasmill_model::element::SavepointFormat;

use crate::job::status::{JobState, JobStatus};
use crate::lock::lock;
use crate::metrics::{OperatorMetrics, SubtaskMetrics};
use crate::task::mailbox::Mailbox;
use crate::task::snapshot::Location;

/// Outcomes of savepoints and checkpoints that are kept for those who ask.
const OUTCOMES_MAX: usize = 1_000;

/// What people ask of a job.
pub(super) enum Request {
    Cancel,
    Suspend,
    Savepoint {
        trigger: SavepointTrigger,
        location: Location,
        kind: SavepointKind,
        format: SavepointFormat,
    },
    Checkpoint {
        trigger: SavepointTrigger,
        full: bool,
    },
}

/// A status and the counters that belong to it.
pub(super) struct Published {
    pub(super) status: JobStatus,
    /// By vertex and subtask, as in the status; empty before the deployment.
    pub(super) counters: Vec<Vec<Arc<Counters>>>,
}

/// Counters of one subtask.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) task: Arc<SubtaskMetrics>,
    /// By operator name.
    pub(super) operators: Vec<(String, Arc<OperatorMetrics>)>,
}

pub(super) struct Shared {
    published: Mutex<Published>,
    changed: Condvar,
    outcomes: Mutex<BTreeMap<SavepointTrigger, SavepointOutcome>>,
    fence: Mutex<Option<Arc<Fence>>>,
    /// Checkpoints stay, whatever the job's settings say.
    keeps: AtomicBool,
    pub(super) requests: Arc<Mailbox<Request>>,
}

impl Shared {
    pub(super) fn new(status: JobStatus, requests: Arc<Mailbox<Request>>) -> Arc<Self> {
        Arc::new(Self {
            published: Mutex::new(Published {
                status,
                counters: Vec::new(),
            }),
            changed: Condvar::new(),
            outcomes: Mutex::default(),
            fence: Mutex::default(),
            keeps: AtomicBool::new(false),
            requests,
        })
    }

    pub(super) fn publish(&self, published: Published) {
        *lock(&self.published) = published;
        self.changed.notify_all();
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Published) -> T) -> T {
        read(&lock(&self.published))
    }

    /// Blocks until the job has ended, or the host has suspended it.
    pub(super) fn wait(&self) {
        let is_over = |p: &Published| p.status.state.is_terminal() || p.status.state == JobState::Suspended;
        let mut published = lock(&self.published);
        while !is_over(&published) {
            published = self
                .changed
                .wait(published)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The lock on the job's directory, once the master has it.
    pub(super) fn set_fence(&self, fence: Arc<Fence>) {
        *lock(&self.fence) = Some(fence);
    }

    /// Before the end is published: they hold results that are not committed.
    pub(super) fn keep_checkpoints(&self) {
        self.keeps.store(true, Ordering::Release);
    }

    pub(super) fn keeps_checkpoints(&self) -> bool {
        self.keeps.load(Ordering::Acquire)
    }

    pub(super) fn fence(&self) -> Option<Arc<Fence>> {
        lock(&self.fence).clone()
    }

    pub(super) fn set_outcome(&self, trigger: SavepointTrigger, outcome: SavepointOutcome) {
        let mut outcomes = lock(&self.outcomes);
        outcomes.insert(trigger, outcome);
        while outcomes.len() > OUTCOMES_MAX {
            outcomes.pop_first();
        }
    }

    pub(super) fn outcome(&self, trigger: SavepointTrigger) -> Option<SavepointOutcome> {
        lock(&self.outcomes).get(&trigger).cloned()
    }
}
