//! Asks Flink for a case's answers on an input made from a seed, by `tests/oracle/run.sh`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::guests::root;

/// The oracle's directory.
pub fn directory() -> PathBuf {
    root().join("tests/oracle")
}

/// Writes cases of a table into a directory as Flink answers them: one by name, or all.
pub fn generate(table: &Path, names: &[String], seed: u64, size: u64, into: &Path) -> Result<()> {
    let (seed, size) = (seed.to_string(), size.to_string());
    let run = |what: &str, into: &Path| {
        let status = Command::new(directory().join("run.sh"))
            .args([what, &seed])
            .arg(into)
            .arg(&size)
            .env("ORACLE_CASES", table)
            .stdin(Stdio::null())
            .status()
            .context("start tests/oracle/run.sh")?;
        ensure!(status.success(), "tests/oracle/run.sh {what}: {status}");
        Ok(())
    };
    // One JVM for all costs less than one for each of some.
    match names {
        [name] => run(name, &into.join(name)),
        _ => run("all", into),
    }
}
