//! Watermark generators (T3): bounded disorder, ascending timestamps, none, those of users; and idleness.
//!
//! A user's generator is a component or, in tests, native: it is called once for a batch, so that a call of a
//! guest is paid once, and says after which record of it which signal comes.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::time::{TimeSignal, Timestamp};

use crate::error::TaskError;

/// Says how far event time has come in one stream, or in one split of a source.
pub trait WatermarkGenerator: Send {
    /// Called once before anything else, with what [`WatermarkGenerator::snapshot`] gave; `None` on a fresh start and
    /// at sources.
    fn open(&mut self, restored: Option<OperatorState>) -> Result<(), TaskError> {
        let _ = restored;
        Ok(())
    }

    /// At a barrier: what it declares to keep. As in Flink, all else that a generator remembers begins anew after a
    /// restore.
    fn snapshot(&mut self) -> Result<OperatorState, TaskError> {
        Ok(OperatorState::default())
    }

    /// Sees records in order, with the timestamp of each (`i64::MIN` where it has none). A punctuated generator
    /// says by `out` what comes after which of them.
    fn on_events(
        &mut self,
        rows: &Batch,
        timestamps: &[Timestamp],
        out: &mut Punctuation,
    ) -> Result<(), TaskError>;

    /// At each tick of the emit interval. `clock` counts processing time, ms, but for the time in which the task
    /// could not go on for want of credit or because its source was held back.
    fn on_periodic_emit(&mut self, clock: Timestamp, out: &mut Vec<TimeSignal>) -> Result<(), TaskError>;
}

/// What a generator says within a batch: signals, each after a record.
#[derive(Debug, Default)]
pub struct Punctuation {
    marks: Vec<(u32, TimeSignal)>,
}

impl Punctuation {
    /// After record number `row` of the batch, from 0. Numbers must not go down.
    pub fn after(&mut self, row: u32, signal: TimeSignal) {
        self.marks.push((row, signal));
    }

    /// What was said, in order; an error where a row is not in the batch or comes after a later one.
    pub fn take(&mut self, rows: u32) -> Result<Vec<(u32, TimeSignal)>, TaskError> {
        let marks = std::mem::take(&mut self.marks);
        let ascending = marks.windows(2).all(|pair| pair[0].0 <= pair[1].0);
        match marks.last() {
            Some((last, _)) if *last >= rows || !ascending => Err(TaskError::user(format!(
                "the watermark generator names records in the order {:?} of a batch of {rows}: it must name those that are \
                 there, in their order",
                marks.iter().map(|(row, _)| row).take(10).collect::<Vec<_>>()
            ))),
            _ => Ok(marks),
        }
    }
}

/// The highest timestamp less the allowed disorder less 1 ms; ascending timestamps are disorder 0.
#[derive(Debug)]
pub(crate) struct Bounded {
    highest: Timestamp,
    disorder: i64,
}

impl Bounded {
    /// `disorder` in ms, at least 0.
    pub(crate) fn new(disorder: i64) -> Self {
        let disorder = disorder.max(0);
        Self {
            // So that the first watermark is the lowest there is.
            highest: (Timestamp::MIN + 1).saturating_add(disorder),
            disorder,
        }
    }
}

impl WatermarkGenerator for Bounded {
    fn on_events(
        &mut self,
        _: &Batch,
        timestamps: &[Timestamp],
        _: &mut Punctuation,
    ) -> Result<(), TaskError> {
        self.highest = timestamps.iter().fold(self.highest, |a, b| a.max(*b));
        Ok(())
    }

    fn on_periodic_emit(&mut self, _: Timestamp, out: &mut Vec<TimeSignal>) -> Result<(), TaskError> {
        out.push(TimeSignal::Watermark(self.highest - self.disorder - 1));
        Ok(())
    }
}

/// Says nothing.
#[derive(Debug)]
pub(crate) struct Silent;

impl WatermarkGenerator for Silent {
    fn on_events(&mut self, _: &Batch, _: &[Timestamp], _: &mut Punctuation) -> Result<(), TaskError> {
        Ok(())
    }

