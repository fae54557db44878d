//! The master of one job (G1, C6, C9): restores, deploys, runs the checkpoint coordinator, handles failures,
//! ends the job. A state machine that an executor steps.
//!
//! Invariants: tasks of two attempts never run at once; nothing is restored while a manifest is being
//! written or a checkpoint deleted; a sink is recovered before any of its writers exists. A final checkpoint or a
//! stop that is complete wins over a cancellation: what it holds is committed and the job has finished.

mod checkpoints;
mod connect;
mod deploy;
mod events;
mod failure;
mod handle;
mod load;
mod prepare;
mod publish;
mod shared;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmill_checkpoint::coordinator::{Coordinator, Event, JobEnd};
use wasmill_checkpoint::fence::{Fence, FenceError};
use wasmill_checkpoint::in_flight::InFlight;
use wasmill_checkpoint::restore::RestorePlan;
use wasmill_model::id::{OperatorUid, SubtaskId};
use wasmill_model::time::Timestamp;

use super::status::{JobState, TaskState};
use super::{JobHandle, JobSpec, SavepointTrigger};
use crate::clock::Clock;
use crate::executor::{Actor, Executor, PlantedBug, Step, Waker};
use crate::plan::{JobPlan, PlanError};
use crate::restart::RestartDecider;
use crate::task::mailbox::{Command, Mailbox, TaskReport};
use crate::task::snapshot::{CheckpointFiles, Location};
use crate::time::alignment::SourceAlignment;
use connect::Connectors;
use deploy::Deployed;
use load::Loaded;
use prepare::{PrepareError, Prepared};
use publish::Record;
use shared::Shared;

/// Why a job is refused before anything of it runs.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Parallelism or slots.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A source, sink or function is not known here, or refuses its settings.
    #[error("operator `{operator}`: {message}")]
    Operator {
        /// Which.
        operator: wasmill_model::id::OperatorUid,
        /// What is wrong and how to mend it.
        message: String,
    },
    /// The machine gives no thread.
    #[error("the job's master could not be started: {0}; stop other jobs or raise the limit of threads")]
    Executor(#[from] std::io::Error),
}

/// Starts a job: plans it, makes its connectors, and hands its master to the executor. Restoring and
/// deploying happen afterwards: the handle's status tells.
pub fn start(
    spec: JobSpec,
    executor: Arc<dyn Executor>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn JobHandle>, JobError> {
    let plan = connect::plan(&spec)?;
    let connectors = connect::connect(&spec)?;
    let waker = Waker::new();
    let requests = Mailbox::new(waker.clone());
    let shared = Shared::new(
        publish::initial(&spec, &plan, &connectors, clock.now_ms()),
        requests,
    );
    let name = format!("master {}", spec.id);
    let handle = handle::Handle::new(&spec, shared.clone(), executor.clone(), clock.clone());
    let master = Master::new(
        spec,
        plan,
        connectors,
        executor.clone(),
        clock,
        waker.clone(),
        shared,
    );
    executor.spawn(name, waker, Box::new(master))?;
    Ok(Arc::new(handle))
}

/// What a blocking job has come to.
enum Done {
    Prepared(Result<Box<Prepared>, PrepareError>),
    Loaded(Box<Loaded>),
    /// A manifest is written, or not: the coordinator's event, and who has taken the job over.
    Manifest {
        event: Event,
        fenced: Option<FenceError>,
    },
    /// Files are deleted, or could not be.
    Deleted,
}

/// Where the master is in the life of an attempt.
enum Phase {
    /// A blocking job looks for the checkpoint and recovers sinks.
    Preparing,
    /// Blocking jobs read keyed state; so many are under way.
    Loading { left: usize },
    /// Tasks run, or begin to.
    Running { announced: bool, finishing: bool },
    /// Tasks are being cancelled, or manifests are being written.
    Stopping { next: Next },
    /// The restart strategy pauses.
    Pausing { until: Timestamp },
    /// Nothing happens any more.
    Over,
}

/// What comes once all tasks are gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Restart { at: Timestamp },
    Fail,
    Cancel,
    Suspend,
    Finish,
}

