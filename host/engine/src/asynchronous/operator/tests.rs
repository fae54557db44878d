//! The operator with a function and a client that a test drives: answers come in any order, at any time, or not at all.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use proptest::prelude::*;
use wasmill_model::batch::BatchBuilder;
use wasmill_model::element::{SnapshotKind, StateFormat};
use wasmill_model::graph::asynchronous::{OutputMode, RetrySpec};
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::MaxParallelism;
use wasmill_model::row::{KIND_ELEMENT, RowHeader};
use wasmill_model::time::WATERMARK_NONE;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::TimerQueue;

use super::*;
use crate::asynchronous::{Answer, Response, UnderWay};
use crate::operator::RuntimeContext;
use crate::output::Emitted;

/// Asks for each element `n` as often as `steps` says, one request after another; emits the last answer.
struct Asks {
    steps: u8,
}

impl AsyncFunction for Asks {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn call(&mut self, row: &Batch, _: &mut OperatorContext) -> Result<Called, TaskError> {
        let row = row.iter().next().unwrap();
        let emits = |what: &[u8]| Called::Answered {
            emitted: vec![(0, rows(&[&[row.value(), what].concat()]))],
            requests: Vec::new(),
        };
        let step = match row.kind() {
            KIND_ELEMENT => 0,
            KIND_TIMEOUT => return Ok(emits(b":timeout")),
            _ => {
                // tag, length, continuation length, continuation, response
                let extension = row.extension();
                if &extension[11..] == b"again" {
                    return Ok(Called::Retry(TaskError::external("it asks for another attempt")));
                }
                if extension[10] == self.steps {
                    return Ok(emits(&[b":", &extension[11..]].concat()));
                }
                extension[10]
            }
        };
        let request = Request {
            request: Bytes::copy_from_slice(row.value()),
            continuation: Bytes::copy_from_slice(&[step + 1]),
        };
        Ok(Called::Answered {
            emitted: Vec::new(),
            requests: vec![request],
        })
    }

