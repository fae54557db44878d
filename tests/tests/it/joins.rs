//! Joins in running jobs whose functions are components of either family.

use std::collections::{BTreeMap, BTreeSet};

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

/// All windows fire at the end of the input.
const WINDOWS: &str = "version: 1
name: windows of two streams
parallelism: 2
checkpointing: {interval: 50ms}
plugins: {functions: FAMILY}
operators:
  - {uid: lefts, source: files, config: {path: \"DIRECTORY/left\"}, format: lines}
  - {uid: rights, source: files, config: {path: \"DIRECTORY/right\"}, format: lines}
  - {uid: left, key-by: {function: functions/key-selector}, inputs: [lefts]}
  - {uid: right, key-by: {function: functions/key-selector}, inputs: [rights]}
  - {uid: join, inputs: [left, right], window-join: {global: end-of-stream, function: functions/join}}
  - {uid: group, inputs: [left, right], co-group: {global: end-of-stream, function: functions/co-group}}
  - {uid: out, sink: files, config: {path: \"DIRECTORY/FAMILY/pairs\"}, format: lines, inputs: [join]}
  - {uid: out-same, sink: files, config: {path: \"DIRECTORY/FAMILY/same\"}, format: lines, inputs: [join.same]}
  - {uid: out-groups, sink: files, config: {path: \"DIRECTORY/FAMILY/groups\"}, format: lines, inputs: [group]}
  - {uid: out-alone, sink: files, config: {path: \"DIRECTORY/FAMILY/alone\"}, format: lines, inputs: [group.alone]}
";

#[test]
fn both_families_are_given_what_windows_of_two_streams_hold() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (mut lefts, mut rights) = (records("l"), records("r"));
    lefts.push("only-left:1".to_owned());
    rights.push("only-right:2".to_owned());
    for (side, records) in [("left", &lefts), ("right", &rights)] {
        std::fs::create_dir_all(directory.path().join(side))?;
        std::fs::write(directory.path().join(side).join("all.txt"), records.join("\n"))?;
    }
    let of = |records: &[String], wanted: &str| -> Vec<String> {
        records
            .iter()
            .filter(|record| key(record) == wanted)
            .cloned()
            .collect()
    };
    let keys: BTreeSet<&str> = lefts.iter().chain(&rights).map(|record| key(record)).collect();
    let (mut pairs, mut same, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in keys {
        let (left, right) = (of(&lefts, wanted), of(&rights, wanted));
        groups.push(format!("1:{}|{}@{}", left.join("+"), right.join("+"), i64::MAX));
        let of_key = left
            .iter()
            .flat_map(|left| right.iter().map(move |right| (left, right)));
        for (number, (left, right)) in (1..).zip(of_key) {
            pairs.push(format!("{number}:{left}|{right}@{}", i64::MAX));
            same.extend((left == right).then(|| left.clone()));
        }
    }
    let alone = ["only-left:1", "only-right:2"].map(str::to_owned).to_vec();
    let expected = [
        ("pairs", pairs),
        ("same", same),
        ("groups", groups),
        ("alone", alone),
    ];
    let host = Host::start(&directory.path().join("data"), &[])?;
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        let place = directory.path().display().to_string();
        let job = host.submit(&WINDOWS.replace("FAMILY", family).replace("DIRECTORY", &place))?;
        host.wait_for(&job, "FINISHED", LIMIT)?;
        for (name, expected) in &expected {
            let mut got = text::committed(&directory.path().join(family).join(name))?;
            let mut expected = expected.clone();
            got.sort();
            expected.sort();
            let difference = text::difference(&got, &expected);
            ensure!(difference.is_none(), "{family}: {name}: {difference:?}");
        }
    }
    Ok(())
}
