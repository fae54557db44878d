//! `/jobs/:jobid/checkpoints`: what there is; triggering is in [`super::savepoints`].

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use wasmill_engine::job::status::{CheckpointEntry, CheckpointStatus, JobStatus};
use wasmill_model::graph::CheckpointMode;

use super::error::{ApiError, Errors};
use super::types::checkpoint::{
    Checkpoint, CheckpointConfig, CheckpointCounts, CheckpointSummary, CheckpointTask, Checkpoints,
    Externalization, LatestCheckpoints, RestoredCheckpoint, Summary,
};
use super::types::name_of;
use super::{App, find_job};
use crate::job::file::StateBackend;

fn checkpoint(entry: &CheckpointEntry) -> Checkpoint {
    let class_name = match entry.status {
        CheckpointStatus::InProgress => "in_progress",
        CheckpointStatus::Completed => "completed",
        CheckpointStatus::Failed => "failed",
    };
    let checkpoint_type = match (entry.is_savepoint, entry.is_stop) {
        (false, _) => "CHECKPOINT",
        (true, false) => "SAVEPOINT",
        (true, true) => "SYNC_SAVEPOINT",
    };
    let completed = entry.status == CheckpointStatus::Completed;
    let failed = entry.status == CheckpointStatus::Failed;
    Checkpoint {
        class_name: class_name.to_owned(),
        id: entry.id.0,
        status: name_of(&entry.status),
        is_savepoint: entry.is_savepoint,
        savepoint_format: entry.format.as_ref().map(name_of),
        trigger_timestamp: entry.triggered_at,
        latest_ack_timestamp: entry.latest_ack_at,
        checkpointed_size: entry.size,
        state_size: entry.size,
        end_to_end_duration: entry.duration_ms,
        alignment_buffered: 0,
        processed_data: 0,
        persisted_data: 0,
        num_subtasks: entry.subtasks,
        num_acknowledged_subtasks: entry.acknowledged,
        checkpoint_type: checkpoint_type.to_owned(),
        tasks: BTreeMap::new(),
        external_path: entry.external_path.clone().filter(|_| completed),
        discarded: completed.then_some(entry.discarded),
        failure_timestamp: failed.then_some(entry.triggered_at.saturating_add(entry.duration_ms as i64)),
        failure_message: entry.failure.clone().filter(|_| failed),
    }
}

/// The checkpoints of a job.
#[utoipa::path(get, path = "/jobs/{jobid}/checkpoints", tag = "checkpoints", params(("jobid" = String, Path)),
    responses((status = 200, body = Checkpoints), (status = 404, body = Errors)))]
pub async fn list(State(host): App, Path(id): Path<String>) -> Result<Json<Checkpoints>, ApiError> {
    let stats = find_job(&host, &id)?.status().checkpoints;
    let completed: Vec<_> = stats
        .history
        .iter()
        .filter(|c| c.status == CheckpointStatus::Completed)
        .collect();
    let sizes = || completed.iter().map(|c| c.size);
    let latest =
        |wanted: &dyn Fn(&CheckpointEntry) -> bool| stats.history.iter().find(|c| wanted(c)).map(checkpoint);
    let is = |entry: &CheckpointEntry, status: CheckpointStatus| entry.status == status;
    Ok(Json(Checkpoints {
        counts: CheckpointCounts {
            restored: stats.restored,
            total: stats.triggered,
            in_progress: stats.in_progress,
            completed: stats.completed,
            failed: stats.failed,
        },
        summary: CheckpointSummary {
            checkpointed_size: Summary::of(sizes()),
            state_size: Summary::of(sizes()),
            end_to_end_duration: Summary::of(completed.iter().map(|c| c.duration_ms)),
            alignment_buffered: Summary::default(),
            processed_data: Summary::default(),
            persisted_data: Summary::default(),
        },
        latest: LatestCheckpoints {
            completed: latest(&|c| is(c, CheckpointStatus::Completed) && !c.is_savepoint),
            savepoint: latest(&|c| is(c, CheckpointStatus::Completed) && c.is_savepoint),
            failed: latest(&|c| is(c, CheckpointStatus::Failed)),
            restored: stats.latest_restored.as_ref().map(|restored| RestoredCheckpoint {
                id: restored.id.0,
                restore_timestamp: restored.at,
                is_savepoint: restored.is_savepoint,
                external_path: restored.external_path.clone(),
            }),
        },
        history: stats.history.iter().map(checkpoint).collect(),
    }))
}

