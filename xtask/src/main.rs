//! What a developer repeats, as `cargo xtask COMMAND`.
//!
//! Invariant: a command leaves nothing in the clone but `target/`; what is slow to make (compiled
//! dependencies, a standard library for guests, downloaded tools) lies in a cache outside it and is
//! made once.

mod bench;
mod check;
mod command;
mod demo;
mod fuzz;
mod guests;
mod oracle;
mod rocksdb;
mod servers;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for work on Wasmill.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the components under `plugins/` into `target/guests/`.
    Guests(guests::Options),
    /// Installs the object stores that tests of checkpoint storage run against.
    Servers,
    /// Counts the words of real text by the example job, exactly once, and shows the result.
    Demo,
    /// Runs all tests, after building what they need; arguments go to `cargo test`.
    Test {
        /// For instance `-p wasmill-state`, or the name of a test.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the simulator: whole jobs, their interleavings, crashes and failing writes drawn from seeds.
    Sim(check::SimOptions),
    /// Looks for bytes that break a reader, led by what each reaches: `fuzz/`.
    Fuzz(fuzz::Options),
    /// Compares the host with real Flink, case by case.
    Oracle(oracle::Options),
    /// Measures the release build against its bars; Flink beside it where there is a Java.
    Bench(bench::Options),
    /// Everything that continuous integration checks.
    Ci,
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::compile() {
        return code;
    }
    let arguments = Arguments::parse();
    let result = workspace::Workspace::find().and_then(|workspace| run(&workspace, arguments.task));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(workspace: &workspace::Workspace, task: Task) -> anyhow::Result<()> {
    if !matches!(task, Task::Guests(_) | Task::Servers | Task::Sim(_)) {
        rocksdb::build(workspace)?;
    }
    match task {
        Task::Guests(options) => guests::run(workspace, &options),
        Task::Servers => servers::run(workspace),
        Task::Demo => demo::demo(workspace),
        Task::Oracle(options) => oracle::oracle(workspace, &options),
        Task::Bench(options) => bench::bench(workspace, &options),
        Task::Test { arguments } => check::test(workspace, &arguments),
        Task::Sim(options) => check::sim(workspace, &options),
        Task::Fuzz(options) => fuzz::fuzz(workspace, &options),
        Task::Ci => check::ci(workspace),
    }
}
