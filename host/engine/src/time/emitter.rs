//! What a stream's watermarks look like from outside (T2). Pure.

use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_NONE};

/// Lets watermarks out that grow, and idleness once.
#[derive(Clone, Debug)]
pub(crate) struct Emitter {
    watermark: Timestamp,
    idle: bool,
}

impl Default for Emitter {
    fn default() -> Self {
        Self {
            watermark: WATERMARK_NONE,
            idle: false,
        }
    }
}

impl Emitter {
    /// Takes a signal; gives to `out` what of it is news. A watermark that grows ends idleness first.
    pub(crate) fn take(&mut self, signal: TimeSignal, out: &mut impl FnMut(TimeSignal)) {
        match signal {
            TimeSignal::Watermark(watermark) => {
                if watermark > self.watermark {
                    self.watermark = watermark;
                    self.take(TimeSignal::Active, out);
                    out(TimeSignal::Watermark(watermark));
                }
            }
            TimeSignal::Idle | TimeSignal::Active => {
                let idle = signal == TimeSignal::Idle;
                if idle != self.idle {
                    self.idle = idle;
                    out(signal);
                }
            }
        }
    }

    /// The last watermark.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Whether the stream is idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeSignal::{Active, Idle, Watermark};

    #[test]
    fn watermarks_never_go_back_and_activity_precedes_the_first_after_idleness() {
        let mut emitter = Emitter::default();
        let mut out = Vec::new();
        let signals = [
            Watermark(5),
            Watermark(5),
            Watermark(3),
            Idle,
            Idle,
            Watermark(4),
            Watermark(6),
            Active,
        ];
        for signal in signals {
            emitter.take(signal, &mut |signal| out.push(signal));
        }
        assert_eq!(out, [Watermark(5), Idle, Active, Watermark(6)]);
    }
}
