//! What incremental checkpoints store, how soon a large state is restored, and what checkpoints take from the throughput.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::wait;

use super::super::checkpoint;
use super::super::serving::{self, Counting};
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::job::{Job, checkpointing_with};
use crate::statistics::median;

/// A backend, and how its checkpoints are to be.
const BACKENDS: [(&str, &str); 2] = [("rocksdb", "incremental: true"), ("memory", "incremental: true")];

/// Of the keys, so many change between two checkpoints.
const CHANGED_PARTS: u64 = 100;

/// Checkpoints after which a backend is done with what it was loaded with.
const SETTLING_CHECKPOINTS: u32 = 3;

/// Incremental checkpoints that are looked at.
const CHECKPOINTS: usize = 10;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for (backend, more) in BACKENDS {
        let name = format!("state.incremental.{backend}");
        if bench.wants(&name) {
            incremental(bench, &name, (backend, more))?;
        }
        let name = format!("state.restore.{backend}");
        if bench.wants(&name) {
            restore(bench, &name, (backend, more))?;
        }
    }
    let name = "state.checkpointing.rocksdb";
    match bench.wants(name) {
        true => throughput(bench, name),
        false => Ok(()),
    }
}

/// The changing state, loaded.
fn changing(bench: &Bench, data: &str, (backend, more): (&str, &str)) -> Result<Counting> {
    let (keys, interval) = (bench.settings.large_keys, bench.settings.changes_interval);
    let rate = keys as f64 / CHANGED_PARTS as f64 / interval.as_secs_f64();
    let job = Job::new("changing-state")
        .with("backend", backend)
        .with("keys", keys)
        .with("rate", rate)
        .with("checkpointing", checkpointing_with(interval, more));
    let host = serving::host(bench, data, "keyed_count")?;
    let counting = Counting::submit(bench, host, &job, keys)?;
    // Changes have been counted too.
    counting.wait_for_source("all")?;
    // What was loaded is in the first of these, or in one before.
    for _ in 0..SETTLING_CHECKPOINTS {
        counting.host().wait_for_a_new_checkpoint(counting.job())?;
    }
    Ok(counting)
}

/// What each of some checkpoints stores while 1 % of the keys change between two, against a full one.
fn incremental(bench: &mut Bench, name: &str, backend: (&str, &str)) -> Result<()> {
    let changing = changing(bench, name, backend)?;
    let (host, job) = (changing.host(), changing.job());
    let before = host.completed_checkpoints(job)?;
    let limit = LIMIT + bench.settings.changes_interval * 2 * CHECKPOINTS as u32;
    wait::until("checkpoints complete", limit, || {
        let completed = host.completed_checkpoints(job)? - before;
        Ok(if completed >= CHECKPOINTS as u64 {
            Ok(())
        } else {
            Err(completed.to_string())
        })
    })?;
    let history = history(&changing)?;
    let stored = history
        .iter()
        .filter(|checkpoint| checkpoint["status"] == "COMPLETED");
    let stored: Vec<f64> = stored.take(CHECKPOINTS).map(stored_bytes).collect();
    ensure!(
        stored.len() == CHECKPOINTS,
        "only {} checkpoints are remembered",
        stored.len()
    );
    let full = full_bytes(&changing)?;
    let (sum, worst) = (
        stored.iter().sum::<f64>(),
        stored.iter().copied().fold(0.0, f64::max),
    );
    bench.report(&Figure::new(format!("{name}.full"), full / 1e6, "MB"))?;
    for (what, bytes) in [("sum-of-ten", sum), ("worst", worst)] {
        bench.report(&Figure::new(
            format!("{name}.{what}"),
            bytes / full,
            "of a full one",
        ))?;
    }
    let median = Figure::new(format!("{name}.median"), median(&stored) / full, "of a full one");
    bench.report(&median.with_bar(Bar::AtMost(0.05)))
}

fn history(counting: &Counting) -> Result<Vec<Value>> {
    let path = format!("/v1/jobs/{}/checkpoints", counting.job());
    let checkpoints = counting.host().get_ok(&path)?;
    Ok(checkpoints["history"].as_array().context("a history")?.clone())
}

fn stored_bytes(checkpoint: &Value) -> f64 {
    checkpoint["checkpointed_size"].as_f64().unwrap_or(f64::NAN)
}

/// What a checkpoint of the same kind of files stores that names nothing again.
fn full_bytes(counting: &Counting) -> Result<f64> {
    let full = ["checkpoint", counting.job(), "--full"];
    counting.host().command(&full)?.ok()?;
    let history = history(counting)?;
    let last = history
        .iter()
        .filter(|checkpoint| checkpoint["status"] == "COMPLETED")
        .take(CHECKPOINTS);
    // Others may have come after it, which store less.
    Ok(last.map(stored_bytes).fold(f64::NAN, f64::max))
}

/// From the start of a host whose job has a large checkpoint to the first record that its count reads, and so writes.
fn restore(bench: &mut Bench, name: &str, backend: (&str, &str)) -> Result<()> {
    let changing = changing(bench, name, backend)?;
    let newest = history(&changing)?;
    let bytes = newest
        .iter()
        .find(|checkpoint| checkpoint["status"] == "COMPLETED");
    let bytes = bytes
        .and_then(|checkpoint| checkpoint["state_size"].as_f64())
        .unwrap_or(f64::NAN);
    let job = changing.kill()?;
    let start = Instant::now();
    let restored = Counting::of(Host::start(&bench.data(name), &[])?, job)?;
    restored.wait_for_records(1)?;
    let seconds = start.elapsed().as_secs_f64();
    bench.report(&Figure::new(format!("{name}.state"), bytes / 1e6, "MB"))?;
    bench.report(&Figure::new(format!("{name}.first-record"), seconds, "s").with_bar(Bar::AtMost(5.0)))
}

/// The run of `checkpoint`, on RocksDB.
fn throughput(bench: &mut Bench, name: &str) -> Result<()> {
    let keys = bench.settings.large_keys;
    let added = checkpoint::measure(bench, name, &|bench: &Bench, data: &str, interval: Duration| {
        let job = serving::large_state(keys)
            .with("backend", "rocksdb")
            .with("count", "function: counts/keyed-count")
            .with("checkpointing", checkpointing_with(interval, "incremental: true"));
        let host = serving::host(bench, data, "keyed_count")?;
        Counting::submit(bench, host, &job, keys + keys / 20)
    })?;
    bench.report(&Figure::new(format!("{name}.gap-added"), added, "ms"))
}
