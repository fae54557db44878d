//! A job as the host holds it.
//!
//! Invariant: no call waits for the master but `wait` and `suspend`; what is asked of a job that has ended
//! is answered at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmill_checkpoint::coordinator::SavepointKind;
use wasmill_checkpoint::retention;
use wasmill_checkpoint::stats::{SavepointOutcome, SavepointTrigger};
use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_model::element::SavepointFormat;
use wasmill_model::id::JobId;

use super::shared::{Counters, Request, Shared};
use crate::clock::Clock;
use crate::executor::Executor;
use crate::job::status::{JobState, JobStatus, SubtaskStatus};
use crate::job::{Claimed, JobHandle, JobSpec, Stop};
use crate::lock::lock;
use crate::metrics::UserMetric;
use crate::task::snapshot::Location;

pub(super) struct Handle {
    job: JobId,
    retain_on_cancel: bool,
    claimed: Option<Claimed>,
    shared: Arc<Shared>,
    executor: Arc<dyn Executor>,
    clock: Arc<dyn Clock>,
    triggers: AtomicU64,
}

impl Handle {
    pub(super) fn new(
        spec: &JobSpec,
        shared: Arc<Shared>,
        executor: Arc<dyn Executor>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let checkpointing = spec.graph.settings.checkpointing.as_ref();
        Self {
            job: spec.id,
            retain_on_cancel: checkpointing.is_some_and(|settings| settings.retain_on_cancel),
            claimed: spec.claimed.clone(),
            shared,
            executor,
            clock,
            triggers: AtomicU64::new(0),
        }
    }

