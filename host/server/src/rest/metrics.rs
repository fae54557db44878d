//! Metrics by Flink's names: the list of names, or the values of those asked for.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use wasmill_engine::job::status::CheckpointStatus;

use super::error::{ApiError, Errors};
use super::types::Metric;
use super::types::vertex::AggregatedMetric;
use super::{App, find_job, vertices};
use crate::host::job::Job;
use crate::host::{Host, now};

/// Which metrics.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct MetricsQuery {
    /// Names, separated by commas; without, the names that there are.
    get: Option<String>,
    /// Of aggregated metrics: `min`, `max`, `sum`, `avg`, `skew`, separated by commas; without, all of them.
    agg: Option<String>,
    /// Of aggregated metrics: subtasks such as `0,2-3`; without, all of them.
    subtasks: Option<String>,
}

/// A metric's value.
#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Text(String),
}

type Values = BTreeMap<String, Value>;

impl Value {
    /// Whole numbers are written without a point, as Flink writes its counters.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => format!("{n:.0}"),
            Self::Number(n) => n.to_string(),
        }
    }
}

fn answer(values: &Values, query: &MetricsQuery) -> Json<Vec<Metric>> {
    let Some(wanted) = query.get.as_deref().filter(|get| !get.is_empty()) else {
        return Json(
            values
                .keys()
                .map(|id| Metric {
                    id: id.clone(),
                    value: None,
                })
                .collect(),
        );
    };
    let found = wanted
        .split(',')
        .filter_map(|id| values.get(id).map(|value| (id, value)));
    Json(
        found
            .map(|(id, value)| Metric {
                id: id.to_owned(),
                value: Some(value.text()),
            })
            .collect(),
    )
}

fn job_values(job: &Job) -> Values {
    let status = job.status();
    let stats = &status.checkpoints;
    let latest = stats
        .history
        .iter()
        .find(|c| c.status == CheckpointStatus::Completed);
    let number = |n: f64| Value::Number(n);
    let mut values = Values::from([
        (
            "totalNumberOfCheckpoints".to_owned(),
            number(stats.triggered as f64),
        ),
        (
            "numberOfCompletedCheckpoints".to_owned(),
            number(stats.completed as f64),
        ),
        (
            "numberOfFailedCheckpoints".to_owned(),
            number(stats.failed as f64),
        ),
        (
            "numberOfInProgressCheckpoints".to_owned(),
            number(stats.in_progress as f64),
        ),
        ("numRestarts".to_owned(), number(f64::from(status.attempt))),
        ("fullRestarts".to_owned(), number(f64::from(status.attempt))),
        ("numRecordsRead".to_owned(), number(job.records_read() as f64)),
        (
            "uptime".to_owned(),
            number(now().saturating_sub(job.record().submitted_at) as f64),
        ),
        (
            "lastCheckpointSize".to_owned(),
            number(latest.map_or(-1.0, |c| c.size as f64)),
        ),
        (
            "lastCheckpointDuration".to_owned(),
            number(latest.map_or(-1.0, |c| c.duration_ms as f64)),
        ),
    ]);
    let watermark = status
        .vertices
        .iter()
        .flat_map(|v| &v.subtasks)
        .map(|s| s.watermark)
        .min()
        .unwrap_or(i64::MIN);
    values.insert("currentWatermark".to_owned(), Value::Text(watermark.to_string()));
    let path = latest
        .and_then(|c| c.external_path.clone())
        .unwrap_or_else(|| "n/a".to_owned());
    values.insert("lastCheckpointExternalPath".to_owned(), Value::Text(path));
    values
}

