//! A stateless map through a component, chained, beside Flink's chained map.

use anyhow::Result;

use crate::bench::Bench;
use crate::flink::FlinkJob;
use crate::job::Job;

/// The map does not look at them; the records are the same as the keyed count's.
const KEYS: u64 = 100_000;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let settings = bench.settings;
    let ours = Job::new("map")
        .with_plugin(bench.component("uppercase")?.display())
        .with("keys", KEYS);
    let flink = FlinkJob::on_heap("map", KEYS);
    bench.against_flink("map", (&ours, flink), settings.map, 0.8)?;
    bench.against_flink_whole("map", (&ours, flink), settings.whole, 5.0)
}