/// The checkpointing settings of a job.
#[utoipa::path(get, path = "/jobs/{jobid}/checkpoints/config", tag = "checkpoints", params(("jobid" = String, Path)),
    responses((status = 200, body = CheckpointConfig), (status = 404, body = Errors)))]
pub async fn config(State(host): App, Path(id): Path<String>) -> Result<Json<CheckpointConfig>, ApiError> {
    let job = find_job(&host, &id)?;
    let settings = &job.record().graph.settings;
    let backend = StateBackend::named(&settings.state_backend);
    let settings = settings.checkpointing.clone();
    // Flink says the greatest number where there are no periodic checkpoints.
    let interval = settings
        .as_ref()
        .map_or(i64::MAX, |s| i64::try_from(s.interval_ms).unwrap_or(i64::MAX));
    let settings = settings.unwrap_or_default();
    Ok(Json(CheckpointConfig {
        mode: match settings.mode {
            CheckpointMode::ExactlyOnce => "exactly_once".to_owned(),
            CheckpointMode::AtLeastOnce => "at_least_once".to_owned(),
        },
        interval,
        timeout: settings.timeout_ms,
        min_pause: settings.min_pause_ms,
        max_concurrent: settings.max_concurrent,
        externalization: Externalization {
            enabled: settings.retain_on_cancel,
            delete_on_cancellation: !settings.retain_on_cancel,
        },
        state_backend: backend.map_or("", StateBackend::class).to_owned(),
        checkpoint_storage: "FileSystemCheckpointStorage".to_owned(),
        unaligned_checkpoints: settings.unaligned,
        tolerable_failed_checkpoints: settings.tolerable_failures,
        aligned_checkpoint_timeout: 0,
        checkpoints_after_tasks_finish: true,
        state_changelog_enabled: false,
        changelog_periodic_materialization_interval: 0,
        changelog_storage: "memory".to_owned(),
    }))
}

/// One checkpoint, by vertex too.
#[utoipa::path(get, path = "/jobs/{jobid}/checkpoints/details/{checkpointid}", tag = "checkpoints",
    params(("jobid" = String, Path), ("checkpointid" = u64, Path)),
    responses((status = 200, body = Checkpoint), (status = 404, body = Errors)))]
pub async fn detail(
    State(host): App,
    Path((job, id)): Path<(String, u64)>,
) -> Result<Json<Checkpoint>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let entry = status
        .checkpoints
        .history
        .iter()
        .find(|entry| entry.id.0 == id)
        .ok_or_else(|| {
            ApiError::not_found(format!(
                "Could not find checkpointing statistics for checkpoint {id}: only the last ones are kept"
            ))
        })?;
    let mut detail = checkpoint(entry);
    detail.tasks = tasks(&status, entry);
    Ok(Json(detail))
}

fn tasks(status: &JobStatus, entry: &CheckpointEntry) -> BTreeMap<String, CheckpointTask> {
    let completed = entry.status == CheckpointStatus::Completed;
    let tasks = status.vertices.iter().map(|vertex| {
        let task = CheckpointTask {
            id: entry.id.0,
            status: name_of(&entry.status),
            latest_ack_timestamp: entry.latest_ack_at,
            checkpointed_size: -1,
            state_size: -1,
            end_to_end_duration: entry.duration_ms,
            alignment_buffered: 0,
            processed_data: 0,
            persisted_data: 0,
            num_subtasks: vertex.parallelism,
            num_acknowledged_subtasks: if completed {
                i64::from(vertex.parallelism)
            } else {
                -1
            },
        };
        (vertex.id.clone(), task)
    });
    tasks.collect()
}
