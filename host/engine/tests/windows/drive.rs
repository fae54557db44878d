//! Drives window operators as tasks do: elements, watermarks, the clock, snapshots, another parallelism.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{Operator, OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{FLAG_KEYED, RowHeader};
use wasmill_model::time::{Timestamp, WATERMARK_END, WATERMARK_NONE};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, TimerQueue};

use crate::build::{self, SIDES};
use crate::case::Case;

const MAX: MaxParallelism = MaxParallelism(128);

/// How a case is run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// Elements go in together until something else comes; else one by one.
    pub(crate) in_batches: bool,
    /// Before this line state is snapshotted and restored ...
    pub(crate) restore_at: Option<usize>,
    /// ... into so many subtasks; there is one before.
    pub(crate) then_parallelism: u32,
    /// Windows are made of slices where they can be.
    pub(crate) in_slices: bool,
}

struct Subtask {
    operator: Box<dyn Operator>,
    context: OperatorContext,
}

impl Subtask {
    fn new(case: &Case, way: Way, index: u32, parallelism: u32, files: &[Vec<u8>]) -> Self {
        let range = MAX.range_of(index, parallelism);
        let mut context = OperatorContext {
            runtime: Arc::new(RuntimeContext {
                job_id: JobId(1),
                job_name: "oracle".to_owned(),
                operator: OperatorUid::new("window"),
                task_name: "window".to_owned(),
                subtask_index: index,
                parallelism,
                max_parallelism: MAX,
                key_groups: range,
                attempt: 0,
            }),
            state: Box::new(MemoryBackend::new(range, MAX)),
            timers: TimerQueue::default(),
            watermark: WATERMARK_NONE,
            processing_time: 0,
            metrics: Arc::new(OperatorMetrics::default()),
        };
        for file in files {
            let timers = &mut context.timers;
            keyed::restore(&mut &file[..], range, &mut *context.state, timers).unwrap();
        }
        let mut operator = build::operator(&case.pipeline, way.in_slices);
        operator.open(&mut context, None).unwrap();
        assert_eq!(context.state.unclaimed(), [""; 0]);
        Self { operator, context }
    }

    fn fire(&mut self, domain: TimeDomain, out: &mut Output) {
        loop {
            let clock = match domain {
                TimeDomain::Event => self.context.watermark,
                TimeDomain::Processing => self.context.processing_time,
            };
            let due = self.context.timers.take_due(domain, clock, 16);
            if due.is_empty() {
                self.context.timers.put_back(domain, []);
                return;
            }
            let fired = self
                .operator
                .on_timers(domain, &due, &mut self.context, out)
                .unwrap();
            assert!((1..=due.len()).contains(&(fired as usize)));
            self.context
                .timers
                .put_back(domain, due.into_iter().skip(fired as usize));
        }
    }
}

/// Runs a case and returns its output, sorted as the case says.
pub(crate) fn run(case: &Case, way: Way) -> Vec<String> {
    let mut drive = Drive {
        case,
        way,
        subtasks: vec![Subtask::new(case, way, 0, 1, &[])],
        waiting: Vec::new(),
        late_dropped: 0,
        lines: Vec::new(),
    };
    for (at, line) in case.input.iter().enumerate() {
        if way.restore_at == Some(at) {
            drive.flush();
            drive.restore();
        }
        drive.line(at, line);
    }
    drive.flush();
    if !case.is_unbounded {
        drive.advance(case.input.len(), WATERMARK_END);
    }
    drive.count_late();
    let (at, count) = (case.input.len(), drive.late_dropped);
    let metric = format!("{{\"at\":{at},\"metric\":\"numLateRecordsDropped\",\"count\":{count}}}");
    drive.lines.push(metric);
    case.sort(drive.lines)
}

struct Drive<'a> {
    case: &'a Case,
    way: Way,
    subtasks: Vec<Subtask>,
    /// Lines of elements that go in together.
    waiting: Vec<usize>,
    late_dropped: u64,
    lines: Vec<String>,
}

