//! Cases of the Flink oracle that concern event time and several inputs, driven through one task line by line
//! (`tests/oracle`): what comes out must be Flink's, byte for byte.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use wasmill_model::function::Format;
use wasmill_model::graph::{
    FunctionRef, JobSettings, TimestampSource, WatermarkGeneration, WatermarkStrategy,
};
use wasmill_model::key::{self, MaxParallelism};

use super::*;
use crate::builtin::AssignTimestampsOperator;
use crate::registry::{FunctionPlace, FunctionProvider};
use crate::time::splits::{Splits, Urgency};
use crate::time::strategy::Strategy;
use crate::time::{TimestampAssigner, WatermarkGenerator};

mod broadcast;
mod co_process;

fn cases(seed: u32) -> PathBuf {
    let path = format!("../../tests/oracle/cases/seed-{seed}");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A case: what it declares, its tape and Flink's answer.
struct Case {
    spec: Value,
    tape: Vec<Value>,
    expected: String,
}

impl Case {
    fn read(name: &str, seed: u32) -> Self {
        let directory = cases(seed).join(name);
        let text = |path: PathBuf| {
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let spec: Value = serde_json::from_str(&text(directory.join("case.json"))).unwrap();
        let tape = text(directory.join(spec["input"].as_str().unwrap()));
        Self {
            tape: tape
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            expected: text(directory.join("expected.jsonl")),
            spec,
        }
    }

    fn input_of(line: &Value) -> usize {
        line["input"].as_u64().map_or(0, |input| input as usize - 1)
    }

    fn inputs(&self) -> usize {
        self.spec["tape"]["inputs"].as_u64().unwrap_or(1) as usize
    }

    /// Sorts by the fields of `order`, a missing one last, and compares.
    fn compare(&self, name: &str, seed: u32, mut lines: Vec<String>) {
        let order: Vec<&str> = self.spec["order"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field.as_str().unwrap())
            .collect();
        lines.sort_by_cached_key(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let field = |name: &&str| match &line[*name] {
                Value::Null => (2, 0, String::new()),
                Value::Number(number) => (0, number.as_i64().unwrap(), String::new()),
                other => (1, 0, other.as_str().unwrap().to_owned()),
            };
            order.iter().map(field).collect::<Vec<_>>()
        });
        let expected: Vec<&str> = self.expected.lines().collect();
        for (number, (ours, flinks)) in lines.iter().zip(&expected).enumerate() {
            assert_eq!(ours, flinks, "{name}, seed {seed}, line {number}");
        }
        assert_eq!(
            lines.len(),
            expected.len(),
            "{name}, seed {seed}: number of lines"
        );
    }
}

/// A task with one operator under test, its channels and its clock.
struct Drive {
    task: Task,
    senders: Vec<Sender>,
    out: Receiver,
    now: Timestamp,
    shows_time: bool,
    lines: Vec<String>,
}

impl Drive {
    /// `port` says which input of the operator a channel feeds.
    fn new(case: &Case, operator: Box<dyn Operator>, port: impl Fn(usize) -> u16) -> Self {
        let (senders, inputs) = (0..case.inputs())
            .map(|channel_number| {
                let (sender, receiver) = channel(1_000, Waker::new(), Waker::new());
                (sender, Input::new(receiver, port(channel_number)))
            })
            .unzip();
        let (sender, out) = channel(100_000, Waker::new(), Waker::new());
        let buffering = Buffering {
            bytes: 1,
            timeout_ms: 0,
        };
        let edge = Edge::new(Partitioner::Forward, vec![sender], 0, MAX, buffering);
        let node = Node::new(0, operator, context("case"), vec![vec![Route::Edge(0)]], None);
        let head = Head::Channels(Box::new(Inputs::new(inputs, CheckpointMode::ExactlyOnce)));
        let chain = Chain::new(vec![node], vec![edge], Vec::new());
        let wakes = || Mailbox::new(Waker::new());
        let task = task(
            head,
            chain,
            &wakes(),
            &Mailbox::new(Waker::new()),
            &Arc::default(),
        );
        let mut drive = Self {
            task,
            senders,
            out,
            now: 0,
            shows_time: case.spec["watermarks"].as_bool().unwrap_or(false),
            lines: Vec::new(),
        };
        drive.run(0);
        drive
    }

    fn run(&mut self, at: usize) {
        for _ in 0..10_000 {
            match self.task.step(self.now) {
                Step::Progress => {}
                Step::Blocked { .. } => break,
                Step::Finished => {
                    panic!("the task has ended: see its report");
                }
            }
        }
        while let Some(item) = self.out.receive() {
            self.write_down(at, item);
        }
    }

    fn write_down(&mut self, at: usize, item: StreamElement) {
        let time = match item {
            StreamElement::Batch(batch) => {
                for row in &batch {
                    let mut line = format!("{{\"at\":{at}");
                    if let Some(timestamp) = row.timestamp() {
                        write!(line, ",\"ts\":{timestamp}").unwrap();
                    }
                    self.lines.push(format!("{line},{}}}", text(row.value())));
                }
                return;
            }
            StreamElement::Watermark(watermark) => format!("\"watermark\":{watermark}"),
            StreamElement::Idle => "\"status\":\"idle\"".to_owned(),
            StreamElement::Active => "\"status\":\"active\"".to_owned(),
            other => panic!("{other:?} comes out"),
        };
        if self.shows_time {
            self.lines.push(format!("{{\"at\":{at},{time}}}"));
        }
    }

    /// Plays the whole tape and its end.
    fn play(mut self, case: &Case) -> Vec<String> {
        for (at, line) in case.tape.iter().enumerate() {
            let channel = Case::input_of(line);
            if let Some(now) = line["processing-time"].as_i64() {
                self.now = now;
            } else {
                self.senders[channel].try_send(element(at, line)).unwrap();
            }
            self.run(at);
        }
        for item in [StreamElement::Active, StreamElement::Watermark(WATERMARK_END)] {
            for channel in 0..self.senders.len() {
                self.senders[channel].try_send(item.clone()).unwrap();
                self.run(case.tape.len());
            }
        }
        self.lines
    }
}

/// A record is under its key, and its value is the fields that Flink's event shows.
fn element(at: usize, line: &Value) -> StreamElement {
    if let Some(watermark) = line["watermark"].as_i64() {
        return StreamElement::Watermark(watermark);
    }
    match line["status"].as_str() {
        Some("idle") => return StreamElement::Idle,
        Some(_) => return StreamElement::Active,
        None => {}
    }
    let name = line["key"].as_str().unwrap();
    let mut encoded = Vec::new();
    key::encode_bytes(&mut encoded, name.as_bytes());
    let value = format!("\"key\":\"{name}\",\"value\":{},\"n\":{at}", line["value"]);
    let header = RowHeader::element(Some(line["ts"].as_i64().unwrap()));
    let mut unkeyed = BatchBuilder::default();
    unkeyed.push(header, b"", value.as_bytes(), b"");
    let mut builder = BatchBuilder::default();
    for row in &unkeyed.finish() {
        let keyed = builder.push_under_key(row, MaxParallelism(128), |out| {
            out.extend_from_slice(&encoded);
            Ok::<_, ()>(())
        });
        keyed.unwrap();
    }
    StreamElement::Batch(builder.finish())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A record's field.
fn field(value: &[u8], name: &str) -> Value {
    let record: Value = serde_json::from_str(&format!("{{{}}}", text(value))).unwrap();
    record[name].clone()
}

/// Flink's `map(e -> e)`.
struct Pass;

impl Operator for Pass {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        _: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        out.emit(0, batch.clone());
        Ok(batch.rows())
    }
}

/// Natively, what a component would say.
struct Native;

struct TimestampPlusValue;

impl TimestampAssigner for TimestampPlusValue {
    fn assign(&mut self, rows: &Batch, out: &mut Vec<Timestamp>) -> Result<(), TaskError> {
        out.extend(rows.iter().map(|row| {
            let value = field(row.value(), "value").as_i64().unwrap();
            row.timestamp().unwrap() + value
        }));
        Ok(())
    }
}

impl FunctionProvider for Native {
    fn operator(
        &self,
        _: &str,
        description: &wasmill_model::function::FunctionDescription,
        _: &Value,
        _: &JobSettings,
    ) -> Result<Box<dyn Operator>, TaskError> {
        Err(TaskError::user(description.name.clone()))
    }

    fn timestamp_assigner(
        &self,
        _: &FunctionRef,
        _: &FunctionPlace,
    ) -> Result<Box<dyn TimestampAssigner>, TaskError> {
        Ok(Box::new(TimestampPlusValue))
    }

    fn watermark_generator(
        &self,
        _: &FunctionRef,
        _: &FunctionPlace,
    ) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        Ok(Box::new(super::source_time::AtMarks))
    }
}

