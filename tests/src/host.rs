//! The real `wasmill serve` as a process.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::{self, Ran};
use crate::{skip, wait};

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A host that runs until it is killed or dropped.
pub struct Host {
    child: Child,
    address: String,
    agent: ureq::Agent,
    log: PathBuf,
    printed: PathBuf,
}

/// Where the `wasmill` binary is: beside the test binaries.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WASMILL_BIN") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).map(|directory| directory.join("wasmill"));
    match path {
        Some(path) if path.exists() => Ok(path),
        _ => bail!("the `wasmill` binary is not beside the tests: run `cargo build -p wasmill-server` first"),
    }
}

impl Host {
    /// Starts a host on a data directory and waits until it answers.
    pub fn start(data: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_in(Path::new("."), data, environment)
    }

    /// Starts a host in a working directory, to which relative paths of connectors are relative.
    pub fn start_in(directory: &Path, data: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.current_dir(directory);
        Self::start_by(command, data, environment)
    }

    /// Starts a host that sees a disk of so many bytes in the place of a directory, alone; `None` where the machine lets
    /// nobody mount one, which `WASMILL_REQUIRE_ALL=1` makes an error.
    pub fn start_on_a_disk(
        disk: &Path,
        bytes: u64,
        data: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Option<Self>> {
        let mounted = |program: &Path| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
            command.arg("mount -t tmpfs -o size=$0 wasmill \"$1\" && shift && exec \"$@\"");
            command.arg(bytes.to_string()).args([disk, program]);
            command
        };
        let tried = mounted(Path::new("true")).stderr(Stdio::null()).status();
        if !tried.is_ok_and(|status| status.success()) {
            skip::note(
                "a full disk",
                "`unshare --user --map-root-user --mount` does not let it mount a tmpfs",
            )?;
            return Ok(None);
        }
        Self::start_by(mounted(&binary()?), data, environment).map(Some)
    }

    /// `command` is what becomes the host, but for its arguments.
    fn start_by(mut command: Command, data: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let address = free_address()?;
        let (log, printed) = (data.with_extension("log"), data.with_extension("printed"));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let child = command
            .args(["serve", "--bind", &address, "--data-dir"])
            .arg(std::path::absolute(data)?)
            .env("WASMILL_SLOTS", "16")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(append(&printed)?)
            .stderr(append(&log)?)
            .spawn()?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let mut host = Self {
            child,
            address,
            agent,
            log,
            printed,
        };
        host.wait_until_it_answers()?;
        Ok(host)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let url = format!("http://{}/v1/overview", self.address);
        let (agent, log) = (self.agent.clone(), self.log.clone());
        let child = &mut self.child;
        wait::until("the host answers", Duration::from_secs(30), || {
            if let Some(status) = child.try_wait()? {
                bail!("the host ended with {status}: {}", tail(&log));
            }
            Ok(agent.get(&url).call().map(|_| ()).map_err(|e| e.to_string()))
        })
    }

