//! `/jobs/:jobid/vertices/:vertexid` and below.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use wasmill_engine::job::status::{JobStatus, SubtaskStatus, TaskState, VertexStatus};

use super::error::{ApiError, Errors};
use super::types::vertex::{
    Aggregated, Backpressure, IoMetrics, Spread, Subtask, SubtaskBackpressure, SubtaskTime, SubtaskTimes,
    VertexAccumulators, VertexDetail,
};
use super::types::{Counts, Metric, name_of};
use super::{App, find_job};
use crate::host::{Host, now};

/// Flink's task states.
const TASK_STATES: [&str; 10] = [
    "CREATED",
    "SCHEDULED",
    "DEPLOYING",
    "INITIALIZING",
    "RUNNING",
    "FINISHED",
    "CANCELING",
    "CANCELED",
    "FAILED",
    "RECONCILING",
];

/// Every state with how many there are of it.
pub fn count_states(states: impl Iterator<Item = TaskState>) -> Counts {
    let mut counts: Counts = TASK_STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
    for state in states {
        *counts.entry(name_of(&state)).or_default() += 1;
    }
    counts
}

/// The state of all subtasks of a vertex taken together, by Flink's rule.
pub fn aggregate_state(vertex: &VertexStatus) -> TaskState {
    let any = |state: TaskState| vertex.subtasks.iter().any(|subtask| subtask.state == state);
    let all = |state: TaskState| vertex.subtasks.iter().all(|subtask| subtask.state == state);
    let worst = [TaskState::Failed, TaskState::Canceling, TaskState::Canceled]
        .into_iter()
        .find(|state| any(*state));
    if let Some(state) = worst {
        return state;
    }
    if all(TaskState::Finished) && !vertex.subtasks.is_empty() {
        return TaskState::Finished;
    }
    let first = [TaskState::Initializing, TaskState::Running, TaskState::Deploying]
        .into_iter()
        .find(|state| any(*state));
    match first {
        Some(state) => state,
        None if any(TaskState::Finished) => TaskState::Running,
        None => TaskState::Created,
    }
}

/// When the first subtask was deployed, when the last one ended, and the time between.
pub fn times(subtasks: &[SubtaskStatus], now: i64) -> (i64, i64, i64) {
    let start = subtasks
        .iter()
        .map(|s| s.started_at)
        .filter(|at| *at > 0)
        .min()
        .unwrap_or(-1);
    let ended = !subtasks.is_empty() && subtasks.iter().all(|s| s.ended_at > 0);
    let end = if ended {
        subtasks.iter().map(|s| s.ended_at).max().unwrap_or(-1)
    } else {
        -1
    };
    if start < 0 {
        return (-1, end, -1);
    }
    let until = if end < 0 { now } else { end };
    (start, end, until.saturating_sub(start).max(0))
}

/// Sums over subtasks.
pub fn io_metrics(subtasks: &[SubtaskStatus]) -> IoMetrics {
    let sum = |of: fn(&SubtaskStatus) -> u64| subtasks.iter().map(of).sum::<u64>();
    IoMetrics {
        read_bytes: sum(|s| s.bytes_in),
        read_bytes_complete: true,
        write_bytes: sum(|s| s.bytes_out),
        write_bytes_complete: true,
        read_records: sum(|s| s.records_in),
        read_records_complete: true,
        write_records: sum(|s| s.records_out),
        write_records_complete: true,
        accumulated_backpressured_time: sum(|s| s.backpressured_ms),
        accumulated_idle_time: sum(|s| s.idle_ms),
        accumulated_busy_time: sum(|s| s.busy_ms) as f64,
    }
}

/// The vertex of a path, with its index.
pub fn find<'a>(status: &'a JobStatus, id: &str) -> Result<(usize, &'a VertexStatus), ApiError> {
    let found = status
        .vertices
        .iter()
        .enumerate()
        .find(|(_, vertex)| vertex.id == id);
    found.ok_or_else(|| {
        let id: String = id.chars().take(64).flat_map(char::escape_debug).collect();
        ApiError::not_found(format!(
            "job {} has no vertex {id}: /jobs/{} lists them",
            status.id, status.id
        ))
    })
}

