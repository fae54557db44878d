//! Triggering savepoints, stops and checkpoints, and asking how they went. Answers are asynchronous, as in Flink: a
//! trigger's id at once, then its status until `COMPLETED`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use wasmill_engine::job::Stop;
use wasmill_engine::job::status::SavepointOutcome;

use super::error::{ApiError, Errors};
use super::types::Empty;
use super::types::checkpoint::{
    CheckpointNumber, CheckpointRequest, CheckpointTriggerStatus, CheckpointType, DisposalRequest,
    DisposalStatus, SavepointLocation, SavepointRequest, SavepointStatus, StopRequest, TriggerAnswer,
};
use super::types::job::QueueStatus;
use super::{App, blocking, body, find_job};
use crate::host::trigger::What;
use crate::host::{Host, random_u128};

fn trigger_id(text: &str) -> Result<u128, ApiError> {
    let valid = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = valid.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| {
        let text: String = text.chars().take(64).flat_map(char::escape_debug).collect();
        ApiError::bad(format!("Cannot resolve path parameter (triggerid) from value \"{text}\": 32 hexadecimal characters are expected"))
    })
}

async fn start(
    host: Arc<Host>,
    job: &str,
    what: What,
    target: Option<String>,
    chosen: Option<String>,
) -> Result<(StatusCode, Json<TriggerAnswer>), ApiError> {
    let job = find_job(&host, job)?.id();
    let chosen = chosen.as_deref().map(trigger_id).transpose()?;
    let id = blocking(move || host.trigger(job, what, target.as_deref(), chosen)).await??;
    Ok((
        StatusCode::ACCEPTED,
        Json(TriggerAnswer {
            request_id: format!("{id:032x}"),
        }),
    ))
}

/// Triggers a savepoint.
#[utoipa::path(post, path = "/jobs/{jobid}/savepoints", tag = "savepoints", params(("jobid" = String, Path)),
    request_body = SavepointRequest,
    responses((status = 202, body = TriggerAnswer), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn savepoint(
    State(host): App,
    Path(job): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<TriggerAnswer>), ApiError> {
    let request: SavepointRequest = body("SavepointTriggerRequestBody", &bytes)?;
    let format = request.format_type.unwrap_or_default().into();
    let what = match request.cancel_job {
        true => What::SavepointThenCancel(format),
        false => What::Savepoint(format),
    };
    start(host, &job, what, request.target_directory, request.trigger_id).await
}

/// Stops a job with a savepoint.
#[utoipa::path(post, path = "/jobs/{jobid}/stop", tag = "savepoints", params(("jobid" = String, Path)),
    request_body = StopRequest,
    responses((status = 202, body = TriggerAnswer), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn stop(
    State(host): App,
    Path(job): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<TriggerAnswer>), ApiError> {
    let request: StopRequest = body("StopWithSavepointRequestBody", &bytes)?;
    let format = request.format_type.unwrap_or_default().into();
    let what = What::Stop(Stop { drain: request.drain }, format);
    start(host, &job, what, request.target_directory, request.trigger_id).await
}

/// Triggers a checkpoint.
#[utoipa::path(post, path = "/jobs/{jobid}/checkpoints", tag = "checkpoints", params(("jobid" = String, Path)),
    request_body = CheckpointRequest,
    responses((status = 202, body = TriggerAnswer), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn checkpoint(
    State(host): App,
    Path(job): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<TriggerAnswer>), ApiError> {
    let request: CheckpointRequest = body("CheckpointTriggerRequestBody", &bytes)?;
    let full = request.checkpoint_type == Some(CheckpointType::Full);
    start(host, &job, What::Checkpoint { full }, None, request.trigger_id).await
}

fn outcome(host: &Host, job: &str, id: &str, checkpoint: bool) -> Result<Option<SavepointOutcome>, ApiError> {
    let job = find_job(host, job)?.id();
    Ok(host.outcome(job, trigger_id(id)?, checkpoint)?)
}

fn queue(done: bool) -> QueueStatus {
    QueueStatus {
        id: if done { "COMPLETED" } else { "IN_PROGRESS" }.to_owned(),
    }
}

/// How a savepoint stands. One that failed is an error here: Flink's client cannot read a failure in any other form
/// than a serialised Java exception.
#[utoipa::path(get, path = "/jobs/{jobid}/savepoints/{triggerid}", tag = "savepoints",
    params(("jobid" = String, Path), ("triggerid" = String, Path)),
    responses((status = 200, body = SavepointStatus), (status = 404, body = Errors), (status = 500, body = Errors)))]
pub async fn savepoint_status(
    State(host): App,
    Path((job, id)): Path<(String, String)>,
) -> Result<Json<SavepointStatus>, ApiError> {
    let operation = match outcome(&host, &job, &id, false)? {
        None => None,
        Some(SavepointOutcome::Completed { location, .. }) => Some(SavepointLocation { location }),
        Some(SavepointOutcome::Failed(reason)) => {
            return Err(ApiError::host(format!("The savepoint failed: {reason}")));
        }
    };
    Ok(Json(SavepointStatus {
        status: queue(operation.is_some()),
        operation,
    }))
}

/// How a triggered checkpoint stands.
#[utoipa::path(get, path = "/jobs/{jobid}/checkpoints/{triggerid}", tag = "checkpoints",
    params(("jobid" = String, Path), ("triggerid" = String, Path)),
    responses((status = 200, body = CheckpointTriggerStatus), (status = 404, body = Errors), (status = 500, body = Errors)))]
pub async fn checkpoint_status(
    State(host): App,
    Path((job, id)): Path<(String, String)>,
) -> Result<Json<CheckpointTriggerStatus>, ApiError> {
    let operation = match outcome(&host, &job, &id, true)? {
        None => None,
        Some(SavepointOutcome::Completed { id, .. }) => Some(CheckpointNumber { checkpoint_id: id.0 }),
        Some(SavepointOutcome::Failed(reason)) => {
            return Err(ApiError::host(format!("The checkpoint failed: {reason}")));
        }
    };
    Ok(Json(CheckpointTriggerStatus {
        status: queue(operation.is_some()),
        operation,
    }))
}

/// Deletes a savepoint. It is done once this answers; the id is for clients that ask all the same.
#[utoipa::path(post, path = "/savepoint-disposal", tag = "savepoints", request_body = DisposalRequest,
    responses((status = 200, body = TriggerAnswer), (status = 400, body = Errors), (status = 404, body = Errors),
        (status = 409, body = Errors)))]
pub async fn dispose(State(host): App, bytes: Bytes) -> Result<Json<TriggerAnswer>, ApiError> {
    let request: DisposalRequest = body("SavepointDisposalRequest", &bytes)?;
    blocking(move || host.dispose(&request.savepoint_path)).await??;
    Ok(Json(TriggerAnswer {
        request_id: format!("{:032x}", random_u128()),
    }))
}

/// How a disposal stands: it was done before its id was known.
#[utoipa::path(get, path = "/savepoint-disposal/{triggerid}", tag = "savepoints", params(("triggerid" = String, Path)),
    responses((status = 200, body = DisposalStatus), (status = 400, body = Errors)))]
pub async fn disposal_status(Path(id): Path<String>) -> Result<Json<DisposalStatus>, ApiError> {
    trigger_id(&id)?;
    Ok(Json(DisposalStatus {
        status: queue(true),
        operation: Empty {},
    }))
}
