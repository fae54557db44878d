//! How long what a state holds lives.

use std::time::Duration;

use serde::Serialize;

/// Time to live of what a state holds: each value, list element and map entry by itself, from the last time that it was
/// written, in processing time. The words are Flink's. In the test harness everything lives for ever.
///
/// ```
/// # use std::time::Duration;
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Seen {
///     seen: ValueState<u64>,
/// }
///
/// impl KeyedProcessFunction for Seen {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         let hour = StateTtl::new(Duration::from_secs(3600));
///         self.seen = d.value_state_with("seen", StateOptions::new().ttl(hour));
///     }
///
///     fn process_element(&mut self, record: &str, ctx: &mut Context<str>) -> Result<()> {
///         if self.seen.value(ctx)?.is_none() {
///             self.seen.update(ctx, &1)?;
///             ctx.emit(record);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Seen>();
/// # for n in ["3", "3"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["3"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateTtl {
    /// In ms.
    time_to_live: u64,
    update_type: UpdateType,
    visibility: StateVisibility,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cleanup_full_snapshot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup_incrementally: Option<IncrementalCleanup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup_in_rocksdb_compact_filter: Option<CompactFilterCleanup>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_cleanup_in_background: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct IncrementalCleanup {
    cleanup_size: u32,
    run_cleanup_for_every_record: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct CompactFilterCleanup {
    query_time_after_num_entries: u64,
    /// In ms.
    periodic_compaction_time: u64,
}

impl StateTtl {
    /// From the last write; what is over is never returned. Whole milliseconds count, and there must be one.
    pub fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live: ms(time_to_live),
            update_type: UpdateType::OnCreateAndWrite,
            visibility: StateVisibility::NeverReturnExpired,
            cleanup_full_snapshot: false,
            cleanup_incrementally: None,
            cleanup_in_rocksdb_compact_filter: None,
            disable_cleanup_in_background: false,
        }
    }

    /// What updates the time from which something lives.
    pub fn update_type(mut self, update_type: UpdateType) -> Self {
        self.update_type = update_type;
        self
    }

    /// What is read of something whose time is over.
    pub fn visibility(mut self, visibility: StateVisibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Savepoints and full checkpoints leave out what is over; what the job holds stays as it is.
    pub fn cleanup_full_snapshot(mut self) -> Self {
        self.cleanup_full_snapshot = true;
        self
    }

    /// In memory, each access of the state looks at so many entries, one after another, and removes those that are over;
    /// each record does too, where that is asked for. Without this it is 5, and records do not.
    pub fn cleanup_incrementally(mut self, cleanup_size: u32, run_cleanup_for_every_record: bool) -> Self {
        self.cleanup_incrementally = Some(IncrementalCleanup {
            cleanup_size,
            run_cleanup_for_every_record,
        });
        self
    }

    /// In RocksDB, compactions leave out what is over. They ask for the time once in so many entries, and files older
    /// than that time are compacted; zero: their age does not count. Without this it is 1,000, and 30 days.
    pub fn cleanup_in_rocksdb_compact_filter(
        mut self,
        query_time_after_num_entries: u64,
        periodic_compaction_time: Duration,
    ) -> Self {
        self.cleanup_in_rocksdb_compact_filter = Some(CompactFilterCleanup {
            query_time_after_num_entries,
            periodic_compaction_time: ms(periodic_compaction_time),
        });
        self
    }

    /// Turns those of the last two off that are not asked for.
    pub fn disable_cleanup_in_background(mut self) -> Self {
        self.disable_cleanup_in_background = true;
        self
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What updates the time from which something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateType {
    /// A write.
    OnCreateAndWrite,
    /// A write or a read.
    OnReadAndWrite,
}

/// What is read of something whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateVisibility {
    /// Nothing.
    NeverReturnExpired,
    /// What is there still; reading removes it. Such a value does not travel with the records.
    ReturnExpiredIfNotCleanedUp,
}
