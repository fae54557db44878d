//! `/jobs` and what is said of one job as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use wasmill_engine::job::status::{EXCEPTIONS_MAX, JobStatus, VertexStatus};
use wasmill_model::graph::{JobSettings, Partitioner, RestartStrategy};

use super::error::{ApiError, Errors};
use super::types::job::{
    ExceptionHistory, ExceptionInfo, Exceptions, ExecutionConfig, ExecutionResult, Guarantees,
    JobAccumulators, JobConfig, JobDetail, JobIdWithStatus, JobIds, JobOverview, JobPlan, JobStatusAnswer,
    JobVertex, JobsOverview, PlanAnswer, PlanInput, PlanNode, QueueStatus, SinkGuarantee,
};
use super::types::{Counts, Empty, name_of};
use super::{App, blocking, find_job, vertices};
use crate::host::job::Job;
use crate::host::{Host, now};
use crate::job::units::DurationText;

/// Flink's job states, in the order of its documentation.
const JOB_STATES: [&str; 11] = [
    "INITIALIZING",
    "CREATED",
    "RUNNING",
    "FAILING",
    "FAILED",
    "CANCELLING",
    "CANCELED",
    "FINISHED",
    "RESTARTING",
    "SUSPENDED",
    "RECONCILING",
];

/// When a job started, when it ended (−1: it did not), and for how long it has been there.
fn times(job: &Job, status: &JobStatus, now: i64) -> (i64, i64, i64) {
    // The engine counts from its own start, which comes again after a restart of the host.
    let start = job.record().submitted_at;
    let end = match status.state.is_terminal() {
        true => status.entered.last().map_or(-1, |(_, at)| *at),
        false => -1,
    };
    let until = if end < 0 { now } else { end };
    (start, end, until.saturating_sub(start).max(0))
}

/// All jobs with their states.
#[utoipa::path(get, path = "/jobs", tag = "jobs", responses((status = 200, body = JobIds)))]
pub async fn list(State(host): App) -> Json<JobIds> {
    let jobs = host.jobs();
    let jobs = jobs.iter().map(|job| JobIdWithStatus {
        id: job.id().to_string(),
        status: name_of(&job.status().state),
    });
    Json(JobIds { jobs: jobs.collect() })
}

/// All jobs with times and counts.
#[utoipa::path(get, path = "/jobs/overview", tag = "jobs", responses((status = 200, body = JobsOverview)))]
pub async fn overview(State(host): App) -> Json<JobsOverview> {
    let at = now();
    let jobs = host.jobs();
    let jobs = jobs.iter().map(|job| {
        let status = job.status();
        let (start_time, end_time, duration) = times(job, &status, at);
        let subtasks = status.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        let upper = vertices::count_states(subtasks.map(|subtask| subtask.state));
        let mut tasks: Counts = upper
            .iter()
            .map(|(state, count)| (state.to_lowercase(), *count))
            .collect();
        tasks.insert("total".to_owned(), upper.values().sum());
        JobOverview {
            jid: status.id.to_string(),
            name: status.name.clone(),
            job_type: "STREAMING".to_owned(),
            scheduler_type: "Default".to_owned(),
            start_time,
            end_time,
            duration,
            state: name_of(&status.state),
            last_modification: status.entered.last().map_or(start_time, |(_, at)| *at),
            tasks,
            pending_operators: 0,
        }
    });
    Json(JobsOverview { jobs: jobs.collect() })
}

/// One job with its vertices and graph.
#[utoipa::path(get, path = "/jobs/{jobid}", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = JobDetail), (status = 404, body = Errors)))]
pub async fn detail(State(host): App, Path(id): Path<String>) -> Result<Json<JobDetail>, ApiError> {
    let job = find_job(&host, &id)?;
    let status = job.status();
    let at = now();
    let (start_time, end_time, duration) = times(&job, &status, at);
    let mut timestamps: BTreeMap<String, i64> =
        JOB_STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
    timestamps.extend(status.entered.iter().map(|(state, at)| (name_of(state), *at)));
    let aggregate = status.vertices.iter().map(vertices::aggregate_state);
    Ok(Json(JobDetail {
        jid: status.id.to_string(),
        application_id: status.id.to_string(),
        name: status.name.clone(),
        is_stoppable: false,
        state: name_of(&status.state),
        job_type: "STREAMING".to_owned(),
        scheduler_type: "Default".to_owned(),
        start_time,
        end_time,
        duration,
        max_parallelism: i64::from(status.max_parallelism),
        now: at,
        timestamps,
        status_counts: vertices::count_states(aggregate),
        vertices: status
            .vertices
            .iter()
            .map(|vertex| vertex_of(vertex, &status, at))
            .collect(),
        plan: plan_of(&status),
        pending_operators: 0,
    }))
}

