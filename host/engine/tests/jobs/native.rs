//! Native sources, operators and sinks whose every effect a test can see and steer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wasmill_checkpoint::handle::{Committable, OperatorState};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_engine::registry::{FunctionProvider, Registry};
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter, lost};
use wasmill_engine::source::{Source, SourceReader, SourceStatus};
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::{FunctionDescription, StateDeclaration};
use wasmill_model::graph::JobSettings;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::KeyGroup;
use wasmill_model::row::{FLAG_KEYED, RowHeader};
use wasmill_model::time::{Timestamp, WATERMARK_END};
use wasmill_state::backend::{Locator, StateId, StateKey, Values, Write};
use wasmill_state::timers::{TimeDomain, Timer, TimerBytes};

/// Number of splits of a source: any parallelism up to it works.
pub(crate) const SPLITS: u64 = 8;

/// What the operators and sinks of one test share.
#[derive(Default)]
pub(crate) struct World {
    /// Committed records of all sinks, in the order of their commits.
    pub(crate) committed: Mutex<Vec<String>>,
    /// Pre-committed and not committed.
    prepared: Mutex<BTreeMap<String, Vec<String>>>,
    /// Records that sinks have written, committed or not.
    pub(crate) written: AtomicU64,
    /// How often sinks recovered.
    pub(crate) recoveries: AtomicU64,
    /// A record of this value fails its task, once.
    pub(crate) fail_at: Mutex<BTreeSet<String>>,
    /// Sinks that stand still.
    pub(crate) standing: AtomicU64,
    /// Sinks stand still while it is set.
    pub(crate) sink_blocked: AtomicBool,
    /// Sources give nothing beyond this many records a split, for now.
    pub(crate) gate: AtomicU64,
    /// A commit answers that it has to be tried again, so many times.
    pub(crate) commit_retries: AtomicU64,
    /// Sinks that recover stand still while it is set.
    pub(crate) recovery_held: AtomicBool,
    /// What is to be committed is gone: sinks can only say so.
    pub(crate) loses: AtomicBool,
    /// Records that sources gave.
    pub(crate) polled: AtomicU64,
    /// Highest timestamp etc. are not needed: what `trace` operators saw.
    pub(crate) trace: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let world = Self::default();
        world.gate.store(u64::MAX, Ordering::SeqCst);
        Arc::new(world)
    }

    pub(crate) fn committed(&self) -> Vec<String> {
        let mut committed = self.committed.lock().unwrap().clone();
        committed.sort();
        committed
    }

    pub(crate) fn prepared(&self) -> usize {
        self.prepared.lock().unwrap().len()
    }

    pub(crate) fn registry(self: &Arc<Self>) -> Arc<Registry> {
        let mut registry = Registry::default();
        let world = self.clone();
        registry.sources.insert(
            "words".to_owned(),
            Box::new(move |config, _| {
                Ok(Arc::new(Words {
                    world: world.clone(),
                    records: config["records"].as_u64().ok_or("`records` is missing")?,
                    keys: config["keys"].as_u64().unwrap_or(10),
                    bounded: config["bounded"].as_bool().unwrap_or(true),
                }))
            }),
        );
        let world = self.clone();
        registry.sinks.insert(
            "collect".to_owned(),
            Box::new(move |_, _| Ok(Arc::new(Collect { world: world.clone() }))),
        );
        registry.functions = Some(Arc::new(Functions { world: self.clone() }));
        Arc::new(registry)
    }
}

/// Emits `k<n % keys>`, `records` in all, dealt over [`SPLITS`].
struct Words {
    world: Arc<World>,
    records: u64,
    keys: u64,
    bounded: bool,
}

impl Source for Words {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let mut positions: BTreeMap<u64, u64> = (0..SPLITS).map(|split| (split, 0)).collect();
        for element in restored.into_iter().flatten() {
            let (split, position): (u64, u64) = serde_json::from_slice(&element).unwrap();
            positions.insert(split, position);
        }
        let own = |split: &u64| split % u64::from(runtime.parallelism) == u64::from(runtime.subtask_index);
        positions.retain(|split, _| own(split));
        Ok(Box::new(WordsReader {
            world: self.world.clone(),
            records: self.records,
            keys: self.keys,
            bounded: self.bounded,
            positions,
        }))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }
}

