//! How many rows go into one call, so that a call stays short and its cost is spread over many rows.
//!
//! Results never depend on it: where batches are cut is nobody's promise.

use std::time::Duration;

use crate::frame::encode::FrameBound;

/// A call should take about as long at most: a step of a task may take 10 ms.
pub const CALL_TARGET: Duration = Duration::from_millis(5);
/// Rows of one call at most.
pub const ROWS_MAX: u32 = 2_048;
/// Bytes of rows in one call at most.
pub const BYTES_MAX: usize = 256 * 1024;
/// Rows of the first call: code and caches of the guest are still cold.
const ROWS_FIRST: u32 = 256;

/// Adapts the number of rows to the time that calls take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    rows: u32,
    is_fixed: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rows: ROWS_FIRST,
            is_fixed: false,
        }
    }
}

impl Pace {
    /// Always as many rows: for tests that choose where batches are cut.
    pub fn fixed(rows: u32) -> Self {
        Self {
            rows: rows.max(1),
            is_fixed: true,
        }
    }

    /// The bound of the next call.
    pub fn bound(&self) -> FrameBound {
        FrameBound {
            rows_max: self.rows,
            bytes_max: BYTES_MAX,
        }
    }

    /// Learns from a call of `rows` rows that took `elapsed`.
    pub fn learn(&mut self, rows: u32, elapsed: Duration) {
        if self.is_fixed {
            return;
        }
        if elapsed > CALL_TARGET {
            let fitting =
                u64::from(rows) * CALL_TARGET.as_nanos() as u64 / (elapsed.as_nanos() as u64).max(1);
            self.rows = (fitting as u32).clamp(1, ROWS_MAX);
        } else if rows == self.rows && elapsed < CALL_TARGET / 3 {
            self.rows = (self.rows * 2).min(ROWS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_calls_grow_to_the_bound_and_slow_ones_shrink_to_one_row() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.learn(pace.bound().rows_max, Duration::from_micros(100));
        }
        assert_eq!(pace.bound().rows_max, ROWS_MAX);
        pace.learn(ROWS_MAX, Duration::from_millis(50));
        assert_eq!(pace.bound().rows_max, ROWS_MAX / 10);
        pace.learn(1, Duration::from_secs(1));
        assert_eq!(pace.bound().rows_max, 1);
    }

    #[test]
    fn a_small_batch_teaches_nothing_about_larger_ones() {
        let mut pace = Pace::default();
        pace.learn(3, Duration::from_nanos(1));
        assert_eq!(pace, Pace::default());
    }

    #[test]
    fn a_fixed_pace_never_changes() {
        let mut pace = Pace::fixed(7);
        pace.learn(7, Duration::from_secs(1));
        assert_eq!(pace.bound().rows_max, 7);
    }
}