fn vertex_of(vertex: &VertexStatus, status: &JobStatus, now: i64) -> JobVertex {
    let (start_time, end_time, duration) = vertices::times(&vertex.subtasks, now);
    let group = vertex
        .slot_sharing_group
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
    JobVertex {
        id: vertex.id.clone(),
        slot_sharing_group_id: format!("{group:032x}"),
        name: vertex.name.clone(),
        max_parallelism: i64::from(status.max_parallelism),
        parallelism: vertex.parallelism,
        status: name_of(&vertices::aggregate_state(vertex)),
        start_time,
        end_time,
        duration,
        tasks: vertices::count_states(vertex.subtasks.iter().map(|subtask| subtask.state)),
        metrics: vertices::io_metrics(&vertex.subtasks),
    }
}

fn plan_of(status: &JobStatus) -> JobPlan {
    let node = |vertex: &VertexStatus| PlanNode {
        id: vertex.id.clone(),
        operator: String::new(),
        parallelism: vertex.parallelism,
        operator_strategy: String::new(),
        description: describe(&vertex.name),
        optimizer_properties: BTreeMap::new(),
        inputs: vertex
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(num, (from, partitioner))| {
                let strategy = match partitioner {
                    Partitioner::Forward => "FORWARD",
                    Partitioner::Hash => "HASH",
                    Partitioner::Rebalance => "REBALANCE",
                    Partitioner::Broadcast => "BROADCAST",
                    Partitioner::Shuffle => "SHUFFLE",
                    Partitioner::Rescale => "RESCALE",
                    Partitioner::Global => "GLOBAL",
                    Partitioner::Custom => "CUSTOM",
                };
                Some(PlanInput {
                    id: status.vertices.get(*from)?.id.clone(),
                    num,
                    exchange: "pipelined_bounded".to_owned(),
                    ship_strategy: strategy.to_owned(),
                })
            })
            .collect(),
    };
    JobPlan {
        jid: status.id.to_string(),
        name: status.name.clone(),
        kind: "STREAMING".to_owned(),
        nodes: status.vertices.iter().rev().map(node).collect(),
    }
}

/// A chain as Flink's pages show it: HTML, so names are escaped.
fn describe(name: &str) -> String {
    let escaped = name.replace('&', "&amp;").replace('<', "&lt;");
    let mut parts = escaped.split(" -> ");
    let mut text = format!("{}<br/>", parts.next().unwrap_or_default());
    parts.for_each(|part| text.push_str(&format!("+- {part}<br/>")));
    text
}

/// A job's state alone.
#[utoipa::path(get, path = "/jobs/{jobid}/status", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = JobStatusAnswer), (status = 404, body = Errors)))]
pub async fn status(State(host): App, Path(id): Path<String>) -> Result<Json<JobStatusAnswer>, ApiError> {
    let state = find_job(&host, &id)?.status().state;
    Ok(Json(JobStatusAnswer {
        status: name_of(&state),
    }))
}

/// A job's graph.
#[utoipa::path(get, path = "/jobs/{jobid}/plan", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = PlanAnswer), (status = 404, body = Errors)))]
pub async fn plan(State(host): App, Path(id): Path<String>) -> Result<Json<PlanAnswer>, ApiError> {
    Ok(Json(PlanAnswer {
        plan: plan_of(&find_job(&host, &id)?.status()),
    }))
}

/// A job's settings. Connectors' are left out: they may hold references to secrets.
#[utoipa::path(get, path = "/jobs/{jobid}/config", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = JobConfig), (status = 404, body = Errors)))]
pub async fn config(State(host): App, Path(id): Path<String>) -> Result<Json<JobConfig>, ApiError> {
    let job = find_job(&host, &id)?;
    let settings = &job.record().graph.settings;
    let user_config = BTreeMap::from([
        (
            "buffer-timeout".to_owned(),
            DurationText(settings.buffer_timeout_ms).to_string(),
        ),
        ("state-backend".to_owned(), settings.state_backend.clone()),
    ]);
    Ok(Json(JobConfig {
        jid: job.id().to_string(),
        name: job.record().graph.name.clone(),
        execution_config: ExecutionConfig {
            restart_strategy: restart_in_words(settings),
            job_parallelism: settings.parallelism,
            object_reuse_mode: true,
            user_config,
        },
    }))
}

fn restart_in_words(settings: &JobSettings) -> String {
    match (&settings.restart, &settings.checkpointing) {
        (Some(RestartStrategy::None), _) | (None, None) => "No restarts".to_owned(),
        (Some(RestartStrategy::FixedDelay { attempts, delay_ms }), _) => {
            format!(
                "Restart with fixed delay ({} ms). Maximum number of restarts: {attempts}.",
                delay_ms
            )
        }
        (
            Some(RestartStrategy::FailureRate {
                max_failures_per_interval,
                interval_ms,
                delay_ms,
            }),
            _,
        ) => format!(
            "Failure rate restart with maximum of {max_failures_per_interval} failures within interval {interval_ms} \
             ms and fixed delay {delay_ms} ms."
        ),
        (
            Some(RestartStrategy::ExponentialDelay {
                initial_ms,
                max_ms,
                multiplier,
                ..
            }),
            _,
        ) => {
            format!("Restart with exponential delay ({initial_ms} ms to {max_ms} ms by {multiplier})")
        }
        (None, Some(_)) => "Restart with exponential delay (the default)".to_owned(),
    }
}