struct WordsReader {
    world: Arc<World>,
    records: u64,
    keys: u64,
    bounded: bool,
    positions: BTreeMap<u64, u64>,
}

impl SourceReader for WordsReader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        let gate = self.world.gate.load(Ordering::SeqCst);
        let mut done = true;
        for (split, position) in &mut self.positions {
            while split + *position * SPLITS < self.records {
                done = false;
                if *position >= gate || out.rows() >= rows_max.min(50) {
                    break;
                }
                let number = split + *position * SPLITS;
                let value = format!("k{}", number % self.keys);
                out.push(
                    RowHeader::element(Some(number as i64)),
                    b"",
                    value.as_bytes(),
                    b"",
                );
                *position += 1;
            }
        }
        self.world
            .polled
            .fetch_add(u64::from(out.rows()), Ordering::SeqCst);
        Ok(match (done, self.bounded, out.is_empty()) {
            (true, true, true) => SourceStatus::Finished,
            (_, _, true) => SourceStatus::WaitUntil(now + 1),
            _ => SourceStatus::More,
        })
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(self
            .positions
            .iter()
            .map(|p| json!(p).to_string().into_bytes())
            .collect())
    }
}

/// Two-phase: records are seen once they are committed.
struct Collect {
    world: Arc<World>,
}

impl Sink for Collect {
    fn writer(&self, runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CollectWriter {
            world: self.world.clone(),
            prefix: format!(
                "{}-{}-{}",
                runtime.operator, runtime.attempt, runtime.subtask_index
            ),
            open: Vec::new(),
        }))
    }

    fn recover(&self, context: &SinkRecovery) -> Result<(), TaskError> {
        self.world.recoveries.fetch_add(1, Ordering::SeqCst);
        while self.world.recovery_held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        for committable in &context.committables {
            if self.world.loses.load(Ordering::SeqCst) {
                return Err(lost(committable, "it was removed"));
            }
            let id = String::from_utf8(committable.bytes.clone()).unwrap();
            if let Some(rows) = self.world.prepared.lock().unwrap().remove(&id) {
                self.world.committed.lock().unwrap().extend(rows);
            }
        }
        self.world.prepared.lock().unwrap().clear();
        Ok(())
    }

    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::TwoPhaseCommit
    }
}

struct CollectWriter {
    world: Arc<World>,
    prefix: String,
    open: Vec<String>,
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError> {
        while self.world.sink_blocked.load(Ordering::SeqCst) {
            self.world.standing.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
        }
        self.open.extend(
            batch
                .iter()
                .map(|row| String::from_utf8(row.value().to_vec()).unwrap()),
        );
        self.world
            .written
            .fetch_add(u64::from(batch.rows()), Ordering::SeqCst);
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        let id = format!("{}-{checkpoint}", self.prefix);
        let rows = std::mem::take(&mut self.open);
        self.world.prepared.lock().unwrap().insert(id.clone(), rows);
        Ok(vec![(1, id.into_bytes())])
    }

    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError> {
        if self.world.loses.load(Ordering::SeqCst) {
            return Ok(Commit::Lost("it was removed".to_owned()));
        }
        let retries = &self.world.commit_retries;
        if retries
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
        {
            return Ok(Commit::Retry("not now".to_owned()));
        }
        let id = String::from_utf8(committable.bytes.clone()).unwrap();
        let Some(rows) = self.world.prepared.lock().unwrap().remove(&id) else {
            return Ok(Commit::Already);
        };
        self.world.committed.lock().unwrap().extend(rows);
        Ok(Commit::Committed)
    }
}

struct Functions {
    world: Arc<World>,
}

