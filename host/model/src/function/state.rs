//! Keyed state as it is declared.

use serde::{Deserialize, Serialize};

use super::{FunctionDescription, FunctionKind};

/// One keyed state of a function or of a native operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateDeclaration {
    /// Distinct within the operator.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// How the bytes of a value are to be read.
    #[serde(default = "raw")]
    pub encoding: String,
    /// The schema within the encoding.
    #[serde(default)]
    pub schema: serde_json::Value,
    /// Grows with every incompatible change of the bytes.
    #[serde(default = "one")]
    pub schema_version: u32,
    /// The oldest version whose bytes the component's `migrate` reads; `None`: none (S8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrates_from: Option<u32>,
    /// Whether it travels in the frame.
    #[serde(default)]
    pub prefetch: Option<Prefetch>,
    /// Folded by the host, where it is.
    #[serde(default)]
    pub reduce: Option<BuiltInReduce>,
    /// Of a window function: each window has a value of its own; else the key has one for all of its windows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_window: bool,
    /// How long what it holds lives; `None`: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<StateTtl>,
}

impl StateDeclaration {
    /// Whether the component can make what the state holds now of what `stored` says, an older version of it: the kind
    /// stays, and whether it has time to live.
    pub fn migrates(&self, stored: &Self) -> bool {
        self.kind == stored.kind
            && self.ttl.is_some() == stored.ttl.is_some()
            && stored.schema_version < self.schema_version
            && self
                .migrates_from
                .is_some_and(|oldest| oldest <= stored.schema_version)
    }

    /// How the keys of a map are encoded, where its schema says so.
    pub fn map_key_encoding(&self) -> Option<&str> {
        match self.kind {
            StateKind::Map => self.schema.get("key")?.as_str(),
            _ => None,
        }
    }

    /// Whether the versions that it says can be; the error has no name.
    fn check_versions(&self) -> Result<(), String> {
        match self.migrates_from {
            Some(oldest) if !(1..self.schema_version).contains(&oldest) => Err(format!(
                "`migrates-from` is {oldest} and `schema-version` {}: it is the oldest version whose bytes `migrate` reads, \
                 from 1 to the one before",
                self.schema_version
            )),
            _ => Ok(()),
        }
    }

    /// Whether the state's values travel in the frame. A value that is to be returned once more does not: of several
    /// records of a frame only the first may see it.
    pub fn is_prefetched(&self) -> bool {
        match self.kind {
            StateKind::List | StateKind::Map => false,
            _ if self.ttl.is_some_and(StateTtl::returns_expired) => false,
            _ => self.prefetch != Some(Prefetch::OnDemand) && self.reduce.is_none(),
        }
    }
}

fn raw() -> String {
    "raw".to_owned()
}

fn one() -> u32 {
    1
}

/// The five kinds of keyed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    /// One value.
    Value,
    /// Elements in order.
    List,
    /// Entries by map key, iterated in byte order.
    Map,
    /// One accumulator of the elements' own type.
    Reducing,
    /// One accumulator of a type of its own.
    Aggregating,
}

/// Whether a state travels in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefetch {
    /// With every frame.
    Always,
    /// By imports.
    OnDemand,
}

/// Reducers that the host runs itself, on signed 64-bit little-endian integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltInReduce {
    /// Wrapping sum.
    Sum,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Number of elements.
    Count,
}

/// How long what a state holds lives: each value, list element and map entry by itself (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateTtl {
    /// From the last update of its time, ms of processing time; at least 1.
    pub time_to_live: i64,
    /// What updates its time.
    #[serde(default)]
    pub update_type: UpdateType,
    /// What is read of something whose time is over and which is there still.
    #[serde(default)]
    pub visibility: StateVisibility,
    /// What removes such things beside the reads that find them.
    #[serde(default, flatten)]
    pub cleanup: CleanupStrategies,
}

impl StateTtl {
    /// Whether something whose time is over is returned as long as it is there.
    pub fn returns_expired(self) -> bool {
        self.visibility == StateVisibility::ReturnExpiredIfNotCleanedUp
    }

    /// How state in memory is cleaned up while it is used; `None`: not at all.
    pub fn incremental_cleanup(self) -> Option<IncrementalCleanup> {
        let of_background = (!self.cleanup.disable_cleanup_in_background).then(IncrementalCleanup::default);
        self.cleanup.cleanup_incrementally.or(of_background)
    }

    /// How state in RocksDB is cleaned up when it compacts; `None`: not at all.
    pub fn compact_filter_cleanup(self) -> Option<CompactFilterCleanup> {
        let of_background = (!self.cleanup.disable_cleanup_in_background).then(CompactFilterCleanup::default);
        self.cleanup.cleanup_in_rocksdb_compact_filter.or(of_background)
    }

