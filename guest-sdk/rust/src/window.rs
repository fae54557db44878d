//! Parts of windows: functions over their elements, triggers, evictors, assigners.
//!
//! A [`ReduceFunction`](crate::ReduceFunction) or an [`AggregateFunction`](crate::AggregateFunction) is used in a
//! window as it is; the traits here are for what those cannot do. A job file names them in `window`, those of
//! two streams in `window-join` and `co-group`.

mod apply;
mod assigner;
mod elements;
mod evictor;
mod join;
mod process;
mod trigger;

pub use apply::WindowFunction;
pub use assigner::WindowAssigner;
pub use elements::{Element, Elements};
pub use evictor::Evictor;
pub use join::{CoGroupFunction, JoinFunction};
pub use process::ProcessWindowFunction;
pub use trigger::{Trigger, TriggerResult};

pub(crate) use apply::Applied;
pub(crate) use assigner::WindowAssignerRunner;
pub(crate) use evictor::EvictorRunner;
pub(crate) use join::{CoGroupRunner, JoinRunner};
pub(crate) use process::WindowRunner;
pub(crate) use trigger::TriggerRunner;

/// A window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// From `start` (inclusive) to `end` (exclusive), in milliseconds since the epoch.
    Time {
        /// Its first millisecond.
        start: i64,
        /// One past its last millisecond.
        end: i64,
    },
    /// The only one; it has no end. Count windows are global ones.
    Global,
}

impl Window {
    /// The last timestamp that belongs to it: results carry it.
    pub fn max_timestamp(self) -> i64 {
        match self {
            Self::Time { end, .. } => end.saturating_sub(1),
            Self::Global => i64::MAX,
        }
    }

    /// Of a frame's namespace: `g`, or start and end, big-endian with the sign flipped.
    pub(crate) fn parse(namespace: &[u8]) -> Option<Self> {
        if namespace == b"g" {
            return Some(Self::Global);
        }
        let (start, end) = namespace.split_first_chunk::<8>()?;
        let time = |bytes: [u8; 8]| (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64;
        Some(Self::Time {
            start: time(*start),
            end: time(end.try_into().ok()?),
        })
    }

    /// Start and end; of the global window the ends of time.
    pub(crate) fn bounds(self) -> (i64, i64) {
        match self {
            Self::Time { start, end } => (start, end),
            Self::Global => (i64::MIN, i64::MAX),
        }
    }
}
