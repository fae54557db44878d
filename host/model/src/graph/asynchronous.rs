//! Async I/O as a job declares it (G14): how many elements are in flight, in which order results come, and what
//! happens when an answer does not come or is a failure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::validate::{GraphError, error};
use super::{LogicalOperator, OperatorKind};
use crate::function::FunctionKind;

/// Elements in flight in one subtask at most.
pub const CAPACITY_MAX: u32 = 10_000;
/// Elements in flight where the job says nothing: Flink's default.
pub const CAPACITY_DEFAULT: u32 = 100;
/// Time for one element where the job says nothing, ms.
pub const TIMEOUT_DEFAULT_MS: i64 = 60_000;

/// What an async function is called with. Durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct AsyncSpec {
    /// Elements in flight in one subtask at most; more wait, and what sends them.
    pub capacity: u32,
    /// In which order results come.
    pub order: OutputMode,
    /// For one element, from its first request to its results, repetitions included; 0: no limit.
    pub timeout_ms: i64,
    /// `None`: a failure goes to the function at once.
    pub retry: Option<RetrySpec>,
    /// What the job grants to the function, by name, such as `http`; references to secrets in it are not resolved.
    pub grants: BTreeMap<String, Value>,
}

impl Default for AsyncSpec {
    fn default() -> Self {
        Self {
            capacity: CAPACITY_DEFAULT,
            order: OutputMode::default(),
            timeout_ms: TIMEOUT_DEFAULT_MS,
            retry: None,
            grants: BTreeMap::new(),
        }
    }
}

/// In which order results come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputMode {
    /// That of the elements.
    #[default]
    Ordered,
    /// As they come, but never across a watermark.
    Unordered,
}

/// What is repeated, how often and when: Flink's fixed delay where `backoff` is 1, else its exponential back-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RetrySpec {
    /// Repetitions of one element at most.
    pub attempts: u32,
    /// The pause before the first.
    pub delay_ms: i64,
    /// From one pause to the next.
    pub backoff: f64,
    /// The longest pause.
    pub max_delay_ms: i64,
    /// Whether a request without an answer is repeated.
    pub on_failure: bool,
    /// Answers with one of these statuses are repeated.
    pub on_status: Vec<u16>,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            attempts: 3,
            delay_ms: 1_000,
            backoff: 1.0,
            max_delay_ms: 60_000,
            on_failure: true,
            on_status: vec![408, 425, 429, 500, 502, 503, 504],
        }
    }
}

impl RetrySpec {
    /// The pause before repetition `attempt`, which counts from 1; `None`: there is none any more.
    pub fn pause_ms(&self, attempt: u32) -> Option<i64> {
        if attempt > self.attempts {
            return None;
        }
        let grown = self.delay_ms as f64 * self.backoff.powi(attempt.saturating_sub(1).min(1_000) as i32);
        // NOTE: the cast saturates, so growth without end stops at the longest pause.
        Some((grown as i64).clamp(0, self.max_delay_ms.max(self.delay_ms)))
    }
}

impl AsyncSpec {
    /// What is wrong, and the mend.
    pub fn check(&self) -> Result<(), String> {
        if self.capacity == 0 || self.capacity > CAPACITY_MAX {
            return Err(format!(
                "`capacity` is {}: it must be 1 to {CAPACITY_MAX}; raise the parallelism for more elements in flight",
                self.capacity
            ));
        }
        let Some(retry) = &self.retry else { return Ok(()) };
        if retry.attempts == 0 {
            return Err(
                "`retry` with 0 `attempts` repeats nothing: give it 1 or more, or remove `retry`".to_owned(),
            );
        }
        if !(retry.backoff.is_finite() && retry.backoff >= 1.0) {
            return Err(format!(
                "`backoff` is {}: pauses grow by it, so it must be 1 or more",
                retry.backoff
            ));
        }
        if retry.max_delay_ms < retry.delay_ms {
            return Err(format!(
                "`max-delay` of {} ms is less than `delay` of {} ms: raise it",
                retry.max_delay_ms, retry.delay_ms
            ));
        }
        if let Some(status) = retry.on_status.iter().find(|s| !(100..600).contains(*s)) {
            return Err(format!(
                "`on-status` has {status}: a status of HTTP is 100 to 599"
            ));
        }
        Ok(())
    }
}