    /// What is wrong with it, and the mend.
    pub fn check(self) -> Result<(), String> {
        if self.time_to_live < 1 {
            return Err(format!(
                "`time-to-live` is {} ms: it must be 1 or more; leave it out where nothing expires",
                self.time_to_live
            ));
        }
        if self
            .cleanup
            .cleanup_incrementally
            .is_some_and(|cleanup| cleanup.cleanup_size == 0)
        {
            return Err(
                "`cleanup-size` is 0: it must be 1 or more; `disable-cleanup-in-background` turns the cleanup off"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// What removes things whose time is over beside the reads that find them: the words and defaults of Flink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct CleanupStrategies {
    /// Whether canonical snapshots leave them out; what is held stays as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_full_snapshot: bool,
    /// Of state in memory; `None`: the default, unless that is turned off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_incrementally: Option<IncrementalCleanup>,
    /// Of state in RocksDB; `None`: the default, unless that is turned off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_in_rocksdb_compact_filter: Option<CompactFilterCleanup>,
    /// Turns those of the last two off that are not named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_cleanup_in_background: bool,
}

/// State is gone through piece by piece while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct IncrementalCleanup {
    /// Entries that are looked at for each access of the state; at least 1.
    pub cleanup_size: u32,
    /// Whether for each record too.
    pub run_cleanup_for_every_record: bool,
}

impl Default for IncrementalCleanup {
    fn default() -> Self {
        Self {
            cleanup_size: 5,
            run_cleanup_for_every_record: false,
        }
    }
}

/// Compactions leave out what is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CompactFilterCleanup {
    /// A compaction asks for the time once in so many entries.
    pub query_time_after_num_entries: u64,
    /// A file that is older is compacted, ms; 0: its age does not count.
    pub periodic_compaction_time: u64,
}

/// 30 days in ms.
const PERIODIC_COMPACTION_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

impl Default for CompactFilterCleanup {
    fn default() -> Self {
        Self {
            query_time_after_num_entries: 1_000,
            periodic_compaction_time: PERIODIC_COMPACTION_MS,
        }
    }
}

/// What updates the time from which something lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateType {
    /// A write.
    #[default]
    OnCreateAndWrite,
    /// A write or a read.
    OnReadAndWrite,
}

/// What is read of something whose time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateVisibility {
    /// Nothing.
    #[default]
    NeverReturnExpired,
    /// What is there still; reading removes it.
    ReturnExpiredIfNotCleanedUp,
}

impl FunctionDescription {
    /// Whether its states can have the versions that they say; the error names the state.
    pub fn check_versions(&self) -> Result<(), String> {
        self.state.iter().try_for_each(|state| {
            let checked = state.check_versions();
            checked.map_err(|message| format!("state `{}`: {message}", state.name))
        })
    }

    /// Whether its states can live as long as they say; the error names the state.
    pub fn check_ttl(&self) -> Result<(), String> {
        for state in &self.state {
            let Some(ttl) = state.ttl else { continue };
            ttl.check()
                .map_err(|message| format!("state `{}`: {message}", state.name))?;
            if matches!(self.kind, FunctionKind::Reduce | FunctionKind::Aggregate) {
                return Err(format!(
                    "state `{}`: the accumulator of a reduce or aggregate function has no time to live: remove `ttl`, or \
                     write a process function",
                    state.name
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> StateTtl {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn cleanup_in_the_background_is_on_unless_it_is_turned_off_and_not_named() {
        let plain = read(r#"{"time-to-live": 5}"#);
        assert_eq!(plain.cleanup, CleanupStrategies::default());
        let incremental = plain.incremental_cleanup().unwrap();
        assert_eq!(
            (incremental.cleanup_size, incremental.run_cleanup_for_every_record),
            (5, false)
        );
        let compact = plain.compact_filter_cleanup().unwrap();
        assert_eq!(
            (
                compact.query_time_after_num_entries,
                compact.periodic_compaction_time
            ),
            (1_000, 2_592_000_000)
        );

        let off = read(r#"{"time-to-live": 5, "disable-cleanup-in-background": true}"#);
        assert_eq!(
            (off.incremental_cleanup(), off.compact_filter_cleanup()),
            (None, None)
        );

        let named = read(
            r#"{"time-to-live": 5, "disable-cleanup-in-background": true, "cleanup-full-snapshot": true,
                "cleanup-incrementally": {"run-cleanup-for-every-record": true}}"#,
        );
        assert!(named.cleanup.cleanup_full_snapshot);
        assert_eq!(named.incremental_cleanup().unwrap().cleanup_size, 5);
        assert_eq!(named.compact_filter_cleanup(), None);
    }

    #[test]
    fn what_is_written_is_read_again_and_says_nothing_of_defaults() {
        let plain =
            r#"{"time-to-live":5,"update-type":"on-create-and-write","visibility":"never-return-expired"}"#;
        assert_eq!(serde_json::to_string(&read(plain)).unwrap(), plain);
        let named = read(
            r#"{"time-to-live": 5, "cleanup-in-rocksdb-compact-filter": {"query-time-after-num-entries": 7,
                "periodic-compaction-time": 0}}"#,
        );
        assert_eq!(read(&serde_json::to_string(&named).unwrap()), named);
        let wrong = r#"{"time-to-live": 5, "cleanup-incrementally": {"size": 5}}"#;
        let error = serde_json::from_str::<StateTtl>(wrong).unwrap_err().to_string();
        assert!(error.contains("unknown field `size`, expected"), "{error}");
    }
}