    fn close(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Requests under way.
#[derive(Default)]
struct World {
    open: BTreeMap<u64, (Bytes, Answer)>,
    made: u64,
    /// Of each request, how often it was made.
    counts: BTreeMap<Bytes, u32>,
}

#[derive(Clone, Default)]
pub(crate) struct Client(Arc<Mutex<World>>);

impl Client {
    pub(crate) fn answer_with(&self, index: usize, bytes: &'static [u8], outcome: Outcome) {
        let mut world = self.0.lock().unwrap();
        let key = *world.open.keys().nth(index).unwrap();
        let (_, answer) = world.open.remove(&key).unwrap();
        drop(world);
        answer(Response {
            bytes: Bytes::from_static(bytes),
            outcome,
        });
    }

    pub(crate) fn open(&self) -> usize {
        self.0.lock().unwrap().open.len()
    }
}

impl RequestClient for Client {
    fn perform(&self, request: Bytes, answer: Answer) -> UnderWay {
        let mut world = self.0.lock().unwrap();
        world.made += 1;
        let number = world.made;
        *world.counts.entry(request.clone()).or_default() += 1;
        world.open.insert(number, (request, answer));
        let world = self.0.clone();
        UnderWay::new(move || {
            let given_up = world.lock().unwrap().open.remove(&number);
            drop(given_up);
        })
    }
}

fn rows(values: &[&[u8]]) -> Batch {
    let mut out = BatchBuilder::default();
    for value in values {
        out.push(RowHeader::element(None), b"", value, b"");
    }
    out.finish()
}

/// An operator, its world, and what it has emitted.
struct Driven {
    spec: AsyncSpec,
    steps: u8,
    operator: AsyncWaitOperator,
    context: OperatorContext,
    client: Client,
    emitted: Vec<String>,
}

impl Driven {
    fn new(spec: AsyncSpec, steps: u8) -> Self {
        let client = Client::default();
        let mut driven = Self {
            operator: operator(&spec, steps, &client),
            spec,
            steps,
            context: context(),
            client,
            emitted: Vec::new(),
        };
        driven.operator.open(&mut driven.context, None).unwrap();
        driven
    }

    /// Gives it as many elements as it takes, and says how many.
    fn process(&mut self, values: &[String]) -> usize {
        if self.operator.is_full() || values.is_empty() {
            return 0;
        }
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let mut out = Output::default();
        let taken = self
            .operator
            .process(0, &rows(&values), &mut self.context, &mut out)
            .unwrap();
        self.take(out);
        taken as usize
    }

    fn signal(&mut self, signal: TimeSignal) {
        if let TimeSignal::Watermark(at) = signal {
            self.context.watermark = at;
        }
        if !self.operator.delay_signal(signal) {
            self.emitted.push(format!("{signal:?}"));
        }
    }

    /// Lets it do what it has to do, as a task with credit does.
    fn run(&mut self) -> Result<(), TaskError> {
        let mut out = Output::default();
        while self
            .operator
            .wake_at()
            .is_some_and(|at| at <= self.context.processing_time)
        {
            self.operator.on_wake(&mut self.context, &mut out)?;
            assert!(out.is_empty(), "there may be no credit");
        }
        while self.operator.has_ready() {
            self.operator.on_ready(&mut self.context, &mut out)?;
        }
        self.take(out);
        assert!(self.client.open() <= self.spec.capacity as usize);
        Ok(())
    }

    fn advance(&mut self, ms: i64) -> Result<(), TaskError> {
        self.context.processing_time += ms;
        self.run()
    }

    fn take(&mut self, mut out: Output) {
        for emitted in out.drain_all() {
            match emitted {
                Emitted::Rows { batch, .. } => {
                    let texts = batch
                        .iter()
                        .map(|row| String::from_utf8(row.value().to_vec()).unwrap());
                    self.emitted.extend(texts);
                }
                Emitted::Signal(signal) => self.emitted.push(format!("{signal:?}")),
            }
        }
    }

    /// A checkpoint, and another operator that goes on from it.
    fn restore(&mut self) {
        let barrier = Barrier {
            checkpoint: CheckpointId(1),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        };
        let taken = self.operator.snapshot(&barrier, &mut self.context).unwrap();
        self.client = Client::default();
        self.operator = operator(&self.spec, self.steps, &self.client);
        self.operator.open(&mut self.context, Some(taken.state)).unwrap();
    }
}

fn operator(spec: &AsyncSpec, steps: u8, client: &Client) -> AsyncWaitOperator {
    let function = Box::new(Asks { steps });
    AsyncWaitOperator::new(
        spec.clone(),
        function,
        Some(Arc::new(client.clone())),
        Waker::new(),
    )
}

fn context() -> OperatorContext {
    let max_parallelism = MaxParallelism(128);
    let runtime = RuntimeContext {
        job_id: JobId(1),
        job_name: "job".to_owned(),
        operator: OperatorUid::new("ask"),
        task_name: "ask".to_owned(),
        subtask_index: 0,
        parallelism: 1,
        max_parallelism,
        key_groups: max_parallelism.range_of(0, 1),
        attempt: 0,
    };
    OperatorContext {
        state: Box::new(MemoryBackend::new(runtime.key_groups, max_parallelism)),
        runtime: Arc::new(runtime),
        timers: TimerQueue::default(),
        watermark: WATERMARK_NONE,
        processing_time: 0,
        metrics: Arc::default(),
    }
}

fn spec(order: OutputMode, capacity: u32) -> AsyncSpec {
    AsyncSpec {
        capacity,
        order,
        ..AsyncSpec::default()
    }
}

fn values(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const OK: Outcome = Outcome::Status(200);

#[test]
fn ordered_results_wait_for_the_oldest_and_unordered_ones_do_not() {
    for (order, expected) in [
        (OutputMode::Ordered, ["a:1", "b:2", "c:3"]),
        (OutputMode::Unordered, ["c:3", "b:2", "a:1"]),
    ] {
        let mut driven = Driven::new(spec(order, 3), 1);
        assert_eq!(driven.process(&values(&["a", "b", "c", "d"])), 3, "the capacity");
        for (index, answer) in [(2, b"3"), (1, b"2"), (0, b"1")] {
            driven.client.answer_with(index, answer, OK);
            driven.run().unwrap();
        }
        assert_eq!(driven.emitted, expected);
        assert!(!driven.operator.is_full() && driven.operator.is_drained());
    }
}

#[test]
fn a_time_out_gives_up_the_request_and_asks_the_function_what_becomes_of_the_element() {
    let timed = AsyncSpec {
        timeout_ms: 100,
        ..spec(OutputMode::Ordered, 2)
    };
    let mut driven = Driven::new(timed, 2);
    driven.process(&values(&["a", "b"]));
    driven.client.answer_with(1, b"first", OK);
    driven.advance(99).unwrap();
    assert_eq!(
        (driven.client.open(), driven.emitted.len()),
        (2, 0),
        "b has asked again"
    );
    driven.advance(1).unwrap();
    assert_eq!(driven.emitted, ["a:timeout", "b:timeout"]);
    assert_eq!((driven.client.open(), driven.operator.wake_at()), (0, None));
}

#[test]
fn failures_are_repeated_with_a_pause_until_the_attempts_are_used_up() {
    let retry = RetrySpec {
        attempts: 2,
        delay_ms: 10,
        backoff: 3.0,
        ..RetrySpec::default()
    };
    let retried = AsyncSpec {
        retry: Some(retry),
        ..spec(OutputMode::Ordered, 2)
    };
    let mut driven = Driven::new(retried, 1);
    driven.process(&values(&["a"]));
    for (outcome, pause) in [(Outcome::Status(503), 10), (Outcome::Failed, 30)] {
        driven.client.answer_with(0, b"no", outcome);
        driven.run().unwrap();
        driven.advance(pause - 1).unwrap();
        assert_eq!(driven.client.open(), 0, "not before {pause} ms");
        driven.advance(1).unwrap();
        assert_eq!(driven.client.open(), 1);
    }
    driven.client.answer_with(0, b"the last failure", Outcome::Failed);
    driven.run().unwrap();
    assert_eq!(driven.emitted, ["a:the last failure"], "the function decides");
    driven.process(&values(&["b"]));
    driven.client.answer_with(0, b"refused", Outcome::Refused);
    driven.run().unwrap();
    assert_eq!(driven.emitted[1], "b:refused", "which nothing mends");
}

#[test]
fn a_function_that_asks_for_another_attempt_gets_it_or_fails_the_task() {
    let retried = AsyncSpec {
        retry: Some(RetrySpec {
            attempts: 1,
            delay_ms: 10,
            ..RetrySpec::default()
        }),
        ..spec(OutputMode::Ordered, 2)
    };
    let mut driven = Driven::new(retried, 1);
    driven.process(&values(&["a"]));
    driven.client.answer_with(0, b"again", OK);
    driven.run().unwrap();
    driven.advance(10).unwrap();
    driven.client.answer_with(0, b"again", OK);
    let error = driven.run().unwrap_err();
    assert_eq!(error.message, "it asks for another attempt");
}

#[test]
fn a_request_without_a_grant_fails_with_what_to_declare() {
    let function = Box::new(Asks { steps: 1 });
    let spec = spec(OutputMode::Ordered, 1);
    let mut operator = AsyncWaitOperator::new(spec, function, None, Waker::new());
    let mut context = context();
    operator.open(&mut context, None).unwrap();
    let error = operator
        .process(0, &rows(&[b"a"]), &mut context, &mut Output::default())
        .unwrap_err();
    assert!(
        error.message.contains("add \"http\" to its `grants`"),
        "{}",
        error.message
    );
}

#[test]
fn elements_of_a_checkpoint_beyond_the_capacity_wait_for_room_and_stay_before_new_ones() {
    let mut driven = Driven::new(spec(OutputMode::Ordered, 4), 1);
    driven.process(&values(&["a", "b", "c", "d"]));
    driven.spec.capacity = 2;
    driven.restore();
    assert_eq!((driven.client.open(), driven.operator.is_full()), (2, true));
    driven.signal(TimeSignal::Watermark(5));
    for _ in 0..4 {
        driven.client.answer_with(0, b"x", OK);
        driven.run().unwrap();
    }
    assert_eq!(driven.emitted, ["a:x", "b:x", "c:x", "d:x", "Watermark(5)"]);
}

#[derive(Clone, Debug)]
enum Event {
    Process(usize),
    Answer(prop::sample::Index, u8),
    Advance(i64),
    Watermark,
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1usize..5).prop_map(Event::Process),
        5 => (any::<prop::sample::Index>(), 0u8..6).prop_map(|(index, what)| Event::Answer(index, what)),
        2 => (0i64..60).prop_map(Event::Advance),
        1 => Just(Event::Watermark),
        1 => Just(Event::Restore),
    ]
}

/// Every element has one result, in the order that is promised, whatever the world answers and when.
fn play(mode: OutputMode, capacity: u32, steps: u8, events: Vec<Event>) -> Result<(), TestCaseError> {
    let retry = RetrySpec {
        attempts: 2,
        delay_ms: 10,
        ..RetrySpec::default()
    };
    let spec = AsyncSpec {
        timeout_ms: 100,
        retry: Some(retry),
        ..spec(mode, capacity)
    };
    let mut driven = Driven::new(spec, steps);
    let (mut given, mut expected) = (0, Vec::new());
    for event in events {
        match event {
            Event::Process(count) => {
                let offered: Vec<String> = (given..given + count).map(|n| format!("e{n}")).collect();
                let taken = driven.process(&offered);
                expected.extend(offered.into_iter().take(taken));
                given += taken;
            }
            Event::Answer(index, what) => {
                let open = driven.client.open();
                if open > 0 {
                    let outcome = [
                        OK,
                        OK,
                        OK,
                        Outcome::Status(503),
                        Outcome::Failed,
                        Outcome::Refused,
                    ][usize::from(what)];
                    driven.client.answer_with(index.index(open), b"x", outcome);
                }
                driven.run().unwrap();
            }
            Event::Advance(ms) => driven.advance(ms).unwrap(),
            Event::Watermark => {
                driven.signal(TimeSignal::Watermark(given as i64));
                expected.push(format!("{:?}", TimeSignal::Watermark(given as i64)));
            }
            Event::Restore => {
                // Watermarks are not in a checkpoint: whoever makes them makes them again.
                let left = driven.emitted.len();
                driven.restore();
                let is_signal = |text: &String| text.starts_with('W');
                let held = std::mem::take(&mut expected);
                let emitted = driven.emitted[..left].to_vec();
                expected.extend(
                    held.into_iter()
                        .filter(|text| !is_signal(text) || emitted.contains(text)),
                );
            }
        }
    }
    while driven.client.open() > 0 || !driven.operator.is_drained() {
        while driven.client.open() > 0 {
            driven.client.answer_with(0, b"x", OK);
            driven.run().unwrap();
        }
        driven.advance(10).unwrap();
    }
    check(mode, &expected, &driven.emitted)
}

/// The same elements in the order that is promised; of watermarks with nothing between them the last is enough.
fn check(mode: OutputMode, expected: &[String], emitted: &[String]) -> Result<(), TestCaseError> {
    let segments = |texts: &[String]| {
        let mut segments: Vec<Vec<String>> = vec![Vec::new()];
        for text in texts {
            let (name, _) = text.split_once(':').unwrap_or((text, ""));
            match text.starts_with('W') {
                true => segments.push(vec![name.to_owned()]),
                false => segments.last_mut().unwrap().push(name.to_owned()),
            }
        }
        let last = segments.len() - 1;
        // Where nothing but another watermark follows, a watermark may be left out.
        let mut at = 0;
        segments.retain(|segment| {
            at += 1;
            at > last || segment.len() != 1 || !segment[0].starts_with('W')
        });
        if mode == OutputMode::Unordered {
            segments.iter_mut().for_each(|segment| segment.sort());
        }
        segments
    };
    prop_assert_eq!(segments(emitted), segments(expected));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_element_has_its_result_once_whatever_the_world_does(
        mode in prop_oneof![Just(OutputMode::Ordered), Just(OutputMode::Unordered)],
        capacity in 1u32..6,
        steps in 1u8..3,
        events in prop::collection::vec(event(), 0..60)
    ) {
        play(mode, capacity, steps, events)?;
    }
}
