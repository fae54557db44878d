//! RocksDB's library, compiled once for all clones, profiles and choices of packages.
//!
//! It takes 45 minutes of one core, and cargo would compile it anew for each profile, and whenever a choice of packages
//! changes a feature of what builds it. Invariant: the library in the cache is whole, and of the version in `Cargo.lock`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{self, find_program, install_debian_packages, run};
use crate::workspace::{Workspace, cache_dir};

const CRATE: &str = "librocksdb-sys";
const LIBRARY: &str = "librocksdb.a";

/// Where bindgen looks for libclang, beside what `LIBCLANG_PATH` names.
const LIBCLANG_DIRECTORIES: [&str; 4] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib",
];

/// Compiles the library where the cache has none. Without this, cargo compiles it as a part of the host.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    need_tools()?;
    let version = version(&workspace.root)?;
    let directory = workspace.cache.join("rocksdb").join(&version);
    if directory.join(LIBRARY).is_file() {
        return Ok(());
    }
    eprintln!("compiling RocksDB ({CRATE} {version}), once: this takes about 45 minutes of one core");
    let target = directory.join("build");
    run(command::cargo(&workspace.root)
        .args(["build", "--release", "--package", CRATE])
        .env("CARGO_TARGET_DIR", &target))
    .context("compile RocksDB")?;
    let built = built(&target.join("release/build"))?;
    let new = directory.join(format!("{LIBRARY}.new"));
    fs::copy(&built, &new).with_context(|| format!("copy {}", built.display()))?;
    fs::rename(&new, directory.join(LIBRARY)).with_context(|| format!("rename {}", new.display()))?;
    fs::remove_dir_all(&target).with_context(|| format!("remove {}", target.display()))
}

/// The directory of the library that a clone needs; none where it is not compiled.
pub(crate) fn library(root: &Path) -> Option<PathBuf> {
    let directory = cache_dir().ok()?.join("rocksdb").join(version(root).ok()?);
    directory.join(LIBRARY).is_file().then_some(directory)
}

/// The version in the clone's lock file.
fn version(root: &Path) -> Result<String> {
    let path = root.join("Cargo.lock");
    let lock = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let version = locked(&lock).with_context(|| format!("{} names no version of {CRATE}", path.display()))?;
    Ok(version.to_owned())
}

fn locked(lock: &str) -> Option<&str> {
    let mut lines = lock
        .lines()
        .skip_while(|line| *line != format!("name = \"{CRATE}\""));
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

fn built(builds: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(builds).with_context(|| format!("read {}", builds.display()))?;
    let libraries = entries
        .flatten()
        .map(|entry| entry.path().join("out").join(LIBRARY));
    libraries
        .into_iter()
        .find(|library| library.is_file())
        .with_context(|| format!("cargo left no {LIBRARY} below {}", builds.display()))
}

/// A C++ compiler, and libclang, which makes the bindings.
fn need_tools() -> Result<()> {
    let mut missing = Vec::new();
    if !["c++", "g++", "clang++"]
        .iter()
        .any(|name| find_program(name).is_some())
    {
        missing.push("g++");
    }
    if !has_libclang() {
        missing.push("libclang-dev");
    }
    match missing.is_empty() {
        true => Ok(()),
        false => install_debian_packages(&missing, "for RocksDB"),
    }
}

fn has_libclang() -> bool {
    let given = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let llvm = llvm.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"));
    let directories = LIBCLANG_DIRECTORIES.map(PathBuf::from).into_iter();
    let mut all = given
        .into_iter()
        .chain(directories)
        .chain(llvm.map(|entry| entry.path().join("lib")));
    all.any(|directory| {
        let names = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.into_iter().any(|name| {
            let rest = name.strip_prefix("libclang");
            rest.is_some_and(|rest| {
                rest.starts_with(".so")
                    || (rest.starts_with('-') && rest.contains(".so") && !rest.contains("cpp"))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = "[[package]]\nname = \"librocksdb-sys\"\nversion = \"1.2.3+4\"\n";
        assert_eq!(locked(lock), Some("1.2.3+4"));
        assert_eq!(locked("[[package]]\nname = \"rocksdb\"\n"), None);
    }
}