struct Master {
    spec: Arc<JobSpec>,
    plan: Arc<JobPlan>,
    connectors: Arc<Connectors>,
    executor: Arc<dyn Executor>,
    clock: Arc<dyn Clock>,
    files: Arc<CheckpointFiles>,
    reports: Arc<Mailbox<TaskReport>>,
    done: Arc<Mailbox<(u32, Done)>>,
    shared: Arc<Shared>,
    record: Record,
    decider: RestartDecider,
    attempt: u32,
    phase: Phase,
    /// From the first successful restore on.
    coordinator: Option<Coordinator>,
    fence: Option<Arc<Fence>>,
    /// The state of this attempt's operators, from its restore to its deployment.
    restore: RestorePlan,
    tasks: BTreeMap<SubtaskId, Deployed>,
    loaded: BTreeMap<(SubtaskId, usize), load::KeyedState>,
    /// Records in flight in the checkpoint that is being restored.
    in_flight: BTreeMap<SubtaskId, Vec<(OperatorUid, InFlight)>>,
    savepoints: BTreeMap<SavepointTrigger, Location>,
    /// Of this attempt's sources.
    sources: SourceAlignment,
    /// Deletions under way.
    deletions: u32,
    /// A blocking job restores: until it has answered nothing starts and the job does not end.
    is_preparing: bool,
    /// The last restore has found a final checkpoint or a completed stop.
    was_complete: bool,
    /// Sinks were told to commit a checkpoint since they were recovered.
    told_to_commit: bool,
    /// When the job is over although its tasks are not gone.
    stop_by: Option<Timestamp>,
    /// Some of what is complete is perhaps not committed: recovery would commit it.
    owes: bool,
    /// The job was cancelled when it had come to its end: what is left of it is tried once more.
    last_try: bool,
}

impl Actor for Master {
    fn step(&mut self, now: Timestamp) -> Step {
        match catch_unwind(AssertUnwindSafe(|| self.run(now))) {
            Ok(step) => step,
            Err(_) => {
                // What it knew cannot be trusted: tasks go, and the host may start the job again.
                self.cancel_tasks(false);
                self.record.exception(
                    "MasterPanicked",
                    "the job's master panicked: a fault of the host",
                    now,
                    None,
                );
                self.end(JobState::Failed, now);
                Step::Finished
            }
        }
    }
}

impl Master {
    #[allow(clippy::too_many_arguments)] // The one caller is `start`, which makes them all.
    fn new(
        spec: JobSpec,
        plan: JobPlan,
        connectors: Connectors,
        executor: Arc<dyn Executor>,
        clock: Arc<dyn Clock>,
        waker: Arc<Waker>,
        shared: Arc<Shared>,
    ) -> Self {
        let record = Record::new(&shared);
        Self {
            files: Arc::new(CheckpointFiles::new(spec.id, spec.storage.clone())),
            reports: Mailbox::new(waker.clone()),
            done: Mailbox::new(waker),
            decider: RestartDecider::new(&spec.graph.settings),
            attempt: spec.first_attempt,
            spec: Arc::new(spec),
            plan: Arc::new(plan),
            connectors: Arc::new(connectors),
            executor,
            clock,
            shared,
            record,
            // The first step prepares at once.
            phase: Phase::Pausing {
                until: Timestamp::MIN,
            },
            coordinator: None,
            fence: None,
            restore: RestorePlan::default(),
            tasks: BTreeMap::new(),
            loaded: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            savepoints: BTreeMap::new(),
            sources: SourceAlignment::default(),
            deletions: 0,
            is_preparing: false,
            was_complete: false,
            told_to_commit: false,
            stop_by: None,
            owes: false,
            last_try: false,
        }
    }

