//! One job of a host, from its submission to its end.
//!
//! Invariant: its phases go starting → running → ended; a failed job alone may go back to starting, by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_checkpoint::layout;
use wasmill_checkpoint::storage::StorageError;
use wasmill_engine::job::status::{
    CheckpointStats, ExceptionEntry, JobState, JobStatus, SubtaskStatus, TaskState, VertexStatus,
};
use wasmill_engine::job::{Claimed, JobHandle, JobSpec, RestoreFrom};
use wasmill_engine::plan::JobPlan;
use wasmill_engine::registry::Registry;
use wasmill_model::graph::OperatorKind;
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::key::MaxParallelism;
use wasmill_model::time::WATERMARK_NONE;
use wasmill_plugin::operator::provider::PluginFunctions;

use super::rates::{Rates, Sample};
use super::store::JobRecord;
use super::{Host, HostError, connectors, now, trigger};
use crate::job::secret;

/// Between two looks at whether a job that is to be suspended has been started.
const START_POLL: Duration = Duration::from_millis(2);

/// A job.
pub struct Job {
    record: JobRecord,
    phase: Mutex<Phase>,
    rates: Mutex<Rates>,
    /// The engine's, from when it ended.
    last_metrics: Mutex<BTreeMap<String, f64>>,
}

/// How far a job is.
pub enum Phase {
    /// Accepted; being restored or set up.
    Starting,
    /// Accepted and cancelled before it ran.
    CancelledEarly,
    /// Its tasks run.
    Running(Arc<dyn JobHandle>),
    /// It has ended.
    Ended(Box<JobStatus>),
}

impl Job {
    /// A job in a phase.
    pub fn new(record: JobRecord, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            record,
            phase: Mutex::new(phase),
            rates: Mutex::new(Rates::default()),
            last_metrics: Mutex::default(),
        })
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id.
    pub fn id(&self) -> JobId {
        self.record.id
    }

    /// What it is.
    pub fn record(&self) -> &JobRecord {
        &self.record
    }

    pub(super) fn set(&self, phase: Phase) {
        *self.phase() = phase;
    }

    /// Whether nothing of it runs any more.
    pub fn is_ended(&self) -> bool {
        matches!(&*self.phase(), Phase::Ended(_))
    }

    /// Whether it runs or can be made to: a failed job can be resumed.
    pub fn may_run(&self) -> bool {
        match &*self.phase() {
            Phase::Ended(status) => status.state == JobState::Failed,
            _ => true,
        }
    }

    /// The engine's handle while it runs.
    pub fn handle(&self) -> Option<Arc<dyn JobHandle>> {
        match &*self.phase() {
            Phase::Running(handle) => Some(Arc::clone(handle)),
            _ => None,
        }
    }

    /// What it is doing.
    pub fn status(&self) -> JobStatus {
        let handle = match &*self.phase() {
            Phase::Ended(status) => return (**status).clone(),
            Phase::Running(handle) => Some(Arc::clone(handle)),
            Phase::Starting => None,
            Phase::CancelledEarly => return self.planned_status(JobState::Cancelling, None),
        };
        match handle {
            Some(handle) => before_its_end(handle.status()),
            None => self.planned_status(JobState::Initializing, None),
        }
    }

    /// The status of a job of which nothing runs, from its plan.
    pub fn planned_status(&self, state: JobState, error: Option<String>) -> JobStatus {
        let graph = &self.record.graph;
        let at = now();
        let mut entered = vec![(JobState::Initializing, self.record.submitted_at)];
        if state != JobState::Initializing {
            entered.push((state, at));
        }
        let plan = JobPlan::new(graph, MaxParallelism::DEFAULT, u32::MAX).ok();
        let exceptions = error.into_iter().map(|message| ExceptionEntry {
            name: "JobNotStarted".to_owned(),
            message,
            at,
            task: None,
        });
        JobStatus {
            id: self.record.id,
            name: graph.name.clone(),
            state,
            entered,
            max_parallelism: graph.max_parallelism.unwrap_or(MaxParallelism::DEFAULT).0,
            attempt: 0,
            vertices: plan.as_ref().map(planned_vertices).unwrap_or_default(),
            checkpoints: CheckpointStats::default(),
            exceptions: exceptions.collect(),
            guarantees: Vec::new(),
        }
    }

    /// Goes from failed to starting where so many slots suffice; gives back how it had ended. The look and the
    /// step are one: of two that ask for it at once one alone gets it.
    pub(super) fn restart(&self, free: u32) -> Result<Box<JobStatus>, HostError> {
        let mut phase = self.phase();
        let (id, slots) = (self.id(), self.record.slots);
        match &mut *phase {
            Phase::Ended(status) if status.state != JobState::Failed => Err(HostError::Conflict(format!(
                "job {id} is {:?}: only a failed job can be resumed",
                status.state
            ))),
            Phase::Ended(_) if slots > free => Err(HostError::Conflict(format!(
                "job {id} needs {slots} slots and {free} are free: cancel another job first"
            ))),
            Phase::Ended(status) => {
                let failed = status.clone();
                *phase = Phase::Starting;
                Ok(failed)
            }
            _ => Err(HostError::Conflict(format!(
                "job {id} has not ended: only a failed job can be resumed"
            ))),
        }
    }

    pub(super) fn cancel(&self) {
        let handle = {
            let mut phase = self.phase();
            match &mut *phase {
                Phase::Running(handle) => Arc::clone(handle),
                Phase::Starting => {
                    *phase = Phase::CancelledEarly;
                    return;
                }
                Phase::CancelledEarly | Phase::Ended(_) => return,
            }
        };
        handle.cancel();
    }

    /// Blocks until its tasks are gone. A job that is being started is suspended once it is: passed over, it
    /// would run on.
    pub fn suspend(&self) {
        loop {
            match &*self.phase() {
                Phase::Starting | Phase::CancelledEarly => {}
                Phase::Running(_) => break,
                Phase::Ended(_) => return,
            }
            std::thread::sleep(START_POLL);
        }
        if let Some(handle) = self.handle() {
            handle.suspend();
        }
    }

    /// Metrics of the engine by name; those of its end once it has ended in this host's run.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        match self.handle() {
            Some(handle) => handle.metrics(),
            None => self
                .last_metrics
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    fn keep_metrics(&self, metrics: BTreeMap<String, f64>) {
        *self.last_metrics.lock().unwrap_or_else(PoisonError::into_inner) = metrics;
    }

    /// Records that its sources have read so far, over all attempts of this host's run.
    pub fn records_read(&self) -> u64 {
        let graph = &self.record.graph;
        let is_source = |uid: &OperatorUid| {
            graph
                .operator(uid)
                .is_some_and(|o| matches!(o.kind, OperatorKind::Source { .. }))
        };
        let metrics = self.metrics();
        let status = self.status();
        let sources = status
            .vertices
            .iter()
            .filter(|vertex| vertex.operators.first().is_some_and(&is_source));
        let per_subtask = sources.flat_map(|vertex| {
            let uid = vertex
                .operators
                .first()
                .map(OperatorUid::as_str)
                .unwrap_or_default();
            let metrics = &metrics;
            vertex.subtasks.iter().enumerate().map(move |(index, subtask)| {
                let read = metrics.get(&format!("{}.{index}.{uid}.numRecordsOut", vertex.id));
                read.map_or(subtask.records_out, |read| *read as u64)
            })
        });
        per_subtask.sum()
    }

    /// Shares of the last second by vertex and subtask.
    pub fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sample(&self) {
        if let Some(handle) = self.handle() {
            let sample = Sample::of(&handle.status());
            self.rates().add(sample);
        }
    }
}

