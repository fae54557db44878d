//! Watermarks of several channels become the clock of one subtask (T2, T4). Pure.
//!
//! Invariant: what comes out never goes back. It is the minimum over the channels that are active and not
//! behind what came out already: an idle channel that comes back late waits until it has caught up, as in
//! Flink.

use wasmill_model::time::{Timestamp, WATERMARK_NONE};

/// What a subtask's clock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It stands at this time now.
    To(Timestamp),
    /// All channels are idle.
    Idle,
    /// Some channel is active again.
    Active,
}

#[derive(Clone, Copy)]
struct Channel {
    watermark: Timestamp,
    idle: bool,
    /// Takes part in the minimum.
    counted: bool,
}

/// The watermarks of all input channels of a subtask.
pub(crate) struct Valve {
    channels: Vec<Channel>,
    out: Timestamp,
    idle: bool,
}

impl Valve {
    /// All channels active, nothing known.
    pub(crate) fn new(channels: usize) -> Self {
        let channel = Channel {
            watermark: WATERMARK_NONE,
            idle: false,
            counted: true,
        };
        Self {
            channels: vec![channel; channels],
            out: WATERMARK_NONE,
            idle: false,
        }
    }

    /// A channel's watermark; one that does not grow changes nothing. A channel that sends one while idle
    /// is not listened to, as in Flink.
    pub(crate) fn on_watermark(&mut self, channel: usize, watermark: Timestamp) -> Option<Advance> {
        let state = &mut self.channels[channel];
        if state.idle || watermark <= state.watermark {
            return None;
        }
        state.watermark = watermark;
        state.counted |= watermark >= self.out;
        self.minimum()
    }

    /// A channel has nothing to say for now.
    pub(crate) fn on_idle(&mut self, channel: usize) -> Option<Advance> {
        let state = &mut self.channels[channel];
        if state.idle {
            return None;
        }
        state.idle = true;
        state.counted = false;
        if self.channels.iter().all(|c| c.idle) {
            self.idle = true;
            return Some(Advance::Idle);
        }
        self.minimum()
    }

    /// A channel takes part again.
    pub(crate) fn on_active(&mut self, channel: usize) -> Option<Advance> {
        let state = &mut self.channels[channel];
        if !state.idle {
            return None;
        }
        state.idle = false;
        state.counted = state.watermark >= self.out;
        std::mem::take(&mut self.idle).then_some(Advance::Active)
    }

    fn minimum(&mut self) -> Option<Advance> {
        let counted = self.channels.iter().filter(|c| c.counted);
        let minimum = counted.map(|c| c.watermark).min()?;
        (minimum > self.out).then(|| {
            self.out = minimum;
            Advance::To(minimum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::time::WATERMARK_END;

    #[test]
    fn the_clock_is_the_minimum_over_the_channels() {
        let mut valve = Valve::new(2);
        assert_eq!(valve.on_watermark(0, 10), None);
        assert_eq!(valve.on_watermark(1, 5), Some(Advance::To(5)));
        assert_eq!(valve.on_watermark(1, 20), Some(Advance::To(10)));
        assert_eq!(valve.on_watermark(1, 30), None);
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let mut valve = Valve::new(1);
        assert_eq!(valve.on_watermark(0, 10), Some(Advance::To(10)));
        assert_eq!(valve.on_watermark(0, 9), None);
        assert_eq!(valve.on_watermark(0, 10), None);
        assert_eq!(valve.on_watermark(0, 11), Some(Advance::To(11)));
    }

    #[test]
    fn an_idle_channel_is_left_out_and_counts_again_once_it_has_caught_up() {
        let mut valve = Valve::new(2);
        valve.on_watermark(0, 10);
        assert_eq!(valve.on_idle(1), Some(Advance::To(10)), "only channel 0 counts");
        assert_eq!(valve.on_watermark(0, 20), Some(Advance::To(20)));
        assert_eq!(valve.on_active(1), None, "the subtask was never idle");
        assert_eq!(valve.on_watermark(1, 15), None);
        assert_eq!(
            valve.on_watermark(0, 30),
            Some(Advance::To(30)),
            "channel 1 is still behind"
        );
        assert_eq!(valve.on_watermark(1, 35), None);
        assert_eq!(valve.on_watermark(0, 40), Some(Advance::To(35)), "now it counts");
    }

    #[test]
    fn idleness_goes_on_when_all_channels_are_idle_and_ends_with_the_first_active_one() {
        let mut valve = Valve::new(2);
        assert_eq!(valve.on_idle(0), None);
        assert_eq!(valve.on_idle(1), Some(Advance::Idle));
        assert_eq!(valve.on_active(0), Some(Advance::Active));
        assert_eq!(valve.on_active(1), None);
    }

    #[test]
    fn the_end_comes_when_the_last_channel_has_ended() {
        let mut valve = Valve::new(2);
        assert_eq!(valve.on_watermark(0, WATERMARK_END), None);
        assert_eq!(
            valve.on_watermark(1, WATERMARK_END),
            Some(Advance::To(WATERMARK_END))
        );
    }
}
