//! Watermarks of the channels of one input become one (T2, T4): Flink's status watermark valve. Pure.
//!
//! Invariant: what comes out never goes back. It is the minimum over the channels that are active and not
//! behind what came out already: an idle channel that comes back late waits until it has caught up, as in
//! Flink. When the last one falls idle, the highest watermark of all goes out first.

use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_NONE};

#[derive(Clone, Copy)]
struct Channel {
    watermark: Timestamp,
    idle: bool,
    /// Takes part in the minimum.
    counted: bool,
}

/// The watermarks of the channels of one input.
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

    /// A channel says something of its time; `out` gets what the whole says then.
    pub(crate) fn on(&mut self, channel: usize, signal: TimeSignal, out: &mut impl FnMut(TimeSignal)) {
        match signal {
            TimeSignal::Watermark(watermark) => self.on_watermark(channel, watermark, out),
            TimeSignal::Idle => self.on_idle(channel, out),
            TimeSignal::Active => self.on_active(channel, out),
        }
    }

    /// One that does not grow changes nothing. A channel that sends one while idle is not listened to.
    fn on_watermark(&mut self, channel: usize, watermark: Timestamp, out: &mut impl FnMut(TimeSignal)) {
        let state = &mut self.channels[channel];
        if state.idle || watermark <= state.watermark {
            return;
        }
        state.watermark = watermark;
        state.counted |= watermark >= self.out;
        self.minimum(out);
    }

    /// It has nothing to say for now.
    fn on_idle(&mut self, channel: usize, out: &mut impl FnMut(TimeSignal)) {
        let state = &mut self.channels[channel];
        if state.idle {
            return;
        }
        state.idle = true;
        state.counted = false;
        let watermark = state.watermark;
        // IMPORTANT: as in Flink only one that held the clock back lets it go on; what a channel that has just come
        // back would let it do waits for the next watermark.
        if self.channels.iter().any(|c| !c.idle) {
            if watermark == self.out {
                self.minimum(out);
            }
            return;
        }
        // Nobody will advance the clock by itself: it goes as far as anybody has been. Not where the last one
        // had come back behind the clock.
        if watermark == self.out {
            let highest = self.channels.iter().map(|c| c.watermark).max();
            self.advance(highest, out);
        }
        self.idle = true;
        out(TimeSignal::Idle);
    }

    /// It takes part again.
    fn on_active(&mut self, channel: usize, out: &mut impl FnMut(TimeSignal)) {
        let state = &mut self.channels[channel];
        if !state.idle {
            return;
        }
        state.idle = false;
        state.counted = state.watermark >= self.out;
        if std::mem::take(&mut self.idle) {
            out(TimeSignal::Active);
        }
    }

    fn minimum(&mut self, out: &mut impl FnMut(TimeSignal)) {
        let counted = self.channels.iter().filter(|c| c.counted);
        self.advance(counted.map(|c| c.watermark).min(), out);
    }

    fn advance(&mut self, to: Option<Timestamp>, out: &mut impl FnMut(TimeSignal)) {
        if let Some(to) = to.filter(|to| *to > self.out) {
            self.out = to;
            out(TimeSignal::Watermark(to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeSignal::{Active, Idle, Watermark};
    use wasmill_model::time::WATERMARK_END;

    fn on(valve: &mut Valve, channel: usize, signal: TimeSignal) -> Vec<TimeSignal> {
        let mut said = Vec::new();
        valve.on(channel, signal, &mut |signal| said.push(signal));
        said
    }

    #[test]
    fn the_clock_is_the_minimum_over_the_channels() {
        let mut valve = Valve::new(2);
        assert_eq!(on(&mut valve, 0, Watermark(10)), []);
        assert_eq!(on(&mut valve, 1, Watermark(5)), [Watermark(5)]);
        assert_eq!(on(&mut valve, 1, Watermark(20)), [Watermark(10)]);
        assert_eq!(on(&mut valve, 1, Watermark(30)), []);
    }

    #[test]
    fn a_channel_that_falls_idle_lets_the_clock_go_on_only_where_it_held_it_back() {
        let mut valve = Valve::new(3);
        for (channel, watermark) in [(0, 5), (1, 9), (2, 3)] {
            on(&mut valve, channel, Watermark(watermark));
        }
        assert_eq!(on(&mut valve, 1, Idle), []);
        assert_eq!(on(&mut valve, 2, Idle), [Watermark(5)]);
        // Comes back behind the clock, and does not hold it back.
        assert_eq!(on(&mut valve, 2, Active), []);
        assert_eq!(on(&mut valve, 0, Idle), []);
        // Ahead of the clock, and the only one that counts: the clock goes on with the next watermark.
        assert_eq!(on(&mut valve, 1, Active), []);
        assert_eq!(on(&mut valve, 2, Idle), []);
        assert_eq!(on(&mut valve, 1, Watermark(10)), [Watermark(10)]);
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let mut valve = Valve::new(1);
        assert_eq!(on(&mut valve, 0, Watermark(10)), [Watermark(10)]);
        assert_eq!(on(&mut valve, 0, Watermark(9)), []);
        assert_eq!(on(&mut valve, 0, Watermark(10)), []);
        assert_eq!(on(&mut valve, 0, Watermark(11)), [Watermark(11)]);
    }

    #[test]
    fn an_idle_channel_is_left_out_and_counts_again_once_it_has_caught_up() {
        let mut valve = Valve::new(2);
        on(&mut valve, 0, Watermark(10));
        assert_eq!(on(&mut valve, 1, Idle), [Watermark(10)], "only channel 0 counts");
        assert_eq!(on(&mut valve, 0, Watermark(20)), [Watermark(20)]);
        assert_eq!(on(&mut valve, 1, Active), [], "the whole was never idle");
        assert_eq!(on(&mut valve, 1, Watermark(15)), []);
        assert_eq!(
            on(&mut valve, 0, Watermark(30)),
            [Watermark(30)],
            "channel 1 is still behind"
        );
        assert_eq!(on(&mut valve, 1, Watermark(35)), []);
        assert_eq!(on(&mut valve, 0, Watermark(40)), [Watermark(35)], "now it counts");
    }

    #[test]
    fn idleness_goes_on_when_all_channels_are_idle_and_ends_with_the_first_active_one() {
        let mut valve = Valve::new(2);
        assert_eq!(on(&mut valve, 0, Idle), []);
        assert_eq!(on(&mut valve, 1, Idle), [Idle]);
        assert_eq!(on(&mut valve, 0, Active), [Active]);
        assert_eq!(on(&mut valve, 1, Active), []);
    }

    #[test]
    fn when_the_last_channel_falls_idle_the_clock_goes_to_the_highest_of_all() {
        let mut valve = Valve::new(2);
        on(&mut valve, 0, Watermark(10));
        assert_eq!(on(&mut valve, 1, Watermark(30)), [Watermark(10)]);
        assert_eq!(on(&mut valve, 1, Idle), []);
        assert_eq!(on(&mut valve, 0, Idle), [Watermark(30), Idle]);
        // Channel 0 comes back behind the clock: its idleness says nothing of the others.
        assert_eq!(on(&mut valve, 0, Active), [Active]);
        assert_eq!(on(&mut valve, 0, Watermark(20)), []);
        assert_eq!(on(&mut valve, 0, Idle), [Idle]);
    }

    #[test]
    fn the_end_comes_when_the_last_channel_has_ended() {
        let mut valve = Valve::new(2);
        assert_eq!(on(&mut valve, 0, Watermark(WATERMARK_END)), []);
        assert_eq!(
            on(&mut valve, 1, Watermark(WATERMARK_END)),
            [Watermark(WATERMARK_END)]
        );
    }
}
