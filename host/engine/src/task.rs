//! One subtask as a state machine (G2, T5, C1, C5): a chain of operators behind channels or a source.
//!
//! Invariant: what was read is processed in order before anything else is read, so state changes only
//! between batches; results without credit wait in the edges, and while some do, nothing is read. Processing-time
//! timers fire all the same, as Flink's do, but only until one of their calls has emitted. A step
//! does at most some 10 ms of work and never blocks. The task goes on answering barriers after its input
//! has ended, until the master tells it to finish.
//!
//! Longer than 500 lines: what a step may do in which order is one decision, and is read as one.

mod account;
mod aligning;
pub(crate) mod alignment;
pub(crate) mod chain;
mod files;
mod freeze;
pub(crate) mod inputs;
pub(crate) mod mailbox;
mod overtake;
mod pace;
pub(crate) mod sink;
pub(crate) mod snapshot;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod ticks;
mod timing;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_checkpoint::in_flight::InFlight;
use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, SnapshotKind, StateFormat, StreamElement, Tick};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_NONE};

use crate::clock::Clock;
use crate::error::TaskError;
use crate::executor::{Actor, Step};
use crate::metrics::{SubtaskMetrics, add};
use crate::output::Emitted;
use aligning::{Aligning, OnItsWay};
use chain::Chain;
use freeze::{check_claimed, freeze};
use inputs::{Inputs, Received};
use mailbox::{Command, Mailbox, TaskEvent};
use pace::Pace;
use snapshot::{Part, SnapshotWriter};
use source::{Ending, SourceHead};

/// The last checkpoint number: what a job without checkpoints commits at its end.
const CHECKPOINT_AT_END: CheckpointId = CheckpointId(u64::MAX);

/// Where a task's records come from.
pub(crate) enum Head {
    /// A source of its own.
    Source(Box<SourceHead>),
    /// Channels of other tasks.
    Channels(Box<Inputs>),
}

/// What was read and is not done yet, in order.
enum Work {
    Batch {
        port: u16,
        rest: Batch,
    },
    /// What a source says at its end.
    Last(Vec<Emitted>),
    /// A step of the input that drives the job begins.
    Tick(Tick),
    /// The input has moved the clock; operators before `node` have done what was due.
    Clock {
        node: usize,
    },
    /// The input has ended; operators before `node` have been told.
    End {
        node: usize,
    },
    /// The operator has been told of the end, and has rows in flight.
    Drain {
        node: usize,
    },
    Barrier {
        barrier: Arc<Barrier>,
    },
}

/// Why nothing can be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Input,
    Credit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Operators are not open yet.
    New,
    Running,
    /// The end of input has gone downstream.
    Ended,
}

/// What a task is made of.
pub(crate) struct TaskParts {
    pub(crate) head: Head,
    pub(crate) chain: Chain,
    pub(crate) commands: Arc<Mailbox<Command>>,
    pub(crate) snapshots: SnapshotWriter,
    pub(crate) metrics: Arc<SubtaskMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether state that no function claims is dropped instead of refused (G4).
    pub(crate) allow_non_restored: bool,
    /// Records that were in flight in the checkpoint that it goes on from, with the operator that they were at.
    pub(crate) in_flight: Vec<(OperatorUid, InFlight)>,
}

/// One subtask.
pub(crate) struct Task {
    parts: TaskParts,
    work: VecDeque<Work>,
    pace: Pace,
    phase: Phase,
    /// The master has told the task to finish; whether it commits what is written.
    finish: Option<bool>,
    waiting: Option<Waiting>,
    /// An unaligned barrier whose snapshot is to be taken as soon as what has begun is done.
    overtaking: Option<Arc<Barrier>>,
    /// One that was sent, aligned so far, and may overtake yet.
    on_its_way: Option<OnItsWay>,
    /// The checkpoint whose barriers are coming in.
    aligning: Option<Aligning>,
    /// Timers have emitted since there was credit last: no more of them fire before there is again.
    overdrawn: bool,
    last_ns: u64,
    /// Rows that this step took.
    rows: u32,
}

