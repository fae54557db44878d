//! The splits of one source reader become one stream (T4): Flink's output multiplexer. Pure.
//!
//! Invariant: a split's periodic signals count when [`Splits::combine`] is called; what a generator emits with a
//! record counts at once where it can advance the whole.

use wasmill_model::time::TimeSignal;

use super::combined::Combined;
use super::emitter::Emitter;

/// Combines the watermarks of splits.
#[derive(Debug)]
pub(crate) struct Splits {
    combined: Combined,
    emitter: Emitter,
}

/// When a split's signal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Now: a generator emitted it with a record.
    Immediate,
    /// At the next [`Splits::combine`].
    Deferred,
}

impl Splits {
    /// Of the splits numbered so.
    pub(crate) fn new(splits: impl IntoIterator<Item = u32>) -> Self {
        Self {
            combined: Combined::new(splits),
            emitter: Emitter::default(),
        }
    }

    /// A split is assigned: it holds the whole back until it has a watermark or is idle.
    pub(crate) fn add(&mut self, split: u32) {
        self.combined.add(split);
    }

    /// A split has been read to its end.
    pub(crate) fn remove(&mut self, split: u32) {
        self.combined.remove(split);
    }

    /// A split's generator says something.
    pub(crate) fn on(
        &mut self,
        split: u32,
        signal: TimeSignal,
        urgency: Urgency,
        out: &mut impl FnMut(TimeSignal),
    ) {
        let may_change = match signal {
            TimeSignal::Watermark(watermark) => {
                let grown = self.combined.set_watermark(split, watermark);
                grown && watermark > self.combined.watermark()
            }
            TimeSignal::Idle => {
                self.combined.set_idle(split, true);
                true
            }
            TimeSignal::Active => {
                self.combined.set_idle(split, false);
                false
            }
        };
        if may_change && urgency == Urgency::Immediate {
            self.combine(out);
        }
    }

    /// At each tick of the emit interval, after the generators of all splits were asked.
    pub(crate) fn combine(&mut self, out: &mut impl FnMut(TimeSignal)) {
        if let Some(watermark) = self.combined.update() {
            self.emitter.take(TimeSignal::Watermark(watermark), out);
        }
        if self.combined.is_idle() {
            self.emitter.take(TimeSignal::Idle, out);
        }
    }

    /// What has gone out.
    pub(crate) fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    /// The end of all input goes out, whatever the splits say.
    pub(crate) fn end(&mut self, out: &mut impl FnMut(TimeSignal)) {
        let end = TimeSignal::Watermark(wasmill_model::time::WATERMARK_END);
        self.emitter.take(end, out);
    }
}
