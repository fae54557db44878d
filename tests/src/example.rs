//! An example of `plugins/` in a directory of its own, so that its job file runs as it was shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cli::{self, Ran};
use crate::guests;
use crate::host::{Host, LIMIT};
use crate::text;

/// A copy of the job file and the input of one example; deleted when it is dropped.
pub struct Example {
    scratch: tempfile::TempDir,
    directory: PathBuf,
}

impl Example {
    /// Copies an example by the name of its folder, beside the components that are built.
    pub fn copy(name: &str) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        // A job file names its component as `../../target/guests/…`.
        let directory = scratch.path().join("plugins").join(name);
        std::fs::create_dir_all(&directory)?;
        let target = scratch.path().join("target");
        std::fs::create_dir_all(&target)?;
        std::os::unix::fs::symlink(guests::root().join("target/guests"), target.join("guests"))?;
        let from = guests::root().join("plugins").join(name);
        // One that has many jobs keeps them in a folder.
        if !from.join("jobs").is_dir() {
            std::fs::copy(from.join("job.yaml"), directory.join("job.yaml"))
                .with_context(|| format!("the job file of {name}"))?;
        }
        for input in ["text", "values", "jobs"].map(|input| from.join(input)) {
            let Ok(files) = std::fs::read_dir(&input) else {
                continue;
            };
            let to = directory.join(input.file_name().unwrap_or_default());
            std::fs::create_dir_all(&to)?;
            for file in files {
                let file = file?;
                std::fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        Ok(Self { scratch, directory })
    }

    /// Runs it in a host until it has finished, on each backend, and compares what was committed. The output of the last one
    /// stays.
    pub fn run_on_each_backend(&self) -> Result<()> {
        let mut before: Option<Vec<String>> = None;
        for backend in ["memory", "rocksdb"] {
            let out = self.path("out");
            if out.exists() {
                std::fs::remove_dir_all(&out)?;
            }
            let host = self.host(&[
                ("WASMILL_STATE_BACKEND", backend),
                ("WASMILL_ROCKSDB_CACHE_SIZE", "16KiB"),
            ])?;
            let job = self.submit(&host)?;
            host.wait_for(&job, "FINISHED", LIMIT)?;
            let mut committed = Vec::new();
            for directory in directories(&out)? {
                committed.extend(text::committed(&directory)?);
            }
            ensure!(!committed.is_empty(), "nothing was committed on {backend}");
            if let Some(before) = before.replace(committed.clone()) {
                let difference = text::difference(&committed, &before);
                ensure!(
                    difference.is_none(),
                    "on {backend}: {}",
                    difference.unwrap_or_default()
                );
            }
        }
        Ok(())
    }

    /// Where its job file lies, and where a reader would run it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Puts other text in the place of some in the job file, which must hold it once.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        self.edit_file("job.yaml", from, to)
    }

    /// Does the same in one of several job files.
    pub fn edit_file(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.path(file);
        let job = std::fs::read_to_string(&path)?;
        ensure!(
            job.matches(from).count() == 1,
            "the job file does not hold `{from}` once: mend the test\n{job}"
        );
        Ok(std::fs::write(&path, job.replace(from, to))?)
    }

    /// Writes a file of its input; a reader sees all of it or nothing.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let part = self.scratch.path().join("part");
        std::fs::write(&part, content)?;
        Ok(std::fs::rename(part, self.path(name))?)
    }

    /// All text of the files of a folder of its input, file by file.
    pub fn read(&self, folder: &str) -> Result<Vec<String>> {
        let files = std::fs::read_dir(self.path(folder))?;
        files
            .map(|file| Ok(std::fs::read_to_string(file?.path())?))
            .collect()
    }

    /// Runs `wasmill run job.yaml` in its directory, in a host of its own, until the job ends.
    pub fn run(&self) -> Result<Ran> {
        cli::run(&self.directory, &["run", "job.yaml"])
    }

    /// Starts a host in its directory.
    pub fn host(&self, environment: &[(&str, &str)]) -> Result<Host> {
        Host::start_in(&self.directory, &self.scratch.path().join("data"), environment)
    }

    /// Submits its job file to a host and returns the job's id.
    pub fn submit(&self, host: &Host) -> Result<String> {
        self.submit_file(host, "job.yaml")
    }

    /// Submits one of several job files and returns the job's id.
    pub fn submit_file(&self, host: &Host, file: &str) -> Result<String> {
        let job = self.path(file).display().to_string();
        let id = host.command(&["run", "--detached", &job])?.ok()?;
        Ok(id.trim().to_owned())
    }
}

/// The directories below one that hold files, in order; itself, where it has no other below.
fn directories(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            below.push(path);
        }
    }
    if below.is_empty() {
        return Ok(vec![directory.to_owned()]);
    }
    below.sort();
    let all: Vec<Vec<PathBuf>> = below
        .iter()
        .map(|path| directories(path))
        .collect::<Result<_>>()?;
    Ok(all.concat())
}
