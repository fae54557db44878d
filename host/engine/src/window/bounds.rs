//! A window: an interval of time, or the one that is for ever.
//!
//! Its bytes are the namespace of its state and timers. They are part of the checkpoint format: big-endian and
//! with the sign flipped, so that windows lie in the order of their start.

use std::ops::Deref;

use wasmill_model::time::Timestamp;

/// A window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Window {
    /// From `start` (inclusive) to `end` (exclusive).
    Time {
        /// Its first millisecond.
        start: Timestamp,
        /// One past its last millisecond.
        end: Timestamp,
    },
    /// The only one; it has no end.
    Global,
}

/// The bytes of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespace {
    bytes: [u8; 16],
    length: u8,
}

impl Deref for Namespace {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

const GLOBAL: u8 = b'g';

impl Window {
    /// The last timestamp that belongs to it: results carry it.
    pub fn max_timestamp(self) -> Timestamp {
        match self {
            Self::Time { end, .. } => end.saturating_sub(1),
            Self::Global => Timestamp::MAX,
        }
    }

    /// Its bytes.
    pub fn namespace(self) -> Namespace {
        let mut bytes = [0; 16];
        let Self::Time { start, end } = self else {
            bytes[0] = GLOBAL;
            return Namespace { bytes, length: 1 };
        };
        for (part, time) in bytes.chunks_exact_mut(8).zip([start, end]) {
            part.copy_from_slice(&((time as u64) ^ (1 << 63)).to_be_bytes());
        }
        Namespace { bytes, length: 16 }
    }

    /// The window of those bytes; `None` where they are not one.
    pub fn from_namespace(bytes: &[u8]) -> Option<Self> {
        if bytes == [GLOBAL] {
            return Some(Self::Global);
        }
        let (start, end) = bytes.split_at_checked(8)?;
        let time = |part: &[u8]| Some((u64::from_be_bytes(part.try_into().ok()?) ^ (1 << 63)) as i64);
        Some(Self::Time {
            start: time(start)?,
            end: time(end)?,
        })
    }

    /// Start and end; of the global window the ends of time.
    pub fn bounds(self) -> (Timestamp, Timestamp) {
        match self {
            Self::Time { start, end } => (start, end),
            Self::Global => (Timestamp::MIN, Timestamp::MAX),
        }
    }

    /// Whether two windows overlap or touch: sessions then are one.
    pub fn meets(self, other: Self) -> bool {
        let ((start, end), (other_start, other_end)) = (self.bounds(), other.bounds());
        start <= other_end && end >= other_start
    }

    /// The least window that holds both.
    pub fn cover(self, other: Self) -> Self {
        match (self, other) {
            (Self::Time { start, end }, Self::Time { start: s, end: e }) => Self::Time {
                start: start.min(s),
                end: end.max(e),
            },
            _ => Self::Global,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_windows_are_frozen_and_in_the_order_of_their_start() {
        // IMPORTANT: these bytes are part of the checkpoint format.
        let window = Window::Time { start: -2, end: 258 };
        let bytes = *b"\x7f\xff\xff\xff\xff\xff\xff\xfe\x80\0\0\0\0\0\x01\x02";
        assert_eq!(&*window.namespace(), &bytes);
        assert_eq!(&*Window::Global.namespace(), b"g");
        for window in [window, Window::Global] {
            assert_eq!(Window::from_namespace(&window.namespace()), Some(window));
        }
        let later = Window::Time { start: 0, end: 1 };
        assert!(window.namespace().deref() < later.namespace().deref());
        assert_eq!(Window::from_namespace(b""), None);
        assert_eq!(Window::from_namespace(&[0; 15]), None);
        assert_eq!(Window::from_namespace(&[0; 17]), None);
    }

    #[test]
    fn windows_that_touch_meet() {
        let window = |start, end| Window::Time { start, end };
        assert!(window(0, 5).meets(window(5, 9)));
        assert!(!window(0, 5).meets(window(6, 9)));
        assert_eq!(window(0, 5).cover(window(3, 9)), window(0, 9));
    }
}
