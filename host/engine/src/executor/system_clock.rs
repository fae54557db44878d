//! The machine's clock.
//!
//! Invariant: it never goes back, also when the machine's wall clock is set back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmill_model::time::Timestamp;

use crate::clock::Clock;

/// Wall clock and monotonic clock of the machine.
pub struct SystemClock {
    start: Instant,
    latest_ms: AtomicI64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            latest_ms: AtomicI64::new(0),
        }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        self.latest_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
