//! Damaged checkpoints and two hosts in one directory, on the real host: an older good checkpoint or one clear error,
//! and nothing good is deleted (C10).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wasmill_tests::host::Host;
use wasmill_tests::{guests, text, wait};

const LIMIT: Duration = Duration::from_secs(60);

/// A count of words whose every result is one line, with three checkpoints kept in a directory that hosts share.
struct Words(tempfile::TempDir);

impl Words {
    fn new(lines: u32) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        text::write(&directory.path().join("in"), 4, lines, 5)?;
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn host(&self, data: &str) -> Result<Host> {
        let storage = format!("file://{}", self.path("checkpoints").display());
        Host::start(
            &self.path(data),
            &[("WASMILL_CHECKPOINT_STORAGE", storage.as_str())],
        )
    }

    fn submit(&self, host: &Host) -> Result<String> {
        host.upload("words", &guests::rust_component("word_count")?)?;
        host.submit(&format!(
            "version: 1
name: words
parallelism: 2
checkpointing: {{interval: 100ms, retained: 3}}
restart: {{strategy: none}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{}\", rate: 300}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
            self.path("in").display(),
            self.path("out").display()
        ))
    }

    /// The manifests of the job's checkpoints by number.
    fn manifests(&self, job: &str) -> Result<BTreeMap<u64, PathBuf>> {
        let mut manifests = BTreeMap::new();
        for entry in fs::read_dir(self.path("checkpoints").join(job))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let manifest = path.join("_metadata");
            if let Some(number) = name.strip_prefix("chk-")
                && manifest.exists()
            {
                manifests.insert(number.parse()?, manifest);
            }
        }
        Ok(manifests)
    }
}

fn halve(path: &Path) -> Result<()> {
    let content = fs::read(path)?;
    Ok(fs::write(path, &content[..content.len() / 2])?)
}

#[test]
fn a_host_goes_on_from_the_newest_good_checkpoint_and_says_where_there_is_none() -> Result<()> {
    let words = Words::new(400)?;
    let host = words.host("data")?;
    let job = words.submit(&host)?;
    wait::until("three checkpoints", LIMIT, || {
        let completed = host.completed_checkpoints(&job)?;
        Ok(if completed >= 3 {
            Ok(())
        } else {
            Err(format!("{completed}"))
        })
    })?;
    host.kill()?;

    let manifests = words.manifests(&job)?;
    let mut newest = manifests.iter().rev();
    let (_, damaged) = newest.next().context("a checkpoint")?;
    let (good, _) = newest.next().context("an older one")?;
    halve(damaged)?;
    let host = words.host("data")?;
    host.wait_for_a_new_checkpoint(&job)?;
    let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
    ensure!(checkpoints["latest"]["restored"]["id"] == *good, "{checkpoints}");
    let log = host.log_lines()?.join("\n");
    ensure!(
        log.contains("a checkpoint is passed over") && log.contains("its manifest `_metadata`"),
        "{log}"
    );
    host.kill()?;

    let manifests = words.manifests(&job)?;
    manifests.values().try_for_each(|path| halve(path))?;
    let host = words.host("data")?;
    host.wait_for(&job, "FAILED", LIMIT)?;
    let failure = host.failure(&job)?;
    for part in [
        "no checkpoint of job",
        "its manifest `_metadata`",
        "from a copy",
        "`run -s`",
    ] {
        ensure!(failure.contains(part), "{failure}");
    }
    ensure!(
        words.manifests(&job)? == manifests,
        "the host deleted what it could not read"
    );
    Ok(())
}

#[test]
fn of_two_hosts_on_one_directory_the_newer_goes_on_alone() -> Result<()> {
    let words = Words::new(300)?;
    let older = words.host("data")?;
    let job = words.submit(&older)?;
    older.wait_for_a_new_checkpoint(&job)?;
    copy(&words.path("data"), &words.path("other"))?;
    let newer = words.host("other")?;
    newer.wait_for(&job, "FINISHED", LIMIT)?;
    // Fenced at its next checkpoint, or its sink finds before that what the newer one has swept.
    older.wait_for(&job, "FAILED", LIMIT)?;
    older.kill()?;
    let difference = text::difference(
        &text::committed(&words.path("out"))?,
        &text::expected_counts(&words.path("in"))?,
    );
    ensure!(
        difference.is_none(),
        "the committed output differs: {difference:?}"
    );
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        match path.is_dir() {
            true => copy(&path, &to.join(name))?,
            false => drop(fs::copy(&path, to.join(name))?),
        }
    }
    Ok(())
}
