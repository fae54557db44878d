//! `cargo xtask servers`: the object stores that tests of checkpoint storage run against, into the cache.
//!
//! Invariant: a server that is there in its release is not touched; one that cannot be installed is reported, and its
//! tests are skipped.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find_program, output};
use crate::workspace::{REQUIRE_ALL, Workspace, requires_all};

/// A server: its directory, its release, and what installs it.
struct Server {
    name: &'static str,
    release: &'static str,
    install: fn(&Path, &str) -> Result<()>,
}

const SERVERS: [Server; 3] = [
    Server {
        name: "moto",
        release: "5.2.1",
        install: moto,
    },
    Server {
        name: "azurite",
        release: "3.37.0",
        install: azurite,
    },
    Server {
        name: "fake-gcs-server",
        release: "v1.56.1",
        install: fake_gcs_server,
    },
];

/// Installs what is missing and prints a line for each.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for server in &SERVERS {
        let Server { name, release, .. } = server;
        let directory = workspace.cache.join("servers").join(name);
        match installed(&directory, server) {
            Ok(()) => eprintln!("server {name}: {release}"),
            Err(error) => {
                eprintln!("server {name}: skipped: {error:#}");
                missing.push(*name);
            }
        }
    }
    if requires_all() && !missing.is_empty() {
        bail!("not installed and {REQUIRE_ALL}=1: {}", missing.join(", "));
    }
    Ok(())
}

fn installed(directory: &Path, server: &Server) -> Result<()> {
    let complete = directory.join("complete");
    if std::fs::read_to_string(&complete).is_ok_and(|found| found == server.release) {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    eprintln!(
        "installing {} {} into the cache, once",
        server.name, server.release
    );
    (server.install)(directory, server.release)?;
    std::fs::write(complete, server.release).context("note that it is complete")
}

fn moto(directory: &Path, release: &str) -> Result<()> {
    let python = find_program("python3").context("needs python3 with venv and pip")?;
    output(Command::new(python).args(["-m", "venv"]).arg(directory))
        .context("needs python3 with venv (on Debian: apt-get install -y python3-venv)")?;
    let package = format!("moto[server,s3]=={release}");
    let mut pip = Command::new(directory.join("bin/pip"));
    output(pip.args(["install", "--quiet", &package]))
        .with_context(|| format!("needs {package} from PyPI; pip could not install it"))?;
    Ok(())
}

fn azurite(directory: &Path, release: &str) -> Result<()> {
    let npm = find_program("npm").context("needs npm and node (on Debian: apt-get install -y npm)")?;
    let package = format!("azurite@{release}");
    let mut install = Command::new(npm);
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
    output(install.arg(directory).arg(&package))
        .with_context(|| format!("needs {package} from npm; it could not be installed"))?;
    Ok(())
}

fn fake_gcs_server(directory: &Path, release: &str) -> Result<()> {
    let go = find_program("go").context("needs Go (on Debian: apt-get install -y golang)")?;
    let module = format!("github.com/fsouza/fake-gcs-server@{release}");
    let mut install = Command::new(go);
    install
        .env("GOBIN", directory.join("bin"))
        .args(["install", &module]);
    output(&mut install).with_context(|| format!("needs the Go module {module}; it could not be built"))?;
    Ok(())
}
