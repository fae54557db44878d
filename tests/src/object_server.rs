//! Object stores on loopback: real servers of other people, which `cargo xtask servers` installs.
//!
//! | store | server |
//! |---|---|
//! | S3 | `moto_server`, from PyPI |
//! | Azure | `azurite-blob`, from npm |
//! | GCS | `fake-gcs-server`, a Go module, behind the part of the XML API that it lacks |

mod gate;
mod xml;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use gate::Gate;

use crate::{skip, wait};

/// The bucket or container that every server has.
pub const BUCKET: &str = "wasmill";

/// How long a server may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The account that azurite has of itself, with its key, which is no secret.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// See [`AZURITE_ACCOUNT`].
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server that runs until it is dropped.
pub struct ObjectServer {
    child: Child,
    /// `host:port`.
    pub address: String,
    _directory: tempfile::TempDir,
}

impl ObjectServer {
    /// One that speaks S3; `None` where it is not installed, which `WASMILL_REQUIRE_ALL=1` makes an error.
    pub fn s3() -> Result<Option<Self>> {
        let Some(program) = installed("moto/bin/moto_server")? else {
            return Ok(None);
        };
        let server = Self::start(&program, |command, host, port, _| {
            command.args(["-H", host, "-p", port]);
        })?;
        server.ask("PUT", &format!("/{BUCKET}"), "")?;
        Ok(Some(server))
    }

    /// Azure's; it makes containers only for those who sign their requests, so the caller makes [`BUCKET`].
    pub fn azure() -> Result<Option<Self>> {
        let Some(program) = installed("azurite/node_modules/.bin/azurite-blob")? else {
            return Ok(None);
        };
        let start = |command: &mut Command, host: &str, port: &str, directory: &Path| {
            command.args([
                "--silent",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--blobHost",
                host,
            ]);
            command.args(["--blobPort", port, "--location"]).arg(directory);
        };
        Ok(Some(Self::start(&program, start)?))
    }

    /// Google's.
    pub fn gcs() -> Result<Option<Self>> {
        let Some(program) = installed("fake-gcs-server/bin/fake-gcs-server")? else {
            return Ok(None);
        };
        let mut server = Self::start(&program, |command, host, port, _| {
            command.args([
                "-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
            ]);
            command.args(["-public-host", &format!("{host}:{port}")]);
        })?;
        server.ask(
            "POST",
            "/storage/v1/b?project=test",
            &format!("{{\"name\": \"{BUCKET}\"}}"),
        )?;
        server.address = xml::before(&server.address)?;
        Ok(Some(server))
    }

    fn start(program: &Path, options: impl Fn(&mut Command, &str, &str, &Path)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        options(&mut command, "127.0.0.1", &port.to_string(), directory.path());
        let log = std::fs::File::create(directory.path().join("log"))?;
        let child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut server = Self {
            child,
            address,
            _directory: directory,
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let url = self.url();
        wait::until("the object store answers", START_LIMIT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the object store ended with {status}");
            }
            let answer = agent().get(&url).call();
            Ok(answer.map(|_| ()).map_err(|error| error.to_string()))
        })
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<()> {
        let url = format!("{}{path}", self.url());
        let answer = match method {
            "PUT" => agent().put(&url).send(body)?,
            _ => agent().post(&url).content_type("application/json").send(body)?,
        };
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => bail!("{method} {url}: {status}"),
        }
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it at once, with all that it holds.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .new_agent()
}

/// A server's program by its path below the directory that `cargo xtask servers` fills.
fn installed(program: &str) -> Result<Option<PathBuf>> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|chosen| !chosen.is_empty()) {
        Some(chosen) => PathBuf::from(chosen),
        None => Path::new(&std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let path = cache.join("wasmill/servers").join(program);
    if path.exists() {
        return Ok(Some(path));
    }
    let (name, _) = program.split_once('/').unwrap_or((program, ""));
    skip::note(
        name,
        &format!("{} is not there: run `cargo xtask servers`", path.display()),
    )?;
    Ok(None)
}