impl Drive<'_> {
    fn line(&mut self, at: usize, line: &Value) {
        if line.get("ts").is_some() {
            self.waiting.push(at);
            if !self.way.in_batches {
                self.flush();
            }
            return;
        }
        self.flush();
        if let Some(now) = line["processing-time"].as_i64() {
            self.each(at, |subtask, out| {
                subtask.context.processing_time = now;
                subtask.fire(TimeDomain::Processing, out);
            });
        } else if let Some(watermark) = line["watermark"].as_i64() {
            self.advance(at, watermark);
        }
    }

    fn advance(&mut self, at: usize, watermark: Timestamp) {
        self.each(at, |subtask, out| {
            if watermark > subtask.context.watermark {
                subtask.context.watermark = watermark;
                subtask.fire(TimeDomain::Event, out);
            }
        });
    }

    fn each(&mut self, at: usize, mut work: impl FnMut(&mut Subtask, &mut Output)) {
        let mut out = Output::default();
        for subtask in &mut self.subtasks {
            work(subtask, &mut out);
        }
        self.write(&mut out, |_| at);
    }

    /// Processes the elements that wait; each output belongs to the element that caused it.
    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.waiting);
        let parallelism = self.subtasks.len() as u32;
        let mut parts: BTreeMap<u32, (BatchBuilder, Vec<usize>)> = BTreeMap::new();
        for at in lines {
            let key = self.case.input[at]["key"].as_str().unwrap();
            let hash = key::hash(format!("b{key}").as_bytes());
            let (builder, lines) = parts
                .entry(MAX.subtask_of(MAX.group_of(hash), parallelism))
                .or_default();
            push(builder, at, &self.case.input[at]);
            lines.push(at);
        }
        for (subtask, (mut builder, lines)) in parts {
            let (mut batch, mut done): (Batch, usize) = (builder.finish(), 0);
            while !batch.is_empty() {
                let mut out = Output::default();
                let subtask = &mut self.subtasks[subtask as usize];
                let taken = subtask
                    .operator
                    .process(0, &batch, &mut subtask.context, &mut out)
                    .unwrap();
                self.write(&mut out, |cause| lines[done + cause as usize]);
                done += taken as usize;
                batch = batch.skip(taken);
            }
        }
    }

    fn write(&mut self, out: &mut Output, at: impl Fn(u32) -> usize) {
        for (port, batch) in out.drain() {
            for row in &batch {
                let at = at(row.key_field());
                let side = (port > 0).then(|| format!(",\"out\":\"{}\"", SIDES[usize::from(port) - 1]));
                let time = row.timestamp().map(|time| format!(",\"ts\":{time}"));
                let body = std::str::from_utf8(row.value()).unwrap();
                let body = body.strip_prefix('{').unwrap();
                let (side, time) = (side.unwrap_or_default(), time.unwrap_or_default());
                self.lines.push(format!("{{\"at\":{at}{side}{time},{body}"));
            }
        }
    }

    fn restore(&mut self) {
        self.count_late();
        let mut files = Vec::new();
        let (watermark, now) = {
            let context = &self.subtasks[0].context;
            (context.watermark, context.processing_time)
        };
        for subtask in &mut self.subtasks {
            let context = &mut subtask.context;
            let frozen = keyed::freeze(&mut *context.state, &context.timers, CheckpointId(1)).unwrap();
            let mut file = Vec::new();
            frozen.write(&mut file).unwrap();
            files.push(file);
        }
        let parallelism = self.way.then_parallelism;
        let subtasks =
            (0..parallelism).map(|index| Subtask::new(self.case, self.way, index, parallelism, &files));
        self.subtasks = subtasks.collect();
        for subtask in &mut self.subtasks {
            subtask.context.watermark = watermark;
            subtask.context.processing_time = now;
        }
    }

    fn count_late(&mut self) {
        for subtask in &self.subtasks {
            let counter = &subtask.context.metrics.late_records_dropped;
            self.late_dropped += counter.swap(0, Ordering::Relaxed);
        }
    }
}

fn push(builder: &mut BatchBuilder, at: usize, line: &Value) {
    let key = format!("b{}", line["key"].as_str().unwrap());
    let hash = key::hash(key.as_bytes());
    let header = RowHeader {
        flags: RowHeader::element(Some(0)).flags | FLAG_KEYED,
        key: hash as u32,
        group: u32::from(MAX.group_of(hash).0),
        ..RowHeader::element(line["ts"].as_i64())
    };
    let value = format!(
        "{{\"key\":{},\"value\":{},\"n\":{at}}}",
        line["key"], line["value"]
    );
    builder.push(header, key.as_bytes(), value.as_bytes(), b"");
}