fn subtask_of(host: &Host, status: &JobStatus, index: usize, subtask: &SubtaskStatus, now: i64) -> Subtask {
    let (start_time, end_time, duration) = times(std::slice::from_ref(subtask), now);
    Subtask {
        subtask: index,
        status: name_of(&subtask.state),
        attempt: status.attempt,
        endpoint: host.settings().bind_address.to_string(),
        start_time,
        end_time,
        duration,
        metrics: io_metrics(std::slice::from_ref(subtask)),
        taskmanager_id: host.id().to_owned(),
        status_duration: durations(duration),
        start_time_again: start_time,
    }
}

/// The engine knows when a subtask was deployed and when it ended: all the time between counts as running.
fn durations(running: i64) -> BTreeMap<String, i64> {
    let names = ["CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING"];
    let mut durations: BTreeMap<String, i64> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
    durations.insert("RUNNING".to_owned(), running.max(0));
    durations
}

/// One vertex with its subtasks.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = VertexDetail), (status = 404, body = Errors)))]
pub async fn detail(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
) -> Result<Json<VertexDetail>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let (_, vertex) = find(&status, &vertex)?;
    let at = now();
    let subtasks: Vec<_> = vertex
        .subtasks
        .iter()
        .enumerate()
        .map(|(index, subtask)| subtask_of(&host, &status, index, subtask, at))
        .collect();
    Ok(Json(VertexDetail {
        id: vertex.id.clone(),
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        max_parallelism: i64::from(status.max_parallelism),
        now: at,
        aggregated: aggregate(&subtasks),
        subtasks,
    }))
}

fn aggregate(subtasks: &[Subtask]) -> Aggregated {
    let spread = |of: fn(&IoMetrics) -> i64| Spread::of(subtasks.iter().map(|s| of(&s.metrics)).collect());
    let metrics = BTreeMap::from([
        ("read-bytes".to_owned(), spread(|m| m.read_bytes as i64)),
        ("write-bytes".to_owned(), spread(|m| m.write_bytes as i64)),
        ("read-records".to_owned(), spread(|m| m.read_records as i64)),
        ("write-records".to_owned(), spread(|m| m.write_records as i64)),
        (
            "accumulated-backpressured-time".to_owned(),
            spread(|m| m.accumulated_backpressured_time as i64),
        ),
        (
            "accumulated-idle-time".to_owned(),
            spread(|m| m.accumulated_idle_time as i64),
        ),
        (
            "accumulated-busy-time".to_owned(),
            spread(|m| m.accumulated_busy_time as i64),
        ),
    ]);
    let states = subtasks
        .first()
        .into_iter()
        .flat_map(|s| s.status_duration.keys());
    let status_duration = states.map(|state| {
        let values = subtasks
            .iter()
            .map(|s| s.status_duration.get(state).copied().unwrap_or_default());
        (state.clone(), Spread::of(values.collect()))
    });
    Aggregated {
        metrics,
        status_duration: status_duration.collect(),
    }
}

/// One subtask.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/subtasks/{subtask}", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path), ("subtask" = usize, Path)),
    responses((status = 200, body = Subtask), (status = 404, body = Errors)))]
pub async fn subtask(
    State(host): App,
    Path((job, vertex, index)): Path<(String, String, usize)>,
) -> Result<Json<Subtask>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let (_, vertex) = find(&status, &vertex)?;
    let subtask = vertex.subtasks.get(index).ok_or_else(|| {
        ApiError::not_found(format!(
            "vertex {} has subtasks 0 to {}",
            vertex.id,
            vertex.subtasks.len().saturating_sub(1)
        ))
    })?;
    Ok(Json(subtask_of(&host, &status, index, subtask, now())))
}