    fn on_periodic_emit(&mut self, _: Timestamp, _: &mut Vec<TimeSignal>) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Marks the stream idle where no record has come for a while (Flink's `withIdleness`).
///
/// The time starts to count at the second tick without a record; while it is idle the generator is not asked, and
/// records alone do not end it: the next watermark that grows does.
pub(crate) struct WithIdleness {
    inner: Box<dyn WatermarkGenerator>,
    after_ms: i64,
    /// A record has come since the last tick.
    active: bool,
    /// Since when there was none.
    since: Option<Timestamp>,
    marked: bool,
}

impl WithIdleness {
    pub(crate) fn new(inner: Box<dyn WatermarkGenerator>, after_ms: i64) -> Self {
        Self {
            inner,
            after_ms,
            active: false,
            since: None,
            marked: false,
        }
    }

    fn is_idle(&mut self, clock: Timestamp) -> bool {
        if std::mem::take(&mut self.active) {
            self.since = None;
            return false;
        }
        match self.since {
            None => {
                self.since = Some(clock);
                false
            }
            Some(since) => clock.saturating_sub(since) > self.after_ms,
        }
    }
}

impl WatermarkGenerator for WithIdleness {
    fn open(&mut self, restored: Option<OperatorState>) -> Result<(), TaskError> {
        self.inner.open(restored)
    }

    fn snapshot(&mut self) -> Result<OperatorState, TaskError> {
        self.inner.snapshot()
    }

    fn on_events(
        &mut self,
        rows: &Batch,
        timestamps: &[Timestamp],
        out: &mut Punctuation,
    ) -> Result<(), TaskError> {
        if !timestamps.is_empty() {
            self.inner.on_events(rows, timestamps, out)?;
            self.active = true;
            self.marked = false;
        }
        Ok(())
    }

    fn on_periodic_emit(&mut self, clock: Timestamp, out: &mut Vec<TimeSignal>) -> Result<(), TaskError> {
        if !self.is_idle(clock) {
            return self.inner.on_periodic_emit(clock, out);
        }
        if !std::mem::replace(&mut self.marked, true) {
            out.push(TimeSignal::Idle);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeSignal::{Idle, Watermark};

    fn see(generator: &mut dyn WatermarkGenerator, timestamps: &[Timestamp]) {
        let mut none = Punctuation::default();
        generator
            .on_events(&Batch::default(), timestamps, &mut none)
            .unwrap();
    }

    fn tick(generator: &mut dyn WatermarkGenerator, clock: Timestamp) -> Vec<TimeSignal> {
        let mut out = Vec::new();
        generator.on_periodic_emit(clock, &mut out).unwrap();
        out
    }

    #[test]
    fn a_watermark_is_the_highest_timestamp_less_the_disorder_less_one_also_at_the_ends_of_time() {
        let mut bounded = Bounded::new(10);
        assert_eq!(tick(&mut bounded, 0), [Watermark(i64::MIN)]);
        see(&mut bounded, &[5, 100, -7]);
        assert_eq!(tick(&mut bounded, 0), [Watermark(89)]);
        see(&mut bounded, &[i64::MIN, i64::MAX]);
        assert_eq!(tick(&mut bounded, 0), [Watermark(i64::MAX - 11)]);
        let mut widest = Bounded::new(i64::MAX);
        assert_eq!(tick(&mut widest, 0), [Watermark(i64::MIN)]);
        see(&mut widest, &[i64::MAX]);
        assert_eq!(tick(&mut widest, 0), [Watermark(-1)]);
        assert_eq!(tick(&mut Silent, 0), []);
    }

    #[test]
    fn a_stream_is_idle_once_more_than_the_limit_has_passed_since_the_second_silent_tick() {
        let mut idle = WithIdleness::new(Box::new(Bounded::new(0)), 50);
        see(&mut idle, &[5]);
        for clock in [20, 40, 90] {
            assert_eq!(tick(&mut idle, clock), [Watermark(4)], "at {clock}");
        }
        assert_eq!(tick(&mut idle, 91), [Idle], "51 after 40");
        assert_eq!(tick(&mut idle, 300), [], "it is said once");
        see(&mut idle, &[6]);
        assert_eq!(tick(&mut idle, 301), [Watermark(5)]);
    }

    #[test]
    fn punctuation_must_name_records_of_the_batch_in_order() {
        let mut punctuation = Punctuation::default();
        punctuation.after(0, Watermark(1));
        punctuation.after(0, Idle);
        punctuation.after(2, Watermark(2));
        assert_eq!(punctuation.take(3).unwrap().len(), 3);
        punctuation.after(3, Watermark(1));
        assert!(
            punctuation
                .take(3)
                .unwrap_err()
                .to_string()
                .contains("batch of 3")
        );
        punctuation.after(1, Watermark(1));
        punctuation.after(0, Watermark(1));
        assert!(punctuation.take(3).is_err());
    }
}
