//! `/jobs/:jobid/checkpoints`: what there is; triggering is in [`super::savepoints`].

use axum::Json;
use axum::extract::{Path, State};
use wasmill_engine::job::status::{
    Acknowledgement, CheckpointEntry, CheckpointStatus, JobStatus, SubtaskReport,
};
use wasmill_model::graph::CheckpointMode;

use super::error::{ApiError, Errors};
use super::types::checkpoint::{
    Checkpoint, CheckpointConfig, CheckpointCounts, CheckpointSummary, CheckpointTask, Checkpoints,
    Externalization, LatestCheckpoints, RestoredCheckpoint, Summary,
};
use super::types::checkpoint_subtasks::{
    AlignmentOf, CheckpointSubtask, CheckpointSubtasks, CompletedSubtask, PendingSubtask, SnapshotDurations,
    SubtasksSummary,
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
    let unaligned = entry.reports.iter().any(|said| said.report.unaligned);
    let checkpoint_type = match (entry.is_savepoint, entry.is_stop) {
        (false, _) if unaligned => "UNALIGNED_CHECKPOINT",
        (false, _) => "CHECKPOINT",
        (true, false) => "SAVEPOINT",
        (true, true) => "SYNC_SAVEPOINT",
    };
    let sum = Sum::of(&entry.reports);
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
        state_size: entry.state_size,
        end_to_end_duration: entry.duration_ms,
        alignment_buffered: 0,
        processed_data: sum.processed,
        persisted_data: sum.persisted,
        num_subtasks: entry.subtasks,
        num_acknowledged_subtasks: entry.acknowledged,
        checkpoint_type: checkpoint_type.to_owned(),
        tasks: Default::default(),
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
    let sums: Vec<_> = completed.iter().map(|c| Sum::of(&c.reports)).collect();
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
            checkpointed_size: Summary::of(completed.iter().map(|c| c.size)),
            state_size: Summary::of(completed.iter().map(|c| c.state_size)),
            end_to_end_duration: Summary::of(completed.iter().map(|c| c.duration_ms)),
            alignment_buffered: Summary::default(),
            processed_data: Summary::of(sums.iter().map(|sum| sum.processed)),
            persisted_data: Summary::of(sums.iter().map(|sum| sum.persisted)),
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
        checkpoint_storage: match host.checkpoint_url().starts_with("memory:") {
            true => "JobManagerCheckpointStorage".to_owned(),
            false => "FileSystemCheckpointStorage".to_owned(),
        },
        unaligned_checkpoints: settings.unaligned,
        tolerable_failed_checkpoints: settings.tolerable_failures,
        aligned_checkpoint_timeout: settings.aligned_timeout_ms,
        checkpoints_after_tasks_finish: true,
        state_changelog_enabled: false,
        changelog_periodic_materialization_interval: 0,
        changelog_storage: "memory".to_owned(),
    }))
}

fn find(status: &JobStatus, id: u64) -> Result<&CheckpointEntry, ApiError> {
    let found = status.checkpoints.history.iter().find(|entry| entry.id.0 == id);
    found.ok_or_else(|| {
        ApiError::not_found(format!(
            "Could not find checkpointing statistics for checkpoint {id}: only the last ones are kept"
        ))
    })
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
    let entry = find(&status, id)?;
    let mut detail = checkpoint(entry);
    let tasks = status.vertices.iter().zip(0..).map(|(vertex, index)| {
        let task = task(entry, &reports_of(entry, index), vertex.parallelism);
        (vertex.id.clone(), task)
    });
    detail.tasks = tasks.collect();
    Ok(Json(detail))
}

/// One checkpoint in the subtasks of a vertex.
#[utoipa::path(get, path = "/jobs/{jobid}/checkpoints/details/{checkpointid}/subtasks/{vertexid}", tag = "checkpoints",
    params(("jobid" = String, Path), ("checkpointid" = u64, Path), ("vertexid" = String, Path)),
    responses((status = 200, body = CheckpointSubtasks), (status = 404, body = Errors)))]
