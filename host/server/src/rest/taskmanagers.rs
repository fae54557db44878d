//! `/taskmanagers`: the host itself, which is the only one.

use std::fs;

use axum::Json;
use axum::extract::{Path, State};
use wasmill_engine::job::status::TaskState;

use super::App;
use super::error::{ApiError, Errors};
use super::types::cluster::{Hardware, MemoryConfiguration, Resource, TaskManager, TaskManagers};
use crate::host::{Host, now};

fn taskmanager(host: &Host) -> TaskManager {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let slots = host.settings().slots;
    let free = slots.saturating_sub(host.slots_used());
    let jobs = host.jobs();
    let running = jobs.iter().map(|job| {
        let status = job.status();
        let subtasks = status.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        subtasks
            .filter(|subtask| subtask.state == TaskState::Running)
            .count() as u32
    });
    let resident = resident_bytes();
    let share = |part: u32| f64::from(cores) * f64::from(part) / f64::from(slots.max(1));
    TaskManager {
        id: host.id().to_owned(),
        path: format!("http://{}", host.settings().bind_address),
        data_port: -1,
        jmx_port: -1,
        time_since_last_heartbeat: now(),
        slots_number: slots,
        free_slots: free,
        assigned_tasks: running.sum(),
        total_resource: Resource {
            cpu_cores: share(slots),
            ..Resource::default()
        },
        free_resource: Resource {
            cpu_cores: share(free),
            ..Resource::default()
        },
        hardware: Hardware {
            cpu_cores: cores,
            physical_memory: memory_of("MemTotal:"),
            free_memory: memory_of("MemAvailable:"),
            managed_memory: 0,
        },
        memory_configuration: MemoryConfiguration {
            total_flink_memory: resident,
            total_process_memory: resident,
            ..MemoryConfiguration::default()
        },
    }
}

/// What the process holds now; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    kib_of("/proc/self/status", "VmRSS:")
}

fn memory_of(field: &str) -> u64 {
    kib_of("/proc/meminfo", field)
}

/// A field in KiB of one of Linux' tables, in bytes.
fn kib_of(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1_024
}

pub(super) fn check(host: &Host, id: &str) -> Result<(), ApiError> {
    match id == host.id() {
        true => Ok(()),
        false => Err(ApiError::not_found(format!(
            "There is one task manager, {}",
            host.id()
        ))),
    }
}

/// The host as the only task manager.
#[utoipa::path(get, path = "/taskmanagers", tag = "cluster", responses((status = 200, body = TaskManagers)))]
pub async fn list(State(host): App) -> Json<TaskManagers> {
    Json(TaskManagers {
        taskmanagers: vec![taskmanager(&host)],
    })
}

/// The host as a task manager.
#[utoipa::path(get, path = "/taskmanagers/{taskmanagerid}", tag = "cluster", params(("taskmanagerid" = String, Path)),
    responses((status = 200, body = TaskManager), (status = 404, body = Errors)))]
pub async fn detail(State(host): App, Path(id): Path<String>) -> Result<Json<TaskManager>, ApiError> {
    check(&host, &id)?;
    Ok(Json(taskmanager(&host)))
}