/// An async function runs in an async operator, and no other function does; it gets what it needs and nothing else.
pub(super) fn check(operator: &LogicalOperator) -> Result<(), GraphError> {
    let OperatorKind::Function {
        description,
        asynchronous,
        ..
    } = &operator.kind
    else {
        return Ok(());
    };
    let (is_async, name) = (description.kind == FunctionKind::Async, &description.name);
    let Some(spec) = asynchronous else {
        return match is_async {
            true => Err(error(
                operator,
                format!(
                    "`{name}` is an async function: call it by `async: {{function: …}}`, not by `function`"
                ),
            )),
            false => Ok(()),
        };
    };
    if !is_async {
        return Err(error(
            operator,
            format!("`{name}` is no async function: call it by `function`, not by `async`"),
        ));
    }
    spec.check().map_err(|message| error(operator, message))?;
    if let Some(missing) = description
        .grants
        .iter()
        .find(|grant| !spec.grants.contains_key(*grant))
    {
        return Err(error(
            operator,
            format!(
                "`{name}` needs the grant `{missing}`: add `grants: {{{missing}: {{hosts: [api.example.org]}}}}` with the \
                 hosts that it may ask, or use another function"
            ),
        ));
    }
    if let Some(unasked) = spec
        .grants
        .keys()
        .find(|grant| !description.grants.contains(grant))
    {
        return Err(error(
            operator,
            format!("`{name}` does not ask for the grant `{unasked}`: remove it from `grants`"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_the_back_off_up_to_the_longest_and_end_with_the_attempts() {
        let mut retry = RetrySpec {
            attempts: 5,
            delay_ms: 100,
            backoff: 2.0,
            max_delay_ms: 700,
            ..RetrySpec::default()
        };
        let pauses = |retry: &RetrySpec| (1..=6).map(|n| retry.pause_ms(n)).collect::<Vec<_>>();
        assert_eq!(
            pauses(&retry),
            [Some(100), Some(200), Some(400), Some(700), Some(700), None]
        );
        retry.backoff = 1.0;
        assert_eq!(pauses(&retry)[..5], [Some(100); 5]);
        (retry.backoff, retry.attempts) = (1e300, u32::MAX);
        assert_eq!(retry.pause_ms(u32::MAX), Some(700));
    }

    #[test]
    fn each_wrong_setting_is_named_with_its_mend() {
        let with = |change: fn(&mut RetrySpec)| {
            let mut retry = RetrySpec::default();
            change(&mut retry);
            AsyncSpec {
                retry: Some(retry),
                ..AsyncSpec::default()
            }
        };
        let capacity = |capacity| AsyncSpec {
            capacity,
            ..AsyncSpec::default()
        };
        let cases = [
            (capacity(0), "`capacity` is 0: it must be 1 to 10000"),
            (capacity(10_001), "`capacity` is 10001: it must be 1 to 10000"),
            (with(|r| r.attempts = 0), "0 `attempts` repeats nothing"),
            (
                with(|r| r.backoff = 0.5),
                "`backoff` is 0.5: pauses grow by it, so it must be 1 or more",
            ),
            (with(|r| r.backoff = f64::NAN), "`backoff` is NaN"),
            (
                with(|r| r.max_delay_ms = 10),
                "`max-delay` of 10 ms is less than `delay` of 1000 ms: raise it",
            ),
            (with(|r| r.on_status = vec![200, 99]), "`on-status` has 99"),
        ];
        for (spec, expected) in cases {
            let error = spec.check().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(AsyncSpec::default().check(), Ok(()));
    }
}