/// The metrics of each subtask of a vertex, without the subtask in their names.
fn subtask_values(job: &Job, vertex_id: &str) -> Result<Vec<Values>, ApiError> {
    let status = job.status();
    let (at, vertex) = vertices::find(&status, vertex_id)?;
    let rates = job.rates();
    let subtasks = vertex.subtasks.iter().enumerate().map(|(index, s)| {
        let rate = rates.of(at, index).unwrap_or_default();
        let values = [
            ("numRecordsIn", s.records_in as f64),
            ("numRecordsOut", s.records_out as f64),
            ("numBytesIn", s.bytes_in as f64),
            ("numBytesOut", s.bytes_out as f64),
            ("numRecordsInPerSecond", rate.records_in),
            ("numRecordsOutPerSecond", rate.records_out),
            ("busyTimeMsPerSecond", rate.busy * 1_000.0),
            ("idleTimeMsPerSecond", rate.idle * 1_000.0),
            ("backPressuredTimeMsPerSecond", rate.backpressured * 1_000.0),
            ("accumulateBusyTimeMs", s.busy_ms as f64),
            ("accumulateIdleTimeMs", s.idle_ms as f64),
            ("accumulateBackPressuredTimeMs", s.backpressured_ms as f64),
        ];
        let mut values: Values = values
            .into_iter()
            .map(|(id, value)| (id.to_owned(), Value::Number(value)))
            .collect();
        values.insert(
            "currentInputWatermark".to_owned(),
            Value::Text(s.watermark.to_string()),
        );
        values
    });
    let mut subtasks: Vec<Values> = subtasks.collect();
    drop(rates);
    // Operators' own and users' metrics: `<vertex>.<subtask>.<name>`.
    for (name, value) in job.metrics() {
        let own = name
            .strip_prefix(vertex_id)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split_once('.'));
        let Some((index, name)) = own else { continue };
        if let Some(values) = index
            .parse()
            .ok()
            .and_then(|index: usize| subtasks.get_mut(index))
        {
            values.entry(name.to_owned()).or_insert(Value::Number(value));
        }
    }
    Ok(subtasks)
}

fn host_values(host: &Host) -> Values {
    let slots = host.settings().slots;
    let running = host.jobs().iter().filter(|job| !job.is_ended()).count();
    Values::from([
        ("taskSlotsTotal".to_owned(), Value::Number(f64::from(slots))),
        (
            "taskSlotsAvailable".to_owned(),
            Value::Number(f64::from(slots.saturating_sub(host.slots_used()))),
        ),
        ("numRegisteredTaskManagers".to_owned(), Value::Number(1.0)),
        ("numRunningJobs".to_owned(), Value::Number(running as f64)),
        (
            "Status.Process.Memory.Resident".to_owned(),
            Value::Number(super::taskmanagers::resident_bytes() as f64),
        ),
    ])
}

/// Metrics of a job.
#[utoipa::path(get, path = "/jobs/{jobid}/metrics", tag = "metrics", params(("jobid" = String, Path), MetricsQuery),
    responses((status = 200, body = Vec<Metric>), (status = 404, body = Errors)))]
pub async fn of_job(
    State(host): App,
    Path(id): Path<String>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Vec<Metric>>, ApiError> {
    Ok(answer(&job_values(&*find_job(&host, &id)?), &query))
}

/// Metrics of all jobs together.
#[utoipa::path(get, path = "/jobs/metrics", tag = "metrics", params(MetricsQuery),
    responses((status = 200, body = Vec<AggregatedMetric>)))]
pub async fn of_all_jobs(State(host): App, Query(query): Query<MetricsQuery>) -> Json<Vec<AggregatedMetric>> {
    let values: Vec<_> = host.jobs().iter().map(|job| job_values(job)).collect();
    aggregate(&values, &query)
}

/// Metrics of a vertex: `<subtask>.<name>`.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/metrics", tag = "metrics",
    params(("jobid" = String, Path), ("vertexid" = String, Path), MetricsQuery),
    responses((status = 200, body = Vec<Metric>), (status = 404, body = Errors)))]