/// A job's failures, newest first.
#[utoipa::path(get, path = "/jobs/{jobid}/exceptions", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = Exceptions), (status = 404, body = Errors)))]
pub async fn exceptions(State(host): App, Path(id): Path<String>) -> Result<Json<Exceptions>, ApiError> {
    let status = find_job(&host, &id)?.status();
    let entries = status.exceptions.iter().map(|entry| ExceptionInfo {
        exception_name: entry.name.clone(),
        stacktrace: entry.message.clone(),
        timestamp: entry.at,
        task_name: entry.task.clone(),
        endpoint: entry
            .task
            .as_ref()
            .map(|_| host.settings().bind_address.to_string()),
        task_manager_id: entry.task.as_ref().map(|_| host.id().to_owned()),
        failure_labels: BTreeMap::new(),
        concurrent_exceptions: Vec::new(),
    });
    let history = ExceptionHistory {
        entries: entries.collect(),
        truncated: status.exceptions.len() >= EXCEPTIONS_MAX,
    };
    Ok(Json(Exceptions { history }))
}

/// Accumulators: there are none.
#[utoipa::path(get, path = "/jobs/{jobid}/accumulators", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = JobAccumulators), (status = 404, body = Errors)))]
pub async fn accumulators(
    State(host): App,
    Path(id): Path<String>,
) -> Result<Json<JobAccumulators>, ApiError> {
    find_job(&host, &id)?;
    Ok(Json(JobAccumulators::default()))
}

/// Whether a job has ended.
#[utoipa::path(get, path = "/jobs/{jobid}/execution-result", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = ExecutionResult), (status = 404, body = Errors)))]
pub async fn execution_result(
    State(host): App,
    Path(id): Path<String>,
) -> Result<Json<ExecutionResult>, ApiError> {
    let state = find_job(&host, &id)?.status().state;
    let id = if state.is_terminal() {
        "COMPLETED"
    } else {
        "IN_PROGRESS"
    };
    Ok(Json(ExecutionResult {
        status: QueueStatus { id: id.to_owned() },
    }))
}

/// A client that waits for the job is alive: nothing depends on it.
#[utoipa::path(patch, path = "/jobs/{jobid}/clientHeartbeat", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = Empty), (status = 404, body = Errors)))]
pub async fn heartbeat(State(host): App, Path(id): Path<String>) -> Result<Json<Empty>, ApiError> {
    find_job(&host, &id)?;
    Ok(Json(Empty {}))
}

/// How a job is ended.
#[derive(Debug, Deserialize, IntoParams)]
pub struct CancelQuery {
    /// `cancel`, in any case; the default.
    mode: Option<String>,
}

/// Cancels a job without a savepoint (also `GET /jobs/:jobid/yarn-cancel`, which Flink's pages call).
#[utoipa::path(patch, path = "/jobs/{jobid}", tag = "jobs", params(("jobid" = String, Path), CancelQuery),
    responses((status = 202, body = Empty), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn cancel(
    State(host): App,
    Path(id): Path<String>,
    Query(query): Query<CancelQuery>,
) -> Result<(StatusCode, Json<Empty>), ApiError> {
    if query
        .mode
        .is_some_and(|mode| !mode.eq_ignore_ascii_case("cancel"))
    {
        return Err(ApiError::bad(
            "The only mode is `cancel`: stop a job by POST /jobs/:jobid/stop",
        ));
    }
    let job = find_job(&host, &id)?;
    let host: Arc<Host> = Arc::clone(&host);
    blocking(move || host.cancel(job.id())).await??;
    Ok((StatusCode::ACCEPTED, Json(Empty {})))
}

/// Which guarantee each sink gets, and why (E1).
#[utoipa::path(get, path = "/jobs/{jobid}/guarantees", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 200, body = Guarantees), (status = 404, body = Errors)))]
pub async fn guarantees(State(host): App, Path(id): Path<String>) -> Result<Json<Guarantees>, ApiError> {
    let status = find_job(&host, &id)?.status();
    let guarantees = status.guarantees.iter().map(|g| SinkGuarantee {
        sink: g.sink.to_string(),
        guarantee: g.guarantee.clone(),
        reason: g.reason.clone(),
    });
    Ok(Json(Guarantees {
        guarantees: guarantees.collect(),
    }))
}
