//! Waiting for a condition with a deadline, so that no test sleeps for luck.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks until `condition` gives something; the error names `what` and the last answer.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match condition()? {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > limit => {
                bail!("{what}: not within {limit:?}; last seen: {last}")
            }
            Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
        }
    }
}
