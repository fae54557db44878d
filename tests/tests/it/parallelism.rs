//! The four places where parallelism is said, and the slots that bound it, through the running host.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::host::{Host, LIMIT};

/// `job` and `operator` are the lines that say a parallelism, or nothing.
fn job(job: &str, operator: &str) -> String {
    format!(
        "version: 1
name: parallelism
{job}
operators:
  - {{uid: events, source: datagen, config: {{template: \"{{i}}\", rate: 10}}}}
  - {{uid: out, sink: discard, inputs: [events]{operator}}}
"
    )
}

/// The parallelism of each operator of a running job, which is cancelled then.
fn parallelisms(host: &Host, job: &str) -> Result<BTreeMap<String, u64>> {
    host.wait_for(job, "RUNNING", LIMIT)?;
    let detail = host.get_ok(&format!("/v1/jobs/{job}"))?;
    let mut found = BTreeMap::new();
    for vertex in detail["vertices"].as_array().context("no vertices")? {
        let parallelism = vertex["parallelism"].as_u64().context("no parallelism")?;
        for name in vertex["name"].as_str().unwrap_or_default().split(" -> ") {
            let name = name.rsplit(": ").next().unwrap_or_default();
            found.insert(name.to_owned(), parallelism);
        }
    }
    host.patch(&format!("/v1/jobs/{job}?mode=cancel"))?;
    host.wait_for(job, "CANCELED", LIMIT)?;
    Ok(found)
}

#[test]
fn parallelism_rises_in_priority_from_host_to_submission_to_job_to_operator() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[("WASMILL_PARALLELISM", "2")])?;
    // What is said in the job, at the operator and at submit; what source and sink get.
    let cases = [
        ("", "", "", (2, 2)),
        ("", "", "?parallelism=3", (3, 3)),
        ("parallelism: 4", "", "?parallelism=3", (4, 4)),
        ("parallelism: 4", ", parallelism: 1", "?parallelism=3", (4, 1)),
        ("", ", parallelism: 5", "", (2, 5)),
    ];
    for (of_job, of_operator, query, (source, sink)) in cases {
        let id = host.submit_with(&job(of_job, of_operator), query)?;
        let found = parallelisms(&host, &id)?;
        let expected = BTreeMap::from([("events".to_owned(), source), ("out".to_owned(), sink)]);
        ensure!(found == expected, "{of_job} {of_operator} {query}: {found:?}");
    }
    Ok(())
}

#[test]
fn a_parallelism_that_has_no_effect_is_warned_of() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    let text = job("parallelism: 1", "");
    let (status, answer) = host.post(
        "/v1/jobs/validate?parallelism=3",
        "application/yaml",
        text.as_bytes(),
    )?;
    ensure!(status == 200, "{answer}");
    let warnings: Vec<&str> = answer["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure!(
        warnings
            .iter()
            .any(|w| w.starts_with("job:3:14: ") && w.contains("the parallelism 3 of the submission")),
        "{warnings:?}"
    );
    Ok(())
}

#[test]
fn a_parallelism_above_the_free_slots_is_refused_with_what_to_do() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    let submit = |parallelism: u32| {
        let text = job(&format!("parallelism: {parallelism}"), "");
        host.post("/v1/jobs?file=job.yaml", "application/yaml", text.as_bytes())
    };
    let (status, answer) = submit(17)?;
    let error = answer["errors"][0].as_str().unwrap_or_default();
    ensure!(
        status == 400
            && error.starts_with("job.yaml:3:14: ")
            && error.contains("needs 17 slots and the host has 16"),
        "{status} {answer}"
    );
    let (status, answer) = submit(10)?;
    ensure!(status == 200, "{answer}");
    let (status, answer) = submit(7)?;
    let error = answer["errors"][0].as_str().unwrap_or_default();
    ensure!(
        status == 409 && error.contains('7') && error.contains("6 are free"),
        "{status} {answer}"
    );
    Ok(())
}
