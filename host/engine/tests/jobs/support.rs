//! Starts jobs and waits for what they do, with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_checkpoint::storage::{CheckpointStorage, Content, MemoryStorage, StorageError, Written};
use wasmill_engine::executor::{SystemClock, ThreadExecutor};
use wasmill_engine::job::status::{JobState, JobStatus, SavepointOutcome};
use wasmill_engine::job::{JobError, JobHandle, JobSpec, RestoreFrom, SavepointTrigger, start};
use wasmill_model::graph::LogicalGraph;
use wasmill_model::id::JobId;
use wasmill_state::backends::MemoryBackends;

use crate::native::World;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// source → key-by → function → sink.
pub(crate) struct Job {
    pub(crate) world: Arc<World>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) id: u128,
    pub(crate) parallelism: u32,
    pub(crate) max_parallelism: Option<u16>,
    pub(crate) function: &'static str,
    pub(crate) source: Value,
    pub(crate) settings: Value,
    pub(crate) slots: u32,
}

impl Job {
    pub(crate) fn new(records: u64) -> Self {
        Self {
            world: World::new(),
            storage: Arc::new(MemoryStorage::new()),
            id: 1,
            parallelism: 2,
            max_parallelism: None,
            function: "count",
            source: json!({"records": records}),
            settings: json!({}),
            slots: 16,
        }
    }

    /// With a checkpoint every few milliseconds and quick restarts.
    pub(crate) fn checkpointed(records: u64) -> Self {
        Self {
            settings: json!({
                "checkpointing": {"interval-ms": 5, "retained": 3},
                "restart": {"type": "fixed-delay", "attempts": 10, "delay_ms": 1},
            }),
            ..Self::new(records)
        }
    }

    pub(crate) fn graph(&self) -> LogicalGraph {
        let mut settings = self.settings.clone();
        settings["parallelism"] = json!(self.parallelism);
        let operator = |uid: &str, inputs: Value, kind: Value| {
            json!({"uid": uid, "uid_given": true, "name": uid, "kind": kind, "inputs": inputs,
                   "parallelism": null, "chaining": true, "slot_sharing_group": "default"})
        };
        let from = |uid: &str| json!([{"uid": uid, "side": null}]);
        let function = json!({
            "type": "function", "plugin": "sha256:0", "config": null,
            "description": {"name": self.function, "kind": "process"},
        });
        let graph = json!({
            "name": "test", "max_parallelism": self.max_parallelism, "settings": settings,
            "operators": [
                operator("source", json!([]), json!({"type": "source", "connector": "words", "config": self.source, "format": "raw"})),
                operator("key", from("source"), json!({"type": "key-by", "selector": "value"})),
                operator("function", from("key"), function),
                operator("sink", from("function"), json!({"type": "sink", "connector": "collect", "config": null, "format": "raw"})),
            ],
        });
        let mut graph: LogicalGraph = serde_json::from_value(graph).unwrap();
        graph.validate().unwrap();
        graph
    }

    pub(crate) fn try_start(&self, restore: RestoreFrom) -> Result<Running, JobError> {
        let clock = Arc::new(SystemClock::default());
        let executor = Arc::new(ThreadExecutor::new(clock.clone()).unwrap());
        let spec = JobSpec {
            id: JobId(self.id),
            graph: self.graph(),
            registry: self.world.registry(),
            storage: self.storage.clone(),
            state: Arc::new(MemoryBackends::default()),
            slots: self.slots,
            restore,
            claimed: None,
            first_attempt: 0,
        };
        Ok(Running {
            handle: start(spec, executor, clock)?,
        })
    }

    pub(crate) fn start(&self, restore: RestoreFrom) -> Running {
        self.try_start(restore).unwrap()
    }

    pub(crate) fn path(&self, directory: &str) -> RestoreFrom {
        RestoreFrom::Path {
            storage: self.storage.clone(),
            directory: directory.to_owned(),
            allow_non_restored: false,
        }
    }
}

pub(crate) struct Running {
    pub(crate) handle: Arc<dyn JobHandle>,
}

impl Running {
    /// The status once the job is over.
    pub(crate) fn finish(&self) -> JobStatus {
        self.until("the job is over", |s| {
            s.state.is_terminal() || s.state == JobState::Suspended
        })
    }

    /// The status once it is as wanted.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.handle.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "not within the deadline: {what}; {status:#?}"
            );
            std::thread::yield_now();
        }
    }

    pub(crate) fn completed(&self, at_least: u64) -> JobStatus {
        self.until("checkpoints complete", |s| s.checkpoints.completed >= at_least)
    }

    pub(crate) fn outcome(&self, trigger: SavepointTrigger) -> SavepointOutcome {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(outcome) = self.handle.trigger_outcome(trigger) {
                return outcome;
            }
            assert!(Instant::now() < deadline, "the savepoint did not end");
            std::thread::yield_now();
        }
    }
}

/// Waits for something of the world.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within the deadline: {what}");
        std::thread::yield_now();
    }
}

/// What `count` commits for so many records of so many keys, sorted.
pub(crate) fn counts(records: u64, keys: u64) -> Vec<String> {
    let mut all: Vec<String> = (0..records)
        .map(|n| format!("k{}:{}", n % keys, n / keys + 1))
        .collect();
    all.sort();
    all
}

/// The storage as the engine takes it.
pub(crate) fn storage(job: &Job) -> Arc<dyn CheckpointStorage> {
    job.storage.clone()
}

/// The same files, where nothing is completed while it is held, and nothing at all while it is broken.
pub(crate) struct HeldStorage {
    files: Arc<MemoryStorage>,
    pub(crate) held: AtomicBool,
    pub(crate) broken: AtomicBool,
    /// Somebody waits for it.
    pub(crate) awaited: AtomicBool,
}

impl HeldStorage {
    pub(crate) fn new(job: &Job) -> Arc<Self> {
        Arc::new(Self {
            files: job.storage.clone(),
            held: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
        })
    }
}

impl CheckpointStorage for HeldStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        self.files.write(name, content)
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        while self.held.load(Ordering::SeqCst) {
            self.awaited.store(true, Ordering::SeqCst);
            std::thread::yield_now();
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(StorageError::Io {
                name: name.to_owned(),
                storage: self.url(),
                source: std::io::Error::other("broken on purpose"),
            });
        }
        self.files.create(name, content)
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        self.files.read(name, offset, length)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        self.files.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.files.delete(name)
    }

    fn url(&self) -> String {
        self.files.url()
    }
}
