//! The simulated job: source (→ partition → pass) (→ ask) → key-by → count → key-by → gather (→ buffer) → sink: two hash exchanges, so
//! that channels are aligned at two levels. At times sliding windows count the keys' records beside that, the keyed stream is joined
//! with itself, and functions of two inputs share state or have it broadcast. Parallelisms, chaining, the partition and how watermarks are made are drawn anew
//! for every start.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wasmill_engine::registry::Registry;
use wasmill_model::function::{Format, GRANT_HTTP};
use wasmill_model::graph::asynchronous::{AsyncSpec, OutputMode, RetrySpec};
use wasmill_model::graph::join::IntervalJoinSpec;
use wasmill_model::graph::window::{AssignerSpec, WindowClock, WindowFunctionSpec, WindowSpec};
use wasmill_model::graph::{
    CheckpointMode, CheckpointSettings, FunctionRef, InputRef, JobSettings, KeySelector, LogicalGraph,
    LogicalOperator, OperatorKind, Partitioner, RestartStrategy, WatermarkGeneration, WatermarkStrategy,
};
use wasmill_model::id::OperatorUid;
use wasmill_model::key::MaxParallelism;

use crate::functions::Functions;
use crate::functions::ask::Clients;
use crate::model::{Counts, WindowCounts};
use crate::random::Random;
use crate::sink::{Shared, SimSink};
use crate::source::SimSource;
use crate::world::SimExecutor;

/// The size of windows: a slice of a slide has two parts.
pub(crate) const WINDOW_MS: i64 = 40;

/// From one window to the next.
pub(crate) const SLIDE_MS: i64 = 16;

/// How far apart records are that are joined.
pub(crate) const DISTANCE_MS: i64 = 4;

/// What stays the same at every start.
#[derive(Clone)]
pub(crate) struct Shape {
    /// Records of all shards.
    pub(crate) input: Arc<Vec<Vec<String>>>,
    pub(crate) checkpointing: CheckpointSettings,
    pub(crate) has_buffer: bool,
    /// Whether something outside is asked about each record.
    pub(crate) has_ask: bool,
    /// As in Flink, the end of one stream while all others are idle is the end of event time: what timers then say
    /// depends on what has come by then.
    pub(crate) has_idleness: bool,
    pub(crate) has_windows: bool,
    /// Whether there are a join and functions of two inputs.
    pub(crate) has_several: bool,
    /// How records are dealt out behind the source, where that cannot change: records in flight are restored between the
    /// same operators only.
    partition: Option<u64>,
    /// Bytes by which values of keyed state are longer than they need be.
    padding: usize,
}

/// Of a job with several streams at least: where storage is slow its many subtasks are seldom done sooner.
const SEVERAL_TIMEOUT_MS: u64 = 1_500;

