//! A full checkpoint of a large state while the job runs: what it takes from throughput, and the longest time
//! for which a subtask stands still.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::serving::Counting;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::statistics::{Sample, longest_gap, rate_between};

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let settings = bench.settings;
    let time = settings.large_interval * settings.large_intervals;

    let undisturbed = Counting::start(bench, "checkpoint-without", settings.large_keys, Duration::ZERO)?;
    let without = undisturbed.watch(time)?;
    drop(undisturbed);

    let disturbed = Counting::start(
        bench,
        "checkpoint-with",
        settings.large_keys,
        settings.large_interval,
    )?;
    let before = disturbed.checkpoints()?;
    let with = disturbed.watch(time)?;
    let completed = disturbed.checkpoints()? - before;
    ensure!(completed > 0, "no checkpoint completed within {time:?}");
    drop(disturbed);

    bench.report(&Figure::new(
        "checkpoint.completed",
        completed as f64,
        "checkpoints",
    ))?;
    bench.report(&Figure::new(
        "checkpoint.rate-without",
        rate(&without, time),
        "records/s",
    ))?;
    bench.report(&Figure::new(
        "checkpoint.rate-with",
        rate(&with, time),
        "records/s",
    ))?;
    let ratio = rate(&with, time) / rate(&without, time);
    bench.report(&Figure::new("checkpoint.throughput", ratio, "ratio").with_bar(Bar::AtLeast(0.9)))?;
    let (gap_without, gap_with) = (gap_ms(&without), gap_ms(&with));
    bench.report(&Figure::new("checkpoint.gap-without", gap_without, "ms"))?;
    bench.report(&Figure::new("checkpoint.gap-with", gap_with, "ms"))?;
    let added = f64::max(0.0, gap_with - gap_without);
    bench.report(&Figure::new("checkpoint.gap-added", added, "ms").with_bar(Bar::AtMost(20.0)))
}

/// Of all subtasks together.
fn rate(subtasks: &[Vec<Sample>], time: Duration) -> f64 {
    subtasks
        .iter()
        .map(|samples| rate_between(samples, 0.0, time.as_secs_f64()))
        .sum()
}

/// Of the subtask with the longest one.
fn gap_ms(subtasks: &[Vec<Sample>]) -> f64 {
    subtasks
        .iter()
        .map(|samples| longest_gap(samples) * 1_000.0)
        .fold(0.0, f64::max)
}
