//! The settings of a job: checkpointing, restart, limits.

use serde_json::Value;
use wasmill_model::graph::{CheckpointMode, CheckpointSettings, JobSettings, RestartStrategy};

use super::LowerOptions;
use super::unknown;
use crate::job::ParsedJob;
use crate::job::error::JobFileError;
use crate::job::file::{Checkpointing, Mode, Restart, Strategy};
use crate::job::units::{DurationText, SizeText};
use wasmill_plugin::sandbox::limits::Limits;

pub(super) fn settings(job: &ParsedJob, options: LowerOptions) -> Result<JobSettings, JobFileError> {
    let file = &job.file;
    // In falling priority; one of an operator goes over all of them (G1).
    let parallelism = file
        .parallelism
        .or(options.parallelism)
        .unwrap_or(options.default_parallelism);
    if parallelism == 0 {
        return Err(job
            .spans
            .error(&["parallelism".into()], "parallelism must be at least 1"));
    }
    let defaults = JobSettings::default();
    Ok(JobSettings {
        parallelism,
        checkpointing: file
            .checkpointing
            .as_ref()
            .map(|c| checkpointing(job, c))
            .transpose()?,
        restart: file.restart.as_ref().map(|r| restart(job, r)).transpose()?,
        buffer_bytes: buffer_bytes(job, defaults.buffer_bytes)?,
        auto_watermark_interval_ms: ms(file.auto_watermark_interval, defaults.auto_watermark_interval_ms),
        buffer_timeout_ms: ms(file.buffer_timeout, defaults.buffer_timeout_ms),
        cancellation_timeout_ms: ms(file.cancellation_timeout, defaults.cancellation_timeout_ms),
        limits: limits(job)?,
        state_backend: file
            .state_backend
            .unwrap_or(options.state_backend)
            .name()
            .to_owned(),
    })
}

fn ms(given: Option<DurationText>, default: u64) -> u64 {
    given.map_or(default, |d| d.0)
}

fn buffer_bytes(job: &ParsedJob, default: u32) -> Result<u32, JobFileError> {
    match job.file.buffer_size {
        None => Ok(default),
        Some(size) if (1..=65_536).contains(&size.0) => Ok(size.0 as u32),
        Some(size) => Err(job.spans.error(
            &["buffer-size".into()],
            format!("buffer-size is {size}: it must be 1B to 64KiB"),
        )),
    }
}

