//! A host in this process, served on a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmill_server::config::Settings;
use wasmill_server::host::{Host, Recover};
use wasmill_server::rest::serve::serve;

pub(crate) struct Served {
    pub(crate) host: Arc<Host>,
    pub(crate) data: tempfile::TempDir,
    address: SocketAddr,
    agent: ureq::Agent,
    runtime: Option<tokio::runtime::Runtime>,
}

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn settings(data: &Path) -> Settings {
    Settings {
        data_dir: data.to_owned(),
        bind_address: SocketAddr::from(([127, 0, 0, 1], 0)),
        slots: 8,
        ..Settings::default()
    }
}

impl Served {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let host = Host::open(settings(data.path()), Recover::RunningJobs).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let served = Arc::clone(&host);
        runtime.spawn(async move {
            serve(served, std::future::pending(), |address| {
                tell.send(address).unwrap()
            })
            .await
            .unwrap();
        });
        let address = told.recv_timeout(LIMIT).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT))
            .build()
            .new_agent();
        Self {
            host,
            data,
            address,
            agent,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
        let mut response = result.unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        Self::answer(self.agent.get(self.url(path)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        Self::answer(
            self.agent
                .post(self.url(path))
                .content_type("application/json")
                .send(body),
        )
    }

    pub(crate) fn patch(&self, path: &str, body: &str) -> (u16, Value) {
        Self::answer(
            self.agent
                .patch(self.url(path))
                .content_type("application/json")
                .send(body),
        )
    }

    /// As a page of another site would have a browser ask.
    pub(crate) fn get_from(&self, path: &str, origin: &str) -> (u16, Value) {
        Self::answer(self.agent.get(self.url(path)).header("Origin", origin).call())
    }

    pub(crate) fn submit(&self, job: &str) -> String {
        let (status, answer) = self.post("/v1/jobs?file=job.yaml", job);
        assert_eq!(status, 200, "{answer}");
        answer["jobid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_for(&self, what: &str, mut done: impl FnMut() -> Option<Value>) -> Value {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(Instant::now() < until, "{what}: not within {LIMIT:?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn wait_for_state(&self, job: &str, state: &str) {
        self.wait_for(&format!("job is {state}"), || {
            let (_, answer) = self.get(&format!("/jobs/{job}/status"));
            let now = answer["status"].as_str().unwrap().to_owned();
            let over = matches!(now.as_str(), "FAILED" | "FINISHED" | "CANCELED") && now != state;
            assert!(
                !over,
                "the job is {now}: {}",
                self.get(&format!("/jobs/{job}/exceptions")).1
            );
            (now == state).then_some(answer)
        });
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.host.suspend_all(LIMIT);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs until it is stopped: a generator, a hash exchange, a rolling count.
pub(crate) const ENDLESS: &str = "version: 1
name: rest-test
parallelism: 2
max-parallelism: 128
checkpointing: {interval: 50ms}
operators:
  - {uid: events, name: gen, source: datagen, config: {rate: 1000, template: '{i%10}'}, format: json}
  - {uid: by-key, key-by: {value: true}, inputs: [events]}
  - {uid: count, name: Count, rolling: {count: true}, inputs: [by-key]}
  - {uid: out, name: Discard, sink: discard, inputs: [count]}
";
