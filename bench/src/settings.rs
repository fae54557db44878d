//! How large the runs are.

use std::time::Duration;

/// Sizes of one comparison of marginal rates.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Records of the smaller run.
    pub small: u64,
    /// Records of the larger run.
    pub large: u64,
}

/// All sizes; `--quick` shows only that everything runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often both sides take turns.
    pub rounds: u32,
    /// Keyed count with 100,000 keys.
    pub count: Sizes,
    /// Keyed count with 1 M keys and a checkpoint each second.
    pub checkpointed: Sizes,
    /// Stateless map.
    pub map: Sizes,
    /// Windows with 1,000 keys.
    pub windows_few_keys: Sizes,
    /// Windows with 100,000 keys.
    pub windows_many_keys: Sizes,
    /// Windows of 60 slides beside such of 4: the smaller run is longer than a window.
    pub windows_long: Sizes,
    /// Keyed count one record a call.
    pub typed: Sizes,
    /// Start to finish.
    pub whole: u64,
    /// Keys of the large checkpoint and of the memory figures.
    pub large_keys: u64,
    /// Between large checkpoints.
    pub large_interval: Duration,
    /// How many such intervals are measured.
    pub large_intervals: u32,
    /// How often a job is submitted.
    pub submits: u32,
}

const M: u64 = 1_000_000;

impl Settings {
    /// The sizes that the bars are meant for.
    pub fn full() -> Settings {
        Settings {
            rounds: 2,
            count: Sizes {
                small: 25 * M,
                large: 100 * M,
            },
            checkpointed: Sizes {
                small: 20 * M,
                large: 60 * M,
            },
            map: Sizes {
                small: 100 * M,
                large: 400 * M,
            },
            windows_few_keys: Sizes {
                small: 10 * M,
                large: 30 * M,
            },
            windows_many_keys: Sizes {
                small: 2 * M,
                large: 6 * M,
            },
            windows_long: Sizes {
                small: 10 * M,
                large: 30 * M,
            },
            typed: Sizes {
                small: 5 * M,
                large: 20 * M,
            },
            whole: 5 * M,
            large_keys: 10 * M,
            large_interval: Duration::from_secs(30),
            large_intervals: 3,
            submits: 11,
        }
    }

    /// Sizes at which no figure means anything.
    pub fn quick() -> Settings {
        let small = Sizes {
            small: M,
            large: 4 * M,
        };
        Settings {
            rounds: 1,
            count: small,
            checkpointed: small,
            map: small,
            windows_few_keys: small,
            windows_many_keys: small,
            windows_long: small,
            typed: small,
            whole: M,
            large_keys: M / 5,
            large_interval: Duration::from_secs(2),
            large_intervals: 2,
            submits: 3,
        }
    }
}