impl Shape {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let keys = 1 + random.below(6);
        let shard = |random: &mut Random| {
            let records = random.below(70);
            (0..records).map(|_| format!("k{}", random.below(keys))).collect()
        };
        let input = Arc::new((0..4).map(|_| shard(random)).collect());
        let mode = match random.below(5) {
            0 => CheckpointMode::AtLeastOnce,
            _ => CheckpointMode::ExactlyOnce,
        };
        // Where checkpoints often take too long the job must bear it, or it would never come to its end.
        let tolerable = random.below(3) as u32;
        let (timeout_ms, tolerable_failures) = match random.below(3) {
            0 => (400, 1_000_000),
            _ => (20_000, tolerable),
        };
        let unaligned = mode == CheckpointMode::ExactlyOnce && random.clone().once_in(2);
        let checkpointing = CheckpointSettings {
            mode,
            unaligned,
            aligned_timeout_ms: [0, 0, 20, 200][random.clone().below(4) as usize],
            incremental: random.clone().once_in(2),
            interval_ms: 5 + random.below(40),
            tolerable_failures,
            retained: 1 + random.below(2) as u32,
            max_concurrent: 1 + random.below(2) as u32 * u32::from(!unaligned),
            min_pause_ms: [0, 0, 10][random.below(3) as usize],
            timeout_ms,
            retain_on_cancel: random.once_in(2),
        };
        let mut shape = Self {
            input,
            checkpointing,
            has_buffer: random.once_in(2),
            has_ask: random.clone().once_in(2),
            has_idleness: random.once_in(4),
            has_windows: random.once_in(2),
            has_several: random.clone().once_in(3),
            partition: unaligned.then(|| random.clone().below(8)),
            // So long that state does not fit into the manifest.
            padding: [0, 0, 0, 25_000][random.below(4) as usize],
        };
        if shape.has_several {
            let timeout = &mut shape.checkpointing.timeout_ms;
            *timeout = (*timeout).max(SEVERAL_TIMEOUT_MS);
        }
        shape
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        self.checkpointing.mode == CheckpointMode::ExactlyOnce
    }

    /// How many records each key has.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for record in self.input.iter().flatten() {
            *counts.entry(record.clone()).or_default() += 1;
        }
        counts
    }

    /// How many records each key has in each window: by key and the window's start.
    pub(crate) fn windows(&self) -> WindowCounts {
        let mut counts = WindowCounts::new();
        for shard in self.input.iter().filter(|_| self.has_windows) {
            for (time, record) in (0..).zip(shard) {
                let starts =
                    (-WINDOW_MS..=time).filter(|start| start % SLIDE_MS == 0 && time < start + WINDOW_MS);
                for start in starts {
                    *counts.entry((record.clone(), start)).or_default() += 1;
                }
            }
        }
        counts
    }

    /// How many pairs of records each key has that are [`DISTANCE_MS`] apart at most.
    pub(crate) fn pairs(&self) -> Counts {
        let times = |shard: &Vec<String>| (0..).zip(shard.clone()).collect::<Vec<(i64, String)>>();
        let all: Vec<_> = self.input.iter().flat_map(times).collect();
        let mut pairs = Counts::new();
        for (left, key) in &all {
            let partners = all
                .iter()
                .filter(|(right, other)| other == key && (right - left).abs() <= DISTANCE_MS);
            *pairs.entry(key.clone()).or_default() += partners.count() as u64;
        }
        pairs
    }

    /// Ascending within each shard, so that no record is late unless idle streams are left out.
    fn watermarks(&self, random: &mut Random) -> WatermarkStrategy {
        WatermarkStrategy {
            generator: [
                WatermarkGeneration::None,
                WatermarkGeneration::Monotonous,
                WatermarkGeneration::Bounded { disorder_ms: 3 },
            ][random.below(3) as usize]
                .clone(),
            idle_after_ms: self.has_idleness.then_some(1 + random.below(20) as i64),
            ..WatermarkStrategy::default()
        }
    }

    pub(crate) fn graph(&self, random: &mut Random) -> Result<LogicalGraph, String> {
        let watermarks = self.watermarks(random);
        let auto_watermark_interval_ms = [0, 2, 7, 40][random.below(4) as usize];
        let mut operators = Operators {
            list: Vec::new(),
            tail: None,
            random,
        };
        let connector = || ("sim".to_owned(), Value::Null, Format::Raw);
        let (connector, config, format) = connector();
        let source = OperatorKind::Source {
            connector: connector.clone(),
            config: config.clone(),
            format,
            watermarks: Some(watermarks),
        };
        operators.add("source", source, None);
        operators.add_partition(self.partition);
        if self.has_ask {
            operators.add_ask();
        }
        operators.add_key_by("key", KeySelector::Value);
        let windows = self.has_windows.then(|| operators.branch("windows", windows()));
        let several = match self.has_several {
            true => operators.several(),
            false => Vec::new(),
        };
        operators.add("count", function("count", "process"), None);
        operators.add_key_by("key-again", KeySelector::Field("1".to_owned()));
        operators.add("gather", function("gather", "process"), None);
        if self.has_buffer {
            operators.add("buffer", function("buffer", "flat-map"), None);
        }
        let sink = OperatorKind::Sink {
            connector,
            config,
            format,
        };
        operators.add("sink", sink, None);
        if let (Some(windows), Some(sink)) = (windows, operators.list.last_mut()) {
            sink.inputs.push(windows);
        }
        if let Some(sink) = operators.list.last_mut() {
            sink.inputs.extend(several);
        }
        let mut graph = LogicalGraph {
            name: "simulated".to_owned(),
            operators: operators.list,
            max_parallelism: Some(MaxParallelism(8)),
            settings: JobSettings {
                auto_watermark_interval_ms,
                checkpointing: Some(self.checkpointing.clone()),
                restart: Some(RestartStrategy::FixedDelay {
                    attempts: u32::MAX,
                    delay_ms: 5,
                }),
                ..JobSettings::default()
            },
        };
        graph.validate().map_err(|error| error.to_string())?;
        Ok(graph)
    }
}

