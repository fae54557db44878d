//! Components of `target/guests`, and an operator driven as a task drives it.

#![allow(dead_code, unreachable_pub)] // Each test program uses its part.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Only tests call these: a panic is a failure.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::error::TaskError;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{Operator, OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::{Barrier, SnapshotKind, StateFormat};
use wasmill_model::function::StateTtl;
use wasmill_model::graph::JobSettings;
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{self, RowHeader};
use wasmill_model::time::{Timestamp, WATERMARK_NONE};
use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::operator::function::FunctionOperator;
use wasmill_plugin::operator::pace::Pace;
use wasmill_plugin::operator::provider::PluginFunctions;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::sandbox::limits::HostLimits;
use wasmill_state::backend::KeyedStateBackend;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, TimerQueue};

/// Key groups of the tests' jobs.
pub const GROUPS: MaxParallelism = MaxParallelism(128);

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests")
}

/// The bytes of a component; `None` where it was not built, which `WASMILL_REQUIRE_ALL` forbids.
pub fn component(name: &str) -> Option<Vec<u8>> {
    let path = guests().join(format!("{name}.wasm"));
    if let Ok(bytes) = std::fs::read(&path) {
        return Some(bytes);
    }
    let note = format!("{name}.wasm is not in target/guests: run `cargo xtask guests`");
    assert!(std::env::var_os("WASMILL_REQUIRE_ALL").is_none(), "{note}");
    eprintln!("skipped: {note}");
    None
}

/// One registry for the test program, with machine code kept between runs.
pub fn registry() -> Arc<PluginRegistry> {
    static REGISTRY: OnceLock<Arc<PluginRegistry>> = OnceLock::new();
    REGISTRY
        .get_or_init(|| {
            let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugins-{}", std::process::id()));
            let registry = PluginRegistry::open(&data, CompileIn::ThisProcess, HostLimits::default());
            Arc::new(registry.expect("a registry in the build directory"))
        })
        .clone()
}

/// What a test varies of an operator.
#[derive(Clone)]
pub struct Setup {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The function.
    pub function: String,
    /// Rows a call at most.
    pub rows: u32,
    /// Of the operator.
    pub config: Value,
    /// Of the job.
    pub limits: Value,
    /// Subtask and parallelism.
    pub subtask: (u32, u32),
    /// Of all its states.
    pub ttl: Option<StateTtl>,
}

impl Setup {
    /// With defaults.
    pub fn new(component: Vec<u8>, function: &str) -> Self {
        Self {
            component,
            function: function.to_owned(),
            rows: 512,
            config: Value::Null,
            limits: Value::Null,
            subtask: (0, 1),
            ttl: None,
        }
    }
}

/// One row that came out, its port first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    pub port: u16,
    pub value: String,
    pub timestamp: Option<Timestamp>,
    pub key: Option<Vec<u8>>,
}

/// A row that goes in.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub key: Option<String>,
    pub value: Option<String>,
    pub timestamp: Option<Timestamp>,
    pub headers: Vec<(String, String)>,
}

impl Input {
    /// A keyed record.
    pub fn keyed(key: &str, value: &str, timestamp: Option<Timestamp>) -> Self {
        Self {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
            timestamp,
            headers: Vec::new(),
        }
    }

    /// A record without a key.
    pub fn plain(value: &str, timestamp: Option<Timestamp>) -> Self {
        Self {
            key: None,
            ..Self::keyed("", value, timestamp)
        }
    }
}

/// A batch of rows.
pub fn batch(inputs: &[Input]) -> Batch {
    let mut builder = BatchBuilder::default();
    for input in inputs {
        let mut encoded = Vec::new();
        let mut header = RowHeader::element(input.timestamp);
        if let Some(body) = &input.key {
            key::encode_bytes(&mut encoded, body.as_bytes());
            let hash = key::hash(&encoded);
            header.flags |= row::FLAG_KEYED;
            header.key = hash as u32;
            header.group = u32::from(GROUPS.group_of(hash).0);
        }
        let mut extension = Vec::new();
        for (name, value) in &input.headers {
            extension.extend_from_slice(&row::EXTENSION_HEADER.to_le_bytes());
            extension.extend_from_slice(&(2 + name.len() as u32 + value.len() as u32).to_le_bytes());
            extension.extend_from_slice(&(name.len() as u16).to_le_bytes());
            extension.extend_from_slice(name.as_bytes());
            extension.extend_from_slice(value.as_bytes());
        }
        if !extension.is_empty() {
            header.flags |= row::FLAG_EXTENSION;
        }
        if input.value.is_none() {
            header.flags |= row::FLAG_NULL;
        }
        let value = input.value.as_deref().unwrap_or_default();
        builder.push(header, &encoded, value.as_bytes(), &extension);
    }
    builder.finish()
}

