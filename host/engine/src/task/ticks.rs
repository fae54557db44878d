//! Steps of an input that drives the job, over several channels. Pure.
//!
//! Invariant: what a channel delivers after a step is not read before every channel has come to that step, so
//! a task with several channels takes all lines of a tape in the tape's order. Nobody waits for a channel that has
//! ended, nor for one that alignment holds back: what it has yet to say lies behind a barrier that waits for the others.

use wasmill_model::element::Tick;

/// The steps that a subtask's channels have come to.
pub(crate) struct Ticks {
    channels: Vec<Channel>,
    /// The step that is under way.
    step: Option<u64>,
}

#[derive(Clone, Copy, Default)]
struct Channel {
    /// Came last.
    tick: Option<Tick>,
    ended: bool,
}

impl Ticks {
    /// No step yet.
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            channels: vec![Channel::default(); channels],
            step: None,
        }
    }

    /// Whether a channel is ahead of another and must not be read now.
    #[inline]
    pub(crate) fn is_held(&self, channel: usize) -> bool {
        let tick = &self.channels[channel].tick;
        tick.is_some_and(|tick| self.step.is_none_or(|step| tick.step > step))
    }

    /// A channel has come to a step.
    pub(crate) fn on_tick(&mut self, channel: usize, tick: Tick) {
        self.channels[channel].tick = Some(tick);
    }

    /// A channel has ended.
    pub(crate) fn on_end(&mut self, channel: usize) {
        self.channels[channel].ended = true;
    }

    /// The step that begins now, if all have come to one; to be asked after each change, also of what alignment
    /// holds back.
    pub(crate) fn begin(&mut self, is_aligning: impl Fn(usize) -> bool) -> Option<Tick> {
        let mut least: Option<Tick> = None;
        for (index, channel) in self.channels.iter().enumerate() {
            if channel.ended || is_aligning(index) {
                continue;
            }
            let tick = channel.tick?;
            if least.is_none_or(|least| tick.step < least.step) {
                least = Some(tick);
            }
        }
        let begins = least.filter(|tick| self.step.is_none_or(|step| tick.step > step))?;
        self.step = Some(begins.step);
        Some(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(step: u64) -> Tick {
        Tick {
            step,
            line: step,
            processing_time: 0,
            moves_clock: false,
        }
    }

    impl Ticks {
        fn tick(&mut self, channel: usize, step: u64) -> Option<Tick> {
            self.on_tick(channel, tick(step));
            self.begin(|_| false)
        }
    }

    #[test]
    fn a_channel_waits_at_a_step_until_all_have_come_to_it() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.tick(0, 1), None);
        assert!(ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.tick(1, 1), Some(tick(1)));
        assert!(!ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.tick(1, 2), None);
        assert!(ticks.is_held(1) && !ticks.is_held(0));
    }

    #[test]
    fn a_channel_that_starts_behind_catches_up_alone() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.tick(0, 7), None);
        assert_eq!(ticks.tick(1, 5), Some(tick(5)));
        assert!(ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.tick(1, 7), Some(tick(7)));
    }

    #[test]
    fn nobody_waits_for_a_channel_that_has_ended() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.tick(0, 1), None);
        ticks.on_end(1);
        assert_eq!(ticks.begin(|_| false), Some(tick(1)));
        assert_eq!(ticks.tick(0, 2), Some(tick(2)));
        ticks.on_end(0);
        assert_eq!(ticks.begin(|_| false), None);
    }

    #[test]
    fn nobody_waits_for_a_channel_that_waits_for_the_others_barriers() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.tick(0, 7), None);
        assert_eq!(ticks.begin(|channel| channel == 1), Some(tick(7)));
        assert!(!ticks.is_held(0), "it reads on to its barrier");
        assert_eq!(ticks.tick(1, 6), None, "it was behind, and catches up");
        assert!(!ticks.is_held(1));
        assert_eq!(ticks.tick(1, 7), None, "has begun");
        assert_eq!(ticks.tick(1, 8), None);
        assert!(ticks.is_held(1));
        assert_eq!(ticks.tick(0, 8), Some(tick(8)));
    }
}
