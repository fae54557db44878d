//! Joins in running jobs whose functions are components of either family.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text};

use crate::FAMILIES;

/// Everything is ingested within a day, so every left record meets every right one of its key.
const JOB: &str = "version: 1
name: joins
parallelism: 2
checkpointing: {interval: 50ms}
plugins: {functions: FAMILY}
operators:
  - {uid: lefts, source: files, config: {path: \"DIRECTORY/left\"}, format: lines, watermarks: {timestamp: {ingestion: true}, strategy: none}}
  - {uid: rights, source: files, config: {path: \"DIRECTORY/right\"}, format: lines, watermarks: {timestamp: {ingestion: true}, strategy: none}}
  - {uid: left, key-by: {function: functions/key-selector}, inputs: [lefts]}
  - {uid: right, key-by: {function: functions/key-selector}, inputs: [rights]}
  - {uid: join, inputs: [left, right], interval-join: {lower: -24h, upper: 24h, function: functions/process-join}}
  - {uid: out, sink: files, config: {path: \"DIRECTORY/FAMILY/pairs\"}, format: lines, inputs: [join]}
  - {uid: out-same, sink: files, config: {path: \"DIRECTORY/FAMILY/same\"}, format: lines, inputs: [join.same]}
";

/// `kKEY:N`, and some that both sides have.
fn records(side: &str) -> Vec<String> {
    let record = |n: u32| match n % 5 {
        0 => format!("k{}:{n}", n % 7),
        _ => format!("k{}:{side}{n}", n % 7),
    };
    (0..80).map(record).collect()
}

fn key(record: &str) -> &str {
    record.split(':').next().unwrap_or_default()
}

#[test]
fn both_families_are_given_the_pairs_of_an_interval_join() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (lefts, rights) = (records("l"), records("r"));
    for (side, records) in [("left", &lefts), ("right", &rights)] {
        std::fs::create_dir_all(directory.path().join(side))?;
        std::fs::write(directory.path().join(side).join("all.txt"), records.join("\n"))?;
    }
    let mut expected = Vec::new();
    for left in &lefts {
        let partners = rights.iter().filter(|right| key(right) == key(left));
        expected.extend(partners.map(|right| format!("{left}|{right}")));
    }
    expected.sort();
    let same: Vec<_> = lefts
        .iter()
        .filter(|left| rights.contains(left))
        .cloned()
        .collect();
    let host = Host::start(&directory.path().join("data"), &[])?;
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        let place = directory.path().display().to_string();
        let job = host.submit(&JOB.replace("FAMILY", family).replace("DIRECTORY", &place))?;
        host.wait_for(&job, "FINISHED", LIMIT)?;
        let out = directory.path().join(family);
        let mut pairs = Vec::new();
        let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for line in text::committed(&out.join("pairs"))? {
            let (number, pair) = line.split_once(':').context("no number")?;
            let (pair, _) = pair.rsplit_once('@').context("no timestamps")?;
            numbers
                .entry(key(pair).to_owned())
                .or_default()
                .push(number.parse()?);
            pairs.push(pair.to_owned());
        }
        pairs.sort();
        ensure!(
            pairs == expected,
            "{family}: {:?}",
            text::difference(&pairs, &expected)
        );
        for (key, mut numbers) in numbers {
            numbers.sort_unstable();
            ensure!(
                numbers == (1..=numbers.len()).collect::<Vec<_>>(),
                "{family}: {key}: {numbers:?}"
            );
        }
        let mut got = text::committed(&out.join("same"))?;
        got.sort();
        let mut same = same.clone();
        same.sort();
        ensure!(got == same, "{family}: {:?}", text::difference(&got, &same));
    }
    Ok(())
}
