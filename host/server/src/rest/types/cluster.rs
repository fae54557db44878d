//! Shapes of `/config`, `/overview` and `/taskmanagers`.

use serde::Serialize;
use utoipa::ToSchema;

/// `/config`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DashboardConfig {
    /// How often a page should ask again, ms.
    pub refresh_interval: u64,
    /// Name of the time zone.
    pub timezone_name: String,
    /// Its offset, ms.
    pub timezone_offset: i64,
    /// Version of this program.
    pub flink_version: String,
    /// Name of this program.
    pub flink_revision: String,
    /// What a page may offer.
    pub features: Features,
}

/// What a page may offer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Features {
    /// Upload of jars.
    pub web_submit: bool,
    /// Cancelling.
    pub web_cancel: bool,
    /// Rescaling.
    pub web_rescale: bool,
    /// This is a history server.
    pub web_history: bool,
}

/// `/overview`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterOverview {
    /// Always 1.
    pub taskmanagers: u32,
    /// Of the host.
    pub slots_total: u32,
    /// That no job holds.
    pub slots_available: u32,
    /// Jobs that did not end.
    pub jobs_running: u32,
    /// Jobs that ended by themselves.
    pub jobs_finished: u32,
    /// Jobs that were cancelled.
    pub jobs_cancelled: u32,
    /// Jobs that failed.
    pub jobs_failed: u32,
    /// Version of this program.
    pub flink_version: String,
    /// Name of this program.
    pub flink_commit: String,
}

/// `/taskmanagers`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskManagers {
    /// The host itself.
    pub taskmanagers: Vec<TaskManager>,
}

/// The host as a task manager.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskManager {
    /// Names this run of the host.
    pub id: String,
    /// Where it is.
    pub path: String,
    /// −1: there is none.
    pub data_port: i32,
    /// −1: there is none.
    pub jmx_port: i32,
    /// Now.
    pub time_since_last_heartbeat: i64,
    /// Slots.
    pub slots_number: u32,
    /// Slots that no job holds.
    pub free_slots: u32,
    /// Subtasks that run.
    pub assigned_tasks: u32,
    /// All that there is.
    pub total_resource: Resource,
    /// What no job holds.
    pub free_resource: Resource,
    /// The machine.
    pub hardware: Hardware,
    /// Flink's parts of memory; unknown ones are 0.
    pub memory_configuration: MemoryConfiguration,
}

/// Processors and memory, MiB.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Processors.
    pub cpu_cores: f64,
    /// Not divided up here.
    pub task_heap_memory: u64,
    /// Not divided up here.
    pub task_off_heap_memory: u64,
    /// Not divided up here.
    pub managed_memory: u64,
    /// Not divided up here.
    pub network_memory: u64,
    /// None.
    pub extended_resources: std::collections::BTreeMap<String, f64>,
}

/// The machine; bytes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// Processors.
    pub cpu_cores: u32,
    /// Of the machine.
    pub physical_memory: u64,
    /// Available on the machine.
    pub free_memory: u64,
    /// Not divided up here.
    pub managed_memory: u64,
}

/// Flink's parts of memory; bytes.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryConfiguration {
    /// Not divided up here.
    pub framework_heap: u64,
    /// Not divided up here.
    pub task_heap: u64,
    /// Not divided up here.
    pub framework_off_heap: u64,
    /// Not divided up here.
    pub task_off_heap: u64,
    /// Not divided up here.
    pub network_memory: u64,
    /// Not divided up here.
    pub managed_memory: u64,
    /// There is no JVM.
    pub jvm_metaspace: u64,
    /// There is no JVM.
    pub jvm_overhead: u64,
    /// Memory that the process holds now.
    pub total_flink_memory: u64,
    /// Memory that the process holds now.
    pub total_process_memory: u64,
}