pub async fn subtasks(
    State(host): App,
    Path((job, id, vertex)): Path<(String, u64, String)>,
) -> Result<Json<CheckpointSubtasks>, ApiError> {
    let status = find_job(&host, &job)?.status();
    let entry = find(&status, id)?;
    let mut vertices = status.vertices.iter().zip(0..);
    let Some((vertex, index)) = vertices.find(|(known, _)| known.id == vertex) else {
        return Err(ApiError::not_found(format!(
            "There is no vertex {vertex} in job {job}"
        )));
    };
    let reports = reports_of(entry, index);
    let task = task(entry, &reports, vertex.parallelism);
    let subtasks = (0..vertex.parallelism).map(|index| {
        let said = reports.iter().find(|said| said.index == index);
        match said {
            Some(said) => CheckpointSubtask::Completed(Box::new(completed_subtask(entry, said))),
            None => CheckpointSubtask::Pending(PendingSubtask {
                class_name: "pending".to_owned(),
                index,
                status: "pending_or_failed".to_owned(),
            }),
        }
    });
    Ok(Json(CheckpointSubtasks {
        task,
        summary: summary(entry, &reports),
        subtasks: subtasks.collect(),
    }))
}

/// What the subtasks of a vertex said.
fn reports_of(entry: &CheckpointEntry, vertex: u32) -> Vec<Acknowledgement> {
    let reports = entry.reports.iter().filter(|said| said.vertex == vertex);
    reports.copied().collect()
}

/// Over some subtasks.
#[derive(Default)]
struct Sum {
    size: u64,
    state: u64,
    processed: u64,
    persisted: u64,
}

impl Sum {
    fn of(reports: &[Acknowledgement]) -> Self {
        reports.iter().fold(Self::default(), |sum, said| Self {
            size: sum.size + said.report.size,
            state: sum.state + said.report.state_size,
            processed: sum.processed + said.report.processed_bytes,
            persisted: sum.persisted + said.report.persisted_bytes,
        })
    }
}

fn took(entry: &CheckpointEntry, said: &Acknowledgement) -> u64 {
    u64::try_from(said.at.saturating_sub(entry.triggered_at)).unwrap_or(0)
}

fn task(entry: &CheckpointEntry, reports: &[Acknowledgement], parallelism: u32) -> CheckpointTask {
    let sum = Sum::of(reports);
    let status = match reports.len() == parallelism as usize {
        true => CheckpointStatus::Completed,
        false => entry.status,
    };
    CheckpointTask {
        id: entry.id.0,
        status: name_of(&status),
        latest_ack_timestamp: reports.iter().map(|said| said.at).max().unwrap_or(-1),
        checkpointed_size: sum.size,
        state_size: sum.state,
        end_to_end_duration: reports.iter().map(|said| took(entry, said)).max().unwrap_or(0),
        alignment_buffered: 0,
        processed_data: sum.processed,
        persisted_data: sum.persisted,
        num_subtasks: parallelism,
        num_acknowledged_subtasks: reports.len() as u32,
    }
}

fn summary(entry: &CheckpointEntry, reports: &[Acknowledgement]) -> SubtasksSummary {
    let over = |value: fn(&SubtaskReport) -> u64| Summary::of(reports.iter().map(|said| value(&said.report)));
    SubtasksSummary {
        checkpointed_size: over(|report| report.size),
        state_size: over(|report| report.state_size),
        end_to_end_duration: Summary::of(reports.iter().map(|said| took(entry, said))),
        checkpoint_duration: SnapshotDurations {
            sync: over(|report| report.sync_ms),
            asynchronous: over(|report| report.async_ms),
        },
        alignment: AlignmentOf {
            buffered: Summary::default(),
            processed: over(|report| report.processed_bytes),
            persisted: over(|report| report.persisted_bytes),
            duration: over(|report| report.alignment_ms),
        },
        start_delay: over(|report| report.start_delay_ms),
    }
}

fn completed_subtask(entry: &CheckpointEntry, said: &Acknowledgement) -> CompletedSubtask {
    let report = said.report;
    CompletedSubtask {
        class_name: "completed".to_owned(),
        index: said.index,
        ack_timestamp: said.at,
        end_to_end_duration: took(entry, said),
        checkpointed_size: report.size,
        state_size: report.state_size,
        checkpoint: SnapshotDurations {
            sync: report.sync_ms,
            asynchronous: report.async_ms,
        },
        alignment: AlignmentOf {
            buffered: 0,
            processed: report.processed_bytes,
            persisted: report.persisted_bytes,
            duration: report.alignment_ms,
        },
        start_delay: report.start_delay_ms,
        unaligned_checkpoint: report.unaligned,
        aborted: false,
        status: "completed".to_owned(),
    }
}
