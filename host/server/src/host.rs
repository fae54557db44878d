//! The host: its data directory, its plugins and its jobs, whoever asks for them (HTTP or an embedded run).
//!
//! Invariant: what a client was told is on disk before it was told. A job that was accepted and did not end runs
//! again after the next start, whatever ended the process; one job's failure never stops the host.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | `<data>/jobs/<id>/{job.json, state.json}`, written atomically |
//! | [`job`] | one job, from its submission to its end |
//! | [`trigger`] | savepoints and checkpoints that were asked for |
//! | [`state`] | where the keyed state of jobs is |
//! | [`plugins`] | what a job's plugin references mean here |
//! | [`rates`] | busy, idle and backpressured shares of the last second |

pub mod job;
pub mod plugins;
pub mod rates;
pub mod state;
pub mod store;
pub mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_engine::clock::Clock;
use wasmill_engine::executor::{Executor, SystemClock, ThreadExecutor};
use wasmill_engine::job::status::{JobState, JobStatus};
use wasmill_engine::plan::JobPlan;
use wasmill_engine::registry::Registry;
use wasmill_model::id::JobId;
use wasmill_model::key::MaxParallelism;
use wasmill_model::time::Timestamp;
use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::registry::info::PluginDigest;
use wasmill_plugin::sandbox::limits::HostLimits;

use crate::config::{ConfigError, Settings};
use crate::job::error::JobFileError;
use crate::job::lower::{LowerOptions, LoweredJob, PluginLookup, lower};
use crate::job::{ParsedJob, parse};
use crate::requests::HttpClients;
use job::{Job, Phase};
use state::Backends;
use store::{JobRecord, JobStore, StoredState};
use trigger::Triggers;

/// How often the end of a job is tried to be stored, and the pause between two tries.
const END_TRIES: u32 = 3;
const END_PAUSE: Duration = Duration::from_millis(200);

/// A running host.
pub struct Host {
    settings: Settings,
    store: JobStore,
    /// Held as long as the host lives: a second one on the same directory is refused.
    _lock: File,
    plugins: Arc<PluginRegistry>,
    storage: Arc<dyn CheckpointStorage>,
    backends: Backends,
    jobs: Mutex<BTreeMap<JobId, Arc<Job>>>,
    triggers: Triggers,
    /// Names this host in the task manager list.
    id: String,
    clock: Arc<dyn Clock>,
    executor: Arc<dyn Executor>,
}

/// What a host does about the jobs that it finds in its data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recover {
    /// Lists all, and resumes those that were running (O6).
    RunningJobs,
    /// Leaves them to a host that serves: for an embedded run, which is about one job.
    Nothing,
}

/// Why the host did not do what it was asked; says whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The job file is wrong.
    #[error("{0}")]
    JobFile(#[from] JobFileError),
    /// The request is wrong.
    #[error("{0}")]
    Bad(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done in the present state.
    #[error("{0}")]
    Conflict(String),
    /// The host's own fault.
    #[error("{0}")]
    Host(String),
}

/// What a client may say with a job file.
#[derive(Clone, Debug, Default)]
pub struct SubmitOptions {
    /// How errors call the file.
    pub file: Option<String>,
    /// Parallelism of a job whose file says none.
    pub parallelism: Option<u32>,
    /// Checkpoint or savepoint to start from: a URL or path.
    pub savepoint_path: Option<String>,
    /// Whether state that no operator claims is dropped.
    pub allow_non_restored: bool,
    /// Whether what the job starts from is its own from now on, and is deleted as its checkpoints are.
    pub claim: bool,
    /// Goes over the job file's `plugins`: name and reference.
    pub plugins: BTreeMap<String, String>,
}

/// A job that was accepted.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Its id.
    pub id: JobId,
    /// What is allowed but unwise.
    pub warnings: Vec<String>,
}

