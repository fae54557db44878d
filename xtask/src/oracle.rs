//! `cargo xtask oracle`: builds what the comparison with Flink runs, then hands over to it.

use anyhow::{Context, Result, bail};

use crate::check::{build_host, host_binary};
use crate::command::{self, shown};
use crate::guests;
use crate::workspace::Workspace;

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Cases by name; all but patterns and key groups where none is named.
    names: Vec<String>,
    /// What the inputs are made from: a number, or several, as `1-20`.
    #[arg(long, default_value = "1")]
    seed: String,
    /// Lines of an input.
    #[arg(long, default_value_t = 2_000)]
    size: u64,
    /// Another table of cases than `tests/oracle/cases.jsonl`.
    #[arg(long, value_name = "FILE")]
    cases: Option<std::path::PathBuf>,
    /// Of keyed operators.
    #[arg(long, default_value_t = 1)]
    parallelism: u32,
    /// Which worlds the functions are built on: `frame` or `typed`.
    #[arg(long, default_value = "frame")]
    family: String,
    /// Where keyed state lies: `memory` or `rocksdb`.
    #[arg(long, default_value = "memory")]
    backend: String,
    /// Where it lies in the job that goes on from the savepoint [default: as before].
    #[arg(long, value_name = "BACKEND")]
    restored_backend: Option<String>,
    /// Stop each job at a random line and let it go on from its savepoint at another parallelism.
    #[arg(long)]
    restore: bool,
    /// In one and in two subtasks, as they are and stopped and restored: the campaign.
    #[arg(long)]
    all_ways: bool,
    /// Take the kept cases of the seed (1 or 2, 300 lines): no Java is needed.
    #[arg(long)]
    kept: bool,
}

/// Runs cases.
pub(crate) fn oracle(workspace: &Workspace, options: &Options) -> Result<()> {
    guests::run(workspace, &guests::Options::only(guests::Language::Rust))?;
    build_host(workspace)?;
    let mut oracle = command::cargo(&workspace.root);
    oracle
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("WASMILL_BIN", host_binary(workspace))
        .args([
            "run",
            "--quiet",
            "--package",
            "wasmill-tests",
            "--bin",
            "wasmill-oracle",
            "--",
        ])
        .args(["--seed", &options.seed])
        .args(["--size", &options.size.to_string()])
        .args(["--parallelism", &options.parallelism.to_string()])
        .args(["--family", &options.family])
        .args(["--backend", &options.backend]);
    if let Some(cases) = &options.cases {
        oracle.arg("--cases").arg(std::path::absolute(cases)?);
    }
    if let Some(backend) = &options.restored_backend {
        oracle.args(["--restored-backend", backend]);
    }
    if options.restore {
        oracle.arg("--restore");
    }
    if options.all_ways {
        oracle.arg("--all-ways");
    }
    if options.kept {
        oracle.arg("--kept");
    }
    let status = oracle.args(&options.names).status();
    let status = status.with_context(|| format!("start {}", shown(&oracle)))?;
    if !status.success() {
        bail!("not all cases agree with Flink: see above");
    }
    Ok(())
}
