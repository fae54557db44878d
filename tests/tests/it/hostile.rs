//! Hostile components beside healthy jobs: each fails its own job with one error that names plugin,
//! function, subtask and cause; the host and its other jobs go on.

use anyhow::{Result, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, wait};

/// A function of `plugins/hostile` and what the error must contain. A Rust guest keeps its stack in linear
/// memory: an overflow shows as an access below it.
const HOSTILE: &[(&str, &[&str])] = &[
    ("trap", &["unreachable", "record", "at __rust"]),
    ("poison", &["record", "poison"]),
    ("loop", &["limit call-ms-max = 300", "record"]),
    ("allocate", &["limit memory-bytes-max = 67108864"]),
    ("recurse", &["out of bounds memory access", "hostile::recurse"]),
    ("emit-flood", &["limits.output-bytes-max"]),
    ("error-bad-record", &["hostile bad record", "record"]),
    ("error-retry", &["hostile retry"]),
    ("error-failed", &["hostile failed"]),
    ("error-message-huge", &["huge"]),
    ("error-of-unknown-row", &["1000000"]),
    ("error-kind-unknown", &["error 9"]),
    ("call-error", &["hostile call error"]),
    ("answer-empty", &["answer"]),
    ("answer-garbage", &["answer", "version"]),
    ("answer-version", &["answer", "version 9"]),
    ("answer-section-outside", &["answer", "section"]),
    ("answer-section-unknown", &["answer", "99"]),
    ("answer-row-truncated", &["answer", "OUTPUT"]),
    ("answer-row-lies", &["answer", "OUTPUT"]),
    ("consumed-none", &["answer", "consumed"]),
    ("consumed-too-many", &["answer", "consumed"]),
    ("output-undeclared", &["answer", "7"]),
    ("output-cause-unknown", &["answer", "1000000"]),
    ("output-oversized", &["-bytes-max"]),
    ("state-undeclared", &["answer", "STATE"]),
    ("state-count-lies", &["answer", "STATE"]),
    ("state-status-unknown", &["answer", "status 7"]),
    ("write-undeclared", &["answer", "9"]),
    ("write-truncated", &["answer", "WRITES"]),
    ("timer-row-unknown", &["answer", "1000000"]),
    ("timer-domain-unknown", &["answer", "domain 5"]),
    ("host-call-garbage", &["200"]),
    ("host-call-key-unknown", &["1000000"]),
    ("metric-unknown", &["answer", "1000000"]),
    ("open-trap", &["unreachable"]),
    ("open-loop", &["limit open-ms-max = 500"]),
    ("open-error", &["hostile open error"]),
    ("snapshot-trap", &["unreachable"]),
    ("snapshot-error", &["hostile snapshot error"]),
];

fn hostile_job(function: &str) -> String {
    // Short for the endless loops alone: on a busy machine any call may take that long.
    let call_ms = if function == "loop" { 300 } else { 30_000 };
    let open_ms = if function == "open-loop" { 500 } else { 30_000 };
    format!(
        "version: 1
name: hostile-{function}
checkpointing: {{interval: 50ms}}
restart: {{strategy: none}}
limits: {{call-ms-max: {call_ms}, open-ms-max: {open_ms}, memory-bytes-max: 67108864}}
plugins: {{hostile: hostile}}
operators:
  - {{uid: events, source: datagen, config: {{template: \"{{i}}\", rate: 1000}}, format: lines}}
  - {{uid: poisoned, source: files, config: {{path: \"POISON\"}}, format: lines}}
  - {{uid: all, union: true, inputs: [events, poisoned]}}
  - {{uid: by-value, key-by: {{value: true}}, inputs: [all]}}
  - {{uid: bad, function: hostile/{function}, inputs: [by-value]}}
  - {{uid: out, sink: discard, inputs: [bad]}}
"
    )
}

fn healthy_job(name: &str, output: &std::path::Path) -> String {
    format!(
        "version: 1
name: {name}
parallelism: 2
checkpointing: {{interval: 100ms}}
plugins: {{counts: counts}}
operators:
  - {{uid: events, source: datagen, config: {{template: \"w{{i%50}}\", rate: 500}}, format: csv}}
  - {{uid: by-word, key-by: {{field: \"0\"}}, inputs: [events]}}
  - {{uid: count, function: counts/keyed-count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, inputs: [count]}}
",
        output.display()
    )
}

#[test]
fn a_hostile_component_fails_its_own_job_and_no_other() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let poison = directory.path().join("poison.txt");
    std::fs::write(&poison, "poison\n")?;
    let host = Host::start(&directory.path().join("data"), &[])?;
    host.upload("counts", &guests::rust_component("keyed_count")?)?;
    host.upload("hostile", &guests::rust_component("hostile")?)?;
    let healthy = [1, 2].map(|n| {
        host.submit(&healthy_job(
            &format!("healthy-{n}"),
            &directory.path().join(format!("out-{n}")),
        ))
    });
    let healthy = healthy.into_iter().collect::<Result<Vec<_>>>()?;
    for job in &healthy {
        host.wait_for(job, "RUNNING", LIMIT)?;
    }
    let mut wrong = Vec::new();
    for (function, wanted) in HOSTILE {
        let job = host.submit(&hostile_job(function).replace("POISON", &poison.display().to_string()))?;
        let error = host.failure(&job)?;
        let named = ["bad", "subtask 0", "sha256:", function];
        let missing: Vec<_> = named
            .iter()
            .chain(wanted.iter())
            .filter(|part| !error.contains(**part))
            .collect();
        if !missing.is_empty() {
            wrong.push(format!(
                "{function}: no {missing:?} in: {}",
                error.chars().take(600).collect::<String>()
            ));
        }
        if error.len() > 16 << 10 || error.chars().any(|c| c.is_control() && c != '\n') {
            wrong.push(format!(
                "{function}: the error of {} bytes is not bounded and printable",
                error.len()
            ));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        HOSTILE.len(),
        wrong.join("\n")
    );
    for job in &healthy {
        let before = host.completed_checkpoints(job)?;
        wait::until("a healthy job goes on", LIMIT, || {
            ensure!(
                host.state(job)? == "RUNNING",
                "a healthy job is {}",
                host.state(job)?
            );
            let now = host.completed_checkpoints(job)?;
            Ok(if now > before + 2 {
                Ok(())
            } else {
                Err(format!("{now} checkpoints"))
            })
        })?;
        let exceptions = host.get_ok(&format!("/v1/jobs/{job}/exceptions"))?;
        let entries = exceptions["exceptionHistory"]["entries"]
            .as_array()
            .map_or(0, Vec::len);
        ensure!(entries == 0, "a healthy job had failures: {exceptions}");
    }
    Ok(())
}
