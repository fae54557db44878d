//! Every kind of function in a running job, by the SDK and by bare bindings, and the built-in aggregations: what a
//! plain model gives.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text};

use crate::FAMILIES;

/// One branch a kind behind one source; `DIRECTORY` holds input and output.
const JOB: &str = "version: 1
name: kinds
parallelism: 2
checkpointing: {interval: 50ms}
plugins: {functions: FAMILY}
operators:
  - {uid: words, source: files, config: {path: \"DIRECTORY/words\"}, format: lines}
  - {uid: numbers, source: files, config: {path: \"DIRECTORY/numbers\"}, format: lines}
  - {uid: map, function: functions/map, inputs: [words]}
  - {uid: filter, function: functions/filter, inputs: [words]}
  - {uid: flat-map, function: functions/flat-map, inputs: [words]}
  - {uid: by-prefix, key-by: {function: functions/key-selector}, inputs: [words]}
  - {uid: reduce, function: functions/reduce, inputs: [by-prefix]}
  - {uid: by-number, key-by: {value: true}, inputs: [numbers]}
  - {uid: aggregate, function: functions/aggregate, inputs: [by-number]}
  - {uid: out-map, sink: files, config: {path: \"DIRECTORY/FAMILY/map\"}, format: lines, inputs: [map]}
  - {uid: out-filter, sink: files, config: {path: \"DIRECTORY/FAMILY/filter\"}, format: lines, inputs: [filter]}
  - {uid: out-flat-map, sink: files, config: {path: \"DIRECTORY/FAMILY/flat-map\"}, format: lines, inputs: [flat-map]}
  - {uid: out-rejected, sink: files, config: {path: \"DIRECTORY/FAMILY/rejected\"}, format: lines, inputs: [flat-map.rejected]}
  - {uid: out-reduce, sink: files, config: {path: \"DIRECTORY/FAMILY/reduce\"}, format: lines, inputs: [reduce]}
  - {uid: out-aggregate, sink: files, config: {path: \"DIRECTORY/FAMILY/aggregate\"}, format: lines, inputs: [aggregate]}
";

/// `PREFIX:N`, some with a second part, which may be rejected.
fn words() -> Vec<String> {
    let line = |n: u32| {
        let part = ["", " -no", " yes", " 7@later"][n as usize % 4];
        format!("p{}:{n}{part}", n * n % 13)
    };
    (0..400).map(line).collect()
}

fn numbers() -> Vec<String> {
    (0..300u32).map(|n| (n * n % 17).to_string()).collect()
}

/// What `plugins/conformance/README.md` says of each function, by branch.
fn model(words: &[String], numbers: &[String]) -> BTreeMap<&'static str, Vec<String>> {
    let mut out: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut accumulators: BTreeMap<&str, String> = BTreeMap::new();
    for word in words {
        out.entry("map").or_default().push(format!("<{word}>"));
        if word.len().is_multiple_of(2) {
            out.entry("filter").or_default().push(word.clone());
        }
        for part in word.split(' ') {
            let (branch, text) = match part.strip_prefix('-') {
                Some(rejected) => ("rejected", rejected),
                None => ("flat-map", part.strip_prefix("7@").unwrap_or(part)),
            };
            out.entry(branch).or_default().push(text.to_owned());
        }
        let key = word.split(':').next().unwrap_or_default();
        let reduced = match accumulators.get(key) {
            // A key's first record is the accumulator and is emitted.
            None => word.clone(),
            Some(accumulator) => {
                let joined = format!("{accumulator},{word}");
                joined[joined.len().saturating_sub(64)..].to_owned()
            }
        };
        out.entry("reduce").or_default().push(reduced.clone());
        accumulators.insert(key, reduced);
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for number in numbers {
        let count = counts.entry(number).or_default();
        *count += 1;
        let sum = *count * number.parse::<i64>().unwrap_or_default();
        out.entry("aggregate").or_default().push(format!("{count}:{sum}"));
    }
    out.values_mut().for_each(|lines| lines.sort());
    out
}

fn write(directory: &Path, lines: &[String]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    Ok(std::fs::write(directory.join("all.txt"), lines.join("\n"))?)
}

#[test]
fn every_kind_of_function_gives_in_a_job_what_the_model_gives() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (words, numbers) = (words(), numbers());
    write(&directory.path().join("words"), &words)?;
    write(&directory.path().join("numbers"), &numbers)?;
    let host = Host::start(&directory.path().join("data"), &[])?;
    let mut jobs = Vec::new();
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        let place = directory.path().display().to_string();
        jobs.push(host.submit(&JOB.replace("FAMILY", family).replace("DIRECTORY", &place))?);
    }
    for job in &jobs {
        host.wait_for(job, "FINISHED", LIMIT)?;
    }
    let expected = model(&words, &numbers);
    for family in FAMILIES {
        for (branch, lines) in &expected {
            let got = text::committed(&directory.path().join(family).join(branch))?;
            if let Some(difference) = text::difference(&got, lines) {
                bail!("{family}: {branch}: {difference}");
            }
        }
    }
    Ok(())
}

/// One branch an aggregation behind one key-by; `DIRECTORY` holds input and output.
const AGGREGATIONS: [(&str, &str); 8] = [
    ("sum", "{sum: v}"),
    ("min", "{min: v}"),
    ("max", "{max: v}"),
    ("min-by-first", "{min-by: v}"),
    ("min-by-last", "{min-by: v, tie: last}"),
    ("max-by-first", "{max-by: v, tie: first}"),
    ("max-by-last", "{max-by: v, tie: last}"),
    ("count", "{count: true}"),
];

fn aggregations_job(directory: &Path) -> String {
    let directory = directory.display();
    let mut job = format!(
        "version: 1
name: aggregations
parallelism: 2
checkpointing: {{interval: 50ms}}
operators:
  - {{uid: records, source: files, config: {{path: \"{directory}/in\"}}, format: json}}
  - {{uid: by-key, key-by: {{field: k}}, inputs: [records]}}
"
    );
    for (name, rolling) in AGGREGATIONS {
        job.push_str(&format!(
            "  - {{uid: {name}, rolling: {rolling}, inputs: [by-key]}}
  - {{uid: out-{name}, sink: files, config: {{path: \"{directory}/{name}\"}}, format: json, inputs: [{name}]}}
"
        ));
    }
    job
}

/// Key, value and a number that tells records apart.
type Record = (u32, i64, u32);

fn json((key, value, number): Record) -> String {
    format!("{{\"k\":\"k{key}\",\"v\":{value},\"x\":{number}}}")
}

/// Flink's: sum, min and max change the field and keep the rest of the first record; min-by and max-by give the
/// whole record, of equals the first or the last.
fn aggregated(name: &str, records: &[Record]) -> Vec<String> {
    let mut accumulators: BTreeMap<u32, Record> = BTreeMap::new();
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    let fold = |record: &Record| {
        let (key, value, _) = *record;
        if name == "count" {
            let count = counts.entry(key).or_default();
            *count += 1;
            return format!("{{\"key\":\"k{key}\",\"count\":{count}}}");
        }
        let Some(kept) = accumulators.get_mut(&key) else {
            accumulators.insert(key, *record);
            return json(*record);
        };
        match name {
            "sum" => kept.1 += value,
            "min" => kept.1 = kept.1.min(value),
            "max" => kept.1 = kept.1.max(value),
            "min-by-first" if value < kept.1 => *kept = *record,
            "min-by-last" if value <= kept.1 => *kept = *record,
            "max-by-first" if value > kept.1 => *kept = *record,
            "max-by-last" if value >= kept.1 => *kept = *record,
            _ => {}
        }
        json(*kept)
    };
    let mut lines: Vec<String> = records.iter().map(fold).collect();
    lines.sort();
    lines
}

#[test]
fn every_built_in_aggregation_gives_in_a_job_what_the_model_gives() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let record = |n: u32| (n * n % 11, i64::from(n * 7919 % 23) - 9, n);
    let records: Vec<Record> = (0..500).map(record).collect();
    let lines: Vec<String> = records.iter().copied().map(json).collect();
    write(&directory.path().join("in"), &lines)?;
    let host = Host::start(&directory.path().join("data"), &[])?;
    let job = host.submit(&aggregations_job(directory.path()))?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    for (name, _) in AGGREGATIONS {
        let got = text::committed(&directory.path().join(name))?;
        if let Some(difference) = text::difference(&got, &aggregated(name, &records)) {
            bail!("{name}: {difference}");
        }
    }
    Ok(())
}