impl Actor for Task {
    fn step(&mut self, now: Timestamp) -> Step {
        let started = self.parts.clock.monotonic_ns();
        self.account_waiting(started);
        self.rows = 0;
        let step = catch_unwind(AssertUnwindSafe(|| self.run_until(now)));
        let ended = self.parts.clock.monotonic_ns();
        self.account_work(started, ended);
        match step {
            Ok(Ok(step)) => step,
            Ok(Err(error)) => self.fail(error),
            Err(panic) => self.fail(TaskError::host(format!(
                "the task panicked: {}",
                text_of(&*panic)
            ))),
        }
    }
}

impl Task {
    pub(crate) fn new(parts: TaskParts) -> Self {
        parts.metrics.watermark.store(WATERMARK_NONE, Ordering::Relaxed);
        let last_ns = parts.clock.monotonic_ns();
        Self {
            parts,
            work: VecDeque::new(),
            pace: Pace::default(),
            phase: Phase::New,
            finish: None,
            waiting: None,
            overtaking: None,
            on_its_way: None,
            aligning: None,
            overdrawn: false,
            last_ns,
            rows: 0,
        }
    }

    fn run_until(&mut self, now: Timestamp) -> Result<Step, TaskError> {
        let step = self.run(now)?;
        Ok(match (step, self.next_overtaking(now)) {
            (Step::Blocked { until }, Some(at)) => Step::Blocked {
                until: Some(until.map_or(at, |until| until.min(at))),
            },
            (step, _) => step,
        })
    }

    fn run(&mut self, now: Timestamp) -> Result<Step, TaskError> {
        self.parts.chain.set_now(now);
        if self.phase == Phase::New {
            if self.is_cancelled_before_start() {
                return Ok(self.gone());
            }
            self.open(now)?;
            return Ok(Step::Progress);
        }
        while let Some(command) = self.parts.commands.receive() {
            if self.on_command(command)? {
                self.parts.chain.close()?;
                return Ok(self.gone());
            }
        }
        self.settle_barrier(now)?;
        if self.overtake(now)? {
            return Ok(Step::Progress);
        }
        let woken = !self.parts.chain.is_driven() && self.parts.chain.wake()?;
        if !self.parts.chain.drain() {
            if self.fire_on_account()? {
                return Ok(Step::Progress);
            }
            self.waiting = Some(Waiting::Credit);
            let chain = &self.parts.chain;
            let timer = self.next_timer().filter(|_| self.may_overdraw());
            let until = [timer, chain.next_flush(), self.next_wake()];
            return Ok(Step::Blocked {
                until: until.into_iter().flatten().min(),
            });
        }
        self.overdrawn = false;
        if self.parts.chain.take_ready()? {
            return Ok(Step::Progress);
        }
        let is_stalled = self.is_stalled();
        self.parts.chain.note_stalled(is_stalled);
        if is_stalled {
            return self.wait_for_room(woken);
        }
        if self.parts.chain.has_pending() {
            self.parts.chain.work_on()?;
            return Ok(Step::Progress);
        }
        if let Some(work) = self.work.pop_front() {
            self.perform(work, now)?;
            return Ok(Step::Progress);
        }
        if self.finish.is_some() && self.parts.chain.is_settled() {
            self.parts.chain.close()?;
            return Ok(self.gone());
        }
        let fired = self.fire_processing_timers()?;
        if self.read(now)? || fired || woken {
            return Ok(Step::Progress);
        }
        self.waiting = Some(Waiting::Input);
        Ok(Step::Blocked {
            until: self.next_due(),
        })
    }

