//! Refusals: a status and `{"errors": […]}`, the one key that Flink's client looks for.

use axum::Json;
use axum::body::to_bytes;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::host::HostError;

/// What a refused request gets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Errors {
    /// What is wrong and what to do.
    pub errors: Vec<String>,
}

/// A refusal.
#[derive(Debug)]
pub struct ApiError {
    /// 4xx where the client must change something, 5xx where the host could not.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub message: String,
}

impl ApiError {
    /// The request is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    /// The host's fault, or an operation that failed.
    pub fn host(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(Errors {
                errors: vec![self.message],
            }),
        )
            .into_response()
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        let status = match &error {
            HostError::JobFile(_) | HostError::Bad(_) => StatusCode::BAD_REQUEST,
            HostError::NotFound(_) => StatusCode::NOT_FOUND,
            HostError::Conflict(_) => StatusCode::CONFLICT,
            HostError::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: error.to_string(),
        }
    }
}

/// Bytes of a refusal in plain text, which are few.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What the framework refuses by itself (a parameter of another type, a body that is too large) it refuses in plain
/// text: the middleware makes our shape of it.
pub async fn as_json(request: axum::extract::Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = to_bytes(response.into_body(), TEXT_BYTES_MAX)
        .await
        .unwrap_or_default();
    let message = match text.is_empty() {
        true => status.to_string(),
        false => String::from_utf8_lossy(&text).into_owned(),
    };
    ApiError { status, message }.into_response()
}

/// Any path that is not served.
pub async fn no_such_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("Not found: {path}: /openapi.json lists what there is"))
}

/// A path that is served by another method.
pub async fn no_such_method(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        message: format!("{path} does not take this method: /openapi.json lists what there is"),
    }
}

/// Flink's jars, which are components here.
pub async fn no_jars() -> ApiError {
    ApiError::not_found(
        "This host runs WebAssembly components, not jars: upload one by POST /v1/plugins?name=NAME (wasmill plugin upload) \
         and submit a job file by POST /v1/jobs (wasmill run)",
    )
}
