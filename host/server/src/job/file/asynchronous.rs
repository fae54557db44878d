//! The types of a job file's `async` and `grants`. Their docs are the user's, as the schema is made of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::units::{DurationText, SizeText};

/// A function that makes requests and gets the answers later, for many records at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Async {
    /// A component's async function: `plugin/function`.
    pub function: String,
    /// Records in flight in one subtask at most; while there are so many, no more are read. Default: 100; at most 10000.
    #[schemars(range(min = 1, max = 10000))]
    pub capacity: Option<u32>,
    /// In which order results come. Default: `ordered`.
    pub order: Option<Order>,
    /// For one record, from its first request to its results, repetitions included. Default: `1min`; `0s`: no limit.
    pub timeout: Option<DurationText>,
    /// What is repeated before the function hears of it. Default: nothing.
    pub retry: Option<Retry>,
}

/// In which order results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// That of the records.
    Ordered,
    /// As they come, but never across a watermark.
    Unordered,
}

/// What is repeated, how often and when.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Retry {
    /// Repetitions for one record at most. Default: 3.
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// The pause before the first. Default: `1s`.
    pub delay: Option<DurationText>,
    /// From one pause to the next: 1 for a fixed delay, more for an exponential one. Default: 1.
    pub backoff: Option<f64>,
    /// The longest pause. Default: `1min`.
    pub max_delay: Option<DurationText>,
    /// Whether requests to which no answer came are repeated. Default: true.
    pub on_failure: Option<bool>,
    /// Statuses of answers that are repeated. Default: 408, 425, 429, 500, 502, 503, 504.
    pub on_status: Option<Vec<u16>>,
}

/// What the job grants to the function beyond the sandbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Grants {
    /// Requests over HTTP, which the host performs.
    pub http: Option<Http>,
}

/// Requests over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Http {
    /// Hosts that may be asked: names such as `api.example.org`, names below one such as `*.example.org`, and addresses;
    /// with `:port` where it is not the usual one of the scheme. A name that resolves to the host itself or to its link is
    /// refused: name the address here for that.
    #[schemars(length(min = 1))]
    pub hosts: Vec<String>,
    /// Headers that the host adds to every request, unseen by the function, such as `authorization: {env: TOKEN}`: a
    /// text, or `{env: NAME}` and `{file: PATH}` for secrets. A redirect to another origin does not carry them.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// For one request, its redirects included. Default: `30s`.
    pub request_timeout: Option<DurationText>,
    /// Size of an answer's body at most. Default: `1MiB`; at most `64MiB`.
    pub response_bytes_max: Option<SizeText>,
}
