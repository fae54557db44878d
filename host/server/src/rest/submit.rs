//! `POST /jobs`: a job file comes in, a job runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Errors};
use super::types::Empty;
use super::types::job::{SubmitAnswer, ValidateAnswer};
use super::{App, blocking, find_job};
use crate::host::SubmitOptions;

/// Whose a checkpoint or savepoint is that a job starts from (Flink's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClaimMode {
    /// The job's from now on: deleted as its own checkpoints are, once it has a newer one.
    Claim,
    /// Its owner's: the job never deletes it, nor names a file of it.
    #[default]
    NoClaim,
}

/// What may be said with a job file.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct SubmitQuery {
    /// The file's name, for messages.
    file: Option<String>,
    /// Parallelism of a job whose file says none.
    parallelism: Option<u32>,
    /// Checkpoint or savepoint to start from: URL or path of the directory that holds `_metadata`.
    #[serde(rename = "savepointPath")]
    #[param(rename = "savepointPath")]
    savepoint_path: Option<String>,
    /// Whether state that no operator claims is dropped.
    #[serde(rename = "allowNonRestoredState")]
    #[param(rename = "allowNonRestoredState")]
    allow_non_restored: bool,
    /// Whose what the job starts from is: default `NO_CLAIM`, its owner's still.
    #[serde(rename = "claimMode")]
    #[param(rename = "claimMode")]
    claim_mode: ClaimMode,
    /// Goes over the file's `plugins`: `name=reference`, separated by commas.
    plugins: Option<String>,
}

impl SubmitQuery {
    fn options(self) -> Result<SubmitOptions, ApiError> {
        let mut plugins = BTreeMap::new();
        for pair in self
            .plugins
            .iter()
            .flat_map(|text| text.split(','))
            .filter(|pair| !pair.is_empty())
        {
            let Some((name, reference)) = pair.split_once('=') else {
                return Err(ApiError::bad(format!(
                    "query parameter `plugins`: `{}` is not `name=reference`",
                    pair.escape_debug()
                )));
            };
            plugins.insert(name.to_owned(), reference.to_owned());
        }
        if self.parallelism == Some(0) {
            return Err(ApiError::bad(
                "query parameter `parallelism`: it must be at least 1",
            ));
        }
        Ok(SubmitOptions {
            file: self
                .file
                .map(|file| file.chars().filter(|c| !c.is_control()).take(200).collect()),
            parallelism: self.parallelism,
            savepoint_path: self.savepoint_path.filter(|path| !path.is_empty()),
            allow_non_restored: self.allow_non_restored,
            claim: self.claim_mode == ClaimMode::Claim,
            plugins,
        })
    }
}

fn text(bytes: &Bytes) -> Result<String, ApiError> {
    let text =
        std::str::from_utf8(bytes).map_err(|e| ApiError::bad(format!("the job file is not UTF-8: {e}")))?;
    Ok(text.to_owned())
}

/// Submits a job file, YAML or JSON. Once this answers the job is durable and being started.
#[utoipa::path(post, path = "/jobs", tag = "jobs", params(SubmitQuery),
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = SubmitAnswer), (status = 400, body = Errors), (status = 409, body = Errors)))]
pub async fn submit(
    State(host): App,
    Query(query): Query<SubmitQuery>,
    bytes: Bytes,
) -> Result<Json<SubmitAnswer>, ApiError> {
    let (options, text) = (query.options()?, text(&bytes)?);
    let submitted = blocking(move || host.submit(&text, &options)).await??;
    Ok(Json(SubmitAnswer {
        jobid: submitted.id.to_string(),
        warnings: submitted.warnings,
    }))
}

/// Checks a job file as a submission would, and runs nothing.
#[utoipa::path(post, path = "/jobs/validate", tag = "jobs", params(SubmitQuery),
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = ValidateAnswer), (status = 400, body = Errors)))]
pub async fn validate(
    State(host): App,
    Query(query): Query<SubmitQuery>,
    bytes: Bytes,
) -> Result<Json<ValidateAnswer>, ApiError> {
    let (options, text) = (query.options()?, text(&bytes)?);
    let (_, lowered) = blocking(move || host.validate(&text, &options)).await??;
    Ok(Json(ValidateAnswer {
        name: lowered.graph.name,
        operators: lowered.graph.operators.len(),
        warnings: lowered.warnings,
    }))
}

/// Starts a failed job again from its latest checkpoint.
#[utoipa::path(post, path = "/jobs/{jobid}/resume", tag = "jobs", params(("jobid" = String, Path)),
    responses((status = 202, body = Empty), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn resume(State(host): App, Path(id): Path<String>) -> Result<(StatusCode, Json<Empty>), ApiError> {
    let job = find_job(&host, &id)?.id();
    let host = Arc::clone(&host);
    blocking(move || host.resume(job)).await??;
    Ok((StatusCode::ACCEPTED, Json(Empty {})))
}