    fn trigger(&self) -> SavepointTrigger {
        SavepointTrigger(self.triggers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn state(&self) -> JobState {
        self.shared.read(|published| published.status.state)
    }

    /// Answers a trigger that the master will never see.
    fn savepoint(
        &self,
        storage: Arc<dyn CheckpointStorage>,
        directory: String,
        kind: SavepointKind,
        format: SavepointFormat,
    ) -> SavepointTrigger {
        let trigger = self.trigger();
        self.shared.requests.send(Request::Savepoint {
            trigger,
            location: Location { storage, directory },
            kind,
            format,
        });
        trigger
    }

    fn refuse_if_over(&self, trigger: SavepointTrigger) {
        let state = self.state();
        if (state.is_terminal() || state == JobState::Suspended) && self.shared.outcome(trigger).is_none() {
            let reason = "the job has ended".to_owned();
            self.shared.set_outcome(trigger, SavepointOutcome::Failed(reason));
        }
    }
}

impl JobHandle for Handle {
    fn status(&self) -> JobStatus {
        let now_ns = self.clock.monotonic_ns();
        self.shared.read(|published| {
            let mut status = published.status.clone();
            for (vertex, counters) in status.vertices.iter_mut().zip(&published.counters) {
                for (subtask, counters) in vertex.subtasks.iter_mut().zip(counters) {
                    fill(subtask, counters, now_ns);
                }
            }
            status
        })
    }

    fn cancel(&self) {
        self.shared.requests.send(Request::Cancel);
    }

    fn suspend(&self) {
        self.shared.requests.send(Request::Suspend);
        self.shared.wait();
    }

    fn trigger_savepoint(
        &self,
        storage: Arc<dyn CheckpointStorage>,
        directory: String,
        stop: Option<Stop>,
        format: SavepointFormat,
    ) -> SavepointTrigger {
        let kind = stop.map_or(SavepointKind::Savepoint, |stop| SavepointKind::Stop {
            drain: stop.drain,
        });
        self.savepoint(storage, directory, kind, format)
    }

    fn trigger_last_savepoint(
        &self,
        storage: Arc<dyn CheckpointStorage>,
        directory: String,
        format: SavepointFormat,
    ) -> SavepointTrigger {
        self.savepoint(storage, directory, SavepointKind::Last, format)
    }

    fn trigger_checkpoint(&self, full: bool) -> SavepointTrigger {
        let trigger = self.trigger();
        self.shared.requests.send(Request::Checkpoint { trigger, full });
        trigger
    }

    fn trigger_outcome(&self, trigger: SavepointTrigger) -> Option<SavepointOutcome> {
        self.refuse_if_over(trigger);
        self.shared.outcome(trigger)
    }

    fn wait(&self) -> JobStatus {
        self.shared.wait();
        self.status()
    }

    fn release(&self) {
        let delete = match self.state() {
            JobState::Finished => true,
            JobState::Canceled => !self.retain_on_cancel && !self.shared.keeps_checkpoints(),
            _ => false,
        };
        if let Some(fence) = self.shared.fence().filter(|_| delete) {
            let (job, claimed) = (self.job, self.claimed.clone());
            let work = move || {
                if let Some(claimed) = claimed {
                    claimed.delete();
                }
                if let Err(error) = retention::delete_job(&fence) {
                    tracing::warn!(%job, %error, "checkpoints of an ended job could not be deleted");
                }
            };
            self.executor.blocking(format!("delete {job}"), Box::new(work));
        }
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        let now_ns = self.clock.monotonic_ns();
        self.shared.read(|published| {
            let mut all = BTreeMap::new();
            for (vertex, counters) in published.status.vertices.iter().zip(&published.counters) {
                for (index, counters) in counters.iter().enumerate() {
                    collect(&mut all, &format!("{}.{index}", vertex.id), counters, now_ns);
                }
            }
            all
        })
    }
}

fn fill(subtask: &mut SubtaskStatus, counters: &Counters, now_ns: u64) {
    let task = &counters.task;
    let (busy, idle, backpressured) = task.times_ns(now_ns);
    subtask.records_in = task.records_in.load(Ordering::Relaxed);
    subtask.bytes_in = task.bytes_in.load(Ordering::Relaxed);
    subtask.records_out = task.records_out.load(Ordering::Relaxed);
    subtask.bytes_out = task.bytes_out.load(Ordering::Relaxed);
    subtask.busy_ms = busy / 1_000_000;
    subtask.idle_ms = idle / 1_000_000;
    subtask.backpressured_ms = backpressured / 1_000_000;
    subtask.watermark = task.watermark.load(Ordering::Relaxed);
}

fn collect(all: &mut BTreeMap<String, f64>, prefix: &str, counters: &Counters, now_ns: u64) {
    let task = &counters.task;
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    for (name, counter) in [
        ("numRecordsIn", &task.records_in),
        ("numBytesIn", &task.bytes_in),
        ("numRecordsOut", &task.records_out),
        ("numBytesOut", &task.bytes_out),
    ] {
        all.insert(format!("{prefix}.{name}"), value(counter));
    }
    let (busy, idle, backpressured) = task.times_ns(now_ns);
    for (name, ns) in [
        ("accumulateBusyTimeMs", busy),
        ("accumulateIdleTimeMs", idle),
        ("accumulateBackPressuredTimeMs", backpressured),
    ] {
        all.insert(format!("{prefix}.{name}"), (ns / 1_000_000) as f64);
    }
    let watermark = task.watermark.load(Ordering::Relaxed) as f64;
    all.insert(format!("{prefix}.currentInputWatermark"), watermark);
    for (name, operator) in &counters.operators {
        let prefix = format!("{prefix}.{name}");
        all.insert(format!("{prefix}.numRecordsIn"), value(&operator.records_in));
        all.insert(format!("{prefix}.numRecordsOut"), value(&operator.records_out));
        if operator.may_drop_late_records.load(Ordering::Relaxed) {
            let dropped = value(&operator.late_records_dropped);
            all.insert(format!("{prefix}.numLateRecordsDropped"), dropped);
        }
        for (name, metric) in lock(&operator.user).iter() {
            collect_user(all, &format!("{prefix}.{name}"), metric);
        }
    }
}

fn collect_user(all: &mut BTreeMap<String, f64>, name: &str, metric: &UserMetric) {
    match metric {
        UserMetric::Counter(value) | UserMetric::Gauge(value) => {
            all.insert(name.to_owned(), *value);
        }
        UserMetric::Histogram { count, sum, min, max } => {
            let parts = [
                ("count", *count as f64),
                ("sum", *sum),
                ("min", *min),
                ("max", *max),
            ];
            all.extend(parts.map(|(part, value)| (format!("{name}.{part}"), value)));
        }
    }
}
