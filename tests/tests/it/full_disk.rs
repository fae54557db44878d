//! A disk that runs full under a running job, and has room again: the real host on a small one that it sees alone.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use wasmill_tests::host::Host;
use wasmill_tests::{guests, text, wait};

const LIMIT: Duration = Duration::from_secs(60);

const DISK_BYTES: u64 = 8 << 20;

/// A count of words, whose every result is one line, on a host with a small disk.
struct Words {
    directory: tempfile::TempDir,
    /// Where the host sees the disk.
    disk: PathBuf,
    host: Host,
}

impl Words {
    /// `place` is what a setting says of a directory on the disk. `None` where the machine lets nobody mount one.
    fn start(setting: &str, place: impl Fn(&Path) -> String) -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        text::write(&directory.path().join("in"), 4, 300, 5)?;
        let disk = directory.path().join("disk");
        std::fs::create_dir(&disk)?;
        let place = place(&disk);
        let settings = [(setting, &*place)];
        let data = directory.path().join("data");
        let host = Host::start_on_a_disk(&disk, DISK_BYTES, &data, &settings)?;
        Ok(host.map(|host| Self {
            directory,
            disk,
            host,
        }))
    }

    fn submit(&self, more: &str) -> Result<String> {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        self.host
            .upload("words", &guests::rust_component("word_count")?)?;
        self.host.submit(&format!(
            "version: 1
name: words on a small disk
parallelism: 2
{more}
restart: {{strategy: fixed-delay, attempts: 1000, delay: 100ms}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{}\", rate: 150}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
            at("in"),
            at("out")
        ))
    }

    /// The disk as the host sees it.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.host.pid()));
        root.join(self.disk.strip_prefix("/").unwrap_or(&self.disk))
    }

    /// Takes all room that there is.
    fn fill(&self) -> Result<Ballast> {
        let path = self.seen().join("ballast");
        let mut file = File::create(&path)?;
        for bytes in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![7; bytes]).is_ok() {}
        }
        Ok(Ballast(path))
    }

    fn failed_checkpoints(&self, job: &str) -> Result<u64> {
        let checkpoints = self.host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
        Ok(checkpoints["counts"]["failed"].as_u64().unwrap_or(0))
    }

    fn wait_for_exception(&self, job: &str, words: &[&str]) -> Result<()> {
        wait::until("the job says what it lacks", LIMIT, || {
            let exceptions = self
                .host
                .get_ok(&format!("/v1/jobs/{job}/exceptions"))?
                .to_string();
            let says = words.iter().all(|word| exceptions.contains(word));
            Ok(if says { Ok(()) } else { Err(exceptions) })
        })
    }

    fn ends_exactly(&self, job: &str) -> Result<()> {
        self.host.wait_for(job, "FINISHED", LIMIT)?;
        let got = text::committed(&self.directory.path().join("out"))?;
        let expected = text::expected_counts(&self.directory.path().join("in"))?;
        let difference = text::difference(&got, &expected);
        ensure!(
            difference.is_none(),
            "the committed output differs: {difference:?}"
        );
        Ok(())
    }
}

/// What takes the room of a disk.
struct Ballast(PathBuf);

impl Ballast {
    fn remove(self) -> Result<()> {
        Ok(std::fs::remove_file(self.0)?)
    }
}

fn checkpoints(disk: &Path) -> String {
    format!("file://{}/checkpoints", disk.display())
}

fn entries(directory: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(directory)?.count())
}

#[test]
fn checkpoints_on_a_full_disk_fail_with_one_clear_error_and_the_job_goes_on_with_them_when_there_is_room()
-> Result<()> {
    let Some(words) = Words::start("WASMILL_CHECKPOINT_STORAGE", checkpoints)? else {
        return Ok(());
    };
    let host = &words.host;
    let job = words.submit("checkpointing: {interval: 200ms, tolerable-failures: 1000}")?;
    host.wait_for_a_new_checkpoint(&job)?;
    ensure!(
        entries(&words.seen().join("checkpoints"))? > 0,
        "checkpoints lie elsewhere"
    );

    let ballast = words.fill()?;
    let before = words.failed_checkpoints(&job)?;
    wait::until("checkpoints fail", LIMIT, || {
        let failed = words.failed_checkpoints(&job)?;
        Ok(if failed >= before + 3 {
            Ok(())
        } else {
            Err(format!("{failed} failed"))
        })
    })?;
    ensure!(host.state(&job)? == "RUNNING", "the job is {}", host.state(&job)?);
    let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
    let Some(failure) = checkpoints["latest"]["failed"]["failure_message"].as_str() else {
        bail!("a failure without a message: {checkpoints}");
    };
    for part in [&*words.disk.to_string_lossy(), "the disk is full: free space"] {
        ensure!(failure.contains(part), "{failure}");
    }
    ballast.remove()?;
    host.wait_for_a_new_checkpoint(&job)?;
    words.ends_exactly(&job)
}

#[test]
fn a_job_that_tolerates_no_failed_checkpoint_restarts_on_a_full_disk_and_ends_exactly_when_there_is_room()
-> Result<()> {
    let Some(words) = Words::start("WASMILL_CHECKPOINT_STORAGE", checkpoints)? else {
        return Ok(());
    };
    let job = words.submit("checkpointing: {interval: 200ms}")?;
    words.host.wait_for_a_new_checkpoint(&job)?;
    let ballast = words.fill()?;
    words.wait_for_exception(&job, &["the disk is full: free space"])?;
    ballast.remove()?;
    words.ends_exactly(&job)
}

#[test]
fn local_state_on_a_full_disk_fails_its_job_with_a_clear_error_and_ends_exactly_when_there_is_room()
-> Result<()> {
    let Some(words) = Words::start("WASMILL_ROCKSDB_LOCALDIR", |disk| {
        disk.join("state").display().to_string()
    })?
    else {
        return Ok(());
    };
    let job = words.submit("checkpointing: {interval: 200ms, incremental: true}\nstate-backend: rocksdb")?;
    words.host.wait_for_a_new_checkpoint(&job)?;
    ensure!(
        entries(&words.seen().join("state"))? > 0,
        "local state lies elsewhere"
    );
    let ballast = words.fill()?;
    words.wait_for_exception(&job, &["No space left on device", "rocksdb-localdir"])?;
    ballast.remove()?;
    words.ends_exactly(&job)
}
