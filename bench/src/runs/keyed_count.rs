//! Keyed count through a component, beside Flink's heap backend.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::flink::FlinkJob;
use crate::job::{Job, checkpointing};

/// The component of the frame world that counts.
pub(super) fn job(bench: &Bench, keys: u64, checkpoint_interval: Duration) -> Result<Job> {
    Ok(Job::new("keyed-count")
        .with_plugin(bench.component("keyed_count")?.display())
        .with("function", "keyed-count")
        .with("keys", keys)
        .with("checkpointing", checkpointing(checkpoint_interval)))
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let settings = bench.settings;
    let flink = |keys, checkpoint_ms| FlinkJob::on_heap("count", keys).with_checkpoints(checkpoint_ms);

    let ours = job(bench, 100_000, Duration::ZERO)?;
    bench.against_flink("keyed-count", (&ours, flink(100_000, 0)), settings.count, 2.5)?;
    bench.against_flink_whole("keyed-count", (&ours, flink(100_000, 0)), settings.whole, 5.0)?;

    let ours = job(bench, 1_000_000, Duration::from_secs(1))?;
    let name = "keyed-count.1M-keys-checkpoints";
    bench.against_flink(name, (&ours, flink(1_000_000, 1_000)), settings.checkpointed, 2.0)?;
    typed(bench)
}

/// The same function in C on the typed world: what a record a call costs.
fn typed(bench: &mut Bench) -> Result<()> {
    let Some(component) = wasmill_tests::guests::component("typed_count_c")? else {
        return Ok(());
    };
    let typed = job(bench, 100_000, Duration::ZERO)?
        .with_plugin(component.display())
        .with("function", "count");
    bench.warm(&typed)?;
    let rate = bench.our_rate(&typed, bench.settings.typed)?;
    bench.report(&Figure::new("keyed-count.typed-c", rate, "records/s"))
}