    /// Whether what is next waits for an operator that has too many rows in flight, or some at the end of its input.
    fn is_stalled(&self) -> bool {
        let chain = &self.parts.chain;
        if chain.has_pending() {
            return chain.is_stalled();
        }
        match self.work.front() {
            Some(Work::Batch { .. }) => chain.is_full(0),
            Some(Work::Drain { node }) => !chain.nodes[*node].operator.is_drained(),
            _ => false,
        }
    }

    /// Timers fire meanwhile, but not within a watermark.
    fn wait_for_room(&mut self, woken: bool) -> Result<Step, TaskError> {
        let fired = !self.parts.chain.has_pending() && self.fire_processing_timers()?;
        if fired || woken {
            return Ok(Step::Progress);
        }
        let timer = self.next_timer().filter(|_| !self.parts.chain.has_pending());
        let until = [timer, self.parts.chain.next_flush(), self.next_wake()];
        Ok(Step::Blocked {
            until: until.into_iter().flatten().min(),
        })
    }

    fn is_cancelled_before_start(&self) -> bool {
        std::iter::from_fn(|| self.parts.commands.receive()).any(|c| matches!(c, Command::Cancel { .. }))
    }

    fn open(&mut self, now: Timestamp) -> Result<(), TaskError> {
        if let Head::Source(source) = &mut self.parts.head {
            source.open(now)?;
        }
        self.parts.chain.open()?;
        let allow = self.parts.allow_non_restored;
        self.parts.chain.each(|node| check_claimed(node, allow))?;
        self.go_on_with(allow)?;
        self.phase = Phase::Running;
        self.parts.snapshots.reporter.send(TaskEvent::Running);
        Ok(())
    }

    /// True: the task is to be gone at once.
    fn on_command(&mut self, command: Command) -> Result<bool, TaskError> {
        match command {
            Command::Cancel { settle } => {
                if settle && let Err(error) = self.parts.chain.settle() {
                    tracing::warn!(%error, "a commit failed while the job was cancelled");
                }
                return Ok(true);
            }
            Command::Trigger { barrier, drain } => self.on_trigger(barrier, drain),
            Command::Align { until } => {
                if let Head::Source(source) = &mut self.parts.head {
                    source.hold_back_above(until);
                }
            }
            Command::Complete(checkpoint) => {
                if let Head::Source(source) = &mut self.parts.head {
                    source.on_checkpoint_complete(checkpoint)?;
                }
                self.parts.chain.on_checkpoint_complete(checkpoint)?;
            }
            Command::Abort(checkpoint) => {
                let is_given_up = |barrier: &Arc<Barrier>| barrier.checkpoint == checkpoint;
                self.overtaking.take_if(|barrier| is_given_up(barrier));
                self.on_its_way.take_if(|sent| is_given_up(&sent.barrier));
                self.abort(checkpoint);
            }
            Command::Finish { commit } => {
                self.finish = Some(commit);
                if commit {
                    self.commit_at_end()?;
                }
            }
        }
        Ok(false)
    }

    fn abort(&mut self, checkpoint: CheckpointId) {
        match &mut self.parts.head {
            Head::Channels(inputs) => inputs.abort(checkpoint),
            Head::Source(source) => {
                source.on_abort(checkpoint);
                // A barrier that waits for credit must not stop the source after all: no second abort comes.
                self.work.retain(
                    |work| !matches!(work, Work::Barrier { barrier } if barrier.checkpoint == checkpoint),
                );
            }
        }
    }

    fn on_trigger(&mut self, barrier: Arc<Barrier>, drain: bool) {
        let Head::Source(source) = &mut self.parts.head else {
            return;
        };
        if drain && !source.is_finished() {
            // After the barriers that were asked for before.
            let last = source.finish();
            self.work.push_back(Work::Last(last));
            self.work.push_back(Work::End { node: 0 });
        }
        self.work.push_back(Work::Barrier { barrier });
    }

