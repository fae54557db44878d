//! The compiler for guests in Rust: rustup's where it has the target, else Debian's packages.
//!
//! Debian's compiler comes without a standard library for the target; it is built once and kept in the
//! cache as a sysroot, so that a guest compiles in a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, find_program, install_debian_packages, output};
use crate::workspace::Workspace;

/// The target of every guest: no system interface at all, so nothing to stub.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Overrides the choice: `rustup` or `debian`.
const CHOICE: &str = "WASMILL_GUEST_TOOLCHAIN";

const DEBIAN_PACKAGES: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-22",
];
const DEBIAN_LINKER: &str = "/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/wasm-component-ld";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

/// How to compile a guest.
pub(crate) enum Toolchain {
    /// The compiler of the host; holds its sysroot's directory of programs.
    Ordinary(PathBuf),
    /// Debian's compiler; holds the sysroot in the cache.
    Debian(PathBuf),
}

impl Toolchain {
    /// Finds a toolchain, installing what can be installed. The error names both commands to choose from.
    pub(crate) fn find(workspace: &Workspace) -> Result<Toolchain> {
        let choice = std::env::var(CHOICE).unwrap_or_default();
        let ordinary = match choice.as_str() {
            "debian" => Err(anyhow::anyhow!("{CHOICE}=debian")),
            "" | "rustup" => ordinary(workspace),
            other => bail!("{CHOICE}={other}: it must be rustup or debian"),
        };
        let because = match ordinary {
            Ok(programs) => return Ok(Toolchain::Ordinary(programs)),
            Err(error) if choice == "rustup" => return Err(error),
            Err(error) => error,
        };
        let debian = debian(workspace).with_context(|| {
            format!(
                "no compiler for {TARGET} ({because:#}); run `rustup target add {TARGET}`, or on Debian as root \
                 `apt-get install -y --no-install-recommends {}`",
                DEBIAN_PACKAGES.join(" ")
            )
        })?;
        Ok(Toolchain::Debian(debian))
    }

    /// A cargo command that compiles for the target, in `directory`, with its build directory under
    /// `target`. `subcommand` is `build` or `clippy`.
    pub(crate) fn cargo(&self, subcommand: &str, directory: &Path, target: &Path) -> Command {
        let mut command = match self {
            Toolchain::Ordinary(programs) => {
                let mut command = command::cargo(directory);
                command.env(
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                    programs.join("wasm-component-ld"),
                );
                // wasm-component-ld looks for wasm-ld in PATH.
                command.env("PATH", with_first(&programs.join("gcc-ld")));
                command.env("CARGO_TARGET_DIR", target.join("guests"));
                command
            }
            Toolchain::Debian(sysroot) => {
                let mut command = debian_cargo(directory);
                command.env(
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                    format!("--sysroot={}", sysroot.display()),
                );
                command.env("CARGO_TARGET_DIR", target.join("guests-debian"));
                command
            }
        };
        command.args([subcommand, "--release", "--target", TARGET]);
        command
    }
}

fn with_first(directory: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap_or(path)
}

/// The directory of programs of a compiler that has the target, which rustup is asked to add.
fn ordinary(workspace: &Workspace) -> Result<PathBuf> {
    let sysroot = || -> Result<PathBuf> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Ok(output(
            Command::new(rustc)
                .args(["--print", "sysroot"])
                .current_dir(&workspace.root),
        )?
        .trim()
        .into())
    };
    let mut rustlib = sysroot()?.join("lib/rustlib");
    if !rustlib.join(TARGET).join("lib").is_dir() {
        if find_program("rustup").is_none() {
            bail!("{} has no {TARGET}, and there is no rustup", rustlib.display());
        }
        eprintln!("installing the target: rustup target add {TARGET}");
        output(
            Command::new("rustup")
                .args(["target", "add", TARGET])
                .current_dir(&workspace.root),
        )?;
        rustlib = sysroot()?.join("lib/rustlib");
    }
    let host = output(Command::new("rustc").arg("-vV").current_dir(&workspace.root))?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?;
    let programs = rustlib.join(host).join("bin");
    let linker = programs.join("wasm-component-ld");
    if !linker.is_file() {
        bail!(
            "{} is missing: this compiler comes without the linker of components",
            linker.display()
        );
    }
    Ok(programs)
}

/// Cargo of Debian, free of what rustup's cargo put into our environment.
fn debian_cargo(directory: &Path) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.current_dir(directory);
    for name in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTDOC", "/usr/bin/rustdoc");
    // Cargo runs `rustc -` by way of PATH in places; rustup's shims must not answer.
    command.env("PATH", with_first(Path::new("/usr/bin")));
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
    command
}

fn debian(workspace: &Workspace) -> Result<PathBuf> {
    let needed = [
        "/usr/bin/cargo",
        "/usr/bin/rustc",
        DEBIAN_LINKER,
        DEBIAN_SOURCE,
        "/usr/bin/wasm-ld-22",
    ];
    if needed.iter().any(|path| !Path::new(path).exists()) {
        install_debian_packages(&DEBIAN_PACKAGES, "to compile guests in Rust")?;
    }
    let release = output(Command::new("/usr/bin/rustc").arg("-vV"))?;
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .context("rustc -vV")?;
    let sysroot = workspace.cache.join(format!("sysroot-debian-{release}"));
    if !sysroot.join("complete").is_file() {
        build_standard_library(workspace, &sysroot)?;
    }
    Ok(sysroot)
}

/// Compiles the standard library for the target through an empty crate, and keeps its libraries.
fn build_standard_library(workspace: &Workspace, sysroot: &Path) -> Result<()> {
    eprintln!("building the standard library for {TARGET}, once (about half a minute)");
    let scratch = workspace.cache.join("sysroot-scratch");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(scratch.join("src"))?;
    let manifest = "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(scratch.join("Cargo.toml"), manifest)?;
    fs::write(scratch.join("src/lib.rs"), "//! Empty.\n")?;
    let mut build = debian_cargo(&scratch);
    build.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "-Zbuild-std=std,panic_abort",
    ]);
    // The libraries must serve guests built with and without link-time optimisation.
    build.env(
        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
        "-Cembed-bitcode=yes",
    );
    build
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", scratch.join("target"));
    output(&mut build)?;

    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    let built = scratch.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&built).with_context(|| format!("read {}", built.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libscratch") {
            fs::copy(&path, libraries.join(&name)).with_context(|| format!("keep {name}"))?;
        }
    }
    fs::write(sysroot.join("complete"), "")?;
    fs::remove_dir_all(&scratch).context("remove the scratch crate")
}
