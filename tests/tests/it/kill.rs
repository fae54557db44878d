//! Kills the real host with SIGKILL and compares what was committed with what counting must give.
//!
//! A kill counts only if the job was RUNNING and a checkpoint had completed since the last one. Half of the
//! kills fall at a random instant, the others while the host stands at a step of a checkpoint.
//! `WASMILL_KILLS` sets how many a test makes; `WASMILL_SEED` the instants.

use std::collections::BTreeMap;
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

/// What is killed.
#[derive(Clone, Copy)]
struct Subject {
    /// The state backend.
    backend: &'static str,
    /// What is said of checkpoints.
    checkpointing: &'static str,
    /// Settings of the host.
    environment: &'static [(&'static str, &'static str)],
    /// Steps at which the host is killed, in turn.
    steps: &'static [&'static str],
}

const MEMORY: Subject = Subject {
    backend: "memory",
    checkpointing: "{interval: 100ms}",
    environment: &[],
    steps: &["manifest-written", "before-commit"],
};

/// With a cache that holds a few of the words, so that they are read from tables.
const ROCKSDB: Subject = Subject {
    backend: "rocksdb",
    checkpointing: "{interval: 50ms, incremental: true}",
    environment: &[("WASMILL_ROCKSDB_CACHE_SIZE", "8KiB")],
    steps: &[
        "snapshot-written",
        "before-manifest",
        "manifest-written",
        "before-commit",
        "after-commit",
        "before-delete",
    ],
};

struct Campaign {
    _directory: tempfile::TempDir,
    subject: Subject,
    data: PathBuf,
    input: PathBuf,
    output: PathBuf,
    random: u64,
}

impl Campaign {
    fn new(subject: Subject, lines: u32, seed: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let (data, input, output) = (at("data"), at("in"), at("out"));
        text::write(&input, 8, lines, seed)?;
        Ok(Self {
            _directory: directory,
            subject,
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
        job(self.subject, &self.input, &self.output, rate)
    }

    /// Starts the host; it stands still at a step of a checkpoint where one is given.
    fn start(&mut self, step: Option<&str>) -> Result<Host> {
        // Not before the first checkpoint is complete: four subtasks write a part of each.
        let nth = match step {
            Some("snapshot-written") => 9 + self.below(8),
            _ => 2 + self.below(3),
        };
        let pause = step.map(|step| format!("{step}:{nth}"));
        let mut environment = self.subject.environment.to_vec();
        environment.extend(pause.as_deref().map(|at| ("WASMILL_PAUSE_AT", at)));
        Host::start(&self.data, &environment)
    }

    fn compare(&self) -> Result<usize> {
        let got = text::committed(&self.output)?;
        let difference = text::difference(&got, &text::expected_counts(&self.input)?);
        ensure!(
            difference.is_none(),
            "the committed output differs: {difference:?}"
        );
        Ok(got.len())
    }
}

/// Every word of the input emits a line, so that any loss or repetition shows.
fn job(subject: Subject, input: &Path, output: &Path, rate: Option<u32>) -> String {
    let rate = rate.map_or(String::new(), |rate| format!(", rate: {rate}"));
    let Subject {
        backend,
        checkpointing,
        ..
    } = subject;
    format!(
        "version: 1
name: kill
parallelism: 2
state-backend: {backend}
checkpointing: {checkpointing}
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

/// Kills the host as often as is said, and compares what was committed in the end. The kills, by phase.
fn kill(subject: Subject, default: u64) -> Result<BTreeMap<&'static str, u64>> {
    let kills = from_environment("WASMILL_KILLS", default);
    let seed = from_environment("WASMILL_SEED", 1);
    let mut campaign = Campaign::new(subject, 400 + 150 * kills as u32, seed)?;
    let host = campaign.start(None)?;
    host.upload("words", &guests::rust_component("word_count")?)?;
    // Slow enough that the input outlives the kills.
    let job = host.submit(&campaign.job(Some(1_500)))?;
    let (mut phases, mut host) = (BTreeMap::new(), Some(host));
    for kill in 0..kills as usize {
        let step = (kill % 2 == 1).then(|| subject.steps[kill / 2 % subject.steps.len()]);
        let running = match host.take() {
            Some(host) => host,
            None => campaign.start(step)?,
        };
        ensure!(
            wait_until_a_kill_counts(&running, &job)?,
            "the input ended after {kill} kills"
        );
        if let Some(step) = step {
            wait_until_paused(&running, step)?;
        } else {
            let (pause, started) = (Duration::from_millis(campaign.below(150)), Instant::now());
            while started.elapsed() < pause {
                std::thread::park_timeout(pause);
            }
        }
        *phases.entry(step.unwrap_or("at a random instant")).or_default() += 1;
        running.kill()?;
    }
    let host = campaign.start(None)?;
    host.wait_for(&job, "FINISHED", Duration::from_secs(600))?;
    println!("kills by phase: {phases:?}; {} lines", campaign.compare()?);
    Ok(phases)
}

#[test]
fn a_host_killed_at_any_instant_commits_every_result_once() -> Result<()> {
    let phases = kill(MEMORY, 12)?;
    let between = phases.get("manifest-written").copied().unwrap_or_default();
    ensure!(
        between >= phases.values().sum::<u64>() / 5,
        "only {between} kills fell between manifest and commit"
    );
    Ok(())
}

#[test]
fn a_host_on_rocksdb_killed_at_any_step_of_an_incremental_checkpoint_commits_every_result_once() -> Result<()>
{
    let phases = kill(ROCKSDB, 12)?;
    for step in ROCKSDB.steps {
        ensure!(phases.contains_key(step), "no kill fell at {step}: {phases:?}");
    }
    Ok(())
}

#[test]
fn an_undisturbed_run_and_the_model_agree() -> Result<()> {
    let mut campaign = Campaign::new(MEMORY, 500, 7)?;
    let host = campaign.start(None)?;
    host.upload("words", &guests::rust_component("word_count")?)?;
    let job = host.submit(&campaign.job(None))?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    campaign.compare()?;
    Ok(())
}