/// A job's end is shown once it is stored, not before: whoever has seen it finds it after a kill of the host too,
/// and the job's slots and plugins free.
fn before_its_end(mut status: JobStatus) -> JobStatus {
    let before = match status.state {
        JobState::Finished => JobState::Running,
        JobState::Canceled => JobState::Cancelling,
        JobState::Failed => JobState::Failing,
        _ => return status,
    };
    status.entered.retain(|(state, _)| !state.is_terminal());
    status.state = before;
    status
}

fn planned_vertices(plan: &JobPlan) -> Vec<VertexStatus> {
    let subtask = SubtaskStatus {
        state: TaskState::Created,
        started_at: -1,
        ended_at: -1,
        records_in: 0,
        bytes_in: 0,
        records_out: 0,
        bytes_out: 0,
        busy_ms: 0,
        idle_ms: 0,
        backpressured_ms: 0,
        watermark: WATERMARK_NONE,
    };
    let vertices = plan.vertices.iter().map(|vertex| VertexStatus {
        id: vertex.key.clone(),
        name: vertex.name.clone(),
        operators: vertex.operators.iter().map(|o| o.operator.uid.clone()).collect(),
        slot_sharing_group: vertex.slot_sharing_group.clone(),
        parallelism: vertex.parallelism,
        inputs: plan
            .inputs(vertex.id)
            .map(|(_, edge)| (edge.from.0 as usize, edge.partitioner))
            .collect(),
        subtasks: vec![subtask.clone(); vertex.parallelism as usize],
    });
    vertices.collect()
}

/// Before storage that does not answer is asked again; doubled each time.
const STORAGE_PAUSE_FIRST: Duration = Duration::from_secs(1);
const STORAGE_PAUSE_MAX: Duration = Duration::from_secs(30);

impl Host {
    /// Starts a job on a thread of its own, which then waits for its end.
    pub(super) fn launch(self: &Arc<Self>, job: Arc<Job>, resumed: bool) {
        let host = Arc::clone(self);
        let name = format!("job-{}", &job.id().to_string()[..8]);
        let watched = Arc::clone(&job);
        let spawned = std::thread::Builder::new()
            .name(name)
            .spawn(move || host.run(&watched, resumed));
        if let Err(error) = spawned {
            let message = format!("no thread could be started for the job: {error}");
            self.end(&job, job.planned_status(JobState::Failed, Some(message)));
        }
    }

