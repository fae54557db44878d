//! Every limit of a guest by its name in the job file, with its default.
//!
//! Invariant: there is no limit on a guest that is not named here or in [`HostLimits`], so every error
//! about one can say what to change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::STACK_BYTES_MAX;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Limits of each instance of a job: `settings.limits` of its file. Missing ones have the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Linear memory of an instance in bytes, all its memories together; 256 MiB.
    pub memory_bytes_max: u64,
    /// Elements of an instance's tables together; 100,000.
    pub table_elements_max: u64,
    /// Core instances within a component; 256.
    pub instances_max: u32,
    /// Linear memories within a component; 32.
    pub memories_max: u32,
    /// Tables within a component; 64.
    pub tables_max: u32,
    /// Time of one call in milliseconds; 1,000.
    pub call_ms_max: u64,
    /// Time of instantiation, `describe`, `open` and `restore` each, in milliseconds; 10,000.
    pub open_ms_max: u64,
    /// What a guest may hand to the host in one result or one import call, in bytes; 16 MiB.
    pub output_bytes_max: u64,
    /// One record that a guest emits, or one value that it writes to state, in bytes; 8 MiB.
    pub record_bytes_max: u64,
    /// State writes and timers of one call together, in bytes; 64 MiB. Each counts 64 beside its own bytes.
    pub journal_bytes_max: u64,
    /// A function's own state in lists of elements, in bytes; 256 MiB. Each element counts 64 beside its own.
    pub operator_state_bytes_max: u64,
    /// What a guest may print and log in one call, in bytes; 64 KiB. The rest is dropped, which a line says.
    pub log_bytes_max: u64,
    /// Imports that a guest may call in one call; 10,000,000.
    pub host_calls_max: u64,
    /// An instance that holds more linear memory than this is replaced between two batches, in bytes;
    /// 128 MiB. Memory of a guest never shrinks otherwise.
    pub recycle_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 * MIB,
            table_elements_max: 100_000,
            instances_max: 256,
            memories_max: 32,
            tables_max: 64,
            call_ms_max: 1_000,
            open_ms_max: 10_000,
            output_bytes_max: 16 * MIB,
            record_bytes_max: 8 * MIB,
            journal_bytes_max: 64 * MIB,
            operator_state_bytes_max: 256 * MIB,
            log_bytes_max: 64 * KIB,
            host_calls_max: 10_000_000,
            recycle_bytes: 128 * MIB,
        }
    }
}

/// What is wrong with a job's limits: names the limit and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits: {0}")]
pub struct LimitsError(pub String);

impl Limits {
    /// Reads `settings.limits`; null means the defaults.
    pub fn parse(value: &Value) -> Result<Self, LimitsError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        if value.get("stack-bytes-max").is_some() {
            return Err(LimitsError(format!(
                "`stack-bytes-max` is the host's, {STACK_BYTES_MAX} for every job: remove it"
            )));
        }
        let limits: Self = serde_json::from_value(value.clone()).map_err(|e| LimitsError(e.to_string()))?;
        limits.check()?;
        Ok(limits)
    }

    fn check(&self) -> Result<(), LimitsError> {
        let ranges = [
            ("memory-bytes-max", self.memory_bytes_max, 64 * KIB, 4 * GIB),
            ("table-elements-max", self.table_elements_max, 1, 10_000_000),
            ("instances-max", self.instances_max.into(), 1, 10_000),
            ("memories-max", self.memories_max.into(), 1, 10_000),
            ("tables-max", self.tables_max.into(), 1, 10_000),
            ("call-ms-max", self.call_ms_max, 10, 3_600_000),
            ("open-ms-max", self.open_ms_max, 10, 3_600_000),
            ("output-bytes-max", self.output_bytes_max, KIB, GIB),
            ("record-bytes-max", self.record_bytes_max, 1, GIB),
            ("journal-bytes-max", self.journal_bytes_max, KIB, 4 * GIB),
            (
                "operator-state-bytes-max",
                self.operator_state_bytes_max,
                KIB,
                4 * GIB,
            ),
            ("log-bytes-max", self.log_bytes_max, 0, 64 * MIB),
            ("host-calls-max", self.host_calls_max, 1, u64::MAX),
            ("recycle-bytes", self.recycle_bytes, 64 * KIB, u64::MAX),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(LimitsError(format!(
                    "`{name}` is {value}: give a number from {least} to {most}"
                )));
            }
        }
        Ok(())
    }
}

/// Limits on uploads and their compilation: the host's configuration, for all jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostLimits {
    /// A component in bytes; 64 MiB.
    pub upload_bytes_max: u64,
    /// Compiling one component, in seconds of processor time, all threads together; 120.
    pub compile_cpu_seconds_max: u64,
    /// Compiling one component, in milliseconds of wall-clock time; 600,000. Far above the other one, so
    /// that a busy host does not refuse what an idle one takes.
    pub compile_ms_max: u64,
    /// Address space of the compile process in bytes; 4 GiB.
    pub compile_memory_bytes_max: u64,
    /// The JSON that `describe` returns, in bytes; 1 MiB.
    pub describe_bytes_max: u64,
    /// Time of `describe`, and of the instantiation before it, in milliseconds; 10,000.
    pub describe_ms_max: u64,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            upload_bytes_max: 64 * MIB,
            compile_cpu_seconds_max: 120,
            compile_ms_max: 600_000,
            compile_memory_bytes_max: 4 * GIB,
            describe_bytes_max: MIB,
            describe_ms_max: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_and_nothing_mean_the_defaults() {
        assert_eq!(Limits::parse(&Value::Null).unwrap(), Limits::default());
        assert_eq!(Limits::parse(&json!({})).unwrap(), Limits::default());
        let given = Limits::parse(&json!({"memory-bytes-max": 1_048_576})).unwrap();
        assert_eq!(given.memory_bytes_max, 1_048_576);
        assert_eq!(given.call_ms_max, Limits::default().call_ms_max);
    }

    #[test]
    fn the_defaults_are_within_their_own_ranges() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn every_limit_is_documented() {
        let documentation = include_str!("../../../../docs/job-file.md");
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for name in limits.as_object().unwrap().keys() {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn an_unknown_limit_is_named_with_those_that_exist() {
        let message = Limits::parse(&json!({"memory": 1})).unwrap_err().to_string();
        assert!(
            message.starts_with("limits: unknown field `memory`, expected one of"),
            "{message}"
        );
        assert!(message.contains("`memory-bytes-max`"), "{message}");
    }

    #[test]
    fn a_limit_out_of_range_is_named_with_its_range() {
        let message = Limits::parse(&json!({"call-ms-max": 0})).unwrap_err().to_string();
        assert_eq!(
            message,
            "limits: `call-ms-max` is 0: give a number from 10 to 3600000"
        );
    }

    #[test]
    fn the_stack_is_the_hosts() {
        let message = Limits::parse(&json!({"stack-bytes-max": 1}))
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "limits: `stack-bytes-max` is the host's, 1048576 for every job: remove it"
        );
    }
}
