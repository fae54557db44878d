//! `cargo xtask test` and `cargo xtask ci`: everything that must hold, one step after another.
//!
//! Invariant: the steps stop at the first that fails, and its name is the last line printed; what was
//! skipped is said at the end, where it is seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, output, run};
use crate::guests;
use crate::servers;
use crate::workspace::Workspace;

/// Tests append what they skipped to the file that this names.
const SKIPS: &str = "WASMILL_SKIPS";

/// Tests find the host's binary by this.
const BINARY: &str = "WASMILL_BIN";

/// Pinned, for a new release may need a newer compiler than ours.
const CARGO_DENY: &str = "0.20.2";

/// Builds the guests and the host and runs all tests, those of the documentation among them.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    guests::run(workspace, &guests::Options::default())?;
    servers::run(workspace)?;
    let skips = workspace.guests().join(".skips");
    let _ = fs::remove_file(&skips);
    build_host(workspace)?;
    let mut tests = cargo(workspace, "test");
    tests.args(["--workspace", "--no-fail-fast"]).args(arguments);
    tests.env(SKIPS, &skips).env(BINARY, host_binary(workspace));
    let result = tests_of_guests(workspace).and_then(|()| run(&mut tests).context("cargo test"));
    for skip in fs::read_to_string(&skips).unwrap_or_default().lines() {
        eprintln!("test skipped: {skip}");
    }
    result
}

/// Options of the simulator.
#[derive(clap::Args)]
pub(crate) struct SimOptions {
    /// Run so many seeds.
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "M", default_value_t = 1, conflicts_with = "seed")]
    from: u64,
    /// Run this seed alone and print what happens in it.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// Runs the simulator. It needs neither guests nor the host's binary.
pub(crate) fn sim(workspace: &Workspace, options: &SimOptions) -> Result<()> {
    let mut tests = cargo(workspace, "test");
    tests.args([
        "--package",
        "wasmill-tests",
        "--test",
        "sim",
        "every_seed",
        "--",
        "--nocapture",
    ]);
    match options.seed {
        Some(seed) => tests.env("WASMILL_SIM_SEED", seed.to_string()),
        None => tests
            .env("WASMILL_SIM_SEEDS", options.seeds.to_string())
            .env("WASMILL_SIM_FROM", options.from.to_string()),
    };
    run(&mut tests).context("cargo test of the simulator")
}

/// The unit tests of the examples run on the host's target: the SDK has a harness for that.
fn tests_of_guests(workspace: &Workspace) -> Result<()> {
    eprintln!("==> cargo test of the guests");
    let mut tests = command::cargo(&workspace.root.join("plugins"));
    tests.env("CARGO_TARGET_DIR", workspace.target.join("guests"));
    run(tests.args(["test", "--workspace", "--quiet"])).context("cargo test of the guests")
}

/// Everything that continuous integration checks. The tests come last: their summary ends the output.
pub(crate) fn ci(workspace: &Workspace) -> Result<()> {
    type Step = (&'static str, fn(&Workspace) -> Result<()>);
    let steps: [Step; 6] = [
        ("cargo fmt --check", format),
        ("cargo deny", deny),
        ("cargo clippy", clippy),
        ("cargo clippy of the guests", clippy_of_guests),
        ("cargo doc", documentation),
        ("cargo xtask test", |workspace| test(workspace, &[])),
    ];
    for (name, step) in steps {
        eprintln!("==> {name}");
        step(workspace).with_context(|| format!("step failed: {name}"))?;
    }
    Ok(())
}

/// Cargo in the root of the clone, building into the workspace's build directory.
fn cargo(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = command::cargo(&workspace.root);
    command.arg(subcommand).env("CARGO_TARGET_DIR", &workspace.target);
    command
}

/// Builds the host's binary as the tests use it.
pub(crate) fn build_host(workspace: &Workspace) -> Result<()> {
    eprintln!("==> cargo build of the host");
    run(cargo(workspace, "build").args(["--package", "wasmill-server", "--bin", "wasmill"]))
}

/// The binary that [`build_host`] makes.
pub(crate) fn host_binary(workspace: &Workspace) -> PathBuf {
    workspace.target.join("debug/wasmill")
}

fn format(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace, "fmt").args(["--all", "--check"]))?;
    for manifest in other_workspaces(workspace) {
        run(cargo(workspace, "fmt")
            .args(["--all", "--check", "--manifest-path"])
            .arg(manifest))?;
    }
    Ok(())
}

/// Workspaces apart from the root's: guests are for another target, the tool would burden every build.
fn other_workspaces(workspace: &Workspace) -> [PathBuf; 2] {
    ["plugins/Cargo.toml", "xtask/componentize/Cargo.toml"].map(|manifest| workspace.root.join(manifest))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace, "clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Guests are linted for the host's target: every toolchain has it, and the code is the same.
fn clippy_of_guests(workspace: &Workspace) -> Result<()> {
    let mut clippy = command::cargo(&workspace.root.join("plugins"));
    clippy.env("CARGO_TARGET_DIR", workspace.target.join("guests"));
    run(clippy.args(["clippy", "--workspace", "--", "-D", "warnings"]))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace, "doc")
        .args(["--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny(workspace: &Workspace) -> Result<()> {
    let program = cargo_deny(&workspace.cache)?;
    let root = [workspace.root.join("Cargo.toml")];
    for manifest in root.into_iter().chain(other_workspaces(workspace)) {
        let mut deny = Command::new(&program);
        deny.current_dir(&workspace.root)
            .args(["--config", "deny.toml", "--log-level", "warn", "--manifest-path"])
            .arg(manifest);
        // Advisories are left out: they change without a change of ours.
        run(deny.args(["check", "licenses", "bans", "sources"]))?;
    }
    Ok(())
}

fn cargo_deny(cache: &Path) -> Result<PathBuf> {
    let directory = cache.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = directory.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("installing cargo-deny {CARGO_DENY} into the cache, once (some minutes)");
        let mut install = command::cargo(cache);
        install
            .args(["install", "--locked", "--quiet", "--root"])
            .arg(&directory);
        output(
            install
                .arg(format!("cargo-deny@{CARGO_DENY}"))
                .env("CARGO_TARGET_DIR", cache.join("build")),
        )?;
    }
    Ok(program)
}
