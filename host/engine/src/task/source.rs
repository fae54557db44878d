//! The source at the head of a chain: polls its reader, sends barriers when the coordinator asks.
//!
//! Invariant: a reader's snapshot is the position after the last record that entered the chain, and after
//! the barrier of a stop-with-savepoint nothing is read until that is given up. Nothing is read either while its
//! watermark is above the bound of its alignment.

use std::sync::Arc;

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::{Barrier, SnapshotKind, Tick};
use wasmill_model::function::OperatorStateMode;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_END};

use crate::error::TaskError;
use crate::metrics::{OperatorMetrics, add};
use crate::operator::RuntimeContext;
use crate::output::Emitted;
use crate::source::{Source, SourceReader, SourceSignal, SourceStatus, SplitChange, SplitSignal};
use crate::time::source::SourceTime;
use crate::time::splits::{Splits, Urgency};
use crate::time::strategy::Strategy;
use crate::time::valve::Valve;

/// The operator state that holds a reader's elements.
const STATE_NAME: &str = "splits";

/// A source's reader in one subtask.
pub(crate) struct SourceHead {
    pub(crate) runtime: Arc<RuntimeContext>,
    pub(crate) metrics: Arc<OperatorMetrics>,
    source: Arc<dyn Source>,
    reader: Option<Box<dyn SourceReader>>,
    restored: Option<OperatorState>,
    builder: BatchBuilder,
    wait_until: Timestamp,
    /// A barrier that stops the job has gone out.
    stopped_by: Option<CheckpointId>,
    finished: bool,
    strategy: Option<Strategy>,
    time: Option<SourceTime>,
    /// Whether the reader has named its splits: rows carry their numbers then.
    names_splits: bool,
    changes: Vec<SplitChange>,
    held: Held,
    /// What the reader says of time by itself: of the whole, and of its splits.
    valve: Valve,
    splits: Splits,
}

/// Whether alignment holds a source back.
#[derive(Debug)]
struct Held {
    /// Nothing is read while the watermark is above.
    until: Timestamp,
    since: Option<Timestamp>,
    /// For how long it was held back before.
    total_ms: i64,
    /// From one report to the next; `None`: it is not aligned.
    report_interval_ms: Option<i64>,
    report_at: Timestamp,
}

/// What a poll came to.
pub(crate) struct Polled {
    pub(crate) rows: u32,
    /// A step that comes after the rows.
    pub(crate) tick: Option<Tick>,
    /// Nothing will come any more.
    pub(crate) end: Option<Ending>,
}

/// How a source ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Event time goes to its end.
    Finished,
    /// It stays where it is.
    Stopped,
}

impl SourceHead {
    pub(crate) fn new(
        runtime: Arc<RuntimeContext>,
        metrics: Arc<OperatorMetrics>,
        source: Arc<dyn Source>,
        strategy: Option<Strategy>,
        restored: Option<OperatorState>,
    ) -> Self {
        let alignment = strategy.as_ref().and_then(|s| s.declared.alignment.as_ref());
        Self {
            held: Held {
                until: WATERMARK_END,
                since: None,
                total_ms: 0,
                report_interval_ms: alignment.map(|alignment| alignment.update_interval_ms),
                report_at: Timestamp::MIN,
            },
            runtime,
            metrics,
            source,
            reader: None,
            restored,
            builder: BatchBuilder::default(),
            wait_until: Timestamp::MIN,
            stopped_by: None,
            finished: false,
            strategy,
            time: None,
            names_splits: false,
            changes: Vec::new(),
            valve: Valve::new(1),
            splits: Splits::new([]),
        }
    }

    pub(crate) fn uid(&self) -> &OperatorUid {
        &self.runtime.operator
    }

    pub(crate) fn open(&mut self, now: Timestamp) -> Result<(), TaskError> {
        let restored = self.restored.take().map(elements);
        let mut reader = self
            .source
            .reader(&self.runtime, restored)
            .map_err(|error| self.named(error))?;
        reader.split_changes(&mut self.changes);
        self.reader = Some(reader);
        self.names_splits = !self.changes.is_empty();
        let time = self
            .strategy
            .take()
            .map(|strategy| SourceTime::new(strategy, now));
        self.time = time.transpose().map_err(|error| self.named(error))?;
        if !self.names_splits {
            self.changes.push(SplitChange::Added(0));
        }
        self.add_splits()?;
        self.finish_splits();
        Ok(())
    }

