//! Where windows and slices lie.
//!
//! Window `k` starts at `offset + k * slide`. A slice is a stretch of time in which no window begins or ends. Where
//! the slide divides the size there is one slice a slide; else a slide has two, cut where a window ends: slices `2k`
//! and `2k + 1`. Invariant: a window is a run of whole slices, and all windows have as many.

use wasmill_model::time::Timestamp;

use crate::window::assigner::{window, window_start};
use crate::window::bounds::Window;

/// A window by its number: they are in the order of their starts.
pub(super) type WindowNumber = i64;

/// A slice by its number: they are in the order of time.
pub(super) type SliceNumber = i64;

/// Windows of one size, a slide apart. Numbers stay within `i64` because slides are not shorter than
/// [`SLIDE_MS_MIN`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Slicing {
    size: i64,
    slide: i64,
    offset: i64,
    /// The end of the first slice of a slide, where it has two.
    cut: i64,
    /// Slices from the start of a window to that of the next: 1 or 2.
    per_slide: i64,
    /// Slices of a window.
    per_window: i64,
}

/// Shorter slides have no slices: numbers of slices could pass `i64` at the ends of time.
pub(super) const SLIDE_MS_MIN: i64 = 16;

impl Slicing {
    /// `None` where slices would not pay or not fit.
    pub(super) fn new(size: i64, slide: i64, offset: i64) -> Option<Self> {
        if slide < SLIDE_MS_MIN || size <= 0 {
            return None;
        }
        let (whole, cut) = (size / slide, size % slide);
        let (per_slide, per_window) = match cut {
            0 => (1, whole),
            _ => (2, whole.checked_mul(2)?.checked_add(1)?),
        };
        Some(Self {
            size,
            slide,
            offset,
            cut,
            per_slide,
            per_window,
        })
    }

    /// How the numbers in stored slices are to be read.
    pub(super) fn encoding(&self) -> String {
        let Self {
            size, slide, offset, ..
        } = self;
        format!("window-slices of size {size} ms, slide {slide} ms, offset {offset} ms")
    }

    /// The slice of a time.
    pub(super) fn slice_of(&self, time: Timestamp) -> SliceNumber {
        let start = window_start(time, self.offset, self.slide);
        let number = (start - i128::from(self.offset)).div_euclid(i128::from(self.slide)) as i64;
        let is_second = self.per_slide == 2 && i128::from(time) - start >= i128::from(self.cut);
        number * self.per_slide + i64::from(is_second)
    }

    /// The bounds of a slice, cut at the ends of time.
    pub(super) fn slice(&self, slice: SliceNumber) -> Window {
        let start = self.start(slice.div_euclid(self.per_slide));
        match (self.per_slide, slice.rem_euclid(self.per_slide)) {
            (1, _) => window(start, self.slide),
            (_, 0) => window(start, self.cut),
            _ => window(start + i128::from(self.cut), self.slide - self.cut),
        }
    }

    /// The windows that hold a slice, from the first to the last; none where the first is behind the last.
    pub(super) fn windows_of(&self, slice: SliceNumber) -> (WindowNumber, WindowNumber) {
        let first = (slice - self.per_window + self.per_slide).div_euclid(self.per_slide);
        (first, slice.div_euclid(self.per_slide))
    }

    /// The slices of a window: from (inclusive), to (exclusive).
    pub(super) fn slices_of(&self, number: WindowNumber) -> (SliceNumber, SliceNumber) {
        let first = number * self.per_slide;
        (first, first + self.per_window)
    }

    /// Slices of a window.
    pub(super) fn per_window(&self) -> i64 {
        self.per_window
    }

    /// Slices from the start of a window to that of the next.
    pub(super) fn per_slide(&self) -> i64 {
        self.per_slide
    }

    /// The window that begins with a slice.
    pub(super) fn window_from(&self, slice: SliceNumber) -> WindowNumber {
        slice.div_euclid(self.per_slide)
    }

    /// The bounds of a window, cut at the ends of time.
    pub(super) fn window(&self, number: WindowNumber) -> Window {
        window(self.start(number), self.size)
    }

    /// The number of a window.
    pub(super) fn number(&self, window: Window) -> WindowNumber {
        let (start, end) = window.bounds();
        let start = match start {
            // It may be cut there, and then its end is not.
            Timestamp::MIN => i128::from(end) - i128::from(self.size),
            start => i128::from(start),
        };
        (start - i128::from(self.offset)).div_euclid(i128::from(self.slide)) as i64
    }

    /// The first window that a watermark has not passed; `None`: it has passed all.
    pub(super) fn first_after(&self, watermark: Timestamp) -> Option<WindowNumber> {
        if watermark >= Timestamp::MAX - 1 {
            return None;
        }
        let end = i128::from(watermark) + 1 - i128::from(self.offset) - i128::from(self.size);
        Some(end.div_euclid(i128::from(self.slide)) as i64 + 1)
    }

    fn start(&self, number: WindowNumber) -> i128 {
        i128::from(number) * i128::from(self.slide) + i128::from(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            any::<i64>(),
            -500..500i64,
            i64::MIN..i64::MIN + 200,
            i64::MAX - 200..=i64::MAX
        ]
    }

    proptest! {
        #[test]
        fn a_slice_holds_its_times_and_lies_in_the_windows_that_do(
            time in times(), size in 1..400i64, slide in SLIDE_MS_MIN..100i64, offset in -99..100i64, watermark in times(),
        ) {
            let slicing = Slicing::new(size, slide, offset % slide).unwrap();
            let slice = slicing.slice_of(time);
            let (start, end) = slicing.slice(slice).bounds();
            prop_assert!(start <= time && (time < end || end == i64::MAX));
            let (first, last) = slicing.windows_of(slice);
            for number in first - 3..=last + 3 {
                let window = slicing.window(number);
                let (from, to) = slicing.slices_of(number);
                let start = i128::from(number) * i128::from(slide) + i128::from(offset % slide);
                let holds = start <= i128::from(time) && i128::from(time) < start + i128::from(size);
                prop_assert_eq!(holds, (first..=last).contains(&number));
                prop_assert_eq!(holds, (from..to).contains(&slice));
                if holds {
                    prop_assert_eq!(slicing.number(window), number);
                    let is_open = window.max_timestamp() > watermark;
                    prop_assert_eq!(is_open, slicing.first_after(watermark).is_some_and(|first| number >= first));
                }
            }
        }
    }
}