    /// Kills it as a power cut would, but for the disk.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its process id.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(mut self) -> Result<std::process::ExitStatus> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let child = &mut self.child;
        wait::until("the host stops", Duration::from_secs(30), || {
            Ok(child.try_wait()?.ok_or_else(|| "still running".to_owned()))
        })
    }

    /// What it wrote, at most the last 4,000 characters.
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// All lines of its log, of the hosts before it on the same data directory too.
    pub fn log_lines(&self) -> Result<Vec<String>> {
        lines(&self.log)
    }

    /// All whole lines that its jobs printed, of the hosts before it on the same data directory too.
    pub fn printed(&self) -> Result<Vec<String>> {
        lines(&self.printed)
    }

    /// Runs `wasmill` with arguments against this host.
    pub fn command(&self, arguments: &[&str]) -> Result<Ran> {
        let url = self.url("");
        cli::run(Path::new("."), &[&["--host", &url], arguments].concat())
    }

    /// Status and JSON of a GET.
    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        answer(self.agent.get(self.url(path)).call(), path)
    }

    /// JSON of a GET that must succeed.
    pub fn get_ok(&self, path: &str) -> Result<Value> {
        match self.get(path)? {
            (200..=299, value) => Ok(value),
            (status, value) => bail!("GET {path}: {status} {value}"),
        }
    }

    /// Status and JSON of a POST.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, Value)> {
        answer(
            self.agent
                .post(self.url(path))
                .content_type(content_type)
                .send(body),
            path,
        )
    }

    /// Status and JSON of a PATCH without a body.
    pub fn patch(&self, path: &str) -> Result<(u16, Value)> {
        answer(self.agent.patch(self.url(path)).send_empty(), path)
    }

    /// Status and JSON of a DELETE.
    pub fn delete(&self, path: &str) -> Result<(u16, Value)> {
        answer(self.agent.delete(self.url(path)).call(), path)
    }

    /// Uploads a component and returns the answer.
    pub fn upload(&self, name: &str, component: &Path) -> Result<Value> {
        let bytes = std::fs::read(component).with_context(|| component.display().to_string())?;
        match self.post(&format!("/v1/plugins?name={name}"), "application/wasm", &bytes)? {
            (200..=299, value) => Ok(value),
            (status, value) => bail!("upload of {name}: {status} {value}"),
        }
    }

    /// Submits a job file and returns the job's id.
    pub fn submit(&self, job: &str) -> Result<String> {
        self.submit_with(job, "")
    }

    /// Submits a job file with a query string.
    pub fn submit_with(&self, job: &str, query: &str) -> Result<String> {
        match self.post(&format!("/v1/jobs{query}"), "application/yaml", job.as_bytes())? {
            (200..=299, value) => {
                let id = value.get("jobid").and_then(Value::as_str);
                Ok(id.with_context(|| format!("no jobid in {value}"))?.to_owned())
            }
            (status, value) => bail!("submit: {status} {value}"),
        }
    }

    /// The job's state, such as `RUNNING`.
    pub fn state(&self, job: &str) -> Result<String> {
        let status = self.get_ok(&format!("/v1/jobs/{job}/status"))?;
        Ok(status["status"].as_str().unwrap_or_default().to_owned())
    }

    /// How many checkpoints completed since this host started the job.
    pub fn completed_checkpoints(&self, job: &str) -> Result<u64> {
        let checkpoints = self.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
        Ok(checkpoints["counts"]["completed"].as_u64().unwrap_or(0))
    }

    /// Waits until a checkpoint has completed that was triggered after this call.
    pub fn wait_for_a_new_checkpoint(&self, job: &str) -> Result<()> {
        // The next one to complete may have been under way already.
        let wanted = self.completed_checkpoints(job)? + 2;
        wait::until("a new checkpoint completes", LIMIT, || {
            let state = self.state(job)?;
            if matches!(state.as_str(), "FAILED" | "CANCELED" | "FINISHED") {
                bail!(
                    "job {job} is {state}: {}",
                    self.get_ok(&format!("/v1/jobs/{job}/exceptions"))?
                );
            }
            let completed = self.completed_checkpoints(job)?;
            Ok(if completed >= wanted {
                Ok(())
            } else {
                Err(format!("{completed} of {wanted}"))
            })
        })
    }

    /// Stops a job with a savepoint, waits for its end and returns the savepoint's place.
    pub fn stop_with_savepoint(&self, job: &str) -> Result<String> {
        self.stop_with(job, "CANONICAL")
    }

    /// The same with a savepoint of that format.
    pub fn stop_with(&self, job: &str, format: &str) -> Result<String> {
        let body = json!({"drain": false, "formatType": format}).to_string();
        let (status, trigger) = self.post(
            &format!("/v1/jobs/{job}/stop"),
            "application/json",
            body.as_bytes(),
        )?;
        let Some(id) = trigger["request-id"].as_str() else {
            bail!("stop of {job}: {status} {trigger}");
        };
        let location = wait::until("the savepoint is done", LIMIT, || {
            let answer = self.get_ok(&format!("/v1/jobs/{job}/savepoints/{id}"))?;
            Ok(match answer["status"]["id"].as_str() {
                Some("COMPLETED") => Ok(answer["operation"]["location"].clone()),
                _ => Err(answer.to_string()),
            })
        })?;
        self.wait_for(job, "FINISHED", LIMIT)?;
        Ok(location
            .as_str()
            .context("a savepoint without a place")?
            .to_owned())
    }

    /// Waits until the job has failed and returns its newest exception.
    pub fn failure(&self, job: &str) -> Result<String> {
        self.wait_for(job, "FAILED", LIMIT)?;
        let exceptions = self.get_ok(&format!("/v1/jobs/{job}/exceptions"))?;
        let newest = exceptions["exceptionHistory"]["entries"][0]["stacktrace"].as_str();
        Ok(newest
            .with_context(|| format!("no exception in {exceptions}"))?
            .to_owned())
    }

    /// Waits until the job is in a state; fails at once when it is in another one that it cannot leave.
    pub fn wait_for(&self, job: &str, wanted: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("job {job} is {wanted}"), limit, || {
            let state = self.state(job)?;
            if state == wanted {
                return Ok(Ok(()));
            }
            if matches!(state.as_str(), "FAILED" | "CANCELED" | "FINISHED") {
                bail!(
                    "job {job} is {state}, not {wanted}: {}",
                    self.get_ok(&format!("/v1/jobs/{job}/exceptions"))?
                );
            }
            Ok(Err(state))
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Result<(u16, Value)> {
    let mut response = result.with_context(|| path.to_owned())?;
    let text = response.body_mut().read_to_string()?;
    let value = serde_json::from_str(&text).with_context(|| format!("{path} answered no JSON: {text}"))?;
    Ok((response.status().as_u16(), value))
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(str::to_owned).collect())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let start = text.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
    text[start..].to_owned()
}
