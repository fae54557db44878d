//! The components that `cargo xtask guests` builds.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::skip;

/// The root of the clone.
pub fn root() -> PathBuf {
    // Of this run: a build directory that clones share may hold the program of another clone.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .join("..")
        .canonicalize()
        .unwrap_or_else(|_| PathBuf::from(".."))
}

/// A component by its crate's name, such as `word_count`; `None` where it was not built, which
/// `WASMILL_REQUIRE_ALL=1` makes an error.
pub fn component(name: &str) -> Result<Option<PathBuf>> {
    let path = root().join("target/guests").join(format!("{name}.wasm"));
    if path.exists() {
        return Ok(Some(path));
    }
    skip::note(
        name,
        &format!("{} is not there: run `cargo xtask guests`", path.display()),
    )?;
    Ok(None)
}

/// A component that every machine can build.
pub fn rust_component(name: &str) -> Result<PathBuf> {
    let path = root().join("target/guests").join(format!("{name}.wasm"));
    if !path.exists() {
        bail!("{} is not there: run `cargo xtask guests`", path.display());
    }
    Ok(path)
}