    fn run(&mut self, now: Timestamp) -> Step {
        let mut busy = false;
        while let Some((attempt, done)) = self.done.receive() {
            busy = true;
            self.on_done(attempt, done, now);
        }
        while let Some(report) = self.reports.receive() {
            busy = true;
            if report.attempt == self.attempt {
                self.on_report(report.subtask, report.event, now);
            } else {
                self.on_late_report(report, now);
            }
        }
        while let Some(request) = self.shared.requests.receive() {
            busy = true;
            self.on_request(request, now);
        }
        let tick = self.coordinator.as_ref().and_then(Coordinator::next_wake);
        if tick.is_some_and(|at| at <= now) {
            busy = true;
            self.coordinate(Event::Tick, now);
        }
        busy |= self.move_on(now);
        if busy {
            self.publish();
        }
        match (&self.phase, busy) {
            (Phase::Over, _) => Step::Finished,
            (_, true) => Step::Progress,
            _ => Step::Blocked {
                until: self.next_due(),
            },
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        let pause = match self.phase {
            Phase::Pausing { until } if !self.is_deleting() => Some(until),
            _ => None,
        };
        let coordinator = self.coordinator.as_ref().and_then(Coordinator::next_wake);
        pause.into_iter().chain(coordinator).chain(self.stop_by).min()
    }

    /// Transitions that follow from the state alone; true where there was one.
    fn move_on(&mut self, now: Timestamp) -> bool {
        if self.stop_by.is_some_and(|by| by <= now) && !self.can_stop() {
            self.leave_behind(now);
            return true;
        }
        match self.phase {
            // IMPORTANT: a checkpoint that is being deleted must not be found by the restore.
            Phase::Pausing { until } if until <= now && !self.is_deleting() => self.prepare(),
            Phase::Loading { left: 0 } => self.deploy(now),
            Phase::Running {
                announced: false,
                finishing,
            } if self.all_tasks(|t| t.state != TaskState::Deploying) => {
                self.phase = Phase::Running {
                    announced: true,
                    finishing,
                };
                self.record.enter(JobState::Running, now);
                self.coordinate(Event::TasksRunning, now);
                self.on_all_ended(now);
            }
            // The savepoint that was waited for is over.
            Phase::Running {
                announced: true,
                finishing: false,
            } if !self.is_checkpointing()
                && self.all_tasks(|task| task.ended)
                && self.has_nothing_under_way() =>
            {
                self.finish(true);
            }
            Phase::Running { finishing: true, .. } if self.tasks_are_gone() => {
                self.phase = Phase::Stopping { next: Next::Finish };
            }
            Phase::Stopping { next } if self.can_stop() => self.stopped(next, now),
            _ => return false,
        }
        true
    }

    /// All tasks are gone, no manifest is under way and nothing is being restored.
    fn stopped(&mut self, next: Next, now: Timestamp) {
        self.tasks.clear();
        self.stop_by = None;
        match next {
            // Its last checkpoint became complete while its tasks were stopped: recovery commits that.
            Next::Cancel if self.has_ended() => {
                self.last_try = true;
                self.stop_by = self.deadline(now);
                self.attempt += 1;
                self.phase = Phase::Pausing { until: now };
            }
            Next::Restart { at } => {
                self.attempt += 1;
                self.phase = Phase::Pausing { until: at };
            }
            Next::Fail => self.end(JobState::Failed, now),
            Next::Cancel => {
                self.keep_what_is_owed(now);
                self.end(JobState::Canceled, now);
            }
            Next::Suspend => self.end(JobState::Suspended, now),
            Next::Finish => self.end(JobState::Finished, now),
        }
    }

    fn end(&mut self, state: JobState, now: Timestamp) {
        let end = match state {
            JobState::Finished => Some(JobEnd::Finished),
            JobState::Canceled if !self.owes => Some(JobEnd::Canceled),
            JobState::Canceled | JobState::Failed => Some(JobEnd::Failed),
            _ => None,
        };
        if let (Some(end), Some(coordinator)) = (end, &mut self.coordinator) {
            // NOTE: deletions wait for `JobHandle::release`: the host records the end first.
            let _deletions = coordinator.on(Event::JobEnded(end), now);
        }
        self.phase = Phase::Over;
        self.stop_by = None;
        self.record.enter(state, now);
        self.publish();
    }

    /// Every task has processed the end of its input: a last checkpoint, or without any the end.
    fn on_all_ended(&mut self, now: Timestamp) {
        let Phase::Running {
            announced: true,
            finishing: false,
        } = self.phase
        else {
            return;
        };
        if !self.all_tasks(|task| task.ended) {
            return;
        }
        if self.is_checkpointing() {
            self.coordinate(Event::AllInputsEnded, now);
        } else if self.has_nothing_under_way() {
            self.finish(true);
        }
    }

    /// Whether no savepoint is waited for. IMPORTANT: one that stops the job decides what is committed.
    fn has_nothing_under_way(&self) -> bool {
        let coordinator = self.coordinator.as_ref();
        coordinator.is_none_or(|coordinator| coordinator.is_idle() && !coordinator.has_ended())
    }

    fn finish(&mut self, commit: bool) {
        if let Phase::Running { finishing, .. } = &mut self.phase {
            *finishing = true;
            self.tell(&Command::Finish { commit });
        }
    }

    fn tell(&self, command: &Command) {
        for task in self.tasks.values().filter(|task| !task.is_gone()) {
            task.commands.send(command.clone());
        }
    }

    fn is_checkpointing(&self) -> bool {
        let settings = self.spec.graph.settings.checkpointing.as_ref();
        settings.is_some_and(|settings| settings.interval_ms > 0)
    }

    /// Nothing of the attempt is left.
    fn can_stop(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
            && self.tasks_are_gone()
            && self.is_settled()
            && !self.is_preparing
    }

    /// By when all that is told to end now must have.
    fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let timeout_ms = self.spec.graph.settings.cancellation_timeout_ms;
        (timeout_ms > 0).then(|| now.saturating_add_unsigned(timeout_ms))
    }

    fn is_deleting(&self) -> bool {
        self.deletions > 0 && self.executor.planted() != PlantedBug::RestoreBesideDeletion
    }

    /// Whether the job has come to its end, whatever becomes of its tasks.
    fn has_ended(&self) -> bool {
        self.was_complete || self.coordinator.as_ref().is_some_and(Coordinator::has_ended)
    }

    fn is_settled(&self) -> bool {
        self.coordinator.as_ref().is_none_or(Coordinator::is_settled)
    }

    fn all_tasks(&self, what: impl Fn(&Deployed) -> bool) -> bool {
        self.tasks.values().all(what)
    }

    fn tasks_are_gone(&self) -> bool {
        self.all_tasks(Deployed::is_gone)
    }

    fn task_name(&self, subtask: SubtaskId) -> Option<String> {
        let vertex = self.plan.vertices.get(subtask.vertex.0 as usize)?;
        Some(format!(
            "{} ({}/{})",
            vertex.name,
            subtask.index + 1,
            vertex.parallelism
        ))
    }
}
