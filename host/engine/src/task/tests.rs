//! One task, stepped by hand.

mod source;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32};

use wasmill_checkpoint::handle::{OperatorState, SubtaskState};
use wasmill_checkpoint::storage::MemoryStorage;
use wasmill_model::batch::BatchBuilder;
use wasmill_model::graph::{CheckpointMode, Partitioner};
use wasmill_model::id::{JobId, OperatorUid, SubtaskId, VertexId};
use wasmill_model::key::{KeyGroup, MaxParallelism};
use wasmill_model::row::RowHeader;
use wasmill_model::time::WATERMARK_END;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, Timer, TimerBytes, TimerQueue};

use super::chain::{Node, Route};
use super::inputs::Input;
use super::mailbox::{Reporter, TaskReport};
use super::snapshot::CheckpointFiles;
use super::*;

mod asynchronous;
mod oracle;
mod source_time;

use crate::channel::{Receiver, Sender, channel};
use crate::exchange::{Buffering, Edge};
use crate::executor::{Blocking, Executor, Waker};
use crate::operator::{Operator, OperatorContext, OperatorSnapshot, RuntimeContext};
use crate::output::Output;

const MAX: MaxParallelism = MaxParallelism(128);

#[derive(Default)]
struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now_ms(&self) -> Timestamp {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.now_ms() as u64 * 1_000_000
    }
}

/// Does blocking work at once, and says how many rows a step may take.
#[derive(Default)]
struct Inline {
    rows_max: AtomicU32,
}

impl Executor for Inline {
    fn spawn(&self, _: String, _: Arc<Waker>, _: Box<dyn Actor>) -> std::io::Result<()> {
        Ok(())
    }

    fn blocking(&self, _: String, work: Blocking) {
        work();
    }

    fn random(&self) -> u64 {
        4
    }

    fn rows_max(&self) -> Option<u32> {
        Some(self.rows_max.load(Ordering::SeqCst)).filter(|rows| *rows > 0)
    }
}

/// From this timer on `b` emits a record at each.
const EMITTED_FROM: Timestamp = 1_000;

/// Writes down what happens, registers a timer at 10 × the number in each record, passes records on.
struct Traced {
    name: &'static str,
    trace: Arc<Mutex<Vec<String>>>,
    domain: TimeDomain,
}

impl Traced {
    fn note(&self, text: String) {
        self.trace.lock().unwrap().push(format!("{} {text}", self.name));
    }
}

fn number(value: &[u8]) -> u32 {
    u32::from_le_bytes(value.try_into().unwrap())
}

impl Operator for Traced {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        for row in batch {
            let number = number(row.value());
            self.note(format!("record {number}"));
            let timer = Timer {
                timestamp: i64::from(number) * 10,
                group: KeyGroup(0),
                key: row.value().into(),
                namespace: TimerBytes::default(),
            };
            context.timers.register(self.domain, &timer);
        }
        out.emit(0, batch.clone());
        Ok(batch.rows())
    }

    /// Takes one timer a call; `b` emits at late ones; the first one registers another that is due before the next.
    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let first = &timers[0];
        self.note(format!("timer {}", first.timestamp));
        if first.timestamp >= EMITTED_FROM && self.name == "b" {
            let mut results = BatchBuilder::default();
            results.push(RowHeader::element(None), b"", &0u32.to_le_bytes(), b"");
            out.emit(0, results.finish());
        }
        if first.timestamp == 10 {
            let timestamp = 15;
            context.timers.register(
                domain,
                &Timer {
                    timestamp,
                    ..first.clone()
                },
            );
        }
        Ok(1)
    }

    fn on_watermark(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        self.note(format!("watermark {}", context.watermark));
        Ok(())
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        let raw = self.trace.lock().unwrap().join(",").into_bytes();
        let state = OperatorState {
            raw,
            ..OperatorState::default()
        };
        Ok(OperatorSnapshot { state, keyed: None })
    }

    fn on_end(&mut self, _: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        self.note("end".to_owned());
        Ok(())
    }
}

/// Two channels in, operators `a` and `b` chained, one channel out.
struct Bench {
    task: Task,
    senders: Vec<Sender>,
    out: Receiver,
    trace: Arc<Mutex<Vec<String>>>,
    reports: Arc<Mailbox<TaskReport>>,
    commands: Arc<Mailbox<Command>>,
    executor: Arc<Inline>,
}

