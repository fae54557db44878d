//! How a test says that it could not run.
//!
//! Invariant: nothing is passed over in silence: what was skipped is written down for `cargo xtask test` to
//! print, and is an error where `WASMILL_REQUIRE_ALL=1`.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, bail};

/// Writes down that something was not tested, and why; an error where nothing may be skipped.
pub fn note(what: &str, reason: &str) -> Result<()> {
    if std::env::var("WASMILL_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        bail!("{what} was not tested, and WASMILL_REQUIRE_ALL=1: {reason}");
    }
    eprintln!("SKIPPED: {what}: {reason}");
    if let Some(file) = std::env::var_os("WASMILL_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .context("note the skip")?;
        writeln!(file, "{what}: {reason}").context("note the skip")?;
    }
    Ok(())
}