    /// Takes what the source emits.
    fn enter(&mut self, emitted: Vec<Emitted>) -> Result<(), TaskError> {
        for emitted in emitted {
            if let Emitted::Signal(signal) = emitted {
                self.note_clock(signal);
            }
            self.parts.chain.enter(emitted)?;
        }
        Ok(())
    }

    fn note_clock(&self, signal: TimeSignal) {
        if let TimeSignal::Watermark(to) = signal {
            self.parts.metrics.watermark.store(to, Ordering::Relaxed);
        }
    }

    /// Without a final checkpoint sinks commit what they have.
    fn commit_at_end(&mut self) -> Result<(), TaskError> {
        let barrier = Barrier {
            checkpoint: CHECKPOINT_AT_END,
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        };
        self.parts
            .chain
            .each(|node| node.operator.snapshot(&barrier, &mut node.context).map(drop))?;
        self.parts.chain.on_checkpoint_complete(CHECKPOINT_AT_END)
    }

    /// Reads one item; false where there is none.
    fn read(&mut self, now: Timestamp) -> Result<bool, TaskError> {
        self.pace.fix(self.parts.snapshots.executor.rows_max());
        match &mut self.parts.head {
            Head::Source(_) => self.read_source(now),
            Head::Channels(inputs) => {
                let Some(received) = inputs.receive() else {
                    return Ok(false);
                };
                if let Some(barrier) = inputs.aligning().cloned() {
                    self.note_aligning(&barrier, now);
                }
                match received {
                    Received::Batch { port, batch } => {
                        add(&self.parts.metrics.records_in, u64::from(batch.rows()));
                        add(&self.parts.metrics.bytes_in, batch.bytes().len() as u64);
                        self.perform(Work::Batch { port, rest: batch }, now)?;
                    }
                    Received::Clock(signal) => {
                        self.note_clock(signal);
                        self.parts.chain.on_signal(signal)?;
                    }
                    // Not before what is pending.
                    Received::Tick(tick) => self.work.push_back(Work::Tick(tick)),
                    Received::Barrier(barrier) => self.perform(Work::Barrier { barrier }, now)?,
                    Received::End => self.perform(Work::End { node: 0 }, now)?,
                    Received::Nothing => {}
                }
                Ok(true)
            }
        }
    }

    fn read_source(&mut self, now: Timestamp) -> Result<bool, TaskError> {
        let Head::Source(source) = &mut self.parts.head else {
            return Ok(false);
        };
        let ticked = source.tick_at().is_some_and(|at| at <= now);
        let mut emitted = Vec::new();
        if ticked {
            source.tick(now, self.parts.chain.backpressured_ms(), &mut emitted)?;
            if let Some(watermark) = source.report(now) {
                let event = TaskEvent::SourceWatermark(watermark);
                self.parts.snapshots.reporter.send(event);
            }
        }
        let polls = source.poll_at().is_some_and(|at| at <= now);
        if polls {
            let polled = source.poll(now, self.pace.rows(), &mut emitted)?;
            self.rows = polled.rows;
            if polled.end == Some(Ending::Finished) {
                emitted.extend(source.finish());
            }
            self.work.extend(polled.tick.map(Work::Tick));
            self.work.extend(polled.end.map(|_| Work::End { node: 0 }));
        }
        self.enter(emitted)?;
        Ok(ticked || polls)
    }

    /// Does a piece of work; what is left of it comes first in the next step.
    fn perform(&mut self, work: Work, now: Timestamp) -> Result<(), TaskError> {
        match work {
            Work::Batch { port, rest } => self.process(port, rest),
            Work::Last(emitted) => self.enter(emitted),
            Work::Tick(tick) => self.on_tick(tick),
            Work::Clock { node } => self.move_clock(node),
            Work::End { node } => self.end(node),
            Work::Drain { node } => self.end(node + 1),
            Work::Barrier { barrier } => self.snapshot(&barrier, now, barrier.overtakes(now)),
        }
    }