impl Host {
    /// Opens the data directory, takes its lock and resumes the jobs that were running in it.
    pub fn open(settings: Settings, recover: Recover) -> Result<Arc<Self>, ConfigError> {
        let data = settings.data_dir.clone();
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            ConfigError(format!("data directory {}: {what}: {e}", data.display()))
        };
        std::fs::create_dir_all(&data).map_err(|e| failed("cannot create it", &e))?;
        let lock = store::lock(&data).map_err(ConfigError)?;
        let store = JobStore::open(&data.join("jobs")).map_err(|e| failed("cannot open jobs", &e))?;
        let program = std::env::current_exe().map_err(|e| failed("cannot find this program", &e))?;
        let limits = HostLimits {
            upload_bytes_max: settings.max_upload_bytes,
            ..HostLimits::default()
        };
        let plugins = PluginRegistry::open(&data, CompileIn::Child(program), limits).map_err(ConfigError)?;
        let url = settings.checkpoint_url()?;
        if let Some(directory) = local_path(&url) {
            std::fs::create_dir_all(&directory)
                .map_err(|e| failed("cannot create checkpoint storage", &e))?;
        }
        let storage = wasmill_checkpoint::storage::open(&url, &settings.storage)
            .map_err(|e| ConfigError(e.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let executor =
            ThreadExecutor::new(Arc::clone(&clock)).map_err(|e| failed("no threads for jobs", &e))?;
        let host = Arc::new(Self {
            backends: Backends::new(settings.rocksdb()),
            settings,
            store,
            _lock: lock,
            plugins: Arc::new(plugins),
            storage,
            jobs: Mutex::new(BTreeMap::new()),
            triggers: Triggers::default(),
            id: format!("{:032x}", random_u128()),
            clock,
            executor: Arc::new(executor),
        });
        if recover == Recover::RunningJobs {
            host.recover();
        }
        rates::start(Arc::downgrade(&host));
        Ok(host)
    }

    /// The host's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Names this run of the host.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its components.
    pub fn plugins(&self) -> &Arc<PluginRegistry> {
        &self.plugins
    }

    /// Savepoints and checkpoints that were asked for.
    pub fn triggers(&self) -> &Triggers {
        &self.triggers
    }

    fn jobs_locked(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, newest first.
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        let mut jobs: Vec<_> = self.jobs_locked().values().cloned().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.record().submitted_at, job.id())));
        jobs
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Arc<Job>, HostError> {
        let found = self.jobs_locked().get(&id).cloned();
        found.ok_or_else(|| {
            HostError::NotFound(format!(
                "Job {id} not found: `wasmill list` shows the jobs of this host"
            ))
        })
    }

    /// Slots of jobs that did not end.
    pub fn slots_used(&self) -> u32 {
        slots_of(&self.jobs_locked())
    }

    /// Reads and lowers a job file without starting it.
    pub fn validate(
        &self,
        text: &str,
        options: &SubmitOptions,
    ) -> Result<(ParsedJob, LoweredJob), HostError> {
        let name = options.file.as_deref().unwrap_or("job");
        let mut parsed = parse(name, text)?;
        for (plugin, reference) in &options.plugins {
            parsed.file.plugins.insert(plugin.clone(), reference.clone());
        }
        let lowered = lower(
            &parsed,
            &connectors(),
            self as &dyn PluginLookup,
            self.lower_options(options),
        )?;
        Ok((parsed, lowered))
    }

    fn lower_options(&self, options: &SubmitOptions) -> LowerOptions {
        LowerOptions {
            default_parallelism: self.settings.parallelism,
            parallelism: options.parallelism,
            state_backend: self.settings.state_backend,
            slots: self.settings.slots,
        }
    }

    /// Where checkpoints go: a URL.
    pub fn checkpoint_url(&self) -> String {
        self.storage.url()
    }

    /// Accepts a job: once this returns it is durable, and it is being started.
    pub fn submit(self: &Arc<Self>, text: &str, options: &SubmitOptions) -> Result<Submitted, HostError> {
        let (_, lowered) = self.validate(text, options)?;
        let savepoint = self.savepoint_of(options)?;
        let mut jobs = self.jobs_locked();
        let free = self.settings.slots.saturating_sub(slots_of(&jobs));
        let plan = JobPlan::new(&lowered.graph, MaxParallelism::DEFAULT, free)
            .map_err(|e| HostError::Conflict(e.to_string()))?;
        let record = JobRecord {
            version: store::VERSION,
            id: JobId(random_u128()),
            submitted_at: now(),
            slots: plan.slots,
            graph: lowered.graph,
            savepoint,
        };
        let id = record.id;
        self.claim(&record)?;
        if let Err(e) = self.store.create(&record) {
            self.release(&record);
            return Err(HostError::Host(format!("cannot store the job: {e}")));
        }
        let job = Job::new(record, Phase::Starting);
        jobs.insert(id, Arc::clone(&job));
        drop(jobs);
        self.launch(job, false);
        Ok(Submitted {
            id,
            warnings: lowered.warnings,
        })
    }

    /// Starts a failed job again from its latest checkpoint.
    pub fn resume(self: &Arc<Self>, id: JobId) -> Result<(), HostError> {
        let job = self.job(id)?;
        self.check_unclaimed(id)?;
        let failed = self.claim_failed(&job)?;
        // From here on the job is starting for everybody else: whoever comes second is refused.
        if let Err(error) = self.store.save(id, &StoredState::running()) {
            job.set(Phase::Ended(failed));
            return Err(HostError::Host(format!("cannot store the job's state: {error}")));
        }
        self.launch(job, true);
        Ok(())
    }

    /// Takes a failed job and its slots for a new start, in one step.
    fn claim_failed(&self, job: &Arc<Job>) -> Result<Box<JobStatus>, HostError> {
        let jobs = self.jobs_locked();
        let free = self.settings.slots.saturating_sub(slots_of(&jobs));
        job.restart(free)
    }

    /// Cancels a job; it is never started again, even when the host dies right after.
    pub fn cancel(&self, id: JobId) -> Result<(), HostError> {
        let job = self.job(id)?;
        let ended = self
            .store
            .mark_cancelling(id)
            .map_err(|e| HostError::Host(format!("cannot store that the job is cancelled: {e}")))?;
        match ended.map(|status| status.state) {
            None => {
                job.cancel();
                Ok(())
            }
            Some(JobState::Canceled) => Ok(()),
            Some(state) => Err(HostError::Conflict(format!(
                "Job cancellation failed because the job has already reached another terminal state ({state:?})."
            ))),
        }
    }

    /// Digests that jobs refer to which did not end or can be resumed.
    pub fn plugins_in_use(&self) -> BTreeSet<PluginDigest> {
        let jobs = self.jobs_locked();
        let live = jobs.values().filter(|job| job.may_run());
        live.flat_map(|job| job.record().plugins())
            .filter_map(|digest| digest.parse().ok())
            .collect()
    }

    /// What the jobs of a data directory were doing when the last host left it.
    fn recover(self: &Arc<Self>) {
        for (id, stored) in self.store.list() {
            let (record, state) = match stored {
                Ok(stored) => stored,
                Err(error) => {
                    tracing::error!(job = %id, "the job's files cannot be read, so it is not resumed: {error}");
                    continue;
                }
            };
            let job = match state.status {
                Some(status) => Job::new(record, Phase::Ended(Box::new(status))),
                None => Job::new(record, Phase::Starting),
            };
            self.jobs_locked().insert(id, Arc::clone(&job));
            if job.is_ended() {
                continue;
            }
            if state.cancelling {
                tracing::info!(job = %id, "the job was being cancelled when the host went down");
                self.end(&job, job.planned_status(JobState::Canceled, None));
                continue;
            }
            tracing::info!(job = %id, name = %job.record().graph.name, "resuming the job from its latest checkpoint");
            self.launch(job, true);
        }
        self.forget_old();
    }

    /// Ends all jobs as a host that goes down does, within a time limit: they go on with the next start. Says
    /// whether all were ended.
    pub fn suspend_all(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let suspending: Vec<_> = self
            .jobs()
            .into_iter()
            .filter(|job| !job.is_ended())
            .filter_map(|job| {
                let name = format!("suspend-{}", job.id());
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || job.suspend())
                    .ok()
            })
            .collect();
        while suspending.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= until {
                tracing::warn!(
                    "some jobs did not stop within {limit:?}; they resume from their latest checkpoint"
                );
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.close(until.saturating_duration_since(Instant::now()))
    }

    /// After all jobs have ended: waits until their state is closed, as it must be before the process ends. Says whether
    /// it is.
    pub fn close(&self, limit: Duration) -> bool {
        let is_closed = self.backends.wait_until_closed(limit);
        if !is_closed {
            tracing::warn!(
                "state of a job is open still after {limit:?}: the process may end with an error of its threads"
            );
        }
        is_closed
    }

    /// Persists a job's last status. False: it is not on disk, so that the next start resumes the job and needs
    /// its checkpoints.
    fn end(&self, job: &Arc<Job>, status: JobStatus) -> bool {
        let stored = self.store_end(job.id(), &status);
        if let Err(error) = &stored {
            tracing::error!(job = %job.id(), "the end of the job could not be stored, so its checkpoints are kept and the next start resumes it: {error}");
        }
        tracing::info!(job = %job.id(), state = ?status.state, "the job has ended");
        job.set(Phase::Ended(Box::new(status)));
        self.forget_old();
        stored.is_ok()
    }

    /// Tries more than once: a full disk may have room again.
    fn store_end(&self, id: JobId, status: &JobStatus) -> std::io::Result<()> {
        let state = StoredState::ended(status.clone());
        for _ in 1..END_TRIES {
            match self.store.save(id, &state) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(job = %id, "the end of the job could not be stored: {error}"),
            }
            std::thread::sleep(END_PAUSE);
        }
        self.store.save(id, &state)
    }

    /// Keeps the history bounded.
    fn forget_old(&self) {
        let mut jobs = self.jobs_locked();
        let mut ended: Vec<_> = jobs
            .values()
            .filter(|job| job.is_ended())
            .map(|job| (job.record().submitted_at, job.id()))
            .collect();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(self.settings.job_history);
        for (_, id) in ended.into_iter().take(surplus) {
            match self.store.delete(id) {
                Ok(()) => drop(jobs.remove(&id)),
                Err(error) => tracing::warn!(job = %id, "an old job could not be deleted: {error}"),
            }
        }
    }

    /// Directory of a job's own files.
    pub fn job_directory(&self, id: JobId) -> PathBuf {
        self.store.directory(id)
    }
}

fn slots_of(jobs: &BTreeMap<JobId, Arc<Job>>) -> u32 {
    let live = jobs.values().filter(|job| !job.is_ended());
    live.map(|job| job.record().slots).sum()
}

/// All connectors of this program.
pub fn connectors() -> Registry {
    let mut registry = Registry::default();
    wasmill_connector::register(&mut registry);
    registry.clients = Some(Arc::new(HttpClients::default()));
    registry
}

/// The clock: milliseconds since the epoch.
pub fn now() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// 128 random bits: ids of jobs and triggers, which nobody should guess or meet twice.
pub fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Without a source of randomness ids are still distinct within a host.
        return u128::from(now() as u64) << 64 | u128::from(std::process::id());
    }
    u128::from_le_bytes(bytes)
}

/// The path of a `file:` URL.
pub fn local_path(url: &str) -> Option<PathBuf> {
    let url = url::Url::parse(url).ok()?;
    (url.scheme() == "file")
        .then(|| url.to_file_path().ok())
        .flatten()
}
