//! Windows, connected streams, broadcast state, joins and partitions in jobs that are killed and started again with
//! another parallelism: what they commit is what an undisturbed job commits.
//!
//! A kill counts only if the jobs were RUNNING and each had completed a checkpoint since the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text};

/// The components: by the SDK and by bare bindings, each with the one that partitions.
const FAMILIES: [(&str, &str); 2] = [("oracle", "conformance"), ("oracle_typed", "conformance_typed")];

/// Records of the first source, one for each millisecond of event time.
const EVENTS: u64 = 8_000;
/// Of the second.
const OTHERS: u64 = 4_000;
/// Records a second while a job is disturbed: so it outlives the kills.
const RATE: u64 = 1_600;

/// Windows whose results do not depend on when a watermark comes.
const WINDOWS: &[(&str, &str)] = &[
    (
        "tumbling",
        "tumbling: {size: 200ms}, function: {aggregate: o/stats, process: o/bounds}",
    ),
    (
        "tumbling-count",
        "tumbling: {size: 150ms}, function: {count: true}",
    ),
    (
        "sliding-count",
        "sliding: {size: 400ms, slide: 100ms}, function: {count: true}",
    ),
    (
        "sliding",
        "sliding: {size: 300ms, slide: 100ms}, function: {process: o/elements}",
    ),
    (
        "session",
        "session: {gap: 20ms}, function: {reduce: o/plus, process: o/elements}",
    ),
    (
        "dynamic-session",
        "assigner: o/session-dynamic, function: {process: o/elements}",
    ),
    (
        "context",
        "tumbling: {size: 250ms}, function: {process: o/context}",
    ),
    ("count", "count: {size: 5}, function: {reduce: o/plus}"),
    (
        "evicted",
        "global: never, trigger: {count: 7, purging: true}, evictor: {count: 3}, function: {process: o/elements}",
    ),
    (
        "all",
        "tumbling: {size: 100ms}, all: true, function: {aggregate: o/stats}",
    ),
];

const PARTITIONS: [&str; 5] = ["shuffle", "rebalance", "rescale", "global", "broadcast"];

fn job(
    directory: &Path,
    out: &str,
    (functions, partition): (&str, &str),
    parallelism: u32,
    rate: Option<u64>,
) -> String {
    let directory = directory.display();
    let file = |uid: &str, format: &str, records: u64| {
        let rate = rate.map_or(String::new(), |rate| {
            format!(", rate: {}", rate * records / EVENTS)
        });
        let time = match format {
            "json" => ", watermarks: {timestamp: {field: ts}, strategy: bounded, disorder: 0s}",
            _ => "",
        };
        format!(
            "  - {{uid: {uid}, source: files, config: {{path: \"{directory}/in/{uid}\"{rate}}}, format: {format}, parallelism: 1{time}}}\n"
        )
    };
    let mut job = format!(
        "version: 1
name: restarts-{functions}
parallelism: {parallelism}
checkpointing: {{interval: 60ms}}
restart: {{strategy: fixed-delay, attempts: 3, delay: 10ms}}
auto-watermark-interval: 20ms
plugins: {{o: {functions}, c: {partition}}}
operators:
"
    );
    let sink = |name: &str, input: &str, format: &str, rest: &str| {
        format!(
            "{rest}  - {{uid: out-{name}, sink: files, config: {{path: \"{directory}/{out}/{name}\"}}, format: {format}, inputs: [{input}]}}\n"
        )
    };
    job += &file("events", "json", EVENTS);
    job += &file("others", "json", OTHERS);
    job += &file("rules", "json", EVENTS);
    job += &file("lines", "lines", OTHERS);
    job += "  - {uid: by-key, key-by: {field: key}, inputs: [events]}
  - {uid: others-by-key, key-by: {field: key}, inputs: [others]}\n";
    for (name, window) in WINDOWS {
        let input = if name == &"all" { "events" } else { "by-key" };
        let operator = format!("  - {{uid: {name}, window: {{{window}}}, inputs: [{input}]}}\n");
        job += &sink(name, name, "json", &operator);
    }
    job += &sink("cleared", "context.cleared", "lines", "");
    let own = "  - {uid: own, window: {tumbling: {size: 200ms}, trigger: {function: o/own}, function: {aggregate: o/stats, process: o/bounds}}, inputs: [by-key]}\n";
    job += &sink("own", "own", "json", own);
    let join = "  - {uid: join, interval-join: {lower: -20ms, upper: 30ms, function: o/pair-times}, inputs: [by-key, others-by-key]}\n";
    job += &sink("join", "join", "json", join);
    let shared = "  - {uid: shared, function: o/shared, inputs: [by-key, others-by-key]}\n";
    job += &sink("shared", "shared", "json", shared);
    let rules = "  - {uid: to-all, partition: broadcast, inputs: [rules]}
  - {uid: reached, function: o/keyed-rules, inputs: [by-key, to-all]}\n";
    job += &sink("reached", "reached", "json", rules);
    for name in PARTITIONS {
        let dealt = format!(
            "  - {{uid: to-{name}, partition: {name}, inputs: [others]}}\n  - {{uid: {name}, function: o/pass, inputs: [to-{name}]}}\n"
        );
        job += &sink(name, name, "json", &dealt);
    }
    let custom = "  - {uid: to-custom, partition-custom: {function: c/partition}, inputs: [lines]}
  - {uid: custom, function: c/flat-map, inputs: [to-custom], config: {tag: t}}\n";
    job + &sink("custom", "custom", "lines", custom)
}