pub async fn of_vertex(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Vec<Metric>>, ApiError> {
    let subtasks = subtask_values(&*find_job(&host, &job)?, &vertex)?;
    let values = subtasks.into_iter().enumerate().flat_map(|(index, values)| {
        values
            .into_iter()
            .map(move |(id, value)| (format!("{index}.{id}"), value))
    });
    Ok(answer(&values.collect(), &query))
}

/// Metrics of a vertex over its subtasks.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/subtasks/metrics", tag = "metrics",
    params(("jobid" = String, Path), ("vertexid" = String, Path), MetricsQuery),
    responses((status = 200, body = Vec<AggregatedMetric>), (status = 404, body = Errors)))]
pub async fn of_subtasks(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Vec<AggregatedMetric>>, ApiError> {
    let subtasks = subtask_values(&*find_job(&host, &job)?, &vertex)?;
    let wanted = query.subtasks.as_deref().filter(|text| !text.is_empty());
    let chosen = subtasks
        .into_iter()
        .enumerate()
        .filter(|(index, _)| wanted.is_none_or(|text| holds(text, *index)));
    let chosen: Vec<_> = chosen.map(|(_, values)| values).collect();
    Ok(aggregate(&chosen, &query))
}

/// Whether `0,2-3` holds an index.
fn holds(ranges: &str, index: usize) -> bool {
    ranges.split(',').any(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        matches!((from.trim().parse(), to.trim().parse()), (Ok(from), Ok(to)) if (from..=to).contains(&index))
    })
}

fn aggregate(all: &[Values], query: &MetricsQuery) -> Json<Vec<AggregatedMetric>> {
    let Some(wanted) = query.get.as_deref().filter(|get| !get.is_empty()) else {
        let names: std::collections::BTreeSet<_> = all.iter().flat_map(|values| values.keys()).collect();
        return Json(
            names
                .into_iter()
                .map(|id| AggregatedMetric {
                    id: id.clone(),
                    ..Default::default()
                })
                .collect(),
        );
    };
    let asked = query.agg.as_deref().filter(|agg| !agg.is_empty());
    let wants =
        |name: &str| asked.is_none_or(|agg| agg.split(',').any(|part| part.eq_ignore_ascii_case(name)));
    let metrics = wanted.split(',').filter_map(|id| {
        let numbers = all.iter().filter_map(|values| match values.get(id)? {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
        });
        let numbers: Vec<f64> = numbers.collect();
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        let max = numbers.iter().copied().reduce(f64::max)?;
        let min = numbers.iter().copied().reduce(f64::min)?;
        let avg = sum / count;
        let spread = numbers.iter().map(|n| (n - avg).abs()).sum::<f64>() / count;
        let skew = if avg == 0.0 {
            0.0
        } else {
            (spread / avg * 100.0).min(100.0)
        };
        Some(AggregatedMetric {
            id: id.to_owned(),
            min: wants("min").then_some(min),
            max: wants("max").then_some(max),
            avg: wants("avg").then_some(avg),
            sum: wants("sum").then_some(sum),
            skew: wants("skew").then_some(skew),
        })
    });
    Json(metrics.collect())
}

/// Metrics of the host as job manager.
#[utoipa::path(get, path = "/jobmanager/metrics", tag = "metrics", params(MetricsQuery),
    responses((status = 200, body = Vec<Metric>)))]
pub async fn of_jobmanager(State(host): App, Query(query): Query<MetricsQuery>) -> Json<Vec<Metric>> {
    answer(&host_values(&host), &query)
}

/// Metrics of the host as task manager.
#[utoipa::path(get, path = "/taskmanagers/{taskmanagerid}/metrics", tag = "metrics",
    params(("taskmanagerid" = String, Path), MetricsQuery),
    responses((status = 200, body = Vec<Metric>), (status = 404, body = Errors)))]
pub async fn of_taskmanager(
    State(host): App,
    Path(id): Path<String>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Vec<Metric>>, ApiError> {
    super::taskmanagers::check(&host, &id)?;
    Ok(answer(&host_values(&host), &query))
}
