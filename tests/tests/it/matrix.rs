//! Every backend, way of aligning, change of parallelism and kind of snapshot, each with each: what a job has committed
//! in the end is the same.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text};

const MODES: [(&str, &str); 3] = [
    ("aligned", "interval: 100ms"),
    ("unaligned", "interval: 100ms, unaligned: true"),
    ("at-least-once", "interval: 100ms, mode: at-least-once"),
];

/// Before and after.
const PARALLELISMS: [(u32, u32); 3] = [(2, 2), (4, 2), (2, 4)];

/// What a job goes on from.
const SNAPSHOTS: [Snapshot; 3] = [Snapshot::Checkpoint, Snapshot::Canonical, Snapshot::Native];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Snapshot {
    /// The last one, kept when the job was cancelled.
    Checkpoint,
    Canonical,
    Native,
}

/// One place of the matrix.
struct Case<'a> {
    name: String,
    directory: &'a Path,
    backend: &'a str,
    checkpointing: &'a str,
    is_exact: bool,
    parallelism: (u32, u32),
    snapshot: Snapshot,
}

impl Case<'_> {
    /// The first job reads slowly and waits for more, the second reads on to the end.
    fn job(&self, is_first: bool) -> String {
        let directory = self.directory.display();
        let (parallelism, source) = match is_first {
            true => (self.parallelism.0, ", rate: 60, continuous: true"),
            false => (self.parallelism.1, ""),
        };
        format!(
            "version: 1
name: {name}
parallelism: {parallelism}
state-backend: {backend}
checkpointing: {{{checkpointing}, incremental: {incremental}, retain-on-cancel: true}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{directory}/in\"{source}}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{directory}/out/{name}\"}}, format: lines, inputs: [count]}}
",
            name = self.name,
            backend = self.backend,
            // In memory so little state is written whole at any rate.
            incremental = self.backend == "rocksdb",
            checkpointing = self.checkpointing,
        )
    }

    /// Ends the job by what the next is to go on from.
    fn end(&self, host: &Host, job: &str) -> Result<String> {
        host.wait_for_a_new_checkpoint(job)?;
        match self.snapshot {
            Snapshot::Canonical => host.stop_with(job, "CANONICAL"),
            Snapshot::Native => host.stop_with(job, "NATIVE"),
            Snapshot::Checkpoint => {
                host.patch(&format!("/v1/jobs/{job}?mode=cancel"))?;
                host.wait_for(job, "CANCELED", LIMIT)?;
                let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
                let path = checkpoints["latest"]["completed"]["external_path"].as_str();
                Ok(path.with_context(|| checkpoints.to_string())?.to_owned())
            }
        }
    }

    fn check(&self, expected: &[String]) -> Result<()> {
        let mut got = text::committed(&self.directory.join("out").join(&self.name))?;
        if !self.is_exact {
            // What was between the barriers of two channels is done again: more may come, nothing is missing.
            got.dedup();
            got.retain(|line| expected.binary_search(line).is_ok());
        }
        match text::difference(&got, expected) {
            None => Ok(()),
            Some(difference) => anyhow::bail!("{}: {difference}", self.name),
        }
    }
}

fn every_combination(backend: &str) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path();
    text::write(&directory.join("in"), 8, 150, 11)?;
    let expected = text::expected_counts(&directory.join("in"))?;
    let settings = [("WASMILL_SLOTS", "200"), ("WASMILL_ROCKSDB_CACHE_SIZE", "4KiB")];
    let host = Host::start(&directory.join("data"), &settings)?;
    host.upload("words", &guests::rust_component("word_count")?)?;
    for (mode, checkpointing) in MODES {
        let mut cases = Vec::new();
        for parallelism in PARALLELISMS {
            for snapshot in SNAPSHOTS {
                let (before, after) = parallelism;
                cases.push(Case {
                    name: format!("{backend}-{mode}-{before}-to-{after}-{snapshot:?}"),
                    directory,
                    backend,
                    checkpointing,
                    // After the barrier of a stop its sources say nothing more.
                    is_exact: mode != "at-least-once" || snapshot != Snapshot::Checkpoint,
                    parallelism,
                    snapshot,
                });
            }
        }
        let submit = |case: &Case<'_>| host.submit(&case.job(true));
        let jobs: Vec<String> = cases.iter().map(submit).collect::<Result<_>>()?;
        let mut next = Vec::new();
        for (case, job) in cases.iter().zip(&jobs) {
            let snapshot = case.end(&host, job)?;
            let committed = text::committed(&directory.join("out").join(&case.name))?.len();
            ensure!(
                (1..expected.len()).contains(&committed),
                "{}: it was not cut in the middle: {committed} lines",
                case.name
            );
            next.push(host.submit_with(&case.job(false), &format!("?savepointPath={snapshot}"))?);
        }
        for (case, job) in cases.iter().zip(&next) {
            host.wait_for(job, "FINISHED", LIMIT)?;
            case.check(&expected)?;
        }
    }
    Ok(())
}

#[test]
fn a_job_in_memory_goes_on_from_every_kind_of_snapshot_at_every_parallelism() -> Result<()> {
    every_combination("memory")
}

#[test]
fn a_job_on_rocksdb_goes_on_from_every_kind_of_snapshot_at_every_parallelism() -> Result<()> {
    every_combination("rocksdb")
}
