//! Apache Flink on the same machine: `bench/flink/run.sh`, which downloads what it needs once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::statistics::Run;

/// Managed memory of jobs that use none.
const HEAP_MANAGED_MIB: u64 = 2_048;

/// One Flink job.
#[derive(Clone, Copy, Debug)]
pub struct FlinkJob {
    /// `map`, `count`, `list`, `map-state`, or of windows `window` (sliding), `tumbling`, `session`, `process`.
    pub job: &'static str,
    /// Distinct keys.
    pub keys: u64,
    /// Between checkpoints; 0: none.
    pub checkpoint_ms: u64,
    /// Where state lies.
    pub backend: FlinkBackend,
    /// Letters behind the number of a key.
    pub padding: usize,
}

/// A state backend of Flink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlinkBackend {
    /// `hashmap`.
    Heap,
    /// `rocksdb`, with incremental checkpoints.
    RocksDb {
        /// Managed memory of the task manager in MiB: blocks and write buffers of all its databases.
        managed_mib: u64,
    },
}

impl FlinkJob {
    /// A job on the heap without checkpoints.
    pub fn on_heap(job: &'static str, keys: u64) -> FlinkJob {
        FlinkJob {
            job,
            keys,
            checkpoint_ms: 0,
            backend: FlinkBackend::Heap,
            padding: 0,
        }
    }

    /// The same on RocksDB with so much managed memory.
    #[must_use]
    pub fn on_rocksdb(self, managed_mib: u64) -> FlinkJob {
        let backend = FlinkBackend::RocksDb { managed_mib };
        FlinkJob { backend, ..self }
    }

    /// The same with checkpoints.
    #[must_use]
    pub fn with_checkpoints(self, checkpoint_ms: u64) -> FlinkJob {
        FlinkJob {
            checkpoint_ms,
            ..self
        }
    }

    /// The same with longer keys.
    #[must_use]
    pub fn with_padding(self, padding: usize) -> FlinkJob {
        FlinkJob { padding, ..self }
    }
}

/// Runs jobs at parallelism 2 with object reuse.
pub struct Flink {
    script: PathBuf,
}

impl Flink {
    /// Checks that there is a Java; the error says what is missing.
    pub fn find(root: &Path) -> Result<Flink> {
        for (program, what) in [
            ("java", "Java 17"),
            ("javac", "Java 17 (the development kit)"),
            ("pip", "pip"),
        ] {
            let found = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !found.is_ok_and(|status| status.success()) {
                bail!("Flink beside us needs {what} ({program} in PATH)");
            }
        }
        Ok(Flink {
            script: root.join("bench/flink/run.sh"),
        })
    }

    /// Runs a job; the time is what Flink prints: from the start of its job to its end.
    pub fn run(&self, job: FlinkJob, records: u64) -> Result<Run> {
        let mut command = Command::new(&self.script);
        command
            .arg(job.job)
            .args([records, job.keys, 2].map(|number| number.to_string()));
        let (backend, managed_mib) = match job.backend {
            FlinkBackend::Heap => ("hashmap", HEAP_MANAGED_MIB),
            FlinkBackend::RocksDb { managed_mib } => ("rocksdb", managed_mib),
        };
        command.args([backend, &job.checkpoint_ms.to_string(), "true"]);
        command.args([format!("{managed_mib}m"), job.padding.to_string()]);
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("start bench/flink/run.sh")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let seconds = printed.lines().find_map(seconds);
        match seconds {
            Some(seconds) if output.status.success() => Ok(Run { records, seconds }),
            _ => bail!(
                "bench/flink/run.sh ended with {} and printed: {}",
                output.status,
                printed.trim()
            ),
        }
    }
}

/// The seconds in `FLINK job=count n=… …: 12.34 s, 405186 rec/s`.
fn seconds(line: &str) -> Option<f64> {
    let figures = line.strip_prefix("FLINK ")?.rsplit_once(": ")?.1;
    figures.split_once(" s,")?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn the_seconds_are_read_from_the_line_of_the_bench() {
        let line = "FLINK job=count n=5000000 keys=100000 par=2 backend=hashmap cp=0 managed=2g: 4.25 s, 1176470 rec/s";
        assert_eq!(seconds(line), Some(4.25));
        assert_eq!(seconds("Exception in thread"), None);
    }
}
