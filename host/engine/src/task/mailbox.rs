//! Messages between tasks and the master of their job.
//!
//! Invariant: messages of one sender arrive in order, and sending wakes the receiver.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wasmill_checkpoint::handle::SubtaskState;
use wasmill_checkpoint::stats::SubtaskReport;
use wasmill_model::element::Barrier;
use wasmill_model::id::{CheckpointId, SubtaskId};
use wasmill_model::time::Timestamp;

use crate::error::TaskError;
use crate::executor::Waker;
use crate::lock::lock;

/// A queue with a doorbell. What is in it is bounded by its senders: a task has at most a few messages for
/// each checkpoint under way, and the handle limits what people may ask for.
pub(crate) struct Mailbox<T> {
    items: Mutex<VecDeque<T>>,
    /// Spares the receiver the lock of an empty box. Written under the lock.
    full: AtomicBool,
    waker: Arc<Waker>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self {
            items: Mutex::default(),
            full: AtomicBool::new(false),
            waker,
        })
    }

    pub(crate) fn send(&self, item: T) {
        let mut items = lock(&self.items);
        items.push_back(item);
        self.full.store(true, Ordering::Release);
        drop(items);
        self.waker.wake();
    }

    pub(crate) fn receive(&self) -> Option<T> {
        if !self.full.load(Ordering::Acquire) {
            return None;
        }
        let mut items = lock(&self.items);
        let item = items.pop_front();
        self.full.store(!items.is_empty(), Ordering::Release);
        item
    }
}

/// What the master tells a task.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// To sources: send this barrier; with `drain` end the input first.
    Trigger {
        /// It.
        barrier: Arc<Barrier>,
        /// Whether the end of input goes out before it.
        drain: bool,
    },
    /// A checkpoint is complete: sinks commit everything up to it.
    Complete(CheckpointId),
    /// A checkpoint is given up.
    Abort(CheckpointId),
    /// To sources: give no record while the watermark is above this one.
    Align {
        /// It.
        until: Timestamp,
    },
    /// End once everything is committed.
    Finish {
        /// There was no final checkpoint: what is written is committed as it is.
        commit: bool,
    },
    /// End now.
    Cancel {
        /// Commits that wait to be tried again are tried once more.
        settle: bool,
    },
}

/// What a task tells the master.
pub(crate) struct TaskReport {
    /// Which attempt of the job: reports of an older one are void.
    pub(crate) attempt: u32,
    /// Which subtask.
    pub(crate) subtask: SubtaskId,
    /// What happened.
    pub(crate) event: TaskEvent,
}

/// What happened in a task.
pub(crate) enum TaskEvent {
    /// Its operators are open.
    Running,
    /// It has processed the end of its input and goes on answering barriers.
    Ended,
    /// The watermark of a source that is aligned with others; an idle one says the last there is.
    SourceWatermark(Timestamp),
    /// Its part of a checkpoint is written.
    Acknowledged {
        /// Of which.
        checkpoint: CheckpointId,
        /// What it holds.
        state: SubtaskState,
        /// How large it is and how long it took.
        report: SubtaskReport,
    },
    /// Its part of a checkpoint could not be written.
    Declined {
        /// Of which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// It is gone, in an orderly way.
    Gone {
        /// Whether all that was complete is committed.
        settled: bool,
    },
    /// It is gone, by a failure.
    Failed(TaskError),
}

/// How a task reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(crate) mailbox: Arc<Mailbox<TaskReport>>,
    pub(crate) attempt: u32,
    pub(crate) subtask: SubtaskId,
}

impl Reporter {
    pub(crate) fn send(&self, event: TaskEvent) {
        self.mailbox.send(TaskReport {
            attempt: self.attempt,
            subtask: self.subtask,
            event,
        });
    }
}
