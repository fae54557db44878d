//! HTTP: Flink's REST paths and JSON where Flink has the call, our own for plugins and submission.
//!
//! Invariant: every route is served below `/` and below `/v1/`; every answer but `/metrics` is JSON; every refusal is
//! `{"errors": […]}` and nothing else. Work that may block runs off the threads that serve.
//!
//! | module | holds |
//! |---|---|
//! | [`guard`] | requests of foreign web pages are refused |
//! | [`error`], [`drain`], [`uploads`] | refusals, the rest of what is refused, and how many uploads are not |
//! | [`types`] | the shapes |
//! | [`overview`], [`jobs`], [`vertices`], [`checkpoints`], [`savepoints`], [`metrics`], [`taskmanagers`] | Flink's calls |
//! | [`plugins`], [`submit`] | our own |
//! | [`prometheus`], [`openapi`] | for machines |

pub mod checkpoints;
pub mod drain;
pub mod error;
pub mod guard;
pub mod jobs;
pub mod metrics;
pub mod openapi;
pub mod overview;
pub mod plugins;
pub mod prometheus;
pub mod savepoints;
pub mod serve;
pub mod submit;
pub mod taskmanagers;
pub mod types;
pub mod uploads;
pub mod vertices;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, patch, post};
use serde::de::DeserializeOwned;

use crate::host::Host;
use crate::host::job::Job;
use error::ApiError;

/// What handlers share.
pub type App = State<Arc<Host>>;

/// Bytes of a request that is not an upload.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// The whole of HTTP for one host.
pub fn router(host: Arc<Host>) -> Router {
    let routes = routes(&host);
    Router::new()
        .merge(routes.clone())
        .nest("/v1", routes)
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(axum::middleware::from_fn_with_state(
            guard::Guard::of(&host),
            guard::check,
        ))
        .layer(axum::middleware::from_fn(error::as_json))
        .layer(axum::middleware::from_fn(drain::drained))
        .layer(tower_http::trace::TraceLayer::new_for_http())
        .with_state(host)
}

fn routes(host: &Host) -> Router<Arc<Host>> {
    let upload_bytes_max = usize::try_from(host.settings().max_upload_bytes).unwrap_or(usize::MAX);
    Router::new()
        .merge(cluster_routes())
        .merge(job_routes())
        .merge(vertex_routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(
            Router::new()
                .route("/plugins", get(plugins::list).post(plugins::upload))
                .layer(axum::middleware::from_fn_with_state(
                    uploads::Uploads::default(),
                    uploads::few,
                ))
                .layer(DefaultBodyLimit::max(upload_bytes_max)),
        )
}

fn cluster_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/config", get(overview::config))
        .route("/overview", get(overview::overview))
        .route("/taskmanagers", get(taskmanagers::list))
        .route("/taskmanagers/{taskmanagerid}", get(taskmanagers::detail))
        .route(
            "/taskmanagers/{taskmanagerid}/metrics",
            get(metrics::of_taskmanager),
        )
        .route("/jobmanager/metrics", get(metrics::of_jobmanager))
        .route("/jobs/metrics", get(metrics::of_all_jobs))
        .route("/savepoint-disposal", post(savepoints::dispose))
        .route(
            "/savepoint-disposal/{triggerid}",
            get(savepoints::disposal_status),
        )
        .route("/jars", get(error::no_jars).post(error::no_jars))
        .route(
            "/jars/{*rest}",
            get(error::no_jars).post(error::no_jars).delete(error::no_jars),
        )
        .route("/plugins/{reference}", get(plugins::show).delete(plugins::delete))
        .route("/metrics", get(prometheus::metrics))
        .route("/openapi.json", get(openapi::document))
}

fn job_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/jobs", get(jobs::list).post(submit::submit))
        .route("/jobs/overview", get(jobs::overview))
        .route("/jobs/validate", post(submit::validate))
        .route("/jobs/{jobid}", get(jobs::detail).patch(jobs::cancel))
        .route("/jobs/{jobid}/status", get(jobs::status))
        .route("/jobs/{jobid}/plan", get(jobs::plan))
        .route("/jobs/{jobid}/config", get(jobs::config))
        .route("/jobs/{jobid}/exceptions", get(jobs::exceptions))
        .route("/jobs/{jobid}/accumulators", get(jobs::accumulators))
        .route("/jobs/{jobid}/execution-result", get(jobs::execution_result))
        .route("/jobs/{jobid}/clientHeartbeat", patch(jobs::heartbeat))
        .route("/jobs/{jobid}/yarn-cancel", get(jobs::cancel))
        .route("/jobs/{jobid}/metrics", get(metrics::of_job))
        .route("/jobs/{jobid}/guarantees", get(jobs::guarantees))
        .route("/jobs/{jobid}/resume", post(submit::resume))
        .route(
            "/jobs/{jobid}/checkpoints",
            get(checkpoints::list).post(savepoints::checkpoint),
        )
        .route("/jobs/{jobid}/checkpoints/config", get(checkpoints::config))
        .route(
            "/jobs/{jobid}/checkpoints/details/{checkpointid}",
            get(checkpoints::detail),
        )
        .route(
            "/jobs/{jobid}/checkpoints/details/{checkpointid}/subtasks/{vertexid}",
            get(checkpoints::subtasks),
        )
        .route(
            "/jobs/{jobid}/checkpoints/{triggerid}",
            get(savepoints::checkpoint_status),
        )
        .route("/jobs/{jobid}/savepoints", post(savepoints::savepoint))
        .route(
            "/jobs/{jobid}/savepoints/{triggerid}",
            get(savepoints::savepoint_status),
        )
        .route("/jobs/{jobid}/stop", post(savepoints::stop))
}

fn vertex_routes() -> Router<Arc<Host>> {
    let vertex = Router::new()
        .route("/", get(vertices::detail))
        .route("/watermarks", get(vertices::watermarks))
        .route("/backpressure", get(vertices::backpressure))
        .route("/subtasktimes", get(vertices::subtask_times))
        .route("/accumulators", get(vertices::accumulators))
        .route("/metrics", get(metrics::of_vertex))
        .route("/subtasks/metrics", get(metrics::of_subtasks))
        .route("/subtasks/{subtask}", get(vertices::subtask));
    Router::new().nest("/jobs/{jobid}/vertices/{vertexid}", vertex)
}

/// The job of a path.
fn find_job(host: &Host, id: &str) -> Result<Arc<Job>, ApiError> {
    let id = id
        .parse()
        .map_err(|e| ApiError::bad(format!("Bad request: {e}")))?;
    Ok(host.job(id)?)
}

/// A request's body, which Flink's client also sends where there is nothing to say; an empty one is `{}`.
fn body<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.trim_ascii().is_empty() {
        b"{}"
    } else {
        bytes
    };
    serde_json::from_slice(bytes)
        .map_err(|e| ApiError::bad(format!("Request did not match expected format {name}: {e}")))
}

/// Runs what may block off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ApiError::host(format!("the request's work ended early: {e}")))
}
