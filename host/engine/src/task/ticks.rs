//! Steps of an input that drives the job, over several channels. Pure.
//!
//! Invariant: what a channel delivers after a step is not read before every channel has come to that step, so
//! a task with several channels takes all lines of a tape in the tape's order.

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

    /// A channel has come to a step. Returns the one that begins now, where all have come to it.
    pub(crate) fn on_tick(&mut self, channel: usize, tick: Tick) -> Option<Tick> {
        self.channels[channel].tick = Some(tick);
        self.least()
    }

    /// A channel has ended: nobody waits for it.
    pub(crate) fn on_end(&mut self, channel: usize) -> Option<Tick> {
        self.channels[channel].ended = true;
        self.least()
    }

    fn least(&mut self) -> Option<Tick> {
        let mut least: Option<Tick> = None;
        for channel in self.channels.iter().filter(|channel| !channel.ended) {
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

    #[test]
    fn a_channel_waits_at_a_step_until_all_have_come_to_it() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.on_tick(0, tick(1)), None);
        assert!(ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.on_tick(1, tick(1)), Some(tick(1)));
        assert!(!ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.on_tick(1, tick(2)), None);
        assert!(ticks.is_held(1) && !ticks.is_held(0));
    }

    #[test]
    fn a_channel_that_starts_behind_catches_up_alone() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.on_tick(0, tick(7)), None);
        assert_eq!(ticks.on_tick(1, tick(5)), Some(tick(5)));
        assert!(ticks.is_held(0) && !ticks.is_held(1));
        assert_eq!(ticks.on_tick(1, tick(7)), Some(tick(7)));
    }

    #[test]
    fn nobody_waits_for_a_channel_that_has_ended() {
        let mut ticks = Ticks::new(2);
        assert_eq!(ticks.on_tick(0, tick(1)), None);
        assert_eq!(ticks.on_end(1), Some(tick(1)));
        assert_eq!(ticks.on_tick(0, tick(2)), Some(tick(2)));
        assert_eq!(ticks.on_end(0), None);
    }
}
