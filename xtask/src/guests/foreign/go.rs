//! Go by the ordinary compiler, with an adapter that stands in for the system.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::fresh::copy_all;
use super::{Builder, Job, WORLD, componentize, version};
use crate::command::{find_program, output};
use crate::workspace::Workspace;

/// Go 1.24 is the first that exports functions of a library to WebAssembly.
const OLDEST_MINOR: u32 = 24;

/// The compiler of golang.org.
pub(crate) struct StockGo;

impl Builder for StockGo {
    fn name(&self) -> &'static str {
        "go"
    }

    fn tools(&self, _: &Workspace) -> Result<String> {
        let needs = "needs Go 1.24 or newer: https://go.dev/dl";
        let go = find_program("go").context(needs)?;
        let version = version(&go, "version")?;
        match minor(&version) {
            Some(minor) if minor >= OLDEST_MINOR => Ok(version),
            _ => bail!("{needs} (this is {version})"),
        }
    }

    fn make(&self, workspace: &Workspace, job: &Job) -> Result<PathBuf> {
        output(
            componentize(workspace)?
                .args(["bindings", "go"])
                .arg(&job.wit)
                .arg(WORLD)
                .arg(&job.scratch),
        )?;
        // The hand-written half, over the generated one: its go.mod is the one that counts.
        copy_all(&job.source, &job.scratch)?;
        let mut go = Command::new("go");
        go.current_dir(&job.scratch)
            .env("GOOS", "wasip1")
            .env("GOARCH", "wasm");
        // All that it needs lies here.
        go.env("GOPROXY", "off")
            .env("GOFLAGS", "-mod=mod")
            .env("GOTOOLCHAIN", "local");
        output(go.args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-buildmode=c-shared",
            "-o",
            "core.wasm",
            ".",
        ]))?;
        let (core, component) = (job.scratch.join("core.wasm"), job.scratch.join("component.wasm"));
        let mut encode = componentize(workspace)?;
        encode
            .arg("encode")
            .arg(&job.wit)
            .arg(WORLD)
            .arg(core)
            .arg(&component);
        output(encode.arg(job.source.join("wasi-stub.wat")))?;
        Ok(component)
    }
}

/// The minor number in `go version go1.26.8 linux/amd64`.
fn minor(version: &str) -> Option<u32> {
    let number = version.split_once("go1.")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn the_minor_version_of_go_is_read_from_what_it_prints() {
        assert_eq!(minor("go version go1.26.8 linux/amd64"), Some(26));
        assert_eq!(minor("go version go1.25rc1 linux/amd64"), Some(25));
        assert_eq!(minor("go version devel"), None);
    }
}