    /// The step goes downstream first, so that what it causes here finds it known there.
    fn on_tick(&mut self, tick: Tick) -> Result<(), TaskError> {
        self.parts.chain.on_tick(tick)?;
        self.parts.chain.control(&StreamElement::Tick(tick));
        if tick.moves_clock {
            self.work.push_front(Work::Clock { node: 0 });
        }
        Ok(())
    }

    /// In each operator, in order: what is due by the clock that the input drives.
    fn move_clock(&mut self, first: usize) -> Result<(), TaskError> {
        for node in first..self.parts.chain.nodes.len() {
            if self.parts.chain.fire_processing(node)? {
                self.work.push_front(Work::Clock { node });
                return Ok(());
            }
        }
        self.parts.chain.wake().map(drop)
    }

    fn process(&mut self, port: u16, batch: Batch) -> Result<(), TaskError> {
        if self.parts.chain.is_full(0) {
            self.work.push_front(Work::Batch { port, rest: batch });
            return Ok(());
        }
        let rows = self.pace.rows();
        let taken = if batch.rows() <= rows {
            self.parts.chain.process(port, &batch)?
        } else {
            self.parts.chain.process(port, &batch.split_at(rows).0)?
        };
        self.rows = taken;
        if taken < batch.rows() {
            let rest = batch.skip(taken);
            self.work.push_front(Work::Batch { port, rest });
        }
        Ok(())
    }

    fn end(&mut self, node: usize) -> Result<(), TaskError> {
        if node < self.parts.chain.nodes.len() {
            self.parts.chain.on_end(node)?;
            self.work.push_front(Work::Drain { node });
            return Ok(());
        }
        self.parts.chain.control(&StreamElement::End);
        // What is left to do, such as commits to repeat, goes by the machine's clock.
        self.parts.chain.stop_driving();
        self.phase = Phase::Ended;
        self.parts.snapshots.reporter.send(TaskEvent::Ended);
        Ok(())
    }

    /// The barrier goes downstream first: snapshots of the whole job overlap. One that overtakes takes the records that are
    /// on their way with it.
    fn snapshot(&mut self, barrier: &Arc<Barrier>, now: Timestamp, overtakes: bool) -> Result<(), TaskError> {
        let mut taken = self.taken(barrier, now);
        let started = self.parts.clock.monotonic_ns();
        let in_flight = self.pass_on(barrier, overtakes);
        taken.unaligned = overtakes;
        let mut parts = Vec::new();
        if let Head::Source(source) = &mut self.parts.head {
            parts.push(Part {
                uid: source.uid().clone(),
                place: 0,
                state: source.snapshot(barrier)?,
                keyed: None,
                in_flight: Vec::new(),
            });
        }
        let planted = self.parts.snapshots.executor.planted();
        self.parts.chain.each(|node| {
            parts.push(freeze(node, barrier, planted)?);
            Ok(())
        })?;
        overtake::assign(in_flight, &mut parts)?;
        taken.sync_ms = self.parts.clock.monotonic_ns().saturating_sub(started) / 1_000_000;
        let barrier = barrier.clone();
        if barrier.overtakes_at.is_some() && !overtakes {
            self.on_its_way = Some(OnItsWay {
                barrier,
                parts,
                taken,
            });
            return self.settle_barrier(now);
        }
        self.parts.snapshots.start(barrier.checkpoint, parts, taken);
        Ok(())
    }

    fn gone(&mut self) -> Step {
        let settled = self.parts.chain.is_settled();
        self.parts.snapshots.reporter.send(TaskEvent::Gone { settled });
        Step::Finished
    }

    fn fail(&mut self, mut error: TaskError) -> Step {
        error
            .subtask
            .get_or_insert(self.parts.snapshots.reporter.subtask.index);
        self.parts.snapshots.reporter.send(TaskEvent::Failed(error));
        Step::Finished
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
