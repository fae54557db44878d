//! `open`, `close` and the runtime context of functions in a running job: at a restart, at the end, at a cancel.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text, wait};

use crate::FAMILIES;

/// Its source is one subtask that deals in turn, so that both subtasks of the function have records. No
/// checkpoint but the final one: nothing of the first attempt is committed.
fn job(family: &str, source: &str, out: &Path) -> String {
    format!(
        "version: 1
name: lifecycle
parallelism: 2
checkpointing: {{interval: 1h}}
restart: {{strategy: fixed-delay, attempts: 3, delay: 10ms}}
plugins: {{functions: {family}}}
operators:
  - {{uid: values, {source}, format: lines, parallelism: 1}}
  - {{uid: dealt, partition: rebalance, inputs: [values]}}
  - {{uid: told, function: functions/lifecycle, config: {{tag: {family}}}, inputs: [dealt]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [told]}}
",
        out.display()
    )
}

/// How often a job's functions logged each message.
fn logged(host: &Host, job: &str) -> Result<BTreeMap<String, u32>> {
    let mut messages = BTreeMap::new();
    for line in host.log_lines()? {
        let Ok(line) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if line["target"] != "wasmill::guest" || line["job"] != job {
            continue;
        }
        ensure!(
            line["operator"] == "told" && line["function"] == "lifecycle",
            "{line}"
        );
        let message = line["message"].as_str().context("a line without a message")?;
        *messages.entry(message.to_owned()).or_default() += 1;
    }
    Ok(messages)
}

/// Each subtask of an attempt was opened once and closed once.
fn expect_opened_and_closed(host: &Host, job: &str, family: &str, attempt: u32) -> Result<()> {
    let messages = logged(host, job)?;
    for what in ["opened", "closed"] {
        for subtask in 0..2 {
            let message = format!("{what} {subtask}/2 attempt {attempt} {family}");
            ensure!(
                messages.get(&message) == Some(&1),
                "`{message}` is not there once: {messages:?}"
            );
        }
    }
    Ok(())
}

/// The vertex that runs the function: its id and name.
fn vertex(host: &Host, job: &str) -> Result<(String, String)> {
    let detail = host.get_ok(&format!("/v1/jobs/{job}"))?;
    let vertices = detail["vertices"].as_array().context("no vertices")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let vertex = vertices
        .iter()
        .find(|vertex| text(&vertex["name"]).contains("told"));
    let vertex = vertex.with_context(|| detail.to_string())?;
    Ok((text(&vertex["id"]), text(&vertex["name"])))
}

fn check_restarted(host: &Host, job: &str, family: &str, out: &Path) -> Result<()> {
    let (id, name) = vertex(host, job)?;
    let mut expected: Vec<String> = (0..10)
        .map(|n| format!("{}/2 attempt 1 {family} {name}", n % 2))
        .collect();
    expected.sort();
    if let Some(difference) = text::difference(&text::committed(out)?, &expected) {
        bail!("{family}: {difference}");
    }
    expect_opened_and_closed(host, job, family, 1)?;
    let messages = logged(host, job)?;
    let first = |what: &str| {
        let names = (0..2).map(|subtask| format!("{what} {subtask}/2 attempt 0 {family}"));
        names.filter(|name| messages.contains_key(name)).count()
    };
    ensure!(
        first("opened") >= 1 && first("closed") < first("opened"),
        "a function that failed is not closed: {messages:?}"
    );
    // What the function counted, since the attempt began.
    let ids = ["0.told.lifecycle_values", "1.told.lifecycle_values"];
    let metrics = host.get_ok(&format!(
        "/v1/jobs/{job}/vertices/{id}/metrics?get={}",
        ids.join(",")
    ))?;
    let mut values: Vec<&str> = (0..2).filter_map(|at| metrics[at]["value"].as_str()).collect();
    values.sort_unstable();
    ensure!(values == ["5", "6"], "{family}: {metrics}");
    Ok(())
}

#[test]
fn a_function_is_opened_and_closed_once_and_knows_where_it_runs() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    std::fs::create_dir_all(at("in"))?;
    std::fs::write(at("in/values.txt"), format!("until 1\n{}", "?\n".repeat(10)))?;
    let host = Host::start(&at("data"), &[("WASMILL_LOG_FORMAT", "json")])?;
    let bounded = format!("source: files, config: {{path: \"{}\"}}", at("in").display());
    let endless = "source: datagen, config: {template: \"{i}\", rate: 200}";
    let mut jobs = Vec::new();
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        let submit = |source: &str, name: &str| host.submit(&job(family, source, &at(name).join(family)));
        jobs.push((family, submit(&bounded, "out")?, submit(endless, "endless")?));
    }
    for (family, restarted, cancelled) in &jobs {
        host.wait_for(restarted, "FINISHED", LIMIT)?;
        check_restarted(&host, restarted, family, &at("out").join(family))?;

        wait::until("the endless job is opened", LIMIT, || {
            let messages = logged(&host, cancelled)?;
            Ok(if messages.len() == 2 {
                Ok(())
            } else {
                Err(format!("{messages:?}"))
            })
        })?;
        let (status, answer) = host.patch(&format!("/v1/jobs/{cancelled}?mode=cancel"))?;
        ensure!(status == 202, "{status} {answer}");
        host.wait_for(cancelled, "CANCELED", LIMIT)?;
        expect_opened_and_closed(&host, cancelled, family, 0)?;
    }
    Ok(())
}
