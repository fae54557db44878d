//! Drives an operator of two keyed inputs as tasks do: elements, watermarks, snapshots, another parallelism.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{Operator, OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::BatchBuilder;
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{FLAG_KEYED, RowHeader};
use wasmill_model::time::{Timestamp, WATERMARK_END, WATERMARK_NONE};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, TimerQueue};

const MAX: MaxParallelism = MaxParallelism(128);

/// What happens to the operator.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An element of an input.
    Element {
        /// 0 or 1.
        side: u16,
        /// One of a few.
        key: u8,
        /// Its event time.
        at: Timestamp,
        /// Whether the batch ends behind it.
        cut: bool,
    },
    /// The clock moves, if that is forwards.
    Watermark(Timestamp),
    /// State is snapshotted and restored into so many subtasks.
    Restore(u32),
}

/// Events whose times are near each other.
pub(crate) fn events(times: impl Strategy<Value = Timestamp> + Clone) -> impl Strategy<Value = Vec<Event>> {
    let element = (0u16..2, 0u8..3, times.clone(), any::<bool>());
    let event = prop_oneof![
        12 => element.prop_map(|(side, key, at, cut)| Event::Element { side, key, at, cut }),
        // The last watermark comes at the end alone.
        2 => times.prop_map(|to| Event::Watermark(to.min(WATERMARK_END - 1))),
        1 => (1u32..4).prop_map(Event::Restore),
    ];
    proptest::collection::vec(event, 0..60)
}

/// A row that came out: port, timestamp, value.
pub(crate) type Emitted = (u16, Option<Timestamp>, String);

struct Subtask {
    operator: Box<dyn Operator>,
    context: OperatorContext,
}

/// An operator in some subtasks.
pub(crate) struct Drive<'a> {
    make: &'a dyn Fn() -> Box<dyn Operator>,
    subtasks: Vec<Subtask>,
    waiting: Vec<(usize, u16, u8, Timestamp)>,
    watermark: Timestamp,
    emitted: Vec<Emitted>,
}

/// Gives all events to an operator, then the last watermark, and returns what came out; an element's value is the
/// number of its event. At the end no state and no timer is left.
pub(crate) fn run(make: &dyn Fn() -> Box<dyn Operator>, events: &[Event]) -> Vec<Emitted> {
    let mut drive = Drive {
        make,
        subtasks: vec![subtask(make, 0, 1, WATERMARK_NONE, &[])],
        waiting: Vec::new(),
        watermark: WATERMARK_NONE,
        emitted: Vec::new(),
    };
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Element { side, key, at, cut } => {
                if drive.waiting.last().is_some_and(|last| last.1 != side) {
                    drive.flush();
                }
                drive.waiting.push((number, side, key, at));
                if cut {
                    drive.flush();
                }
            }
            Event::Watermark(to) => drive.advance(to),
            Event::Restore(parallelism) => drive.restore(parallelism),
        }
    }
    drive.advance(WATERMARK_END);
    for subtask in &drive.subtasks {
        assert_eq!(subtask.context.state.size().entries, 0, "state is left");
        assert!(subtask.context.timers.is_empty(), "a timer is left");
    }
    drive.emitted
}

fn subtask(
    make: &dyn Fn() -> Box<dyn Operator>,
    index: u32,
    parallelism: u32,
    watermark: Timestamp,
    files: &[Vec<u8>],
) -> Subtask {
    let range = MAX.range_of(index, parallelism);
    let mut context = OperatorContext {
        runtime: Arc::new(RuntimeContext {
            job_id: JobId(1),
            job_name: "joins".to_owned(),
            operator: OperatorUid::new("join"),
            task_name: "join".to_owned(),
            subtask_index: index,
            parallelism,
            max_parallelism: MAX,
            key_groups: range,
            attempt: 0,
        }),
        state: Box::new(MemoryBackend::new(range, MAX)),
        timers: TimerQueue::default(),
        watermark,
        processing_time: 0,
        metrics: Arc::new(OperatorMetrics::default()),
    };
    for file in files {
        let timers = &mut context.timers;
        keyed::restore(&mut &file[..], range, &mut *context.state, timers).unwrap();
    }
    let mut operator = make();
    operator.open(&mut context, None).unwrap();
    Subtask { operator, context }
}

impl Drive<'_> {
    /// Processes the elements that wait.
    fn flush(&mut self) {
        let parallelism = self.subtasks.len() as u32;
        let mut parts: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
        let mut port = 0;
        for (number, side, key, at) in std::mem::take(&mut self.waiting) {
            port = side;
            let key = format!("bk{key}");
            let hash = key::hash(key.as_bytes());
            let header = RowHeader {
                flags: RowHeader::element(Some(0)).flags | FLAG_KEYED,
                key: hash as u32,
                group: u32::from(MAX.group_of(hash).0),
                ..RowHeader::element(Some(at))
            };
            let subtask = MAX.subtask_of(MAX.group_of(hash), parallelism);
            let value = number.to_string();
            let part = parts.entry(subtask).or_default();
            part.push(header, key.as_bytes(), value.as_bytes(), b"");
        }
        for (subtask, mut part) in parts {
            let mut batch = part.finish();
            while !batch.is_empty() {
                let Subtask { operator, context } = &mut self.subtasks[subtask as usize];
                let mut out = Output::default();
                let taken = operator.process(port, &batch, context, &mut out).unwrap();
                self.take(&mut out);
                batch = batch.skip(taken);
            }
        }
    }

    fn advance(&mut self, to: Timestamp) {
        self.flush();
        if to <= self.watermark {
            return;
        }
        self.watermark = to;
        let mut out = Output::default();
        for Subtask { operator, context } in &mut self.subtasks {
            context.watermark = to;
            loop {
                let due = context.timers.take_due(TimeDomain::Event, to, 4);
                let fired = match due.is_empty() {
                    true => 0,
                    false => operator
                        .on_timers(TimeDomain::Event, &due, context, &mut out)
                        .unwrap(),
                };
                context
                    .timers
                    .put_back(TimeDomain::Event, due.into_iter().skip(fired as usize));
                if fired == 0 {
                    break;
                }
            }
        }
        self.take(&mut out);
    }

    fn restore(&mut self, parallelism: u32) {
        self.flush();
        let mut files = Vec::new();
        for Subtask { context, .. } in &mut self.subtasks {
            let frozen = keyed::freeze(&mut *context.state, &context.timers, CheckpointId(1)).unwrap();
            let mut file = Vec::new();
            frozen.write(&mut file).unwrap();
            files.push(file);
        }
        let subtasks = (0..parallelism).map(|i| subtask(self.make, i, parallelism, self.watermark, &files));
        self.subtasks = subtasks.collect();
    }

    fn take(&mut self, out: &mut Output) {
        for (port, batch) in out.drain() {
            let rows = batch.iter();
            let values = rows.map(|row| {
                (
                    port,
                    row.timestamp(),
                    String::from_utf8_lossy(row.value()).into_owned(),
                )
            });
            self.emitted.extend(values);
        }
    }
}
