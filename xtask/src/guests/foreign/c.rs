//! C by clang and wasi-libc. The guest uses no stdio, so its component imports nothing of WASI.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Builder, Job, WORLD, componentize, version};
use crate::command::{find_program, install_debian_packages, output};
use crate::workspace::Workspace;

const PACKAGES: [&str; 4] = ["clang-22", "lld-22", "libclang-rt-22-dev-wasm32", "wasi-libc"];
const LIBC: &str = "/usr/include/wasm32-wasi/stdlib.h";

/// Debian's clang for `wasm32-wasi`.
pub(crate) struct Clang;

impl Builder for Clang {
    fn name(&self) -> &'static str {
        "c"
    }

    fn tools(&self, _: &Workspace) -> Result<String> {
        let programs = || Some((find_program("clang-22")?, find_program("wasm-ld-22")?));
        if programs().is_none() || !Path::new(LIBC).is_file() {
            let by_hand = PACKAGES.join(" ");
            install_debian_packages(&PACKAGES, "to compile guests in C")
                .with_context(|| format!("needs {by_hand} (Debian's names)"))?;
        }
        let (clang, _) = programs().context("needs clang-22 and wasm-ld-22 in PATH")?;
        version(&clang, "--version")
    }

    fn make(&self, workspace: &Workspace, job: &Job) -> Result<PathBuf> {
        output(
            componentize(workspace)?
                .args(["bindings", "c"])
                .arg(&job.wit)
                .arg(WORLD)
                .arg(&job.scratch),
        )?;
        let linker = find_program("wasm-ld-22").context("wasm-ld-22 is not in PATH")?;
        let mut clang = Command::new("clang-22");
        clang
            .current_dir(&job.scratch)
            .args(["--target=wasm32-wasi", "-Wno-deprecated", "-O2"]);
        clang
            .args(["-mexec-model=reactor", "-Wl,--strip-all"])
            .arg(format!("-fuse-ld={}", linker.display()));
        clang.arg("-I.").arg(job.source.join("count.c"));
        output(clang.args(["process.c", "process_component_type.o", "-o", "core.wasm"]))?;
        let component = job.scratch.join("component.wasm");
        let core = job.scratch.join("core.wasm");
        // `-`: the type of the world came in with the object file of the bindings.
        output(
            componentize(workspace)?
                .arg("encode")
                .arg(&job.wit)
                .arg("-")
                .arg(core)
                .arg(&component),
        )?;
        Ok(component)
    }
}