/// What counts the records of each key over [`WINDOW_MS`] every [`SLIDE_MS`].
fn windows() -> OperatorKind {
    let assigner = AssignerSpec::Sliding {
        clock: WindowClock::Event,
        size_ms: WINDOW_MS,
        slide_ms: SLIDE_MS,
        offset_ms: 0,
    };
    OperatorKind::Window {
        spec: WindowSpec {
            assigner,
            trigger: None,
            evictor: None,
            lateness_ms: 0,
            late_output: false,
            all: false,
            function: WindowFunctionSpec::Count,
        },
    }
}

fn function(name: &str, kind: &str) -> OperatorKind {
    function_of(name, kind, "csv")
}

/// A process function of two inputs; `broadcast` is its state where the second is broadcast.
fn two_inputs(name: &str, broadcast: Option<&str>) -> OperatorKind {
    let mut kind = function(name, "process");
    if let OperatorKind::Function { description, .. } = &mut kind {
        description.second_input = Some(Format::Raw);
        let declared = broadcast.map(|name| serde_json::from_value(json!([{"name": name}])).unwrap());
        description.broadcast_state = declared;
    }
    kind
}

fn function_of(name: &str, kind: &str, output: &str) -> OperatorKind {
    let description = json!({"name": name, "kind": kind, "output": output});
    OperatorKind::Function {
        plugin: "sha256:0".to_owned(),
        description: serde_json::from_value(description).unwrap(),
        config: Value::Null,
        asynchronous: None,
    }
}

/// A line of operators, each behind the one before.
struct Operators<'a> {
    random: &'a mut Random,
    list: Vec<LogicalOperator>,
    /// What the next one follows.
    tail: Option<InputRef>,
}

