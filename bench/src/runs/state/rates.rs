//! Rates of a keyed count, of lists and of maps through a component, beside Flink with the same backend.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::flink::FlinkJob;
use crate::job::{Job, checkpointing_with};

/// What Flink's databases may take where memory is not what is measured; ours keep the defaults, which are less.
const FLINK_MANAGED_MIB: u64 = 2_048;

/// Letters that make key and value of the limited count 100 bytes together.
const LIMITED_PADDING: usize = 81;
const LIMITED_KEYS: u64 = 1_000_000;
/// A tenth of the limited count's state.
const LIMITED_MIB: u64 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// A job of one function over `keys` keys.
pub(super) fn job(bench: &Bench, backend: &str, function: &str, keys: u64) -> Result<Job> {
    Ok(Job::new("keyed-state")
        .with_plugin(bench.component("keyed_count")?.display())
        .with("backend", backend)
        .with("function", function)
        .with("keys", keys)
        .with("padding", "")
        .with("checkpointing", checkpointing_with(Duration::ZERO, "")))
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let settings = bench.settings;

    let ours = job(bench, "rocksdb", "keyed-count", 100_000)?;
    let theirs = FlinkJob::on_heap("count", 100_000).on_rocksdb(FLINK_MANAGED_MIB);
    bench.against_flink_in_sizes("state.count.100k-keys", (&ours, theirs), settings.stored, 5.0)?;

    let ours = job(bench, "rocksdb", "keyed-count", 1_000_000)?
        .with("checkpointing", checkpointing_with(SECOND, "incremental: true"));
    let theirs = FlinkJob::on_heap("count", 1_000_000)
        .on_rocksdb(FLINK_MANAGED_MIB)
        .with_checkpoints(1_000);
    let sizes = settings.stored_checkpointed;
    bench.against_flink_in_sizes("state.count.1M-keys-checkpoints", (&ours, theirs), sizes, 3.0)?;

    limited(bench)?;

    for (name, function, theirs) in [
        ("state.list", "keyed-list", FlinkJob::on_heap("list", 100_000)),
        ("state.map", "keyed-map", FlinkJob::on_heap("map-state", 100_000)),
    ] {
        let on_heap = job(bench, "memory", function, 100_000)?;
        let sizes = settings.stored_on_heap;
        bench.against_flink_in_sizes(&format!("{name}.memory"), (&on_heap, theirs), sizes, 3.0)?;
        let (on_rocksdb, sizes) = (on_heap.with("backend", "rocksdb"), settings.stored);
        let theirs = theirs.on_rocksdb(FLINK_MANAGED_MIB);
        bench.against_flink_in_sizes(&format!("{name}.rocksdb"), (&on_rocksdb, theirs), sizes, 3.0)?;
    }
    Ok(())
}

/// All that either side may keep of its state in memory is a tenth of it: of ours half write-back cache, half RocksDB's.
fn limited(bench: &mut Bench) -> Result<()> {
    let name = "state.count.limited";
    if !bench.wants(name) {
        return Ok(());
    }
    let half = format!("{}MiB", LIMITED_MIB / 2);
    let ours = job(bench, "rocksdb", "keyed-count", LIMITED_KEYS)?
        .with("padding", "x".repeat(LIMITED_PADDING))
        .with_setting("WASMILL_ROCKSDB_CACHE_SIZE", &half)
        .with_setting("WASMILL_ROCKSDB_MEMORY_SIZE", &half);
    let theirs = FlinkJob::on_heap("count", LIMITED_KEYS)
        .on_rocksdb(LIMITED_MIB)
        .with_padding(LIMITED_PADDING);
    for (what, mib) in [
        ("write-back-cache", LIMITED_MIB / 2),
        ("rocksdb-memory", LIMITED_MIB / 2),
        ("flink-managed-memory", LIMITED_MIB),
    ] {
        bench.report(&Figure::new(format!("{name}.{what}"), mib as f64, "MiB"))?;
    }
    let sizes = bench.settings.stored_limited;
    bench.against_flink_in_sizes(name, (&ours, theirs), sizes, 1.2)
}
