//! Restart strategies (C9): what happens after a failure. Pure: time and chance come from the caller.

use std::collections::VecDeque;

use wasmill_model::graph::{JobSettings, RestartStrategy};
use wasmill_model::time::Timestamp;

/// What the strategy says of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The tasks are started again after a pause.
    After {
        /// The pause.
        delay_ms: u64,
    },
    /// The job fails.
    Fail {
        /// Which rule ends it and how to change that.
        reason: String,
    },
}

/// Applies one job's strategy; lives as long as the job in this host.
#[derive(Clone, Debug)]
pub struct RestartDecider {
    strategy: RestartStrategy,
    restarts: u32,
    /// Of the exponential strategy: the pause after the next failure.
    next_delay_ms: f64,
    /// Of the failure rate: when the last failures came, one more at most than are borne.
    failures: VecDeque<Timestamp>,
    /// When the tasks last began to run after a pause.
    resumed_at: Option<Timestamp>,
}

/// The strategy of a job that sets none: none without checkpointing, exponential delay with it.
pub fn effective_strategy(settings: &JobSettings) -> RestartStrategy {
    let checkpointing = settings.checkpointing.as_ref().is_some_and(|c| c.interval_ms > 0);
    match (&settings.restart, checkpointing) {
        (Some(strategy), _) => strategy.clone(),
        (None, true) => RestartStrategy::EXPONENTIAL_DEFAULT,
        (None, false) => RestartStrategy::None,
    }
}

impl RestartDecider {
    /// For a job with these settings.
    pub fn new(settings: &JobSettings) -> Self {
        Self::with_strategy(effective_strategy(settings))
    }

    /// For this strategy.
    pub fn with_strategy(strategy: RestartStrategy) -> Self {
        Self {
            next_delay_ms: initial_delay_ms(&strategy),
            strategy,
            restarts: 0,
            failures: VecDeque::new(),
            resumed_at: None,
        }
    }

    /// Decides about a failure at `now`. `random` is uniform in [0, 1).
    pub fn on_failure(&mut self, now: Timestamp, random: f64) -> Restart {
        match self.strategy {
            RestartStrategy::None => Restart::Fail {
                reason: "the restart strategy is none: set `restart`, or `checkpointing`, whose default is \
                         exponential-delay"
                    .to_owned(),
            },
            RestartStrategy::FixedDelay { attempts, .. } if self.restarts >= attempts => Restart::Fail {
                reason: format!(
                    "the restart strategy fixed-delay allows {attempts} restarts and all were used: mend the \
                     cause, or raise `attempts`"
                ),
            },
            RestartStrategy::FixedDelay { delay_ms, .. } => self.restart(now, delay_ms),
            RestartStrategy::FailureRate {
                max_failures_per_interval,
                interval_ms,
                delay_ms,
            } => match self.is_too_often(now, max_failures_per_interval, interval_ms) {
                false => self.restart(now, delay_ms),
                true => Restart::Fail {
                    reason: format!(
                        "the restart strategy failure-rate allows {max_failures_per_interval} failures within \
                         {interval_ms} ms and there was one more: mend the cause, or raise \
                         `max-failures-per-interval`"
                    ),
                },
            },
            RestartStrategy::ExponentialDelay {
                max_ms,
                multiplier,
                reset_after_ms,
                jitter,
                ..
            } => {
                self.reset_after_quiet(now, reset_after_ms);
                let base = self.next_delay_ms;
                // NOTE: a multiplier below 1 would shrink the pause to nothing.
                self.next_delay_ms = (base * multiplier.max(1.0)).min(max_ms as f64);
                let spread = base * jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
                self.restart(now, (base + spread).max(0.0) as u64)
            }
        }
    }

    /// How many restarts there were.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    fn restart(&mut self, now: Timestamp, delay_ms: u64) -> Restart {
        self.restarts = self.restarts.saturating_add(1);
        self.resumed_at = Some(now.saturating_add_unsigned(delay_ms));
        Restart::After { delay_ms }
    }

    /// Counts a failure; whether it is one more than are borne within the interval, as Flink counts them.
    fn is_too_often(&mut self, now: Timestamp, max: u32, interval_ms: u64) -> bool {
        self.failures.push_back(now);
        let Some(surplus) = self.failures.len().checked_sub(max as usize + 1) else {
            return false;
        };
        self.failures.drain(..surplus);
        let earliest = self.failures.front();
        earliest.is_some_and(|earliest| now.saturating_sub(*earliest).unsigned_abs() <= interval_ms)
    }

    /// A job that has run long enough since the last restart is as good as new.
    fn reset_after_quiet(&mut self, now: Timestamp, reset_after_ms: u64) {
        let quiet = self
            .resumed_at
            .is_some_and(|at| now >= at.saturating_add_unsigned(reset_after_ms));
        if quiet {
            self.next_delay_ms = initial_delay_ms(&self.strategy);
        }
    }
}