impl Operators<'_> {
    /// Sometimes; the parallelism of a partition means nothing.
    fn add_partition(&mut self, drawn: Option<u64>) {
        let partitioner = match drawn.unwrap_or_else(|| self.random.below(8)) {
            0 => Partitioner::Rebalance,
            1 => Partitioner::Shuffle,
            2 => Partitioner::Rescale,
            3 => Partitioner::Global,
            4 => {
                let description = json!({"name": "by-record", "kind": "partitioner"});
                let function = FunctionRef {
                    plugin: "sha256:0".to_owned(),
                    description: serde_json::from_value(description).unwrap(),
                    config: Value::Null,
                };
                self.add("partition", OperatorKind::PartitionCustom { function }, Some(1));
                return self.add("pass", function_of("pass", "flat-map", "raw"), None);
            }
            _ => return,
        };
        self.add("partition", OperatorKind::Partition { partitioner }, Some(1));
        self.add("pass", function_of("pass", "flat-map", "raw"), None);
    }

    /// How it is done may differ from start to start; that it is done stays.
    fn add_ask(&mut self) {
        let OperatorKind::Function {
            plugin,
            mut description,
            config,
            ..
        } = function_of("ask", "async", "raw")
        else {
            return;
        };
        description.grants.push(GRANT_HTTP.to_owned());
        let spec = AsyncSpec {
            capacity: 1 + self.random.below(5) as u32,
            order: [OutputMode::Ordered, OutputMode::Unordered][self.random.below(2) as usize],
            timeout_ms: 0,
            retry: Some(RetrySpec {
                attempts: u32::MAX,
                delay_ms: 3,
                ..RetrySpec::default()
            }),
            grants: BTreeMap::from([(GRANT_HTTP.to_owned(), Value::Null)]),
        };
        let kind = OperatorKind::Function {
            plugin,
            description,
            config,
            asynchronous: Some(Box::new(spec)),
        };
        self.add("ask", kind, None);
    }

    /// A key-by has the parallelism of what it follows.
    fn add_key_by(&mut self, uid: &str, selector: KeySelector) {
        let parallelism = self.list.last().and_then(|operator| operator.parallelism);
        let format = Format::Raw;
        self.add(uid, OperatorKind::KeyBy { selector, format }, parallelism);
    }

    /// An operator behind the last one that the next one does not follow.
    fn branch(&mut self, uid: &str, kind: OperatorKind) -> InputRef {
        let tail = self.tail.clone();
        self.add(uid, kind, None);
        std::mem::replace(&mut self.tail, tail).unwrap()
    }

    /// A join of the keyed stream with itself, and functions of two inputs.
    fn several(&mut self) -> Vec<InputRef> {
        let spec = IntervalJoinSpec {
            lower_ms: -DISTANCE_MS,
            upper_ms: DISTANCE_MS,
            lower_exclusive: false,
            upper_exclusive: false,
            late_outputs: false,
            function: None,
            formats: [Format::Raw; 2],
        };
        let join = self.branch("join", OperatorKind::IntervalJoin { spec });
        let both = self.branch("both", two_inputs("both", None));
        let partitioner = Partitioner::Broadcast;
        let all = self.branch("to-all", OperatorKind::Partition { partitioner });
        let known = self.branch("known", two_inputs("known", Some("known")));
        for operator in &mut self.list {
            match operator.uid.as_str() {
                "join" | "both" => operator.inputs.push(operator.inputs[0].clone()),
                "known" => operator.inputs.push(all.clone()),
                _ => {}
            }
        }
        vec![join, both, known]
    }

    fn add(&mut self, uid: &str, kind: OperatorKind, parallelism: Option<u32>) {
        let input = self.tail.replace(InputRef {
            uid: OperatorUid::new(uid),
            side: None,
        });
        let drawn = 1 + self.random.below(3) as u32;
        self.list.push(LogicalOperator {
            uid: OperatorUid::new(uid),
            uid_given: true,
            name: uid.to_owned(),
            kind,
            inputs: input.into_iter().collect(),
            parallelism: Some(parallelism.unwrap_or(drawn)),
            chaining: !self.random.once_in(4),
            slot_sharing_group: "default".to_owned(),
        });
    }
}

pub(crate) fn registry(shape: &Shape, external: &Shared, executor: &Arc<SimExecutor>) -> Arc<Registry> {
    let mut registry = Registry::default();
    let shards = shape.input.clone();
    let source = move || SimSource {
        shards: shards.clone(),
    };
    let written = external.clone();
    let sink = move || SimSink {
        external: written.clone(),
    };
    registry.sources.insert(
        "sim".to_owned(),
        Box::new(move |_, _| Ok(Arc::new(source()) as _)),
    );
    registry
        .sinks
        .insert("sim".to_owned(), Box::new(move |_, _| Ok(Arc::new(sink()) as _)));
    registry.functions = Some(Arc::new(Functions {
        external: external.clone(),
        padding: shape.padding,
        never_late: !shape.has_idleness,
    }));
    registry.clients = Some(Arc::new(Clients(executor.clone())));
    Arc::new(registry)
}