/// The inputs, by a plain rule.
fn write_inputs(directory: &Path) -> Result<()> {
    let events = |count: u64, step: u64| {
        let mut lines = String::new();
        for n in 0..count {
            let mixed = (n + step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            // No value is a multiple of 7: the trigger would purge.
            let (key, value, ts) = (mixed % 9, (mixed / 9 % 40) * 7 + 1, n * step);
            let _ = writeln!(
                lines,
                "{{\"key\":\"k{key}\",\"value\":{value},\"n\":{n},\"ts\":{ts}}}"
            );
        }
        lines
    };
    let rules: String = (1..5)
        .map(|n| format!("{{\"key\":\"r{n}\",\"value\":{},\"n\":0,\"ts\":0}}\n", n * 50 + 3))
        .collect();
    let lines: String = (0..OTHERS).map(|n| format!("? {n}\n")).collect();
    for (name, text) in [
        ("events", events(EVENTS, 1)),
        ("others", events(OTHERS, 2)),
        ("rules", rules),
        ("lines", lines),
    ] {
        let place = directory.join("in").join(name);
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join("all"), text)?;
    }
    Ok(())
}

fn lines(directory: &Path, out: &str, name: &str) -> Result<Vec<Value>> {
    let committed = text::committed(&directory.join(out).join(name))?;
    let parsed = committed.iter().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().context(name.to_owned())
}

/// What was committed but for the watermark that a function saw: that depends on the moment.
fn without_watermarks(directory: &Path, out: &str, name: &str) -> Result<Vec<String>> {
    let mut lines = text::committed(&directory.join(out).join(name))?;
    for line in &mut lines {
        if let Some((before, after)) = line.split_once("\"watermark\":") {
            let rest = after.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
            *line = format!("{before}{rest}");
        }
    }
    lines.sort();
    Ok(lines)
}

/// Compares all that a job has committed with the undisturbed one's, and with what is known of it.
fn check(directory: &Path, out: &str) -> Result<()> {
    let windows = WINDOWS.iter().map(|(name, _)| *name);
    for name in windows.chain(["cleared", "join"]) {
        let expected = without_watermarks(directory, "undisturbed", name)?;
        ensure!(!expected.is_empty(), "{name}: nothing to compare with");
        let got = without_watermarks(directory, out, name)?;
        let difference = text::difference(&got, &expected);
        ensure!(difference.is_none(), "{out}: {name}: {difference:?}");
    }
    let events: Vec<Value> = std::fs::read_to_string(directory.join("in/events/all"))?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    check_own(&lines(directory, out, "own")?, &events)?;
    let total: i64 = events.iter().filter_map(|event| event["value"].as_i64()).sum();
    let fired = lines(directory, out, "shared")?;
    let fired = fired.iter().filter(|line| !line["timer"].is_null());
    let fired: i64 = fired.filter_map(|line| line["total"].as_i64()).sum();
    ensure!(fired == total, "{out}: timers took {fired} of {total}");
    check_rules(&lines(directory, out, "reached")?)?;
    for name in PARTITIONS {
        let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
        for line in lines(directory, out, name)? {
            *seen.entry(line["n"].as_i64().context("no n")?).or_default() += 1;
        }
        let copies = if name == "broadcast" { 1..=3 } else { 1..=1 };
        let is_right = seen.len() as u64 == OTHERS && seen.values().all(|count| copies.contains(count));
        ensure!(
            is_right,
            "{out}: {name}: {} records, {:?}",
            seen.len(),
            seen.values().collect::<BTreeSet<_>>()
        );
    }
    check_custom(&text::committed(&directory.join(out).join("custom"))?)
}

