//! Guests in other languages than Rust: the keyed count, straight on the typed world.
//!
//! Invariant: nothing here is needed for the two commands of a newcomer; a language whose toolchain is
//! missing is skipped with the command that would install it.

pub(crate) mod c;
pub(crate) mod go;
pub(crate) mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::fresh::Inputs;
use super::{Outcome, Outcomes, publish};
use crate::command::{self, output};
use crate::workspace::Workspace;

/// The world that all of them implement.
const WORLD: &str = "process";

/// How one language makes a component.
pub(crate) trait Builder {
    /// The folder under `plugins/typed-count`, and the end of the component's name.
    fn name(&self) -> &'static str;

    /// Finds the toolchain, installing what can be installed, and says which versions it has. The error is
    /// the reason for a skip, with what to do.
    fn tools(&self, workspace: &Workspace) -> Result<String>;

    /// Makes the component from `job.source` in the empty directory `job.scratch`; returns its path.
    fn make(&self, workspace: &Workspace, job: &Job) -> Result<PathBuf>;
}

/// One component to make; all paths are absolute.
pub(crate) struct Job {
    /// The guest's sources.
    pub(crate) source: PathBuf,
    /// The WIT package.
    pub(crate) wit: PathBuf,
    /// Empty at first; for generated bindings and what is between them and the component.
    pub(crate) scratch: PathBuf,
}

/// Builds `typed-count` in one language into `typed_count_<language>.wasm`, unless it is up to date.
pub(crate) fn build(workspace: &Workspace, builder: &dyn Builder) -> Result<Outcomes> {
    let name = format!("typed_count_{}", builder.name());
    let job = Job {
        source: workspace.root.join("plugins/typed-count").join(builder.name()),
        wit: workspace.root.join("wit"),
        scratch: workspace.guests().join(".scratch").join(builder.name()),
    };
    let tools = match builder.tools(workspace) {
        Ok(tools) => tools,
        Err(error) => return Ok(vec![(name, Outcome::Skipped(format!("{error:#}")))]),
    };
    let mut inputs = Inputs::new(&tools);
    for directory in [&job.source, &job.wit, &tool_source(workspace)] {
        inputs.add(directory)?;
    }
    let component = workspace.guests().join(format!("{name}.wasm"));
    let stamp = workspace.guests().join(format!(".{name}.inputs"));
    if component.is_file() && fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == inputs.digest()) {
        return Ok(vec![(name, Outcome::UpToDate)]);
    }
    let _ = fs::remove_dir_all(&job.scratch);
    fs::create_dir_all(&job.scratch).with_context(|| format!("make {}", job.scratch.display()))?;
    let made = builder
        .make(workspace, &job)
        .with_context(|| format!("build {name}"))?;
    publish(
        &fs::read(&made).with_context(|| format!("read {}", made.display()))?,
        &component,
    )?;
    fs::write(&stamp, inputs.digest()).with_context(|| format!("write {}", stamp.display()))?;
    fs::remove_dir_all(&job.scratch).context("remove the scratch directory")?;
    Ok(vec![(name, Outcome::Built)])
}

fn tool_source(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/componentize")
}

/// The tool that makes bindings and components for C and Go; built on first use.
fn componentize(workspace: &Workspace) -> Result<Command> {
    let target = workspace.cache.join("componentize");
    let program = target.join("release/componentize");
    if !program.is_file() {
        eprintln!("building the tool that makes bindings and components, once (about a minute)");
    }
    let mut build = command::cargo(&tool_source(workspace));
    output(
        build
            .args(["build", "--release", "--locked"])
            .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(Command::new(program))
}

/// The first line that a program prints of itself; the error says that it is missing.
fn version(program: &Path, argument: &str) -> Result<String> {
    let printed = output(Command::new(program).arg(argument))?;
    Ok(printed.lines().next().unwrap_or_default().to_owned())
}
