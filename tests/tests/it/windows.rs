//! Parts of windows that are components of either family, and totals over windows that outlive the host.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::example::Example;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text, wait};

use crate::FAMILIES;

/// A window that keeps its elements whenever it fires, but for those that the evictor takes; and Flink's reduce with
/// a window function behind it.
const JOB: &str = "version: 1
name: windows
parallelism: 2
checkpointing: {interval: 50ms}
plugins: {c: FAMILY}
operators:
  - {uid: in, source: files, config: {path: \"DIRECTORY/in\"}, format: lines, parallelism: 1}
  - {uid: by-key, key-by: {function: c/key-selector}, inputs: [in], parallelism: 1}
  - uid: pairs
    window: {global: never, trigger: {count: 2}, evictor: {function: c/evictor}, function: {apply: c/apply}}
    inputs: [by-key]
  - {uid: out-pairs, sink: files, config: {path: \"DIRECTORY/FAMILY/pairs\"}, format: lines, inputs: [pairs]}
  - uid: threes
    window: {count: {size: 3}, function: {reduce: c/reduce, apply: c/apply}}
    inputs: [by-key]
  - {uid: out-threes, sink: files, config: {path: \"DIRECTORY/FAMILY/threes\"}, format: lines, inputs: [threes]}
";

#[test]
fn an_evictor_and_apply_do_in_a_job_what_the_model_does() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // Those with a minus are never seen, those with a plus once.
    let endings = ["", "-", "+", "", "+", "-", "-"];
    let records: Vec<String> = (0..300)
        .map(|n| format!("k{}:{n}{}", n % 11, endings[n % endings.len()]))
        .collect();
    std::fs::create_dir_all(directory.path().join("in"))?;
    std::fs::write(directory.path().join("in/all.txt"), records.join("\n"))?;
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in &records {
        let key = record.split(':').next().context("no key")?;
        by_key.entry(key).or_default().push(record);
    }
    let (mut pairs, mut threes) = (Vec::new(), Vec::new());
    for (key, records) in by_key {
        let mut kept: Vec<&str> = Vec::new();
        for two in records.chunks_exact(2) {
            kept.extend(two);
            kept.retain(|record| !record.ends_with('-'));
            pairs.push([&[key], &kept[..]].concat().join(" "));
            kept.retain(|record| !record.ends_with('+'));
        }
        let three = records.chunks_exact(3);
        threes.extend(three.map(|three| format!("{key} {}", three.join(","))));
    }
    pairs.sort();
    threes.sort();
    let host = Host::start(&directory.path().join("data"), &[])?;
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        let place = directory.path().display().to_string();
        let job = host.submit(&JOB.replace("FAMILY", family).replace("DIRECTORY", &place))?;
        host.wait_for(&job, "FINISHED", LIMIT)?;
        for (name, expected) in [("pairs", &pairs), ("threes", &threes)] {
            let got = text::committed(&directory.path().join(family).join(name))?;
            if let Some(difference) = text::difference(&got, expected) {
                bail!("{family}: {name}: {difference}");
            }
        }
    }
    Ok(())
}

/// `end,device,count,total` of the job `statistics` over so many events.
fn totals(rows: u64) -> Vec<String> {
    let mut counts: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    for row in 0..rows {
        // As the source says: a hash of the number, and ten events in a millisecond.
        let device = (row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1) % 10;
        let second = row as i64 / 10 / 1_000;
        for end in second + 1..=second + 4 {
            *counts.entry((device, end * 1_000)).or_default() += 1;
        }
    }
    let mut totals: BTreeMap<u64, u64> = BTreeMap::new();
    let line = |((device, end), count)| {
        let total = totals.entry(device).or_default();
        *total += count;
        format!("{end},{device},{count},{total}")
    };
    let mut lines: Vec<_> = counts.into_iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn the_total_of_all_windows_is_exact_after_a_kill() -> Result<()> {
    const ROWS: u64 = 80_000;
    let example = Example::copy("statistics")?;
    // Twice as fast as event time, and an end.
    example.edit("rate: 10000", &format!("rate: 20000, rows: {ROWS}"))?;
    example.edit("interval: 6s", "interval: 100ms")?;
    let out = example.path("out");
    let host = example.host(&[])?;
    let job = example.submit(&host)?;
    let expected = totals(ROWS);
    wait::until("totals are committed", LIMIT, || {
        let seen = text::committed(&out)?.len();
        Ok(if seen > 0 { Ok(()) } else { Err("none".to_owned()) })
    })?;
    let seen = text::committed(&out)?.len();
    ensure!(
        seen < expected.len() && host.state(&job)? == "RUNNING",
        "the job was over before it could be killed: {seen} of {} lines",
        expected.len()
    );
    host.kill()?;

    let host = example.host(&[])?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
    ensure!(!checkpoints["latest"]["restored"].is_null(), "{checkpoints}");
    match text::difference(&text::committed(&out)?, &expected) {
        None => Ok(()),
        Some(difference) => bail!("{difference}"),
    }
}