/// A window fires early as well; it has all its elements at its end.
fn check_own(results: &[Value], events: &[Value]) -> Result<()> {
    let mut expected: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for event in events {
        let start = event["ts"].as_i64().context("no ts")? / 200 * 200;
        *expected.entry((event["key"].to_string(), start)).or_default() += 1;
    }
    let mut most: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for result in results {
        let start = result["start"].as_i64().context("no start")?;
        let count = most.entry((result["key"].to_string(), start)).or_default();
        *count = (*count).max(result["count"].as_i64().context("no count")?);
    }
    ensure!(most == expected, "own: windows with other counts");
    Ok(())
}

/// Each element once; when half of them have come, the rules have long been there.
fn check_rules(reached: &[Value]) -> Result<()> {
    let numbers: BTreeSet<_> = reached.iter().filter_map(|line| line["n"].as_u64()).collect();
    ensure!(
        reached.len() as u64 == EVENTS && numbers.len() as u64 == EVENTS,
        "rules: {} results",
        reached.len()
    );
    for line in reached
        .iter()
        .filter(|line| line["n"].as_u64() > Some(EVENTS / 2))
    {
        let value = line["value"].as_i64().context("no value")?;
        let rules = (1..5).filter(|n| value >= n * 50 + 3).map(|n| format!("r{n}"));
        let rules = Value::from(rules.collect::<Vec<_>>());
        ensure!(line["rules"] == rules, "rules: {line}");
    }
    Ok(())
}

/// Each number once, and as many places, each the one that the length of its line leads to.
fn check_custom(committed: &[String]) -> Result<()> {
    let (mut numbers, mut places) = (BTreeSet::new(), 0);
    for line in committed {
        match line.split_once('/') {
            Some(_) => places += 1,
            None => {
                let is_new = numbers.insert(line.parse::<u64>()?);
                ensure!(is_new, "custom: {line} twice");
            }
        }
    }
    ensure!(
        numbers.len() as u64 == OTHERS && places == OTHERS,
        "custom: {} numbers, {places} places",
        numbers.len()
    );
    Ok(())
}

#[test]
fn operators_of_time_and_several_streams_survive_kills_and_changes_of_parallelism() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (directory, data) = (scratch.path(), scratch.path().join("data"));
    write_inputs(directory)?;
    let mut host = Host::start(&data, &[])?;
    for (functions, partition) in FAMILIES {
        for name in [functions, partition] {
            host.upload(name, &guests::rust_component(name)?)?;
        }
    }
    let undisturbed = host.submit(&job(directory, "undisturbed", FAMILIES[0], 1, None))?;
    host.wait_for(&undisturbed, "FINISHED", LIMIT)?;

    let submit = |host: &Host, family: (&str, &str), parallelism: u32, query: &str| {
        let job = job(directory, family.0, family, parallelism, Some(RATE));
        host.submit_with(&job, query)
    };
    let mut jobs = Vec::new();
    for family in FAMILIES {
        jobs.push(submit(&host, family, 2, "")?);
    }
    for (kill, parallelism) in [3, 1, 2].into_iter().enumerate() {
        for job in &jobs {
            ensure!(
                host.state(job)? != "FINISHED",
                "the input ended after {kill} kills"
            );
            host.wait_for_a_new_checkpoint(job)?;
        }
        std::thread::sleep(Duration::from_millis(37 * (kill as u64 + 1)));
        host.kill()?;
        host = Host::start(&data, &[])?;
        for (job, family) in jobs.iter_mut().zip(FAMILIES) {
            host.wait_for_a_new_checkpoint(job)?;
            let savepoint = host.stop_with_savepoint(job)?;
            *job = submit(&host, family, parallelism, &format!("?savepointPath={savepoint}"))?;
        }
    }
    for (job, (family, _)) in jobs.iter().zip(FAMILIES) {
        host.wait_for(job, "FINISHED", LIMIT)?;
        check(directory, family)?;
    }
    Ok(())
}
