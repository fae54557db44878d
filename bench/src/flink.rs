//! Apache Flink on the same machine: `bench/flink/run.sh`, which downloads what it needs once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::statistics::Run;

/// One Flink job.
#[derive(Clone, Copy, Debug)]
pub struct FlinkJob {
    /// `map`, `count`, or of windows `window` (sliding), `tumbling`, `session`, `process`.
    pub job: &'static str,
    /// Distinct keys.
    pub keys: u64,
    /// Between checkpoints; 0: none.
    pub checkpoint_ms: u64,
}

/// Runs jobs at parallelism 2 on the heap backend with object reuse.
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
        command.args(["hashmap", &job.checkpoint_ms.to_string(), "true"]);
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
        let line = "FLINK job=count n=5000000 keys=100000 par=2 backend=hashmap cp=0: 4.25 s, 1176470 rec/s";
        assert_eq!(seconds(line), Some(4.25));
        assert_eq!(seconds("Exception in thread"), None);
    }
}
