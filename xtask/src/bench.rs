//! `cargo xtask bench`: builds what the benches run, then hands over to the crate `bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{self, run};
use crate::guests;
use crate::workspace::Workspace;

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// keyed-count, map, native, windows (or a comparison of it, such as windows.tumbling), state, checkpoint, submit, memory;
    /// all where none is named.
    names: Vec<String>,
    /// Write the figures to this file as well, a line of JSON each.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Small runs that show that everything works.
    #[arg(long)]
    quick: bool,
    /// How often both sides take turns; default: 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
}

/// Runs benches of the release build.
pub(crate) fn bench(workspace: &Workspace, options: &Options) -> Result<()> {
    guests::run(workspace, &guests::Options::default())?;
    eprintln!("==> cargo build --release of the host");
    let mut build = command::cargo(&workspace.root);
    build.env("CARGO_TARGET_DIR", &workspace.target);
    run(build.args([
        "build",
        "--release",
        "--package",
        "wasmill-server",
        "--bin",
        "wasmill",
    ]))?;

    let mut bench = command::cargo(&workspace.root);
    bench
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("WASMILL_BIN", workspace.target.join("release/wasmill"));
    bench
        .args(["run", "--quiet", "--package", "wasmill-bench", "--"])
        .args(&options.names);
    if let Some(json) = &options.json {
        bench
            .arg("--json")
            .arg(std::path::absolute(json).context("the path of --json")?);
    }
    if options.quick {
        bench.arg("--quick");
    }
    if let Some(rounds) = options.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    let status = bench.status().context("start the benches")?;
    if !status.success() {
        bail!("the benches failed, or bars were not reached: see above");
    }
    Ok(())
}