fn context(name: &str) -> OperatorContext {
    let runtime = RuntimeContext {
        job_id: JobId(1),
        job_name: "job".to_owned(),
        operator: OperatorUid::new(name),
        task_name: "a -> b".to_owned(),
        subtask_index: 0,
        parallelism: 1,
        max_parallelism: MAX,
        key_groups: MAX.range_of(0, 1),
        attempt: 0,
    };
    OperatorContext {
        state: Box::new(MemoryBackend::new(runtime.key_groups, MAX)),
        runtime: Arc::new(runtime),
        timers: TimerQueue::default(),
        watermark: WATERMARK_NONE,
        processing_time: 0,
        metrics: Arc::default(),
    }
}

fn node(
    place: usize,
    name: &'static str,
    route: Route,
    domain: TimeDomain,
    trace: &Arc<Mutex<Vec<String>>>,
) -> Node {
    let context = context(name);
    let operator = Traced {
        name,
        trace: trace.clone(),
        domain,
    };
    Node::new(place, Box::new(operator), context, vec![vec![route]], None)
}

fn task(
    head: Head,
    chain: Chain,
    commands: &Arc<Mailbox<Command>>,
    reports: &Arc<Mailbox<TaskReport>>,
    executor: &Arc<Inline>,
) -> Task {
    Task::new(TaskParts {
        head,
        chain,
        commands: commands.clone(),
        snapshots: SnapshotWriter {
            executor: executor.clone(),
            files: Arc::new(CheckpointFiles::new(JobId(1), Arc::new(MemoryStorage::new()))),
            reporter: Reporter {
                mailbox: reports.clone(),
                attempt: 0,
                subtask: SubtaskId {
                    vertex: VertexId(0),
                    index: 0,
                },
            },
            clock: Arc::new(ManualClock::default()),
            epoch: 1,
            stored: Arc::default(),
        },
        metrics: Arc::default(),
        clock: Arc::new(ManualClock::default()),
        allow_non_restored: false,
        in_flight: Vec::new(),
    })
}

fn bench(domain: TimeDomain, credits_out: u32) -> Bench {
    let (senders, inputs) = (0..2)
        .map(|_| {
            let (sender, receiver) = channel(8, Waker::new(), Waker::new());
            (sender, Input::new(receiver, 0))
        })
        .unzip();
    let (sender_out, out) = channel(credits_out, Waker::new(), Waker::new());
    let buffering = Buffering {
        bytes: 100,
        timeout_ms: 10,
    };
    let edge = Edge::new(Partitioner::Forward, vec![sender_out], 0, MAX, buffering);
    let trace = Arc::default();
    let nodes = vec![
        node(0, "a", Route::Chained { node: 1, port: 0 }, domain, &trace),
        node(1, "b", Route::Edge(0), domain, &trace),
    ];
    let commands = Mailbox::new(Waker::new());
    let reports = Mailbox::new(Waker::new());
    let executor = Arc::new(Inline::default());
    let head = Head::Channels(Box::new(Inputs::new(inputs, CheckpointMode::ExactlyOnce)));
    let chain = Chain::new(nodes, vec![edge], Vec::new());
    let task = task(head, chain, &commands, &reports, &executor);
    Bench {
        task,
        senders,
        out,
        trace,
        reports,
        commands,
        executor,
    }
}

impl Bench {
    /// Steps until nothing more can be done; returns until when.
    fn run(&mut self, now: Timestamp) -> Option<Timestamp> {
        for _ in 0..1_000 {
            match self.task.step(now) {
                Step::Progress => {}
                Step::Blocked { until } => return until,
                Step::Finished => return None,
            }
        }
        panic!("the task does not come to rest");
    }

    fn send(&self, channel: usize, item: StreamElement) {
        self.senders[channel].try_send(item).unwrap();
    }

    fn send_both(&self, item: &StreamElement) {
        self.send(0, item.clone());
        self.send(1, item.clone());
    }

    fn trace(&self) -> Vec<String> {
        std::mem::take(&mut *self.trace.lock().unwrap())
    }

    /// What came out: numbers, and names of control items.
    fn output(&self) -> Vec<String> {
        let mut items = Vec::new();
        while let Some(item) = self.out.receive() {
            match item {
                StreamElement::Batch(batch) => {
                    items.extend(batch.iter().map(|row| number(row.value()).to_string()));
                }
                StreamElement::Watermark(ts) => items.push(format!("watermark {ts}")),
                StreamElement::Barrier(barrier) => items.push(format!("barrier {}", barrier.checkpoint)),
                other => items.push(format!("{other:?}")),
            }
        }
        items
    }

    fn acknowledged(&self) -> Option<(CheckpointId, SubtaskState)> {
        while let Some(report) = self.reports.receive() {
            if let TaskEvent::Acknowledged {
                checkpoint, state, ..
            } = report.event
            {
                return Some((checkpoint, state));
            }
        }
        None
    }
}

