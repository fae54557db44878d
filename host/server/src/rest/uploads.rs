//! How many uploads are taken at one time, and for how long: each holds its component in memory until it is checked.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Uploads at one time.
const UPLOADS_MAX: usize = 8;

/// Bytes that do not come must not keep others from uploading.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);

/// The uploads of a host.
#[derive(Clone)]
pub struct Uploads(Arc<Semaphore>);

impl Default for Uploads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UPLOADS_MAX)))
    }
}

/// The middleware of the route that takes uploads.
pub async fn few(State(uploads): State<Uploads>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let Ok(_taken) = uploads.0.try_acquire() else {
        let refusal = ApiError {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: format!(
                "{UPLOADS_MAX} components are being uploaded already, which is as many as this host takes at one time: \
                 try again in a moment"
            ),
        };
        return refusal.into_response();
    };
    match tokio::time::timeout(UPLOAD_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let refusal = ApiError {
                status: StatusCode::REQUEST_TIMEOUT,
                message: format!(
                    "the upload was not over after {} seconds: try again on a faster connection",
                    UPLOAD_TIME_MAX.as_secs()
                ),
            };
            refusal.into_response()
        }
    }
}