pub(super) fn function(name: &str) -> FunctionRef {
    let description = serde_json::json!({"name": name, "kind": "map"});
    FunctionRef {
        plugin: "sha256:0".to_owned(),
        description: serde_json::from_value(description).unwrap(),
        config: Value::Null,
    }
}

pub(super) fn strategy(declared: WatermarkStrategy, interval_ms: u64) -> Strategy {
    Strategy {
        declared,
        format: Format::Raw,
        interval_ms,
        functions: Some(Arc::new(Native)),
        place: FunctionPlace {
            runtime: context("case").runtime,
            settings: JobSettings::default(),
        },
    }
}

fn assign_timestamps(case: &Case) -> Box<dyn Operator> {
    let pipeline = &case.spec["pipeline"];
    let declared = WatermarkStrategy {
        timestamps: TimestampSource::Function(Box::new(function("ts-plus-value"))),
        generator: match pipeline["strategy"].as_str().unwrap() {
            "bounded" => WatermarkGeneration::Bounded {
                disorder_ms: pipeline["disorder"].as_i64().unwrap(),
            },
            "monotonous" => WatermarkGeneration::Monotonous,
            "none" => WatermarkGeneration::None,
            other => panic!("no such strategy: {other}"),
        },
        idle_after_ms: pipeline["idle-after"].as_i64(),
        alignment: None,
    };
    let strategy = strategy(declared, pipeline["interval"].as_u64().unwrap());
    Box::new(AssignTimestampsOperator::new(&strategy).unwrap())
}

