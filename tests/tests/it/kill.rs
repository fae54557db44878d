//! Kills the real host with SIGKILL and compares what was committed with what counting must give.
//!
//! A kill counts only if the job was RUNNING and a checkpoint had completed since the last one. Some
//! kills fall at a random instant, some while the host stands between the manifest and the commit.
//! `WASMILL_KILLS` sets how many (12); `WASMILL_SEED` the instants.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wasmill_tests::host::Host;
use wasmill_tests::{guests, text, wait};

const LIMIT: Duration = Duration::from_secs(60);

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

struct Campaign {
    _directory: tempfile::TempDir,
    data: PathBuf,
    input: PathBuf,
    output: PathBuf,
    random: u64,
}

impl Campaign {
    fn new(lines: u32, seed: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let (data, input, output) = (at("data"), at("in"), at("out"));
        text::write(&input, 8, lines, seed)?;
        Ok(Self {
            _directory: directory,
            data,
            input,
            output,
            random: seed | 1,
        })
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn job(&self, rate: Option<u32>) -> String {
        job(&self.input, &self.output, rate)
    }
}

/// Every word of the input emits a line, so that any loss or repetition shows.
fn job(input: &Path, output: &Path, rate: Option<u32>) -> String {
    let rate = rate.map_or(String::new(), |rate| format!(", rate: {rate}"));
    format!(
        "version: 1
name: kill
parallelism: 2
checkpointing: {{interval: 100ms}}
restart: {{strategy: fixed-delay, attempts: 3, delay: 10ms}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{}\"{rate}}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
        input.display(),
        output.display()
    )
}

/// Waits until the job runs and a checkpoint has completed since this host started.
fn wait_until_a_kill_counts(host: &Host, job: &str) -> Result<bool> {
    wait::until("a checkpoint completes", LIMIT, || {
        let state = host.state(job)?;
        ensure!(
            state != "FAILED",
            "the job failed: {}",
            host.get_ok(&format!("/v1/jobs/{job}/exceptions"))?
        );
        if state == "FINISHED" {
            return Ok(Ok(false));
        }
        let completed = host.completed_checkpoints(job)?;
        Ok(if state == "RUNNING" && completed > 0 {
            Ok(true)
        } else {
            Err(format!("{state}, {completed} checkpoints"))
        })
    })
}

/// Waits until the host says that it stands at the step.
fn wait_until_paused(host: &Host, step: &str) -> Result<()> {
    wait::until("the host pauses", LIMIT, || {
        let log = host.log();
        let seen = log
            .lines()
            .rev()
            .take(20)
            .any(|line| line.contains("paused at") && line.contains(step));
        Ok(if seen { Ok(()) } else { Err("not yet".to_owned()) })
    })
}

#[test]
fn a_host_killed_at_any_instant_commits_every_result_once() -> Result<()> {
    let kills = from_environment("WASMILL_KILLS", 12);
    let seed = from_environment("WASMILL_SEED", 1);
    let mut campaign = Campaign::new(400 + 150 * kills as u32, seed)?;
    let words = guests::rust_component("word_count")?;
    let host = Host::start(&campaign.data, &[])?;
    host.upload("words", &words)?;
    // Slow enough that the input outlives the kills.
    let job = host.submit(&campaign.job(Some(1_500)))?;
    let (mut at_random, mut at_commit, mut host) = (0, 0, Some(host));
    while at_random + at_commit < kills {
        let paused = (at_random + at_commit) % 4 == 3;
        let running = match host.take() {
            Some(host) => host,
            None if paused => {
                let step = format!("manifest-written:{}", 2 + campaign.below(3));
                Host::start(&campaign.data, &[("WASMILL_PAUSE_AT", &step)])?
            }
            None => Host::start(&campaign.data, &[])?,
        };
        ensure!(
            wait_until_a_kill_counts(&running, &job)?,
            "the input ended after {} kills",
            at_random + at_commit
        );
        if paused {
            wait_until_paused(&running, "manifest-written")?;
            at_commit += 1;
        } else {
            let pause = Duration::from_millis(campaign.below(150));
            let started = Instant::now();
            while started.elapsed() < pause {
                std::thread::park_timeout(pause);
            }
            at_random += 1;
        }
        running.kill()?;
    }
    let host = Host::start(&campaign.data, &[])?;
    host.wait_for(&job, "FINISHED", Duration::from_secs(600))?;
    let (got, expected) = (
        text::committed(&campaign.output)?,
        text::expected_counts(&campaign.input)?,
    );
    println!(
        "{at_random} kills at random instants, {at_commit} between manifest and commit; {} lines",
        got.len()
    );
    ensure!(
        at_commit >= kills / 5,
        "only {at_commit} of {kills} kills fell between manifest and commit"
    );
    match text::difference(&got, &expected) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the committed output differs: {difference}"),
    }
}

#[test]
fn an_undisturbed_run_and_the_model_agree() -> Result<()> {
    let campaign = Campaign::new(500, 7)?;
    let host = Host::start(&campaign.data, &[])?;
    host.upload("words", &guests::rust_component("word_count")?)?;
    let job = host.submit(&campaign.job(None))?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    let (got, expected) = (
        text::committed(&campaign.output)?,
        text::expected_counts(&campaign.input)?,
    );
    ensure!(
        text::difference(&got, &expected).is_none(),
        "{:?}",
        text::difference(&got, &expected)
    );
    Ok(())
}
