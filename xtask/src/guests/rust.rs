//! Guests in Rust: the workspace `plugins/`, one component a package.
//!
//! Cargo decides what is up to date; the linker makes components, so cargo's output is the result.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::toolchain::{TARGET, Toolchain};
use super::{Outcomes, publish};
use crate::command::{self, output, run};
use crate::workspace::Workspace;

/// Builds all packages of `plugins/` that are `cdylib`s into `<crate_name>.wasm`.
pub(crate) fn build(workspace: &Workspace) -> Result<Outcomes> {
    let plugins = workspace.root.join("plugins");
    let names = components(&plugins)?;
    let toolchain = Toolchain::find(workspace)?;
    run(toolchain
        .cargo("build", &plugins, &workspace.target)
        .args(["--workspace", "--quiet"]))?;
    let directory = match &toolchain {
        Toolchain::Ordinary(_) => workspace.target.join("guests"),
        Toolchain::Debian(_) => workspace.target.join("guests-debian"),
    };
    let built = directory.join(TARGET).join("release");
    names
        .into_iter()
        .map(|name| {
            let file = built.join(format!("{name}.wasm"));
            let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            let outcome = publish(&bytes, &workspace.guests().join(format!("{name}.wasm")))?;
            Ok((name, outcome))
        })
        .collect()
}

/// The crate names of the workspace's components, sorted.
fn components(plugins: &Path) -> Result<Vec<String>> {
    if !plugins.join("Cargo.toml").is_file() {
        bail!("{} is missing", plugins.join("Cargo.toml").display());
    }
    let metadata = output(command::cargo(plugins).args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo metadata")?;
    let mut names = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            if target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
            {
                names.push(target["name"].as_str().unwrap_or_default().replace('-', "_"));
            }
        }
    }
    names.sort();
    Ok(names)
}