/// An operator and what it works on.
pub struct Driver {
    pub operator: FunctionOperator,
    pub context: OperatorContext,
    pub emitted: Vec<Emitted>,
}

impl Driver {
    /// Uploads the component where it is new, and opens an operator.
    pub fn open(setup: &Setup, restored: Option<OperatorState>) -> Result<Self, TaskError> {
        let (index, parallelism) = setup.subtask;
        let range = GROUPS.range_of(index, parallelism);
        Self::open_on(setup, Box::new(MemoryBackend::new(range, GROUPS)), restored)
    }

    /// The same on keyed state that is there.
    pub fn open_on(
        setup: &Setup,
        state: Box<dyn KeyedStateBackend>,
        restored: Option<OperatorState>,
    ) -> Result<Self, TaskError> {
        let registry = registry();
        let info = registry
            .upload("guest", &setup.component)
            .expect("the component is taken");
        let functions = PluginFunctions::new(registry);
        let description = info
            .description
            .function(&setup.function)
            .expect("the function is declared");
        let settings = JobSettings {
            limits: setup.limits.clone(),
            ..JobSettings::default()
        };
        let digest = info.digest.to_string();
        let mut description = description.clone();
        for state in &mut description.state {
            state.ttl = setup.ttl;
        }
        let blueprint = functions.blueprint(&digest, &description, &setup.config, &settings)?;
        let (index, parallelism) = setup.subtask;
        let range = GROUPS.range_of(index, parallelism);
        let mut driver = Self {
            operator: FunctionOperator::with_pace(blueprint, Pace::fixed(setup.rows)),
            context: OperatorContext {
                runtime: Arc::new(RuntimeContext {
                    job_id: JobId(7),
                    job_name: "test".to_owned(),
                    operator: OperatorUid::new("op"),
                    task_name: "source -> op".to_owned(),
                    subtask_index: index,
                    parallelism,
                    max_parallelism: GROUPS,
                    key_groups: range,
                    attempt: 0,
                }),
                state,
                timers: TimerQueue::default(),
                watermark: WATERMARK_NONE,
                processing_time: 0,
                metrics: Arc::new(OperatorMetrics::default()),
            },
            emitted: Vec::new(),
        };
        driver.operator.open(&mut driver.context, restored)?;
        Ok(driver)
    }

    /// Rows in one batch; those not consumed are submitted again.
    pub fn push(&mut self, inputs: &[Input]) -> Result<(), TaskError> {
        self.push_to(0, inputs)
    }

    /// As [`Driver::push`], on one of the function's inputs.
    pub fn push_to(&mut self, port: u16, inputs: &[Input]) -> Result<(), TaskError> {
        let mut rest = batch(inputs);
        while !rest.is_empty() {
            let mut out = Output::default();
            let consumed = self.operator.process(port, &rest, &mut self.context, &mut out);
            self.take(out);
            let consumed = consumed?;
            assert!(consumed >= 1 && consumed <= rest.rows());
            rest = rest.skip(consumed);
        }
        Ok(())
    }

    /// Advances a clock and fires what is due, as a task does; a bound catches a function that makes
    /// due timers for ever.
    pub fn advance(&mut self, domain: TimeDomain, now: Timestamp) -> Result<(), TaskError> {
        match domain {
            TimeDomain::Event => self.context.watermark = now,
            TimeDomain::Processing => self.context.processing_time = now,
        }
        for _ in 0..10_000 {
            let due = self.context.timers.take_due(domain, now, 1_000);
            if due.is_empty() {
                return Ok(());
            }
            let mut out = Output::default();
            let consumed = self.operator.on_timers(domain, &due, &mut self.context, &mut out);
            self.take(out);
            let left = due.into_iter().skip(consumed? as usize);
            self.context.timers.put_back(domain, left);
        }
        panic!("timers never end");
    }

    /// What the operator adds to a checkpoint.
    pub fn snapshot(&mut self) -> Result<OperatorState, TaskError> {
        let barrier = Barrier {
            checkpoint: CheckpointId(1),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        };
        Ok(self.operator.snapshot(&barrier, &mut self.context)?.state)
    }

    fn take(&mut self, mut out: Output) {
        for (port, batch) in out.drain() {
            for row in &batch {
                self.emitted.push(Emitted {
                    port,
                    value: String::from_utf8_lossy(row.value()).into_owned(),
                    timestamp: row.timestamp(),
                    key: row.key().map(<[u8]>::to_vec),
                });
            }
        }
    }

    /// The values of a port so far, which are forgotten.
    pub fn values(&mut self, port: u16) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.emitted)
            .into_iter()
            .partition(|row| row.port == port);
        self.emitted = left;
        let taken: Vec<Emitted> = taken;
        taken.into_iter().map(|row| row.value).collect()
    }
}

/// Empty configuration.
pub fn no_config() -> Value {
    json!({})
}