#[test]
fn watermark_strategies_say_what_flinks_say() {
    let names = [
        "watermark-bounded",
        "watermark-bounded-idle",
        "watermark-monotonous",
        "watermark-none",
    ];
    for (name, seed) in names.iter().flat_map(|name| [(name, 1), (name, 2)]) {
        let case = Case::read(name, seed);
        let lines = Drive::new(&case, assign_timestamps(&case), |_| 0).play(&case);
        case.compare(name, seed, lines);
    }
}

#[test]
fn channels_of_one_input_combine_as_in_flink() {
    for (name, seed) in ["channels-two", "channels-four-idle"]
        .iter()
        .flat_map(|name| [(name, 1), (name, 2)])
    {
        let case = Case::read(name, seed);
        let lines = Drive::new(&case, Box::new(Pass), |_| 0).play(&case);
        case.compare(name, seed, lines);
    }
}

#[test]
fn splits_of_one_source_combine_as_in_flink() {
    for (name, seed) in ["splits-deferred", "splits-immediate"]
        .iter()
        .flat_map(|name| [(name, 1), (name, 2)])
    {
        let case = Case::read(name, seed);
        let pipeline = &case.spec["pipeline"];
        let urgency = match pipeline["immediate"].as_bool() {
            Some(true) => Urgency::Immediate,
            _ => Urgency::Deferred,
        };
        let mut splits = Splits::new(0..pipeline["splits"].as_u64().unwrap() as u32);
        let mut lines = Vec::new();
        for (at, line) in case.tape.iter().enumerate() {
            let mut say = |signal| {
                lines.push(match signal {
                    TimeSignal::Watermark(to) => format!("{{\"at\":{at},\"watermark\":{to}}}"),
                    TimeSignal::Idle => format!("{{\"at\":{at},\"status\":\"idle\"}}"),
                    TimeSignal::Active => format!("{{\"at\":{at},\"status\":\"active\"}}"),
                });
            };
            let split = Case::input_of(line) as u32;
            let signal = match (line["watermark"].as_i64(), line["status"].as_str()) {
                (Some(to), _) => TimeSignal::Watermark(to),
                (_, Some("idle")) => TimeSignal::Idle,
                (_, Some(_)) => TimeSignal::Active,
                _ if line.get("processing-time").is_some() => {
                    splits.combine(&mut say);
                    continue;
                }
                _ => continue,
            };
            splits.on(split, signal, urgency, &mut say);
        }
        case.compare(name, seed, lines);
    }
}
