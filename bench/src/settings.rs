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
    /// Keyed count on RocksDB with 100,000 keys, and lists and maps: ours, and Flink's.
    pub stored: (Sizes, Sizes),
    /// Lists and maps on the heap: ours, and Flink's.
    pub stored_on_heap: (Sizes, Sizes),
    /// Keyed count on RocksDB with 1 M keys and a checkpoint each second: ours, and Flink's.
    pub stored_checkpointed: (Sizes, Sizes),
    /// Keyed count on RocksDB with little memory: ours, and Flink's.
    pub stored_limited: (Sizes, Sizes),
    /// Start to finish.
    pub whole: u64,
    /// Keys of the large checkpoint and of the memory figures.
    pub large_keys: u64,
    /// Between large checkpoints.
    pub large_interval: Duration,
    /// How many such intervals are measured.
    pub large_intervals: u32,
    /// Between incremental checkpoints.
    pub changes_interval: Duration,
    /// How often a job is submitted.
    pub submits: u32,
}

const M: u64 = 1_000_000;

/// Sizes in millions of records.
fn millions(small: u64, large: u64) -> Sizes {
    Sizes {
        small: small * M,
        large: large * M,
    }
}

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
            stored: (millions(12, 60), millions(3, 12)),
            stored_on_heap: (millions(10, 30), millions(10, 30)),
            stored_checkpointed: (millions(10, 50), millions(3, 9)),
            stored_limited: (millions(3, 9), millions(1, 2)),
            whole: 5 * M,
            large_keys: 10 * M,
            large_interval: Duration::from_secs(30),
            large_intervals: 3,
            changes_interval: Duration::from_secs(4),
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
            stored: (small, small),
            stored_on_heap: (small, small),
            stored_checkpointed: (small, small),
            stored_limited: (small, small),
            whole: M,
            large_keys: M / 5,
            large_interval: Duration::from_secs(2),
            large_intervals: 2,
            changes_interval: Duration::from_secs(1),
            submits: 3,
        }
    }
}