fn records(numbers: impl IntoIterator<Item = u32>) -> StreamElement {
    let mut builder = BatchBuilder::default();
    for number in numbers {
        builder.push(RowHeader::element(None), b"", &number.to_le_bytes(), b"");
    }
    StreamElement::Batch(builder.finish())
}

fn barrier(checkpoint: u64) -> StreamElement {
    StreamElement::Barrier(Arc::new(Barrier {
        checkpoint: CheckpointId(checkpoint),
        kind: SnapshotKind::Checkpoint,
        triggered_at: 0,
        overtakes_at: None,
        format: StateFormat::Canonical,
    }))
}

#[test]
fn a_snapshot_holds_what_came_before_the_barrier_and_nothing_after() {
    let mut bench = bench(TimeDomain::Event, 8);
    bench.send(0, records([1]));
    bench.send(0, barrier(1));
    bench.send(0, records([2]));
    bench.send(1, records([3]));
    bench.run(0);
    assert!(
        bench.acknowledged().is_none(),
        "channel 1 has not delivered the barrier"
    );
    bench.send(1, barrier(1));
    bench.run(0);
    let (checkpoint, state) = bench.acknowledged().expect("it is acknowledged");
    assert_eq!(checkpoint, CheckpointId(1));
    let raw = |uid: &str| String::from_utf8(state.operators[&OperatorUid::new(uid)].raw.clone()).unwrap();
    assert_eq!(raw("b"), "a record 1,b record 1,a record 3,b record 3");
    assert!(
        state.operators[&OperatorUid::new("a")].keyed.is_some(),
        "timers are keyed state"
    );
    bench.run(20);
    assert_eq!(bench.output(), ["1", "3", "barrier 1", "2"]);
}

#[test]
fn timers_fire_in_each_operator_in_order_before_it_and_the_next_hear_of_the_watermark() {
    let mut bench = bench(TimeDomain::Event, 8);
    bench.send(0, records([3, 1, 2]));
    bench.run(0);
    bench.trace();
    bench.send_both(&StreamElement::Watermark(25));
    bench.run(0);
    let each =
        |name: &str| ["timer 10", "timer 15", "timer 20", "watermark 25"].map(|e| format!("{name} {e}"));
    assert_eq!(bench.trace(), [each("a"), each("b")].concat());
    assert_eq!(bench.output(), ["3", "1", "2", "watermark 25"]);
}

#[test]
fn processing_time_timers_fire_when_their_time_has_come_and_not_after_the_end() {
    let mut bench = bench(TimeDomain::Processing, 8);
    bench.send(0, records([3, 1]));
    assert_eq!(bench.run(5), Some(10), "it asks to be stepped at the first timer");
    bench.trace();
    bench.run(12);
    assert_eq!(bench.trace(), ["a timer 10", "b timer 10"]);
    bench.send_both(&StreamElement::Watermark(WATERMARK_END));
    bench.send_both(&StreamElement::End);
    assert_eq!(bench.run(12), None, "timers at 15 and 30 are lost");
    let end = i64::MAX;
    let expected = [
        format!("a watermark {end}"),
        format!("b watermark {end}"),
        "a end".to_owned(),
        "b end".to_owned(),
    ];
    assert_eq!(bench.trace(), expected);
}

fn tick(step: u64, processing_time: Timestamp, moves_clock: bool) -> StreamElement {
    StreamElement::Tick(Tick {
        step,
        line: step,
        processing_time,
        moves_clock,
    })
}

#[test]
fn a_clock_that_the_input_drives_moves_with_its_steps_alone() {
    let mut bench = bench(TimeDomain::Processing, 8);
    bench.task.parts.chain.drive();
    bench.send_both(&tick(0, 0, false));
    bench.send(0, records([1]));
    assert_eq!(
        bench.run(1_000_000),
        None,
        "no timer is due by the clock of the machine"
    );
    assert_eq!(bench.trace(), ["a record 1", "b record 1"]);
    bench.send(1, tick(1, 12, true));
    bench.send(1, records([5]));
    bench.run(1_000_000);
    assert!(
        bench.trace().is_empty(),
        "channel 0 may still send something of the step before"
    );
    bench.send(0, tick(1, 12, true));
    bench.run(1_000_000);
    assert_eq!(
        bench.trace(),
        ["a timer 10", "b timer 10", "a record 5", "b record 5"]
    );
}

