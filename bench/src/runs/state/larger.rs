//! State twice as large as the memory that it is given.

use anyhow::Result;

use super::rates::job;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};

/// Key and value, as `keyed-blob` makes them.
const ENTRY_BYTES: u64 = 100;

/// So few keys that the process holds all but no state.
const FEW_KEYS: u64 = 1_000;

/// What the process may take beside what it was given, against that: what memory allocators leave between.
const RESIDENT_MAX: f64 = 1.25;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let name = "state.larger";
    if !bench.wants(name) {
        return Ok(());
    }
    let keys = bench.settings.large_keys;
    let given = keys * ENTRY_BYTES / 2;
    let half = format!("{}B", given / 2);
    let limited = |keys| -> Result<_> {
        Ok(job(bench, "rocksdb", "keyed-blob", keys)?
            .with_setting("WASMILL_ROCKSDB_CACHE_SIZE", &half)
            .with_setting("WASMILL_ROCKSDB_MEMORY_SIZE", &half))
    };
    let (few, many) = (limited(FEW_KEYS)?, limited(keys)?);
    bench.warm(&few)?;
    let (_, base) = bench.ours_watched(&few, keys)?;
    // Each key comes about twice.
    let (run, peak) = bench.ours_watched(&many, 2 * keys)?;
    let taken = peak.saturating_sub(base) as f64;
    for (what, value, unit) in [
        ("state", (keys * ENTRY_BYTES) as f64 / 1e6, "MB"),
        ("given", given as f64 / 1e6, "MB"),
        ("resident", peak as f64 / 1e6, "MB"),
        ("resident-without-state", base as f64 / 1e6, "MB"),
        ("rate", run.rate(), "records/s"),
    ] {
        bench.report(&Figure::new(format!("{name}.{what}"), value, unit))?;
    }
    let ratio = Figure::new(format!("{name}.taken-to-given"), taken / given as f64, "ratio");
    bench.report(&ratio.with_bar(Bar::AtMost(RESIDENT_MAX)))
}