/// Limits by the names of [`Limits`]; sizes and durations may have units, as everywhere else in a job file.
fn limits(job: &ParsedJob) -> Result<Value, JobFileError> {
    let Some(given) = &job.file.limits else {
        return Ok(Value::Null);
    };
    let error = |path: &[crate::job::span::Step<'_>], message: String| Err(job.spans.error(path, message));
    let Value::Object(entries) = given else {
        return error(
            &["limits".into()],
            "limits are a mapping, such as `{memory-bytes-max: 256MiB}`".to_owned(),
        );
    };
    let known = serde_json::to_value(Limits::default()).unwrap_or_default();
    let known: Vec<String> = known
        .as_object()
        .map(|known| known.keys().cloned().collect())
        .unwrap_or_default();
    let mut numbers = serde_json::Map::new();
    for (name, value) in entries {
        let path = ["limits".into(), name.as_str().into()];
        if !known.contains(name) {
            return error(&path, unknown("there is no limit", name, &known));
        }
        let number = match value {
            Value::String(text) if name.contains("-ms") => {
                DurationText::parse(text).map(|d| Value::from(d.0))
            }
            Value::String(text) if name.contains("bytes") => SizeText::parse(text).map(|s| Value::from(s.0)),
            other => Ok(other.clone()),
        };
        let number = number.or_else(|e| error(&path, e))?;
        let alone = Value::Object(serde_json::Map::from_iter([(name.clone(), number.clone())]));
        if let Err(e) = Limits::parse(&alone) {
            return error(&path, e.to_string());
        }
        numbers.insert(name.clone(), number);
    }
    Ok(Value::Object(numbers))
}

fn checkpointing(job: &ParsedJob, given: &Checkpointing) -> Result<CheckpointSettings, JobFileError> {
    let error =
        |field: &str, message: &str| Err(job.spans.error(&["checkpointing".into(), field.into()], message));
    if given.interval.0 < 10 {
        return error("interval", "the checkpoint interval must be at least 10ms");
    }
    if given.timeout.is_some_and(|t| t.0 < 10) {
        return error("timeout", "the checkpoint timeout must be at least 10ms");
    }
    if given.max_concurrent == Some(0) {
        return error("max-concurrent", "max-concurrent must be at least 1");
    }
    if given.retained == Some(0) {
        return error(
            "retained",
            "retained must be at least 1: the job could not recover otherwise",
        );
    }
    if given.min_pause.is_some_and(|p| p.0 > 0) && given.max_concurrent.is_some_and(|n| n > 1) {
        return error(
            "max-concurrent",
            "with a min-pause only one checkpoint can be under way: remove one of the two",
        );
    }
    if given.unaligned == Some(true) && given.mode == Some(Mode::AtLeastOnce) {
        return error(
            "unaligned",
            "unaligned checkpoints are exactly-once: remove `mode: at-least-once`, which aligns nothing anyway, or \
             `unaligned`",
        );
    }
    if given.unaligned == Some(true) && given.max_concurrent.is_some_and(|n| n > 1) {
        return error(
            "unaligned",
            "of unaligned checkpoints only one can be under way: remove `max-concurrent` or `unaligned`",
        );
    }
    if given.aligned_checkpoint_timeout.is_some() && given.unaligned != Some(true) {
        return error(
            "aligned-checkpoint-timeout",
            "it says from when on barriers overtake, which they never do in aligned checkpoints: add `unaligned: true`, or \
             remove it",
        );
    }
    let defaults = CheckpointSettings::default();
    Ok(CheckpointSettings {
        unaligned: given.unaligned.unwrap_or(defaults.unaligned),
        aligned_timeout_ms: ms(given.aligned_checkpoint_timeout, defaults.aligned_timeout_ms),
        incremental: given.incremental.unwrap_or(defaults.incremental),
        interval_ms: given.interval.0,
        mode: match given.mode {
            Some(Mode::AtLeastOnce) => CheckpointMode::AtLeastOnce,
            Some(Mode::ExactlyOnce) | None => CheckpointMode::ExactlyOnce,
        },
        timeout_ms: ms(given.timeout, defaults.timeout_ms),
        min_pause_ms: ms(given.min_pause, defaults.min_pause_ms),
        max_concurrent: given.max_concurrent.unwrap_or(defaults.max_concurrent),
        tolerable_failures: given.tolerable_failures.unwrap_or(defaults.tolerable_failures),
        retain_on_cancel: given.retain_on_cancel.unwrap_or(defaults.retain_on_cancel),
        retained: given.retained.unwrap_or(defaults.retained),
    })
}

fn restart(job: &ParsedJob, given: &Restart) -> Result<RestartStrategy, JobFileError> {
    let error =
        |field: &str, message: String| Err(job.spans.error(&["restart".into(), field.into()], message));
    use Strategy::{ExponentialDelay, FailureRate, FixedDelay};
    let fields: [(_, _, &[Strategy]); 9] = [
        ("attempts", given.attempts.is_some(), &[FixedDelay]),
        ("delay", given.delay.is_some(), &[FixedDelay, FailureRate]),
        (
            "max-failures-per-interval",
            given.max_failures_per_interval.is_some(),
            &[FailureRate],
        ),
        (
            "failure-rate-interval",
            given.failure_rate_interval.is_some(),
            &[FailureRate],
        ),
        ("initial", given.initial.is_some(), &[ExponentialDelay]),
        ("max", given.max.is_some(), &[ExponentialDelay]),
        ("multiplier", given.multiplier.is_some(), &[ExponentialDelay]),
        ("reset-after", given.reset_after.is_some(), &[ExponentialDelay]),
        ("jitter", given.jitter.is_some(), &[ExponentialDelay]),
    ];
    let foreign = |(_, is_set, of): &&(&str, bool, &[Strategy])| *is_set && !of.contains(&given.strategy);
    if let Some((field, ..)) = fields.iter().find(foreign) {
        let name = given.strategy.name();
        return error(
            field,
            format!("`{field}` does not belong to the restart strategy `{name}`: remove it"),
        );
    }
    match given.strategy {
        Strategy::None => Ok(RestartStrategy::None),
        Strategy::FixedDelay => Ok(RestartStrategy::FixedDelay {
            attempts: given.attempts.unwrap_or(3),
            delay_ms: ms(given.delay, 1_000),
        }),
        Strategy::FailureRate => Ok(RestartStrategy::FailureRate {
            max_failures_per_interval: given.max_failures_per_interval.unwrap_or(1),
            interval_ms: ms(given.failure_rate_interval, 60_000),
            delay_ms: ms(given.delay, 1_000),
        }),
        Strategy::ExponentialDelay => exponential_delay(job, given),
    }
}

fn exponential_delay(job: &ParsedJob, given: &Restart) -> Result<RestartStrategy, JobFileError> {
    let error =
        |field: &str, message: String| Err(job.spans.error(&["restart".into(), field.into()], message));
    let multiplier = given.multiplier.unwrap_or(1.5);
    if !(multiplier >= 1.0 && multiplier.is_finite()) {
        return error("multiplier", "the multiplier must be at least 1".to_owned());
    }
    let jitter = given.jitter.unwrap_or(0.1);
    if !(0.0..=1.0).contains(&jitter) {
        return error("jitter", "the jitter must be from 0 to 1".to_owned());
    }
    let (initial_ms, max_ms) = (ms(given.initial, 1_000), ms(given.max, 60_000));
    if initial_ms == 0 {
        let message =
            "the first delay must be above 0: a job that fails at once would be restarted without a pause";
        return error("initial", message.to_owned());
    }
    if initial_ms > max_ms {
        let field = if given.max.is_some() { "max" } else { "initial" };
        return error(
            field,
            format!("`max` ({max_ms} ms) is below `initial` ({initial_ms} ms)"),
        );
    }
    Ok(RestartStrategy::ExponentialDelay {
        initial_ms,
        max_ms,
        multiplier,
        reset_after_ms: ms(given.reset_after, 3_600_000),
        jitter,
    })
}