#[test]
fn without_credit_processing_time_timers_fire_until_one_has_emitted_and_go_on_with_credit() {
    let mut bench = bench(TimeDomain::Processing, 1);
    bench.send(0, records([1, 100, 101]));
    bench.send(0, records([2, 3, 4]));
    bench.send(0, records([5]));
    assert_eq!(
        bench.run(5),
        Some(10),
        "it waits for credit and for its first timer"
    );
    assert_eq!(bench.trace().len(), 2 * 6, "nothing is read without credit");
    bench.run(12);
    assert_eq!(bench.trace(), ["a timer 10", "b timer 10"]);
    bench.run(1_015);
    let fired = bench.trace();
    assert_eq!(fired.last().map(String::as_str), Some("b timer 1000"));
    assert_eq!(bench.run(1_100), None, "nothing but credit makes it go on");
    assert!(bench.trace().is_empty());
    // What was read goes first, and then what the timer has emitted.
    assert_eq!(bench.output(), ["1", "100", "101"]);
    bench.run(1_100);
    assert!(bench.trace().is_empty());
    assert_eq!(bench.output(), ["2", "3", "4"]);
    bench.run(1_100);
    let fired = bench.trace();
    assert!(fired.contains(&"b timer 1010".to_owned()), "{fired:?}");
}

#[test]
fn results_do_not_depend_on_how_many_rows_a_step_takes() {
    let results = [1, 2, 3, 7, 100].map(|rows_max| {
        let mut bench = bench(TimeDomain::Event, 1_000);
        bench.executor.rows_max.store(rows_max, Ordering::SeqCst);
        bench.send(0, records(0..20));
        bench.send_both(&StreamElement::Watermark(45));
        bench.send(0, records(20..30));
        bench.send_both(&barrier(1));
        bench.run(0);
        let by_operator = |name: &str| -> Vec<String> {
            let trace = bench.trace.lock().unwrap();
            trace
                .iter()
                .filter(|line| line.starts_with(name))
                .cloned()
                .collect()
        };
        (bench.output(), by_operator("a"), by_operator("b"))
    });
    assert_eq!(results[0].0.len(), 32);
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn without_credit_nothing_is_read_and_barriers_keep_their_place() {
    let mut bench = bench(TimeDomain::Event, 1);
    for round in 0..3 {
        bench.send(0, records([round * 2, round * 2 + 1, 100 + round]));
    }
    bench.send_both(&barrier(1));
    bench.run(0);
    let seen = bench.trace().len();
    assert_eq!(seen, 2 * 6, "two batches: one in the channel and one that waits");
    let mut all = Vec::new();
    for _ in 0..4 {
        all.extend(bench.output());
        bench.run(0);
    }
    assert_eq!(
        all,
        ["0", "1", "100", "2", "3", "101", "4", "5", "102", "barrier 1"]
    );
}

#[test]
fn a_batch_that_is_not_full_goes_out_after_the_buffer_timeout() {
    let mut bench = bench(TimeDomain::Event, 8);
    // A sixteenth of a buffer: it waits for more.
    let (sender, out) = channel(8, Waker::new(), Waker::new());
    let buffering = Buffering {
        bytes: 10_000,
        timeout_ms: 10,
    };
    bench.out = out;
    bench.task.parts.chain.edges = vec![Edge::new(Partitioner::Forward, vec![sender], 0, MAX, buffering)];
    bench.send(0, records([1]));
    assert_eq!(bench.run(100), Some(110));
    assert!(bench.output().is_empty());
    bench.run(110);
    assert_eq!(bench.output(), ["1"]);
}

#[test]
fn after_its_end_a_task_answers_barriers_until_it_is_told_to_finish() {
    let mut bench = bench(TimeDomain::Event, 8);
    bench.send_both(&StreamElement::Watermark(WATERMARK_END));
    bench.send_both(&StreamElement::End);
    bench.run(0);
    assert_eq!(
        bench.output(),
        [format!("watermark {}", i64::MAX), "End".to_owned()]
    );
    bench.send_both(&barrier(4));
    bench.run(0);
    assert_eq!(bench.output(), ["barrier 4"]);
    assert_eq!(
        bench.acknowledged().map(|(checkpoint, _)| checkpoint),
        Some(CheckpointId(4))
    );
    bench.commands.send(Command::Finish { commit: false });
    bench.run(0);
    assert!(matches!(
        bench.reports.receive().map(|r| r.event),
        Some(TaskEvent::Gone { settled: true })
    ));
}

#[test]
fn an_aborted_checkpoint_lets_the_task_read_on() {
    let mut bench = bench(TimeDomain::Event, 8);
    bench.send(0, barrier(1));
    bench.send(0, records([1]));
    bench.run(0);
    assert!(bench.trace().is_empty());
    bench.commands.send(Command::Abort(CheckpointId(1)));
    bench.run(0);
    assert_eq!(bench.trace(), ["a record 1", "b record 1"]);
    bench.send(1, barrier(1));
    bench.run(20);
    assert!(bench.acknowledged().is_none());
    assert_eq!(bench.output(), ["1"], "and its barrier goes no further");
}
