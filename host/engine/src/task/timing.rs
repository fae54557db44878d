//! Processing-time timers of a task, and what it waits for when it has nothing to do.

use wasmill_model::time::Timestamp;

use super::{Head, Phase, Task};
use crate::error::TaskError;

impl Task {
    /// Processing-time timers do not outlive the input (G16).
    pub(super) fn fire_processing_timers(&mut self) -> Result<bool, TaskError> {
        if self.phase == Phase::Ended || self.parts.chain.is_driven() {
            return Ok(false);
        }
        let mut fired = false;
        for node in 0..self.parts.chain.nodes.len() {
            fired |= self.parts.chain.fire_processing(node)?;
        }
        Ok(fired)
    }

    /// Without credit: fires timers while they emit nothing, and one call's results beyond.
    pub(super) fn fire_on_account(&mut self) -> Result<bool, TaskError> {
        // Not within a watermark: what that has led to so far goes first.
        if !self.may_overdraw() {
            return Ok(false);
        }
        let before = self.parts.chain.sent().records;
        let fired = self.fire_processing_timers()?;
        self.overdrawn = self.parts.chain.sent().records > before;
        Ok(fired)
    }

    pub(super) fn may_overdraw(&self) -> bool {
        !self.overdrawn && !self.parts.chain.has_pending()
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Ended => None,
            _ if self.parts.chain.is_driven() => None,
            _ => self.parts.chain.next_timer(),
        }
    }

    /// A clock that the input drives moves when something comes in.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        match self.parts.chain.is_driven() {
            true => None,
            false => self.parts.chain.next_wake(),
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let chain = &self.parts.chain;
        let timer = self.next_timer();
        let (poll, tick) = match &self.parts.head {
            Head::Source(source) => (source.poll_at(), source.tick_at()),
            Head::Channels(_) => (None, None),
        };
        [timer, poll, tick, self.next_wake(), chain.next_flush()]
            .into_iter()
            .flatten()
            .min()
    }
}
