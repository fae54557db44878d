//! The OpenAPI document, made of the handlers and their shapes; `tests/snapshots/openapi.json` is compared with it.

use axum::Json;
use utoipa::OpenApi;

use super::{
    checkpoints, jobs, metrics, overview, plugins, prometheus, savepoints, submit, taskmanagers, vertices,
};

/// All documented calls.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Wasmill",
        description = "Runs WebAssembly components as checkpointed jobs. Every path is served below `/` and below `/v1`. \
                       Paths and shapes are Apache Flink's where it has the call."
    ),
    servers((url = "/v1"), (url = "/")),
    paths(
        overview::config, overview::overview,
        jobs::list, jobs::overview, jobs::detail, jobs::status, jobs::plan, jobs::config, jobs::exceptions,
        jobs::accumulators, jobs::execution_result, jobs::heartbeat, jobs::cancel, jobs::guarantees,
        submit::submit, submit::validate, submit::resume,
        checkpoints::list, checkpoints::config, checkpoints::detail, checkpoints::subtasks,
        savepoints::savepoint, savepoints::savepoint_status, savepoints::stop, savepoints::checkpoint,
        savepoints::checkpoint_status, savepoints::dispose, savepoints::disposal_status,
        vertices::detail, vertices::subtask, vertices::watermarks, vertices::backpressure, vertices::subtask_times,
        vertices::accumulators,
        metrics::of_job, metrics::of_all_jobs, metrics::of_vertex, metrics::of_subtasks, metrics::of_jobmanager,
        metrics::of_taskmanager,
        taskmanagers::list, taskmanagers::detail,
        plugins::list, plugins::upload, plugins::show, plugins::delete,
        prometheus::metrics,
    )
)]
pub struct Document;

/// The document itself.
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
