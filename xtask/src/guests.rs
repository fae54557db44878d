//! `cargo xtask guests`: every component under `plugins/`, in every language, into `target/guests/`.
//!
//! Invariant: a component there is replaced by one rename, so a test that runs beside a build reads the
//! old bytes or the new ones; a language whose toolchain is missing is reported, never passed over.

mod foreign;
mod fresh;
mod rust;
mod toolchain;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::{REQUIRE_ALL, Workspace, requires_all};

/// Options of the task.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Options {
    /// Build only these languages.
    #[arg(long = "lang", value_enum)]
    languages: Vec<Language>,
}

impl Options {
    /// One language alone.
    pub(crate) fn only(language: Language) -> Options {
        Options {
            languages: vec![language],
        }
    }
}

/// A language that guests are written in.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// The examples, by the SDK.
    Rust,
    /// The keyed count on the typed world.
    C,
    /// The keyed count on the typed world.
    Go,
    /// The keyed count on the typed world.
    Python,
}

/// What became of one component.
pub(crate) enum Outcome {
    /// Its bytes are new.
    Built,
    /// Nothing changed since the last build.
    UpToDate,
    /// Its toolchain is missing; the text says what to do.
    Skipped(String),
}

/// Outcomes by component, in the order in which they are printed.
pub(crate) type Outcomes = Vec<(String, Outcome)>;

const ALL: [Language; 4] = [Language::Rust, Language::C, Language::Go, Language::Python];

/// Builds the guests of the languages asked for (all where none is named) and prints a line for each.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let directory = workspace.guests();
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let lock = directory.join(".lock");
    let lock = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
    lock.lock().context("wait for another build of the guests")?;

    let languages = if options.languages.is_empty() {
        &ALL[..]
    } else {
        &options.languages
    };
    let mut failures = Vec::new();
    for language in languages {
        match build(*language, workspace) {
            Ok(outcomes) => failures.extend(outcomes.iter().filter_map(report)),
            Err(error) => {
                eprintln!("{error:#}");
                failures.push(format!("the guests in {}", name(*language)));
            }
        }
    }
    if !failures.is_empty() {
        bail!("not built: {}", failures.join("; "));
    }
    Ok(())
}

fn name(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::C => "C",
        Language::Go => "Go",
        Language::Python => "Python",
    }
}

fn build(language: Language, workspace: &Workspace) -> Result<Outcomes> {
    match language {
        Language::Rust => rust::build(workspace),
        Language::C => foreign::build(workspace, &foreign::c::Clang),
        Language::Go => foreign::build(workspace, &foreign::go::StockGo),
        Language::Python => foreign::build(workspace, &foreign::python::ComponentizePy),
    }
}

/// Prints one outcome; a text where it counts as a failure.
fn report((name, outcome): &(String, Outcome)) -> Option<String> {
    match outcome {
        Outcome::Built => eprintln!("guest {name}: built"),
        Outcome::UpToDate => eprintln!("guest {name}: up to date"),
        Outcome::Skipped(reason) => {
            eprintln!("guest {name}: skipped: {reason}");
            return requires_all().then(|| format!("{name} was skipped and {REQUIRE_ALL}=1: {reason}"));
        }
    }
    None
}

/// Puts a component in its place, unless the same bytes lie there.
fn publish(bytes: &[u8], to: &Path) -> Result<Outcome> {
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(Outcome::UpToDate);
    }
    let part = to.with_extension("part");
    fs::write(&part, bytes).with_context(|| format!("write {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("write {}", to.display()))?;
    Ok(Outcome::Built)
}
