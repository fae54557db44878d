//! Which crate may depend on which, and how dependencies are declared.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use wasmill_tests::guests::root;

use crate::files::texts;
use crate::none;

/// What each of our crates may use of our own, in the order of the layers.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("wasmill-model", &[]),
    ("wasmill-state", &["wasmill-model"]),
    ("wasmill-rocksdb", &["wasmill-model", "wasmill-state"]),
    ("wasmill-checkpoint", &["wasmill-model", "wasmill-state"]),
    (
        "wasmill-engine",
        &["wasmill-model", "wasmill-state", "wasmill-checkpoint"],
    ),
    (
        "wasmill-plugin",
        &[
            "wasmill-model",
            "wasmill-state",
            "wasmill-checkpoint",
            "wasmill-engine",
        ],
    ),
    (
        "wasmill-connector",
        &[
            "wasmill-model",
            "wasmill-state",
            "wasmill-checkpoint",
            "wasmill-engine",
        ],
    ),
    (
        "wasmill-server",
        &[
            "wasmill-model",
            "wasmill-state",
            "wasmill-rocksdb",
            "wasmill-checkpoint",
            "wasmill-engine",
            "wasmill-plugin",
            "wasmill-connector",
        ],
    ),
    ("wasmill-sdk", &[]),
];

/// Heavy dependencies, each behind one crate.
const CONFINED: [(&str, &str); 3] = [
    ("rocksdb", "wasmill-rocksdb"),
    ("wasmtime", "wasmill-plugin"),
    ("object_store", "wasmill-checkpoint"),
];

/// A package and the names it depends on, apart from those of its tests.
struct Package {
    name: String,
    dependencies: Vec<String>,
}

fn packages() -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .context("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]).into_iter().map(|package| Package {
        name: name(&package),
        dependencies: list(&package["dependencies"])
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(name)
            .collect(),
    });
    let packages: Vec<Package> = packages.collect();
    anyhow::ensure!(
        packages.len() > ALLOWED.len(),
        "cargo metadata lists {} packages",
        packages.len()
    );
    Ok(packages)
}

#[test]
fn dependencies_of_our_crates_point_one_way() -> Result<()> {
    let packages = packages()?;
    let mut violations = Vec::new();
    for (name, allowed) in ALLOWED {
        let package = packages.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("no package {name}: mend the list in this test"))?;
        for dependency in &package.dependencies {
            if dependency.starts_with("wasmill-") && !allowed.contains(&dependency.as_str()) {
                violations.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    none(
        "Layers: model ← state ← RocksDB, checkpoint ← engine ← plugin, connector ← server; the SDK stands alone.",
        violations,
    );
    Ok(())
}

#[test]
fn heavy_dependencies_stay_behind_one_crate() -> Result<()> {
    let mut violations = Vec::new();
    for package in packages()? {
        for dependency in &package.dependencies {
            for (heavy, owner) in CONFINED {
                let is_heavy = dependency == heavy || dependency.starts_with(&format!("{heavy}-"));
                if is_heavy && package.name != owner && package.name.starts_with("wasmill-") {
                    violations.push(format!("{} names {dependency}; only {owner} may", package.name));
                }
            }
        }
    }
    none("A heavy dependency is named by one crate.", violations);
    Ok(())
}

#[test]
fn every_dependency_is_declared_once_with_its_reason() -> Result<()> {
    let mut violations = Vec::new();
    for text in texts(&["toml"])? {
        if text.path == "Cargo.toml" {
            violations.extend(without_reason(&text.content));
        } else if is_member(&text.path) {
            violations.extend(
                declared_here(&text.content)
                    .into_iter()
                    .map(|line| format!("{}: {line}", text.path)),
            );
        }
    }
    none(
        "A dependency stands in the root manifest under a comment that says why; a crate writes `x.workspace = true`.",
        violations,
    );
    Ok(())
}

fn is_member(path: &str) -> bool {
    path.ends_with("/Cargo.toml") && !path.starts_with("plugins/") && !path.starts_with("xtask/componentize/")
}

/// Lines of dependency tables that do not take the dependency from the workspace.
fn declared_here(manifest: &str) -> Vec<&str> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#') {
            let from_workspace = line.contains(".workspace = true") || line.contains("workspace = true");
            if !from_workspace {
                found.push(line);
            }
        }
    }
    found
}

/// Dependencies of the root manifest with no comment above them or above the lines they follow directly.
fn without_reason(manifest: &str) -> Vec<String> {
    let mut in_section = false;
    let mut has_reason = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_section = line == "[workspace.dependencies]";
        } else if !in_section || line.starts_with([' ', ']', '}']) {
            // Of another table, or the rest of an entry.
        } else if line.starts_with('#') {
            has_reason = true;
        } else if line.is_empty() {
            has_reason = false;
        } else if !has_reason {
            found.push(format!("Cargo.toml: {line}"));
        }
    }
    found
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = { version = \"1\", features = [\n  \"c\",\n] }\n\nd = \"2\"\n";
    assert_eq!(without_reason(manifest), ["Cargo.toml: d = \"2\""]);
    assert_eq!(
        declared_here("[dependencies]\na.workspace = true\nb = \"1\"\n"),
        ["b = \"1\""]
    );
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() -> Result<()> {
    let violations = texts(&["toml"])?
        .into_iter()
        .filter(|text| is_member(&text.path) && !text.content.contains("[lints]\nworkspace = true"))
        .map(|text| text.path)
        .collect();
    none("A crate's manifest says `[lints] workspace = true`.", violations);
    Ok(())
}