impl FunctionProvider for Functions {
    fn operator(
        &self,
        _: &str,
        description: &FunctionDescription,
        _: &Value,
        _: &JobSettings,
    ) -> Result<Box<dyn Operator>, TaskError> {
        let world = self.world.clone();
        Ok(match description.name.as_str() {
            "count" => Box::new(Count::new(world, 1)),
            "count of another version" => Box::new(Count::new(world, 2)),
            "timers" => Box::new(Timers { world, left: 0 }),
            "panic" => Box::new(Panics),
            other => return Err(TaskError::user(format!("no function `{other}`"))),
        })
    }
}

fn key_of<'a>(group: u32, hash: u32, key: &'a [u8]) -> StateKey<'a> {
    StateKey {
        group: KeyGroup(group as u16),
        hash,
        key,
        namespace: b"",
        map_key: b"",
    }
}

/// Emits `key:count` for each record; fails at the values that the test names.
struct Count {
    world: Arc<World>,
    schema_version: u32,
    state: Option<StateId>,
}

impl Count {
    fn new(world: Arc<World>, schema_version: u32) -> Self {
        Self {
            world,
            schema_version,
            state: None,
        }
    }
}

impl Operator for Count {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        let declaration = json!({"name": "count", "kind": "value", "schema-version": self.schema_version});
        let declaration: StateDeclaration = serde_json::from_value(declaration).unwrap();
        self.state = Some(context.state.register(&declaration)?);
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let state = self.state.unwrap();
        let mut results = BatchBuilder::default();
        for row in batch {
            let key = row.key().expect("the stream is keyed");
            assert!(
                context
                    .runtime
                    .key_groups
                    .contains(KeyGroup(row.group_field() as u16))
            );
            let at = key_of(row.group_field(), row.key_field(), key);
            let mut values = Values::default();
            context.state.get_many(state, &[at], &mut values)?;
            let count = values.bytes.try_into().map_or(0, u64::from_le_bytes) + 1;
            let write = Write {
                key: at,
                locator: Locator::UNKNOWN,
                value: Some(&count.to_le_bytes()),
            };
            context.state.write_batch(state, &[write])?;
            let text = format!("{}:{count}", String::from_utf8_lossy(row.value()));
            if self.world.fail_at.lock().unwrap().remove(&text) {
                return Err(TaskError::user(format!("told to fail at {text}")));
            }
            results.push(RowHeader::element(row.timestamp()), b"", text.as_bytes(), b"");
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }
}

/// Registers an event-time timer for each record and emits `fired key@time` when it fires. Takes only
/// three rows or two timers a call: the task has to submit the rest again.
struct Timers {
    world: Arc<World>,
    left: u32,
}

impl Operator for Timers {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        _: &mut Output,
    ) -> Result<u32, TaskError> {
        for row in batch.iter().take(3) {
            let timer = Timer {
                timestamp: row.timestamp().unwrap(),
                group: KeyGroup(row.group_field() as u16),
                key: row.key().unwrap().into(),
                namespace: TimerBytes::default(),
            };
            context.timers.register(TimeDomain::Event, &timer);
        }
        Ok(batch.rows().min(3))
    }

    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        assert_eq!((domain, context.watermark), (TimeDomain::Event, WATERMARK_END));
        let mut results = BatchBuilder::default();
        let taken = timers.len().min(2);
        for timer in &timers[..taken] {
            let text = format!(
                "fired {}@{}",
                String::from_utf8_lossy(&timer.key[1..]),
                timer.timestamp
            );
            let mut header = RowHeader::element(Some(timer.timestamp));
            header.flags |= FLAG_KEYED;
            self.world.trace.lock().unwrap().push(text.clone());
            results.push(header, &timer.key, text.as_bytes(), b"");
        }
        self.left += taken as u32;
        out.emit(0, results.finish());
        Ok(taken as u32)
    }

    fn on_end(&mut self, _: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let text = format!("ended after {}", self.left);
        self.world.trace.lock().unwrap().push(text.clone());
        let mut results = BatchBuilder::default();
        results.push(RowHeader::element(None), b"", text.as_bytes(), b"");
        out.emit(0, results.finish());
        Ok(())
    }
}

struct Panics;

impl Operator for Panics {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        _: &Batch,
        _: &mut OperatorContext,
        _: &mut Output,
    ) -> Result<u32, TaskError> {
        panic!("told to panic")
    }
}