/// The event-time clock of each subtask.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/watermarks", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = Vec<Metric>), (status = 404, body = Errors)))]
pub async fn watermarks(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
) -> Result<Json<Vec<Metric>>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let (_, vertex) = find(&status, &vertex)?;
    let metrics = vertex.subtasks.iter().enumerate().map(|(index, subtask)| Metric {
        id: format!("{index}.currentInputWatermark"),
        value: Some(subtask.watermark.to_string()),
    });
    Ok(Json(metrics.collect()))
}

/// Up to 10 % of the time without credit is good, up to 50 % low.
fn level(ratio: f64) -> &'static str {
    match ratio {
        r if r <= 0.1 => "ok",
        r if r <= 0.5 => "low",
        _ => "high",
    }
}

/// Backpressure of the last second.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/backpressure", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = Backpressure), (status = 404, body = Errors)))]
pub async fn backpressure(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
) -> Result<Json<Backpressure>, ApiError> {
    let job = find_job(&host, &job)?;
    let status = job.status();
    let (at, vertex) = find(&status, &vertex)?;
    let rates = job.rates();
    let of_subtask = |index: usize| {
        let rate = rates.of(at, index)?;
        let level = level(rate.backpressured).to_owned();
        Some(SubtaskBackpressure {
            subtask: index,
            level_again: level.clone(),
            level,
            ratio: rate.backpressured,
            idle_ratio: rate.idle,
            busy_ratio: rate.busy,
        })
    };
    let subtasks: Option<Vec<_>> = (0..vertex.subtasks.len()).map(of_subtask).collect();
    let Some(subtasks) = subtasks.filter(|subtasks| !subtasks.is_empty()) else {
        let status = "deprecated".to_owned();
        return Ok(Json(Backpressure {
            status,
            level: None,
            level_again: None,
            end_timestamp: None,
            subtasks: Vec::new(),
        }));
    };
    let worst = subtasks.iter().map(|s| s.ratio).fold(0.0, f64::max);
    Ok(Json(Backpressure {
        status: "ok".to_owned(),
        level: Some(level(worst).to_owned()),
        level_again: Some(level(worst).to_owned()),
        end_timestamp: rates.at(),
        subtasks,
    }))
}

/// When each subtask entered its states.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/subtasktimes", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = SubtaskTimes), (status = 404, body = Errors)))]
pub async fn subtask_times(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
) -> Result<Json<SubtaskTimes>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let (_, vertex) = find(&status, &vertex)?;
    let at = now();
    let subtasks = vertex.subtasks.iter().enumerate().map(|(index, subtask)| {
        let (start, end, duration) = times(std::slice::from_ref(subtask), at);
        let mut timestamps: BTreeMap<String, i64> =
            TASK_STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
        timestamps.insert("DEPLOYING".to_owned(), start.max(0));
        if end > 0 {
            timestamps.insert(name_of(&subtask.state), end);
        }
        SubtaskTime {
            subtask: index,
            endpoint: host.settings().bind_address.to_string(),
            duration,
            timestamps,
        }
    });
    Ok(Json(SubtaskTimes {
        id: vertex.id.clone(),
        name: vertex.name.clone(),
        now: at,
        subtasks: subtasks.collect(),
    }))
}

/// Accumulators: there are none.
#[utoipa::path(get, path = "/jobs/{jobid}/vertices/{vertexid}/accumulators", tag = "vertices",
    params(("jobid" = String, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = VertexAccumulators), (status = 404, body = Errors)))]
pub async fn accumulators(
    State(host): App,
    Path((job, vertex)): Path<(String, String)>,
) -> Result<Json<VertexAccumulators>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let (_, vertex) = find(&status, &vertex)?;
    Ok(Json(VertexAccumulators {
        id: vertex.id.clone(),
        user_accumulators: Vec::new(),
    }))
}
