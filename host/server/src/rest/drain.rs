//! Reads the rest of a request that was refused before it was read whole.
//!
//! Invariant: a client that sends more than is taken gets the refusal and its reason. A connection closed upon
//! unread bytes is reset, and the answer under way is lost with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;

/// Bytes that are read for nothing; a client that sends more is cut off.
const DRAIN_BYTES_MAX: usize = 256 << 20;
/// How long a refused client may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

type Shared = Arc<Mutex<BodyDataStream>>;

fn shared_by(body: Body) -> (Shared, Body) {
    let rest: Shared = Arc::new(Mutex::new(body.into_data_stream()));
    let read = Arc::clone(&rest);
    let stream = poll_fn(move |context| {
        let mut rest = read.lock().unwrap_or_else(PoisonError::into_inner);
        rest.poll_next_unpin(context)
    });
    (rest, Body::from_stream(stream))
}

/// The middleware.
pub async fn drained(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (rest, body) = shared_by(body);
    let response = next.run(Request::from_parts(parts, body)).await;
    if response.status().is_client_error() {
        let mut bytes = 0;
        let reading = async {
            let mut rest = poll_fn(|context| {
                let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                rest.poll_next_unpin(context)
            });
            while let Some(Ok(piece)) = rest.next().await {
                bytes += piece.len();
                if bytes > DRAIN_BYTES_MAX {
                    break;
                }
            }
        };
        // Too slow or too long: the refusal is sent all the same.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
    }
    response
}
