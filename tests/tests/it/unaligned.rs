//! Unaligned checkpoints (C3) through the real host: they do not wait for a slow operator, and what they overtook is
//! there once after a change of parallelism and a kill.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::service::{Reply, Service};
use wasmill_tests::{guests, text};

/// So many that the barrier behind them takes minutes while the service is slow.
const USERS: u64 = 4_000;

const UNALIGNED: &str = "unaligned: true";

/// Of a slow answer; each record takes two.
const PAUSE: Duration = Duration::from_millis(50);

struct Job<'a> {
    service: &'a str,
    directory: &'a Path,
    out: &'a str,
    /// What is said of checkpoints beside their interval.
    checkpointing: &'a str,
    parallelism: u32,
}

impl Job<'_> {
    fn text(&self) -> String {
        let Self {
            service,
            directory,
            out,
            checkpointing,
            parallelism,
        } = self;
        let directory = directory.display();
        format!(
            "version: 1
name: {out}
checkpointing: {{interval: 50ms, {checkpointing}, retain-on-cancel: true}}
plugins: {{enrich: enrich}}
operators:
  - {{uid: users, source: files, config: {{path: \"{directory}/in\"}}, format: lines}}
  - {{uid: by-user, key-by: {{value: true}}, inputs: [users]}}
  - uid: city
    async: {{function: enrich/enrich, order: ordered, capacity: 1, timeout: 10min}}
    grants: {{http: {{hosts: [\"{service}\"]}}}}
    config: {{service: \"http://{service}\"}}
    parallelism: {parallelism}
    inputs: [by-user]
  - {{uid: out, sink: files, config: {{path: \"{directory}/{out}\"}}, format: lines, inputs: [city]}}
"
        )
    }
}

/// The newest checkpoint says that records were overtaken, where, and that it took at least so many ms.
fn check_overtaking(host: &Host, job: &str, least_ms: u64) -> Result<()> {
    let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
    let newest = &checkpoints["latest"]["completed"];
    ensure!(
        newest["checkpoint_type"] == "UNALIGNED_CHECKPOINT"
            && newest["persisted_data"].as_u64() > Some(0)
            && newest["end_to_end_duration"].as_u64() >= Some(least_ms),
        "{newest}"
    );
    println!("{} ms", newest["end_to_end_duration"]);
    let details = host.get_ok(&format!("/v1/jobs/{job}/checkpoints/details/{}", newest["id"]))?;
    let mut overtook = 0;
    let mut persisted = 0;
    for vertex in details["tasks"].as_object().into_iter().flatten() {
        let path = format!(
            "/v1/jobs/{job}/checkpoints/details/{}/subtasks/{}",
            newest["id"], vertex.0
        );
        for subtask in host.get_ok(&path)?["subtasks"].as_array().into_iter().flatten() {
            overtook += u64::from(subtask["unaligned_checkpoint"] == true);
            persisted += subtask["alignment"]["persisted"].as_u64().unwrap_or(0);
        }
    }
    ensure!(
        overtook > 0 && Some(persisted) == newest["persisted_data"].as_u64(),
        "{overtook} subtasks, {persisted} bytes: {newest}"
    );
    Ok(())
}

#[test]
fn an_unaligned_checkpoint_does_not_wait_for_a_slow_operator_and_holds_what_it_overtook() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (directory, data) = (scratch.path(), scratch.path().join("data"));
    std::fs::create_dir(directory.join("in"))?;
    let lines: String = (0..USERS).map(|n| format!("u{n}\n")).collect();
    std::fs::write(directory.join("in/users.txt"), lines)?;
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    let service = Service::start(move |path, _| Reply {
        pause: if is_slow.load(Ordering::Relaxed) {
            PAUSE
        } else {
            Duration::ZERO
        },
        ..Reply::ok(path.chars().filter(char::is_ascii_digit).collect::<String>())
    })?;
    let mut host = Host::start(&data, &[])?;
    host.upload("enrich", &guests::rust_component("enrich")?)?;
    let job = |out, checkpointing, parallelism| Job {
        service: &service.address,
        directory,
        out,
        checkpointing,
        parallelism,
    };
    let aligned = host.submit(&job("aligned", "unaligned: false", 2).text())?;
    let unaligned = host.submit(&job("unaligned", UNALIGNED, 2).text())?;
    // Aligned for a while first: the barriers overtake on their way.
    let switching = "unaligned: true, aligned-checkpoint-timeout: 200ms";
    let switching = host.submit(&job("switching", switching, 2).text())?;
    for _ in 0..3 {
        host.wait_for_a_new_checkpoint(&unaligned)?;
    }
    host.wait_for_a_new_checkpoint(&switching)?;
    check_overtaking(&host, &unaligned, 0)?;
    check_overtaking(&host, &switching, 200)?;
    ensure!(
        host.completed_checkpoints(&aligned)? == 0,
        "the aligned job has completed a checkpoint: the service is not slow enough for this test"
    );
    // Its records in flight go to other subtasks.
    let (status, _) = host.patch(&format!("/v1/jobs/{unaligned}?mode=cancel"))?;
    ensure!(status == 202, "cancel: {status}");
    host.wait_for(&unaligned, "CANCELED", LIMIT)?;
    let checkpoints = host.get_ok(&format!("/v1/jobs/{unaligned}/checkpoints"))?;
    let path = checkpoints["latest"]["completed"]["external_path"]
        .as_str()
        .context("no external path")?;
    let rescaled = job("unaligned", UNALIGNED, 3).text();
    let rescaled = host.submit_with(&rescaled, &format!("?savepointPath={path}"))?;
    host.wait_for_a_new_checkpoint(&rescaled)?;
    host.kill()?;
    slow.store(false, Ordering::Relaxed);
    host = Host::start(&data, &[])?;
    let expected = || {
        let mut lines: Vec<String> = (0..USERS).map(|n| format!("u{n},{n}")).collect();
        lines.sort();
        lines
    };
    for (job, out) in [
        (rescaled, "unaligned"),
        (aligned, "aligned"),
        (switching, "switching"),
    ] {
        host.wait_for(&job, "FINISHED", LIMIT)?;
        if let Some(difference) = text::difference(&text::committed(&directory.join(out))?, &expected()) {
            bail!("{out}: {difference}");
        }
    }
    Ok(())
}
