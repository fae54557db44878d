//! `/plugins`: upload, list, show and delete components.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_plugin::registry::error::{LookupError, UploadError};
use wasmill_plugin::registry::info::PluginInfo;

use super::error::{ApiError, Errors};
use super::{App, blocking};

/// An uploaded component.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Plugin {
    /// `sha256:` and 64 hexadecimal digits: its version.
    pub digest: String,
    /// The name that it was uploaded under.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When, ms since the epoch.
    pub uploaded_at: i64,
    /// `frame` or `typed`.
    pub family: String,
    /// What it says of itself: functions, state, side outputs.
    #[schema(value_type = Object)]
    pub description: serde_json::Value,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Whether a job that did not end runs it.
    pub in_use: bool,
}

/// All components.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Plugins {
    /// Ordered by name, the latest version first.
    pub plugins: Vec<Plugin>,
}

/// The name of an upload.
#[derive(Debug, Deserialize, IntoParams)]
pub struct UploadQuery {
    /// By which jobs refer to it: `[A-Za-z0-9._-]{1,64}`.
    name: String,
}

fn shown(info: &PluginInfo, in_use: bool) -> Result<Plugin, ApiError> {
    let value = serde_json::to_value(info).map_err(|e| ApiError::host(e.to_string()));
    let mut value = value?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("in-use".to_owned(), in_use.into());
    }
    serde_json::from_value(value).map_err(|e| ApiError::host(e.to_string()))
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let status = match &error {
            LookupError::NotFound { .. } => StatusCode::NOT_FOUND,
            LookupError::TooShort { .. } => StatusCode::BAD_REQUEST,
            LookupError::InUse { .. } => StatusCode::CONFLICT,
            LookupError::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: error.to_string(),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let status = match &error {
            UploadError::Name(_) => StatusCode::BAD_REQUEST,
            UploadError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            UploadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: error.to_string(),
        }
    }
}

/// Uploads a component: the body is its bytes. It is compiled, checked and described; the same bytes once more change
/// nothing but the name's latest version.
#[utoipa::path(post, path = "/plugins", tag = "plugins", params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = Plugin), (status = 400, body = Errors), (status = 408, body = Errors),
        (status = 413, body = Errors), (status = 422, body = Errors), (status = 429, body = Errors)))]
pub async fn upload(
    State(host): App,
    Query(query): Query<UploadQuery>,
    bytes: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<(StatusCode, Json<Plugin>), ApiError> {
    let bytes = bytes.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message: format!(
                "the component is larger than max-upload-size, {} bytes: strip debug information, or raise the host's limit",
                host.settings().max_upload_bytes
            ),
        },
        status => ApiError { status, message: e.body_text() },
    })?;
    let plugins = Arc::clone(host.plugins());
    let info = blocking(move || plugins.upload(&query.name, &bytes)).await??;
    let in_use = host.plugins_in_use().contains(&info.digest);
    tracing::info!(plugin = %info.reference(), "a component was uploaded");
    Ok((StatusCode::CREATED, Json(shown(&info, in_use)?)))
}

/// All components.
#[utoipa::path(get, path = "/plugins", tag = "plugins", responses((status = 200, body = Plugins)))]
pub async fn list(State(host): App) -> Result<Json<Plugins>, ApiError> {
    let in_use = host.plugins_in_use();
    let infos = host.plugins().list();
    let plugins = infos
        .iter()
        .map(|info| shown(info, in_use.contains(&info.digest)));
    Ok(Json(Plugins {
        plugins: plugins.collect::<Result<_, _>>()?,
    }))
}

/// One component by name, `sha256:…` or `name@sha256:…`.
#[utoipa::path(get, path = "/plugins/{reference}", tag = "plugins", params(("reference" = String, Path)),
    responses((status = 200, body = Plugin), (status = 404, body = Errors)))]
pub async fn show(State(host): App, Path(reference): Path<String>) -> Result<Json<Plugin>, ApiError> {
    let info = host.plugins().get(&reference)?;
    Ok(Json(shown(&info, host.plugins_in_use().contains(&info.digest))?))
}

/// Deletes a component that no job runs.
#[utoipa::path(delete, path = "/plugins/{reference}", tag = "plugins", params(("reference" = String, Path)),
    responses((status = 200, body = Plugin), (status = 404, body = Errors), (status = 409, body = Errors)))]
pub async fn delete(State(host): App, Path(reference): Path<String>) -> Result<Json<Plugin>, ApiError> {
    let info = blocking(move || host.plugins().delete(&reference, || host.plugins_in_use())).await??;
    Ok(Json(shown(&info, false)?))
}