fn initial_delay_ms(strategy: &RestartStrategy) -> f64 {
    match strategy {
        RestartStrategy::ExponentialDelay {
            initial_ms, max_ms, ..
        } => (*initial_ms).min(*max_ms) as f64,
        RestartStrategy::None | RestartStrategy::FixedDelay { .. } | RestartStrategy::FailureRate { .. } => {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmill_model::graph::CheckpointSettings;

    const MIDDLE: f64 = 0.5;

    fn delay(restart: Restart) -> u64 {
        match restart {
            Restart::After { delay_ms } => delay_ms,
            Restart::Fail { reason } => panic!("failed: {reason}"),
        }
    }

    #[test]
    fn a_job_without_checkpointing_and_without_a_strategy_fails_at_once() {
        let mut decider = RestartDecider::new(&JobSettings::default());
        let Restart::Fail { reason } = decider.on_failure(0, MIDDLE) else {
            panic!("restarted")
        };
        assert!(reason.contains("`restart`"), "{reason}");
    }

    #[test]
    fn a_job_with_checkpointing_and_without_a_strategy_backs_off_exponentially_without_end() {
        let settings = JobSettings {
            checkpointing: Some(CheckpointSettings {
                interval_ms: 100,
                ..CheckpointSettings::default()
            }),
            ..JobSettings::default()
        };
        let mut decider = RestartDecider::new(&settings);
        let delays: Vec<u64> = (0..200).map(|i| delay(decider.on_failure(i, MIDDLE))).collect();
        assert_eq!(delays[..4], [1_000, 1_500, 2_250, 3_375]);
        assert_eq!(delays[199], 60_000);
        assert_eq!(decider.restarts(), 200);
    }

    #[test]
    fn a_fixed_delay_ends_after_its_attempts() {
        let strategy = RestartStrategy::FixedDelay {
            attempts: 2,
            delay_ms: 7,
        };
        let mut decider = RestartDecider::with_strategy(strategy);
        assert_eq!(delay(decider.on_failure(0, MIDDLE)), 7);
        assert_eq!(delay(decider.on_failure(1, MIDDLE)), 7);
        let Restart::Fail { reason } = decider.on_failure(2, MIDDLE) else {
            panic!("restarted")
        };
        assert!(reason.contains("2 restarts"), "{reason}");
    }

    #[test]
    fn a_failure_rate_ends_with_one_failure_too_many_within_its_interval() {
        let strategy = RestartStrategy::FailureRate {
            max_failures_per_interval: 2,
            interval_ms: 100,
            delay_ms: 7,
        };
        let mut decider = RestartDecider::with_strategy(strategy);
        // Three failures within 100 ms are too many; three within 101 ms are not.
        for now in [0, 50, 101, 151, 202] {
            assert_eq!(delay(decider.on_failure(now, MIDDLE)), 7, "at {now}");
        }
        let Restart::Fail { reason } = decider.on_failure(251, MIDDLE) else {
            panic!("restarted")
        };
        assert!(reason.contains("2 failures within 100 ms"), "{reason}");
    }

    #[test]
    fn a_failure_rate_of_none_ends_with_the_first_failure() {
        let mut decider = RestartDecider::with_strategy(RestartStrategy::FailureRate {
            max_failures_per_interval: 0,
            interval_ms: 100,
            delay_ms: 7,
        });
        assert!(matches!(decider.on_failure(0, MIDDLE), Restart::Fail { .. }));
    }

    #[test]
    fn the_pause_starts_anew_after_a_quiet_hour_and_not_before() {
        let mut decider = RestartDecider::with_strategy(RestartStrategy::EXPONENTIAL_DEFAULT);
        assert_eq!(delay(decider.on_failure(0, MIDDLE)), 1_000);
        // It ran from 1,000 on: an hour is not over yet.
        assert_eq!(delay(decider.on_failure(3_600_999, MIDDLE)), 1_500);
        assert_eq!(
            delay(decider.on_failure(3_600_999 + 1_500 + 3_600_000, MIDDLE)),
            1_000
        );
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_the_jitter_of_its_bounds(
            initial in 0u64..10_000, max in 0u64..100_000, multiplier in 0.0f64..5.0, jitter in 0.0f64..=1.0,
            steps in prop::collection::vec((0i64..10_000, 0.0f64..1.0), 1..50),
        ) {
            let mut decider = RestartDecider::with_strategy(RestartStrategy::ExponentialDelay {
                initial_ms: initial, max_ms: max, multiplier, reset_after_ms: 5_000, jitter,
            });
            let mut now = 0;
            for (pause, random) in steps {
                now += pause;
                let delay = delay(decider.on_failure(now, random)) as f64;
                prop_assert!(delay <= max as f64 * (1.0 + jitter));
                prop_assert!(delay + 1.0 >= initial.min(max) as f64 * (1.0 - jitter));
            }
        }
    }
}