    fn add_splits(&mut self) -> Result<(), TaskError> {
        let added = self.changes.iter().try_for_each(|change| match *change {
            SplitChange::Added(split) => {
                let split = u32::from(split);
                match &mut self.time {
                    Some(time) => time.add_split(split)?,
                    None => self.splits.add(split),
                }
                Ok(())
            }
            SplitChange::Finished(_) => Ok(()),
        });
        added.map_err(|error| self.named(error))
    }

    fn finish_splits(&mut self) {
        for change in self.changes.drain(..) {
            if let SplitChange::Finished(split) = change {
                match &mut self.time {
                    Some(time) => time.finish_split(u32::from(split)),
                    None => self.splits.remove(u32::from(split)),
                }
            }
        }
    }

    /// When it is to be polled; `None`: never again, or not before it is told to go on.
    pub(crate) fn poll_at(&self) -> Option<Timestamp> {
        let goes_on = !self.finished && self.stopped_by.is_none() && !self.is_held_back();
        goes_on.then_some(self.wait_until)
    }

    fn is_held_back(&self) -> bool {
        let watermark = self.time.as_ref().map(SourceTime::watermark);
        watermark.is_some_and(|watermark| watermark > self.held.until)
    }

    /// Its input has ended, whatever the reader still has; returns the last that it says.
    pub(crate) fn finish(&mut self) -> Vec<Emitted> {
        self.finished = true;
        let end = TimeSignal::Watermark(WATERMARK_END);
        let Some(time) = &mut self.time else {
            return vec![Emitted::Signal(end)];
        };
        let mut out = Vec::new();
        time.end(&mut out);
        self.held.report_at = Timestamp::MIN;
        out
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads at most `rows_max` rows.
    pub(crate) fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut Vec<Emitted>,
    ) -> Result<Polled, TaskError> {
        let Some(reader) = &mut self.reader else {
            return Err(self.named(TaskError::host("a source was polled before it was opened")));
        };
        let status = reader.poll(now, rows_max, &mut self.builder);
        reader.split_changes(&mut self.changes);
        let (mut signal, mut of_splits, mut end) = (None, None, None);
        match status.map_err(|error| self.named(error))? {
            SourceStatus::More => self.wait_until = Timestamp::MIN,
            SourceStatus::WaitUntil(at) => self.wait_until = at,
            SourceStatus::Then(then) => {
                self.wait_until = Timestamp::MIN;
                signal = Some(then);
            }
            SourceStatus::ThenOfSplits(then) => {
                self.wait_until = Timestamp::MIN;
                of_splits = Some(then);
            }
            SourceStatus::Finished => end = Some(Ending::Finished),
            SourceStatus::Stopped => end = Some(Ending::Stopped),
        }
        self.finished |= end.is_some();
        if self.names_splits {
            self.add_splits()?;
        }
        let room = self.builder.len() + self.builder.len() / 8;
        let rows = self.builder.rows();
        if rows > 0 {
            let batch = self.builder.finish_with_capacity(room);
            self.emit(batch, now, out).map_err(|error| self.named(error))?;
        }
        self.finish_splits();
        add(&self.metrics.records_out, u64::from(rows));
        let tick = signal.and_then(|signal| self.on_signal(signal, out));
        if let Some(signal) = of_splits {
            self.on_split_signal(signal, out);
        }
        Ok(Polled { rows, tick, end })
    }

    /// What the reader says by itself; a step is the task's to take.
    fn on_signal(&mut self, signal: SourceSignal, out: &mut Vec<Emitted>) -> Option<Tick> {
        match signal {
            SourceSignal::Tick(tick) => return Some(tick),
            SourceSignal::Time(signal) if self.time.is_none() => {
                self.valve
                    .on(0, signal, &mut |said| out.push(Emitted::Signal(said)));
            }
            SourceSignal::Time(_) => {}
        }
        None
    }

    /// What the reader says of its splits.
    fn on_split_signal(&mut self, signal: SplitSignal, out: &mut Vec<Emitted>) {
        if self.time.is_some() {
            return;
        }
        let say = &mut |said| out.push(Emitted::Signal(said));
        match signal {
            SplitSignal::Time {
                split,
                signal,
                is_immediate,
            } => {
                let urgency = match is_immediate {
                    true => Urgency::Immediate,
                    false => Urgency::Deferred,
                };
                self.splits.on(u32::from(split), signal, urgency, say);
            }
            SplitSignal::Combine => self.splits.combine(say),
        }
    }

