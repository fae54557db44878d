//! A job file's `async` and `grants` as the graph's.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wasmill_model::function::{FunctionDescription, GRANT_HTTP};
use wasmill_model::graph::OperatorKind;
use wasmill_model::graph::asynchronous::{AsyncSpec, OutputMode, RetrySpec};

use super::operator::Lowering;
use crate::job::error::JobFileError;
use crate::job::file::asynchronous::{Async, Grants, Http, Order, Retry};
use crate::job::secret;
use crate::job::units::DurationText;
use crate::requests;

impl Lowering<'_> {
    /// The operator that calls an async function.
    pub(super) fn asynchronous(&self, file: &Async) -> Result<OperatorKind, JobFileError> {
        let error = |message: String| self.error("async", message);
        let (plugin, description) = self.find_function(&file.function).map_err(error)?;
        let grants = self.grants(description)?;
        let spec = spec(file, grants).map_err(error)?;
        Ok(OperatorKind::Function {
            plugin: plugin.digest.clone(),
            description: description.clone(),
            config: self.config(),
            asynchronous: Some(Box::new(spec)),
        })
    }

    fn grants(&self, description: &FunctionDescription) -> Result<BTreeMap<String, Value>, JobFileError> {
        let error = |message: String| self.error("grants", message);
        let given = self.operator.grants.clone().unwrap_or_default();
        let grants = grants(given).map_err(error)?;
        if let Some(name) = grants.keys().find(|name| !description.grants.contains(name)) {
            return Err(error(format!(
                "`{}` does not ask for the grant `{name}`: remove it",
                description.name
            )));
        }
        let with_secrets = secret::resolved_grants(&grants).map_err(error)?;
        requests::check(&with_secrets).map_err(error)?;
        Ok(grants)
    }
}

fn spec(file: &Async, grants: BTreeMap<String, Value>) -> Result<AsyncSpec, String> {
    let default = AsyncSpec::default();
    let spec = AsyncSpec {
        capacity: file.capacity.unwrap_or(default.capacity),
        order: match file.order {
            None | Some(Order::Ordered) => OutputMode::Ordered,
            Some(Order::Unordered) => OutputMode::Unordered,
        },
        timeout_ms: file.timeout.map_or(Ok(default.timeout_ms), ms)?,
        retry: file.retry.as_ref().map(retry).transpose()?,
        grants,
    };
    spec.check()?;
    Ok(spec)
}

fn retry(file: &Retry) -> Result<RetrySpec, String> {
    let default = RetrySpec::default();
    let delay_ms = file.delay.map_or(Ok(default.delay_ms), ms)?;
    Ok(RetrySpec {
        attempts: file.attempts.unwrap_or(default.attempts),
        delay_ms,
        backoff: file.backoff.unwrap_or(default.backoff),
        max_delay_ms: file
            .max_delay
            .map_or(Ok(default.max_delay_ms.max(delay_ms)), ms)?,
        on_failure: file.on_failure.unwrap_or(default.on_failure),
        on_status: file.on_status.clone().unwrap_or(default.on_status),
    })
}

fn grants(file: Grants) -> Result<BTreeMap<String, Value>, String> {
    let Some(http) = file.http else {
        return Ok(BTreeMap::new());
    };
    let Http {
        hosts,
        headers,
        request_timeout,
        response_bytes_max,
    } = http;
    let mut settings = json!({"hosts": hosts, "headers": headers});
    if let Some(timeout) = request_timeout {
        settings["request-timeout-ms"] = json!(ms(timeout)?);
    }
    if let Some(size) = response_bytes_max {
        settings["response-bytes-max"] = json!(size.0);
    }
    Ok(BTreeMap::from([(GRANT_HTTP.to_owned(), settings)]))
}

fn ms(duration: DurationText) -> Result<i64, String> {
    i64::try_from(duration.0).map_err(|_| format!("{} ms are too many", duration.0))
}

/// Operators whose `grants` would do nothing.
pub(super) fn check_grants(lowering: &Lowering<'_>, what: &str) -> Result<(), JobFileError> {
    match lowering.operator.grants {
        Some(_) if what != "async" => Err(lowering.error(
            "grants",
            format!("`grants` belongs to `async`, not to `{what}`: remove it"),
        )),
        _ => Ok(()),
    }
}
