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

/// Of a slow answer; each record takes two.
const PAUSE: Duration = Duration::from_millis(50);

struct Job<'a> {
    service: &'a str,
    directory: &'a Path,
    out: &'a str,
    unaligned: bool,
    parallelism: u32,
}

impl Job<'_> {
    fn text(&self) -> String {
        let Self {
            service,
            directory,
            out,
            unaligned,
            parallelism,
        } = self;
        let directory = directory.display();
        format!(
            "version: 1
name: {out}
checkpointing: {{interval: 50ms, unaligned: {unaligned}, retain-on-cancel: true}}
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
    let job = |out, unaligned, parallelism| Job {
        service: &service.address,
        directory,
        out,
        unaligned,
        parallelism,
    };
    let aligned = host.submit(&job("aligned", false, 2).text())?;
    let unaligned = host.submit(&job("unaligned", true, 2).text())?;
    for _ in 0..3 {
        host.wait_for_a_new_checkpoint(&unaligned)?;
    }
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
    let rescaled = job("unaligned", true, 3).text();
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
    for (job, out) in [(rescaled, "unaligned"), (aligned, "aligned")] {
        host.wait_for(&job, "FINISHED", LIMIT)?;
        if let Some(difference) = text::difference(&text::committed(&directory.join(out))?, &expected()) {
            bail!("{out}: {difference}");
        }
    }
    Ok(())
}
