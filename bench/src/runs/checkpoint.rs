//! A full checkpoint of a large state while the job runs: what it takes from throughput, and the longest time
//! for which a subtask stands still.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::serving::Counting;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::statistics::{Sample, longest_gap, rate_between};

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let keys = bench.settings.large_keys;
    let gap_added = measure(bench, "checkpoint", &|bench, data, interval| {
        Counting::start(bench, data, keys, interval)
    })?;
    bench.report(&Figure::new("checkpoint.gap-added", gap_added, "ms").with_bar(Bar::AtMost(20.0)))
}

/// Starts a job in a host of its own, given its data directory and the checkpoint interval; 0: none.
pub(super) type Start<'a> = dyn Fn(&Bench, &str, Duration) -> Result<Counting> + 'a;

/// Reports what checkpoints take from the throughput of a job; returns by how many milliseconds the longest gap grows.
pub(super) fn measure(bench: &mut Bench, name: &str, start: &Start<'_>) -> Result<f64> {
    let settings = bench.settings;
    let time = settings.large_interval * settings.large_intervals;

    let undisturbed = start(bench, &format!("{name}-without"), Duration::ZERO)?;
    let without = undisturbed.watch(time)?;
    drop(undisturbed);

    let disturbed = start(bench, &format!("{name}-with"), settings.large_interval)?;
    let before = disturbed.checkpoints()?;
    let with = disturbed.watch(time)?;
    let completed = disturbed.checkpoints()? - before;
    ensure!(completed > 0, "no checkpoint completed within {time:?}");
    drop(disturbed);

    let (rate_without, rate_with) = (rate(&without, time), rate(&with, time));
    let (gap_without, gap_with) = (gap_ms(&without), gap_ms(&with));
    for (what, value, unit) in [
        ("completed", completed as f64, "checkpoints"),
        ("rate-without", rate_without, "records/s"),
        ("rate-with", rate_with, "records/s"),
        ("gap-without", gap_without, "ms"),
        ("gap-with", gap_with, "ms"),
    ] {
        bench.report(&Figure::new(format!("{name}.{what}"), value, unit))?;
    }
    let throughput = Figure::new(format!("{name}.throughput"), rate_with / rate_without, "ratio");
    bench.report(&throughput.with_bar(Bar::AtLeast(0.9)))?;
    Ok(f64::max(0.0, gap_with - gap_without))
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
