//! The queries of Nexmark, each by the job file that is shipped with it, against a plain model of what it asks.
//!
//! The events are those of the host's own source: a job without a component writes them down for the model.

mod model;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use wasmill_tests::example::Example;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::text;

use model::Events;

/// What the shipped jobs read.
const SHIPPED: &str = "{events: 100000, events-per-second: 1000}";

/// What they read here: a minute, slowly enough that checkpoints fall into it.
const READ: &str = "{events: 6000, events-per-second: 100, seed: 7, rate: 12000}";

/// Writes down the events that the queries read.
fn events(example: &Example, host: &Host) -> Result<(Vec<String>, Events)> {
    let job = format!(
        "version: 1
name: events
operators:
  - {{uid: events, source: nexmark, config: {READ}, format: json}}
  - {{uid: out, sink: files, config: {{path: out/events}}, format: json, inputs: [events]}}
"
    );
    let job = host.submit(&job)?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    let lines = text::committed(&example.path("out/events"))?;
    ensure!(lines.len() == 6_000, "{} events", lines.len());
    let events = Events::parse(&lines)?;
    Ok((lines, events))
}

/// Runs the shipped job of a query and compares what it committed.
fn query(example: &Example, host: &Host, name: &str, expected: Vec<String>) -> Result<()> {
    let file = format!("jobs/{name}.yaml");
    example.edit_file(&file, SHIPPED, READ)?;
    example.edit_file(&file, "interval: 1s", "interval: 50ms")?;
    let job = example.submit_file(host, &file)?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    let checkpoints = host.completed_checkpoints(&job)?;
    ensure!(checkpoints > 2, "{name}: {checkpoints} checkpoints");
    compare(&example.path(&format!("out/{name}")), expected)
}

fn compare(directory: &Path, mut expected: Vec<String>) -> Result<()> {
    let place = directory.display();
    ensure!(
        !expected.is_empty(),
        "{place}: the model expects nothing: mend the test"
    );
    expected.sort();
    match text::difference(&text::committed(directory)?, &expected) {
        None => Ok(()),
        Some(difference) => bail!("{place}: {difference}"),
    }
}

#[test]
fn nexmark_queries_of_single_events_and_joins_give_what_the_model_gives() -> Result<()> {
    let example = Example::copy("nexmark")?;
    let host = example.host(&[])?;
    let (lines, events) = events(&example, &host)?;
    query(&example, &host, "q0", lines)?;
    query(&example, &host, "q1", events.in_euros())?;
    query(&example, &host, "q2", events.selected())?;
    query(&example, &host, "q3", events.local_items())?;
    query(&example, &host, "q4", events.averages_of_categories())?;
    query(&example, &host, "q6", events.averages_of_sellers())
}

#[test]
fn nexmark_queries_of_windows_give_what_the_model_gives() -> Result<()> {
    let example = Example::copy("nexmark")?;
    let host = example.host(&[])?;
    let (_, events) = events(&example, &host)?;
    query(&example, &host, "q5", events.hot_items())?;
    query(&example, &host, "q7", events.highest_bids())?;
    query(&example, &host, "q8", events.new_sellers())?;
    query(&example, &host, "q11", events.sessions())
}

/// The clock in which query 12 counts is driven by a tape: so much for each event.
const CLOCK_MS: i64 = 37;

#[test]
fn nexmark_windows_of_processing_time_give_what_the_model_gives() -> Result<()> {
    let example = Example::copy("nexmark")?;
    let host = example.host(&[])?;
    let (lines, _) = events(&example, &host)?;
    let (mut tape, mut bids) = (String::new(), Vec::new());
    for (number, line) in (0..).zip(&lines) {
        let mut event: Value = serde_json::from_str(line)?;
        let clock = number * CLOCK_MS;
        if let Some(bidder) = event["bid"]["bidder"].as_u64() {
            bids.push((bidder, clock));
        }
        event["ts"] = json!(0);
        tape.push_str(&format!("{{\"processing-time\":{clock}}}\n{event}\n"));
    }
    // Windows of processing time that are open at the end of the input are lost.
    let end = lines.len() as i64 * CLOCK_MS + 10_000;
    tape.push_str(&format!("{{\"processing-time\":{end}}}\n"));
    example.write("tape.jsonl", &tape)?;
    let file = "jobs/q12.yaml";
    example.edit_file(file, "source: nexmark", "source: tape")?;
    example.edit_file(
        file,
        "{rate: 1000, events-per-second: 1000}",
        "{path: tape.jsonl, steps: runs}",
    )?;
    let job = example.submit_file(&host, file)?;
    host.wait_for(&job, "FINISHED", LIMIT)
        .context("the job of the tape")?;
    compare(&example.path("out/q12"), model::counts_of_windows(&bids, 10_000))
}
