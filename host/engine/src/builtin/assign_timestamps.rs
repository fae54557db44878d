//! Gives records timestamps and makes watermarks of them (T3): Flink's `assignTimestampsAndWatermarks`.
//!
//! Invariant: watermarks and idleness of its input end here, all but the end of input; its own never go back.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::element::Barrier;
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_END};

use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext, OperatorSnapshot};
use crate::output::Output;
use crate::time::emitter::Emitter;
use crate::time::generator::{Punctuation, WatermarkGenerator};
use crate::time::strategy::Strategy;
use crate::time::timestamps::Timestamps;

/// One strategy in one subtask.
pub struct AssignTimestampsOperator {
    timestamps: Timestamps,
    generator: Box<dyn WatermarkGenerator>,
    interval_ms: i64,
    tick_at: Option<Timestamp>,
    backpressured_ms: i64,
    emitter: Emitter,
    /// Of the batch at hand.
    assigned: Vec<Timestamp>,
    punctuation: Punctuation,
}

impl AssignTimestampsOperator {
    /// By a strategy.
    pub(crate) fn new(strategy: &Strategy) -> Result<Self, TaskError> {
        Ok(Self {
            timestamps: strategy.timestamps()?,
            generator: strategy.generator()?,
            interval_ms: i64::try_from(strategy.interval_ms).unwrap_or(i64::MAX),
            tick_at: None,
            backpressured_ms: 0,
            emitter: Emitter::default(),
            assigned: Vec::new(),
            punctuation: Punctuation::default(),
        })
    }

    fn schedule(&mut self, now: Timestamp) {
        self.tick_at = (self.interval_ms > 0).then(|| now.saturating_add(self.interval_ms));
    }

    fn say(&mut self, signal: TimeSignal, out: &mut Output) {
        self.emitter.take(signal, &mut |signal| out.signal(signal));
    }
}

impl Operator for AssignTimestampsOperator {
    fn open(
        &mut self,
        context: &mut OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError> {
        self.schedule(context.processing_time);
        self.generator.open(restored)
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            state: self.generator.snapshot()?,
            keyed: None,
        })
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let now = context.processing_time;
        let mut rest = self.timestamps.assign(batch.clone(), now, &mut self.assigned)?;
        self.generator
            .on_events(&rest, &self.assigned, &mut self.punctuation)?;
        let mut passed = 0;
        for (row, signal) in self.punctuation.take(batch.rows())? {
            let (before, after) = rest.split_at(row + 1 - passed);
            out.emit(0, before);
            rest = after;
            passed = row + 1;
            self.say(signal, out);
        }
        out.emit(0, rest);
        Ok(batch.rows())
    }

    fn on_watermark(&mut self, _: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        self.tick_at = None;
        self.say(TimeSignal::Watermark(WATERMARK_END), out);
        Ok(())
    }

    fn makes_watermarks(&self) -> bool {
        true
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.tick_at
    }

    fn on_backpressured(&mut self, total_ms: i64) {
        self.backpressured_ms = total_ms;
    }

    fn on_wake(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let now = context.processing_time;
        let mut signals = Vec::new();
        self.generator
            .on_periodic_emit(now - self.backpressured_ms, &mut signals)?;
        signals.into_iter().for_each(|signal| self.say(signal, out));
        self.schedule(now);
        Ok(())
    }
}