    fn run(&self, job: &Arc<Job>, resumed: bool) {
        let handle = match self.start_when_storage_answers(job, resumed) {
            Ok(handle) => handle,
            Err(error) => {
                tracing::error!(job = %job.id(), "the job could not be started: {error}");
                let state = match &*job.phase() {
                    Phase::CancelledEarly => JobState::Canceled,
                    _ => JobState::Failed,
                };
                self.end(job, job.planned_status(state, Some(error)));
                return;
            }
        };
        let cancelled = {
            let mut phase = job.phase();
            let cancelled = matches!(&*phase, Phase::CancelledEarly);
            *phase = Phase::Running(Arc::clone(&handle));
            cancelled
        };
        if cancelled {
            handle.cancel();
        }
        let status = handle.wait();
        // A suspended job is not over: it stays as it is on disk and goes on with the next start.
        if status.state.is_terminal() {
            job.keep_metrics(handle.metrics());
            // IMPORTANT: a job whose end is not on disk starts again, and without checkpoints from its beginning.
            if self.end(job, status) {
                handle.release();
            }
        }
    }

    /// A job that ran before must not be given up because its storage is away while the host starts.
    fn start_when_storage_answers(&self, job: &Job, resumed: bool) -> Result<Arc<dyn JobHandle>, String> {
        let mut pause = STORAGE_PAUSE_FIRST;
        loop {
            let has_checkpoint = match job.record().savepoint.is_some() && resumed {
                true => self.has_checkpoint(job),
                false => Ok(false),
            };
            let error = match has_checkpoint {
                Ok(has) => return self.start(job, resumed, has),
                Err(error) => error,
            };
            if matches!(*job.phase(), Phase::CancelledEarly) {
                return Err(error.to_string());
            }
            tracing::warn!(job = %job.id(), %error, "the job waits for its checkpoint storage");
            std::thread::sleep(pause);
            pause = (pause * 2).min(STORAGE_PAUSE_MAX);
        }
    }

    fn has_checkpoint(&self, job: &Job) -> Result<bool, StorageError> {
        let files = self.storage.list(&layout::job_directory(job.id()))?;
        let mut names = files.iter().map(|(name, _)| name);
        Ok(names.any(|name| name.ends_with(layout::MANIFEST_NAME)))
    }

    fn start(&self, job: &Job, resumed: bool, has_checkpoint: bool) -> Result<Arc<dyn JobHandle>, String> {
        let record = job.record();
        let mut graph = record.graph.clone();
        secret::resolve(&mut graph)?;
        let state = self.backends.of(&graph.settings.state_backend, record.id)?;
        let spec = JobSpec {
            id: record.id,
            graph,
            registry: Arc::new(self.registry_of(job)),
            storage: Arc::clone(&self.storage),
            state,
            slots: record.slots,
            restore: self.restore_of(job, resumed, has_checkpoint)?,
            claimed: self.claimed_of(job),
            first_attempt: 0,
        };
        wasmill_engine::job::start(spec, Arc::clone(&self.executor), Arc::clone(&self.clock))
            .map_err(|e| e.to_string())
    }

    fn registry_of(&self, job: &Job) -> Registry {
        let mut registry = connectors();
        if !job.record().plugins().is_empty() {
            registry.functions = Some(Arc::new(PluginFunctions::new(Arc::clone(self.plugins()))));
        }
        registry
    }

    /// What the job has claimed, as long as it is there.
    fn claimed_of(&self, job: &Job) -> Option<Claimed> {
        let savepoint = job.record().savepoint.as_ref().filter(|s| s.claim)?;
        let (storage, directory) = trigger::open_savepoint(&savepoint.path, &self.settings.storage).ok()?;
        let job = job.id();
        let claims = wasmill_checkpoint::retention::claims(&*storage, &directory);
        claims
            .is_ok_and(|claims| claims.contains(&job))
            .then_some(Claimed {
                storage,
                directory,
                job,
            })
    }

    /// A job with a checkpoint of its own never goes back to the savepoint that it once came from.
    fn restore_of(&self, job: &Job, resumed: bool, has_checkpoint: bool) -> Result<RestoreFrom, String> {
        match &job.record().savepoint {
            Some(savepoint) if !has_checkpoint => {
                let (storage, directory) = trigger::open_savepoint(&savepoint.path, &self.settings.storage)?;
                Ok(RestoreFrom::Path {
                    storage,
                    directory,
                    allow_non_restored: savepoint.allow_non_restored,
                })
            }
            None if !resumed => Ok(RestoreFrom::Fresh),
            _ => Ok(RestoreFrom::Latest),
        }
    }
}
