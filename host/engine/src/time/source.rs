//! The event time of a source in one subtask (T3, T4): a generator for each split, combined.
//!
//! Invariant: rows come out in the order in which they went in, signals in their place between them.

use wasmill_model::batch::Batch;
use wasmill_model::time::{TimeSignal, Timestamp};

use super::generator::{Punctuation, WatermarkGenerator};
use super::splits::{Splits, Urgency};
use super::strategy::Strategy;
use super::timestamps::Timestamps;
use crate::error::TaskError;
use crate::output::Emitted;

/// Timestamps and watermarks of a source's reader.
pub(crate) struct SourceTime {
    strategy: Strategy,
    timestamps: Timestamps,
    generators: Vec<(u32, Box<dyn WatermarkGenerator>)>,
    splits: Splits,
    tick_at: Option<Timestamp>,
    assigned: Vec<Timestamp>,
    punctuation: Punctuation,
}

impl SourceTime {
    /// Without any split; ticks start after `now`.
    pub(crate) fn new(strategy: Strategy, now: Timestamp) -> Result<Self, TaskError> {
        let mut time = Self {
            timestamps: strategy.timestamps()?,
            strategy,
            generators: Vec::new(),
            splits: Splits::new([]),
            tick_at: None,
            assigned: Vec::new(),
            punctuation: Punctuation::default(),
        };
        time.schedule(now);
        Ok(time)
    }

    /// A split is read from now on.
    pub(crate) fn add_split(&mut self, split: u32) -> Result<(), TaskError> {
        if self.generators.iter().all(|(known, _)| *known != split) {
            let mut generator = self.strategy.generator()?;
            generator.open(None)?;
            self.generators.push((split, generator));
            self.splits.add(split);
        }
        Ok(())
    }

    /// A split has been read to its end: it holds nothing back any more.
    pub(crate) fn finish_split(&mut self, split: u32) {
        self.generators.retain(|(known, _)| *known != split);
        self.splits.remove(split);
    }

    /// Rows of one split.
    pub(crate) fn rows(
        &mut self,
        split: u32,
        batch: Batch,
        now: Timestamp,
        out: &mut Vec<Emitted>,
    ) -> Result<(), TaskError> {
        let rows = batch.rows();
        let mut rest = self.timestamps.assign(batch, now, &mut self.assigned)?;
        let Some((_, generator)) = self.generators.iter_mut().find(|(known, _)| *known == split) else {
            return Err(TaskError::host(format!(
                "the source gave rows of split {split}, which it has not named: a fault of the connector"
            )));
        };
        generator.on_events(&rest, &self.assigned, &mut self.punctuation)?;
        let mut passed = 0;
        for (row, signal) in self.punctuation.take(rows)? {
            let (before, after) = rest.split_at(row + 1 - passed);
            emit(before, out);
            rest = after;
            passed = row + 1;
            let mut say = |signal| out.push(Emitted::Signal(signal));
            self.splits.on(split, signal, Urgency::Immediate, &mut say);
        }
        emit(rest, out);
        Ok(())
    }

    /// When the generators are to be asked next.
    pub(crate) fn tick_at(&self) -> Option<Timestamp> {
        self.tick_at
    }

    /// Asks the generators; `clock` leaves out the time in which nothing could be read.
    pub(crate) fn tick(
        &mut self,
        now: Timestamp,
        clock: Timestamp,
        out: &mut Vec<Emitted>,
    ) -> Result<(), TaskError> {
        let mut say = |signal| out.push(Emitted::Signal(signal));
        let mut signals: Vec<TimeSignal> = Vec::new();
        for (split, generator) in &mut self.generators {
            generator.on_periodic_emit(clock, &mut signals)?;
            for signal in signals.drain(..) {
                self.splits.on(*split, signal, Urgency::Deferred, &mut say);
            }
        }
        self.splits.combine(&mut say);
        self.schedule(now);
        Ok(())
    }

    /// The input has ended.
    pub(crate) fn end(&mut self, out: &mut Vec<Emitted>) {
        self.tick_at = None;
        self.splits.end(&mut |signal| out.push(Emitted::Signal(signal)));
    }

    /// What is known of its watermark to those that are aligned with it: nothing before the first, and all that
    /// can be while it is idle.
    pub(crate) fn reported(&self) -> Option<Timestamp> {
        let emitter = self.splits.emitter();
        match emitter.is_idle() {
            true => Some(wasmill_model::time::WATERMARK_END),
            false => Some(emitter.watermark()).filter(|at| *at != wasmill_model::time::WATERMARK_NONE),
        }
    }

    /// The last watermark that went out.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.splits.emitter().watermark()
    }

    fn schedule(&mut self, now: Timestamp) {
        let interval = i64::try_from(self.strategy.interval_ms).unwrap_or(i64::MAX);
        self.tick_at = (interval > 0).then(|| now.saturating_add(interval));
    }
}

fn emit(batch: Batch, out: &mut Vec<Emitted>) {
    if !batch.is_empty() {
        out.push(Emitted::Rows { port: 0, batch });
    }
}
