//! The host's HTTP, as the client commands use it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::CliError;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A client of one host.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    agent: Agent,
}

impl Client {
    /// Of the host with a URL.
    pub fn new(host: &str) -> Result<Self, CliError> {
        let with_scheme = if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        };
        let url = url::Url::parse(&with_scheme)
            .map_err(|e| format!("--host {host}: {e}: write http://127.0.0.1:8081"))?;
        if url.scheme() != "http" {
            return Err(CliError::Failed(format!(
                "--host {host}: only http is served yet: write http://127.0.0.1:8081"
            )));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(10)))
            // Compiling an uploaded component may take its time.
            .timeout_global(Some(Duration::from_secs(300)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            agent,
        })
    }

    /// The host's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    /// POST of JSON.
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, CliError> {
        self.answer(self.agent.post(self.url(path)).send_json(body))
    }

    /// POST of bytes.
    pub fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<T, CliError> {
        self.answer(
            self.agent
                .post(self.url(path))
                .content_type(content_type)
                .send(body),
        )
    }

    /// PATCH without a body.
    pub fn patch(&self, path: &str) -> Result<Value, CliError> {
        self.answer(self.agent.patch(self.url(path)).send_empty())
    }

    /// DELETE.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.answer(self.agent.delete(self.url(path)).call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1{path}", self.base)
    }

    fn answer<T: DeserializeOwned>(
        &self,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, CliError> {
        let mut response = result.map_err(|e| {
            format!(
                "{}: {e}: is the host running? start one with `wasmill serve`, or name it with --host",
                self.base
            )
        })?;
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|e| format!("{}: its answer cannot be read: {e}", self.base))?;
        let status = response.status();
        let value: Value = serde_json::from_str(&text).map_err(|_| {
            format!(
                "{}: status {status} without JSON: is this a Wasmill host?",
                self.base
            )
        })?;
        if !status.is_success() {
            let errors = value
                .get("errors")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let errors: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
            let message = if errors.is_empty() {
                format!("{}: status {status}", self.base)
            } else {
                errors.join("; ")
            };
            return Err(CliError::Failed(message));
        }
        serde_json::from_value(value)
            .map_err(|e| CliError::Failed(format!("{}: an answer of another shape: {e}", self.base)))
    }
}

/// A text within a query or path.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
