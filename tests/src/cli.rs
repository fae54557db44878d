//! The real `wasmill` as a person runs it, until it ends.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host::binary;

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; −1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Ran {
    /// Standard output of a command that must succeed.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}: {}", self.code, self.errors);
        Ok(self.output)
    }

    /// Standard output, as JSON, of a command that must succeed.
    pub fn json(self) -> Result<Value> {
        let output = self.ok()?;
        serde_json::from_str(&output).with_context(|| format!("no JSON: {output}"))
    }

    /// Standard error of a command that must fail.
    pub fn refused(self) -> Result<String> {
        ensure!(self.code == 1, "exit code {}, not 1: {}", self.code, self.output);
        Ok(self.errors)
    }
}

/// Runs `wasmill` in a directory.
pub fn run(directory: &Path, arguments: &[&str]) -> Result<Ran> {
    let output = Command::new(binary()?)
        .args(arguments)
        .current_dir(directory)
        .env_remove("WASMILL_HOST")
        .stdin(Stdio::null())
        .output()
        .context("start wasmill")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        output: text(&output.stdout),
        errors: text(&output.stderr),
    })
}
