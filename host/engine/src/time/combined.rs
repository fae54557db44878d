//! The minimum over parts of which some are idle: splits of a source, inputs of an operator (T4). Pure.
//!
//! Invariant: what [`Combined::update`] returns grows. A part that comes back from idleness counts at once: behind
//! the others it holds them back, unlike a channel (`valve.rs`).

use wasmill_model::time::{Timestamp, WATERMARK_NONE};

#[derive(Clone, Copy, Debug)]
struct Part {
    watermark: Timestamp,
    idle: bool,
}

/// Watermarks of several parts, each under a number of the caller's.
#[derive(Clone, Debug)]
pub(crate) struct Combined {
    /// By number; few.
    parts: Vec<(u32, Part)>,
    watermark: Timestamp,
    idle: bool,
}

impl Combined {
    /// Of the parts numbered so; all are active and know nothing.
    pub(crate) fn new(parts: impl IntoIterator<Item = u32>) -> Self {
        let mut combined = Self {
            parts: Vec::new(),
            watermark: WATERMARK_NONE,
            idle: false,
        };
        parts.into_iter().for_each(|part| combined.add(part));
        combined
    }

    /// A new part; one that is there already stays as it is.
    pub(crate) fn add(&mut self, part: u32) {
        if self.part(part).is_none() {
            let fresh = Part {
                watermark: WATERMARK_NONE,
                idle: false,
            };
            self.parts.push((part, fresh));
        }
    }

    /// A part is gone.
    pub(crate) fn remove(&mut self, part: u32) {
        self.parts.retain(|(number, _)| *number != part);
    }

    /// A part's watermark, which makes the part active; true where it has grown.
    pub(crate) fn set_watermark(&mut self, part: u32, watermark: Timestamp) -> bool {
        let Some(part) = self.part(part) else { return false };
        part.idle = false;
        let grown = watermark > part.watermark;
        part.watermark = part.watermark.max(watermark);
        grown
    }

    /// A part falls idle or comes back.
    pub(crate) fn set_idle(&mut self, part: u32, idle: bool) {
        if let Some(part) = self.part(part) {
            part.idle = idle;
        }
    }

    /// The combined watermark where it has grown: the least of the active parts or, where all are idle, the
    /// highest of all, since none will hold it back.
    pub(crate) fn update(&mut self) -> Option<Timestamp> {
        if self.parts.is_empty() {
            return None;
        }
        let active = self.parts.iter().filter(|(_, part)| !part.idle);
        let minimum = active.map(|(_, part)| part.watermark).min();
        self.idle = minimum.is_none();
        let maximum = || self.parts.iter().map(|(_, part)| part.watermark).max();
        let watermark = minimum.or_else(maximum).filter(|to| *to > self.watermark)?;
        self.watermark = watermark;
        Some(watermark)
    }

    /// The combined watermark.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Whether all parts were idle at the last update.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }

    fn part(&mut self, part: u32) -> Option<&mut Part> {
        let found = self.parts.iter_mut().find(|(number, _)| *number == part);
        found.map(|(_, part)| part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_comes_back_behind_holds_the_others_back() {
        let mut combined = Combined::new(0..2);
        combined.set_watermark(0, 10);
        assert_eq!(combined.update(), None);
        combined.set_idle(1, true);
        assert_eq!(combined.update(), Some(10));
        combined.set_idle(1, false);
        combined.set_watermark(0, 20);
        assert_eq!(combined.update(), None, "part 1 has said nothing yet");
        combined.set_watermark(1, 15);
        assert_eq!(combined.update(), Some(15));
        assert_eq!(combined.watermark(), 15);
    }

    #[test]
    fn all_idle_is_idle_and_a_watermark_makes_a_part_active() {
        let mut combined = Combined::new(0..1);
        combined.set_idle(0, true);
        assert_eq!((combined.update(), combined.is_idle()), (None, true));
        combined.set_watermark(0, 3);
        assert_eq!((combined.update(), combined.is_idle()), (Some(3), false));
        combined.add(1);
        combined.set_watermark(1, 8);
        combined.set_idle(1, true);
        assert_eq!(combined.update(), None, "part 0 holds it back");
        combined.set_idle(0, true);
        assert_eq!(
            (combined.update(), combined.is_idle()),
            (Some(8), true),
            "the highest of all"
        );
        combined.remove(1);
        combined.remove(0);
        assert_eq!(combined.update(), None);
    }
}
