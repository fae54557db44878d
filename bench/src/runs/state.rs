//! Keyed state on each backend, beside Flink's: rates, what incremental checkpoints store, how long a restore takes, what
//! checkpoints cost, and state that is larger than memory.

mod checkpoints;
mod larger;
mod rates;

use anyhow::Result;

use crate::bench::Bench;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    rates::run(bench)?;
    checkpoints::run(bench)?;
    larger::run(bench)
}
