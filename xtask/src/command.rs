//! Running other programs.
//!
//! Invariant: an error names the whole command line, so that it can be repeated by hand.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command with its output shown; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        bail!("{status}: {}", shown(command));
    }
    Ok(())
}

/// Runs a command in silence and returns its standard output; on failure the error holds all it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", shown(command)))?;
    if !output.status.success() {
        let written = [output.stdout, output.stderr].concat();
        bail!(
            "{}: {}\n{}",
            output.status,
            shown(command),
            String::from_utf8_lossy(&written).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", shown(command)))
}

/// A command line as a person would write it, its own environment included.
pub(crate) fn shown(command: &Command) -> String {
    let environment = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(value)))
    });
    environment
        .chain([quoted(command.get_program())])
        .chain(command.get_args().map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The path of a program in `PATH`; none where there is none.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The cargo that runs this task, or the one in `PATH`; it links RocksDB's library from the cache where that is there.
pub(crate) fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    if let Some(library) = crate::rocksdb::library(directory) {
        command.env("ROCKSDB_LIB_DIR", library).env("ROCKSDB_STATIC", "1");
    }
    command
}

/// Installs Debian packages where that is possible without a question: as root, with apt-get.
/// The error says which command to run by hand.
pub(crate) fn install_debian_packages(packages: &[&str], purpose: &str) -> Result<()> {
    let by_hand = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if find_program("apt-get").is_none() {
        bail!("no apt-get on this system to install {}", packages.join(" "));
    }
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("run as root: {by_hand}");
    }
    eprintln!("installing Debian packages {purpose}: {by_hand}");
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        output(&mut command)
    };
    if install().is_err() {
        // The package lists of a fresh container are empty.
        output(Command::new("apt-get").args(["update", "-q"]))?;
        install()?;
    }
    Ok(())
}
