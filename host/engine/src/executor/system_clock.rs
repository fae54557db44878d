//! The machine's clock.
//!
//! Invariant: it never goes back, never stands still and never jumps, whatever is done to the machine's wall clock. Where
//! that is set, ours goes after it at half or twice its speed until both agree: timeouts do not all pass at once, and
//! checkpoints do not wait for an hour to come round again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmill_model::time::Timestamp;

use crate::clock::Clock;

/// Ours goes so many times as fast as time at most, and as slow at least.
const SPEED_MAX: i64 = 2;

/// Time that follows another one.
#[derive(Clone, Copy, Debug)]
struct Following {
    /// In microseconds, of a clock that nobody sets.
    steady_us: i64,
    /// In microseconds since the epoch.
    now_us: i64,
}

impl Following {
    /// What it is when the steady clock shows this and the wall clock that.
    fn follow(&mut self, steady_us: i64, wall_us: i64) -> i64 {
        let passed = (steady_us - self.steady_us).max(0);
        let (least, most) = (passed / SPEED_MAX, passed.saturating_mul(SPEED_MAX));
        self.steady_us += passed;
        self.now_us = self
            .now_us
            .saturating_add(wall_us.saturating_sub(self.now_us).clamp(least, most));
        self.now_us
    }
}

/// Wall clock and monotonic clock of the machine.
pub struct SystemClock {
    start: Instant,
    following: Mutex<Following>,
    /// What `following` gave last, and at which millisecond since the start.
    now_ms: AtomicI64,
    read_at_ms: AtomicU64,
}

impl Default for SystemClock {
    fn default() -> Self {
        let now_us = wall_us();
        Self {
            start: Instant::now(),
            following: Mutex::new(Following { steady_us: 0, now_us }),
            now_ms: AtomicI64::new(now_us / 1_000),
            read_at_ms: AtomicU64::new(0),
        }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> Timestamp {
        let steady = self.start.elapsed();
        let steady_ms = u64::try_from(steady.as_millis()).unwrap_or(u64::MAX);
        // Once a millisecond by whoever comes first: tasks ask at every step.
        if self.read_at_ms.load(Ordering::Relaxed) != steady_ms
            && let Ok(mut following) = self.following.try_lock()
        {
            let steady_us = i64::try_from(steady.as_micros()).unwrap_or(i64::MAX);
            let now_us = following.follow(steady_us, wall_us());
            self.now_ms.fetch_max(now_us / 1_000, Ordering::Relaxed);
            self.read_at_ms.store(steady_ms, Ordering::Relaxed);
        }
        self.now_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn wall_us() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    #[test]
    fn the_clock_of_a_machine_that_nobody_sets_is_its_wall_clock() {
        let clock = SystemClock::default();
        let far = (clock.now_ms() - wall_us() / 1_000).abs();
        assert!(far < 1_000, "{far} ms apart");
        let mut following = Following {
            steady_us: 0,
            now_us: HOUR_US,
        };
        for passed in [1, 5, 999, 1_000_000, HOUR_US] {
            assert_eq!(following.follow(passed, HOUR_US + passed), HOUR_US + passed);
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_is_caught_up_with_within_as_long_as_the_jump() {
        for (jump, hours) in [(HOUR_US, 1), (-HOUR_US, 2)] {
            let mut following = Following {
                steady_us: 0,
                now_us: 10 * HOUR_US,
            };
            let wall = |steady| 10 * HOUR_US + jump + steady;
            assert_ne!(
                following.follow(HOUR_US / 2, wall(HOUR_US / 2)),
                wall(HOUR_US / 2)
            );
            let end = hours * HOUR_US;
            assert_eq!(following.follow(end, wall(end)), wall(end));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_wall_clock_does_time_goes_on_at_half_to_twice_its_speed(
            steps in prop::collection::vec((0i64..10_000_000, -5 * HOUR_US..5 * HOUR_US), 1..100),
        ) {
            let start = Following { steady_us: 0, now_us: 100 * HOUR_US };
            let (mut following, mut steady, mut wall) = (start, 0, start.now_us);
            for (passed, jump) in steps {
                let before = following.now_us;
                steady += passed;
                wall += passed + jump;
                let went = following.follow(steady, wall) - before;
                prop_assert!((passed / 2..=passed * 2).contains(&went), "{went} in {passed}");
            }
        }
    }
}
