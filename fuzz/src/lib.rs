//! What reads bytes that a disk, a network or a guest may have damaged, as targets of a fuzzer.
//!
//! A target takes any bytes and panics where a promise is broken: a reader never panics, what it accepts it writes as
//! something that reads the same, and what it refuses it refuses by an error that says what is wrong. Where a checksum
//! stands before the reader, a target mends it, for otherwise nothing behind it would ever be reached.
//!
//! `cargo xtask fuzz` runs them by libFuzzer, led by what each input reaches; the ordinary tests run each for a moment
//! over its seeds and over every input that was ever found to break one (`tests/fixtures/fuzz`).

// A target is a test: it fails by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod mutate;
mod targets;

use std::path::{Path, PathBuf};

/// One reader.
pub struct Target {
    /// Its name, as `cargo xtask fuzz` takes it.
    pub name: &'static str,
    /// Runs it; panics where a promise is broken.
    pub run: fn(&[u8]),
    /// What mutations begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    targets::manifest::TARGET,
    targets::segments::TARGET,
    targets::snapshot::TARGET,
    targets::in_flight::TARGET,
    targets::stored::TARGET,
    targets::answer::TARGET,
    targets::rows::TARGET,
    targets::key::TARGET,
    targets::describe::TARGET,
    targets::job_file::TARGET,
    targets::import::TARGET,
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Inputs that broke the target once: each was mended and stays so.
pub fn kept(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(&format!("tests/fixtures/fuzz/{}", target.name))
}

/// The files of a directory of the repository, in order; none where it is not there.
fn files_below(directory: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(root().join(directory)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
    paths
        .into_iter()
        .filter(|path| path.is_file())
        .map(read)
        .collect()
}

/// The contents of kept files of the repository, as seeds.
fn contents_below(directory: &str) -> Vec<Vec<u8>> {
    files_below(directory)
        .into_iter()
        .map(|(_, content)| content)
        .collect()
}