    /// Rows of each split by themselves.
    fn emit(&mut self, batch: Batch, now: Timestamp, out: &mut Vec<Emitted>) -> Result<(), TaskError> {
        let mut rest = batch;
        while !rest.is_empty() {
            let split = match self.names_splits {
                true => rest.iter().next().map_or(0, |row| row.port()),
                false => 0,
            };
            let run = match self.names_splits {
                true => rest.iter().take_while(|row| row.port() == split).count() as u32,
                false => rest.rows(),
            };
            let (mut own, after) = rest.split_at(run);
            rest = after;
            if split != 0 {
                own = own.with_port(0);
            }
            match &mut self.time {
                Some(time) => time.rows(u32::from(split), own, now, out)?,
                None => out.push(Emitted::Rows { port: 0, batch: own }),
            }
        }
        Ok(())
    }

    /// When its watermark generators are to be asked, or its watermark is to be reported.
    pub(crate) fn tick_at(&self) -> Option<Timestamp> {
        if self.stopped_by.is_some() {
            return None;
        }
        let report = self.held.report_interval_ms.map(|_| self.held.report_at);
        let tick = self.time.as_ref().and_then(SourceTime::tick_at);
        tick.into_iter().chain(report).min()
    }

    /// The time has come for that; `backpressured_ms` is for how long there was no credit so far.
    pub(crate) fn tick(
        &mut self,
        now: Timestamp,
        backpressured_ms: i64,
        out: &mut Vec<Emitted>,
    ) -> Result<(), TaskError> {
        let is_held_back = self.is_held_back();
        match (is_held_back, self.held.since) {
            (true, None) => self.held.since = Some(now),
            (false, Some(since)) => {
                self.held.total_ms += now.saturating_sub(since);
                self.held.since = None;
            }
            _ => {}
        }
        let held_ms = self.held.total_ms + self.held.since.map_or(0, |since| now - since);
        match &mut self.time {
            Some(time) if time.tick_at().is_some_and(|at| at <= now) => {
                time.tick(now, now - backpressured_ms - held_ms, out)
            }
            _ => Ok(()),
        }
    }

    /// The watermark that is to be reported now.
    pub(crate) fn report(&mut self, now: Timestamp) -> Option<Timestamp> {
        let interval = self
            .held
            .report_interval_ms
            .filter(|_| self.held.report_at <= now)?;
        // The end is reported once.
        if self.finished {
            self.held.report_interval_ms = None;
        }
        self.held.report_at = now.saturating_add(interval);
        self.time.as_ref().and_then(SourceTime::reported)
    }

    /// Alignment: nothing is read while the watermark is above.
    pub(crate) fn hold_back_above(&mut self, until: Timestamp) {
        self.held.until = until;
    }

    /// At a barrier, which goes out with it.
    pub(crate) fn snapshot(&mut self, barrier: &Barrier) -> Result<OperatorState, TaskError> {
        if barrier.kind == SnapshotKind::StopWithSavepoint {
            self.stopped_by = Some(barrier.checkpoint);
        }
        let elements = match &mut self.reader {
            Some(reader) => reader.snapshot(barrier.checkpoint),
            None => Err(TaskError::host("a source was snapshotted before it was opened")),
        };
        let elements = elements.map_err(|error| self.named(error))?;
        Ok(OperatorState {
            lists: vec![OperatorList {
                name: STATE_NAME.to_owned(),
                mode: OperatorStateMode::Union,
                elements: elements.into_iter().map(Base64Bytes).collect(),
            }],
            ..OperatorState::default()
        })
    }

    pub(crate) fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        match &mut self.reader {
            Some(reader) => reader
                .on_checkpoint_complete(checkpoint)
                .map_err(|error| self.named(error)),
            None => Ok(()),
        }
    }

    /// A checkpoint is given up: a source that stopped with it goes on.
    pub(crate) fn on_abort(&mut self, checkpoint: CheckpointId) {
        if self.stopped_by == Some(checkpoint) {
            self.stopped_by = None;
        }
    }

    fn named(&self, mut error: TaskError) -> TaskError {
        error.operator.get_or_insert_with(|| self.uid().clone());
        error
    }
}

fn elements(state: OperatorState) -> Vec<Vec<u8>> {
    let lists = state.lists.into_iter().filter(|list| list.name == STATE_NAME);
    lists
        .flat_map(|list| list.elements)
        .map(|element| element.0)
        .collect()
}
