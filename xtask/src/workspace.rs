//! Where things lie: the clone, the build directory, the cache.
//!
//! Invariant: a build directory that the caller chose (`CARGO_TARGET_DIR`) is obeyed; otherwise it is
//! one stable directory outside the clone, so that a fresh clone does not compile everything anew.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Components of guests, relative to the root of the clone. Tests, benches and the demo read them there.
pub(crate) const GUESTS_DIR: &str = "target/guests";

/// Makes a skip for lack of a toolchain a failure when it is set to `1`.
pub(crate) const REQUIRE_ALL: &str = "WASMILL_REQUIRE_ALL";

/// The directories that every task works with; all are absolute.
pub(crate) struct Workspace {
    /// The root of the clone.
    pub(crate) root: PathBuf,
    /// Outlives the clone: downloaded tools and whatever is built once.
    pub(crate) cache: PathBuf,
    /// Cargo's build directory for the host.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the directories; makes the cache.
    pub(crate) fn find() -> Result<Workspace> {
        // Of this run: a build directory that clones share may hold the program of another clone.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest)
            .parent()
            .context("xtask lies in the root of the clone")?
            .to_path_buf();
        let cache = cache_dir()?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(chosen) if !chosen.is_empty() => root.join(chosen),
            _ => cache.join("target"),
        };
        std::fs::create_dir_all(&cache).with_context(|| format!("make the cache {}", cache.display()))?;
        Ok(Workspace { root, cache, target })
    }

    /// Where the components of guests lie.
    pub(crate) fn guests(&self) -> PathBuf {
        self.root.join(GUESTS_DIR)
    }
}

/// The cache of all clones.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(chosen) if !chosen.is_empty() => PathBuf::from(chosen),
        _ => Path::new(&env::var_os("HOME").context("HOME is not set: set it, or XDG_CACHE_HOME")?)
            .join(".cache"),
    };
    Ok(base.join("wasmill"))
}

/// Whether a skip is to be a failure.
pub(crate) fn requires_all() -> bool {
    env::var(REQUIRE_ALL).is_ok_and(|value| value == "1")
}
