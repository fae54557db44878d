//! Shapes of `/jobs/:jobid/vertices/:vertexid` and below.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What went in and out, and how the time was spent.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct IoMetrics {
    /// Bytes from channels.
    pub read_bytes: u64,
    /// True.
    pub read_bytes_complete: bool,
    /// Bytes to channels.
    pub write_bytes: u64,
    /// True.
    pub write_bytes_complete: bool,
    /// Records from channels.
    pub read_records: u64,
    /// True.
    pub read_records_complete: bool,
    /// Records to channels.
    pub write_records: u64,
    /// True.
    pub write_records_complete: bool,
    /// Without credit, ms.
    pub accumulated_backpressured_time: u64,
    /// Without input, ms.
    pub accumulated_idle_time: u64,
    /// At work, ms.
    pub accumulated_busy_time: f64,
}

/// `/jobs/:jobid/vertices/:vertexid`.
#[derive(Debug, Serialize, ToSchema)]
pub struct VertexDetail {
    /// Its id.
    pub id: String,
    /// The operators in it.
    pub name: String,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Number of key groups.
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: i64,
    /// The host's clock.
    pub now: i64,
    /// Its subtasks.
    pub subtasks: Vec<Subtask>,
    /// Spread over the subtasks.
    pub aggregated: Aggregated,
}

/// A subtask.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Subtask {
    /// Index.
    pub subtask: usize,
    /// State.
    pub status: String,
    /// From 0.
    pub attempt: u32,
    /// Where the host serves.
    pub endpoint: String,
    /// When it was deployed.
    pub start_time: i64,
    /// When it ended.
    pub end_time: i64,
    /// Since then, or until then.
    pub duration: i64,
    /// What went in and out.
    pub metrics: IoMetrics,
    /// The host.
    pub taskmanager_id: String,
    /// Time in each state.
    pub status_duration: BTreeMap<String, i64>,
    /// The same as `start-time`.
    #[serde(rename = "start_time")]
    pub start_time_again: i64,
}

/// Spread over the subtasks of a vertex.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Aggregated {
    /// By name.
    pub metrics: BTreeMap<String, Spread>,
    /// By state.
    pub status_duration: BTreeMap<String, Spread>,
}

/// A value over several subtasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Spread {
    /// Least.
    pub min: i64,
    /// Greatest.
    pub max: i64,
    /// Mean.
    pub avg: i64,
    /// Sum.
    pub sum: i64,
    /// Half are below.
    pub median: i64,
    /// A quarter is below.
    pub p25: i64,
    /// Three quarters are below.
    pub p75: i64,
    /// 95 % are below.
    pub p95: i64,
}

impl Spread {
    /// Of values, at least one.
    pub fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let sum: i64 = values.iter().sum();
        let last = values.len().saturating_sub(1);
        let at = |share: f64| {
            values
                .get((last as f64 * share).round() as usize)
                .copied()
                .unwrap_or_default()
        };
        Self {
            min: at(0.0),
            max: at(1.0),
            avg: sum / values.len().max(1) as i64,
            sum,
            median: at(0.5),
            p25: at(0.25),
            p75: at(0.75),
            p95: at(0.95),
        }
    }
}

/// `/jobs/:jobid/vertices/:vertexid/backpressure`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backpressure {
    /// `ok`, or `deprecated` as long as nothing was measured.
    pub status: String,
    /// The worst of its subtasks.
    #[serde(rename = "backpressureLevel", skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The same.
    #[serde(rename = "backpressure-level", skip_serializing_if = "Option::is_none")]
    pub level_again: Option<String>,
    /// When it was measured.
    #[serde(rename = "end-timestamp", skip_serializing_if = "Option::is_none")]
    pub end_timestamp: Option<i64>,
    /// Of each subtask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subtasks: Vec<SubtaskBackpressure>,
}

/// Backpressure of a subtask in the last second.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubtaskBackpressure {
    /// Index.
    pub subtask: usize,
    /// `ok` up to 10 %, `low` up to 50 %, else `high`.
    #[serde(rename = "backpressureLevel")]
    pub level: String,
    /// The same.
    #[serde(rename = "backpressure-level")]
    pub level_again: String,
    /// Share of the time without credit.
    pub ratio: f64,
    /// Share of the time without input.
    #[serde(rename = "idleRatio")]
    pub idle_ratio: f64,
    /// Share of the time at work.
    #[serde(rename = "busyRatio")]
    pub busy_ratio: f64,
}

/// `/jobs/:jobid/vertices/:vertexid/subtasktimes`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubtaskTimes {
    /// The vertex's id.
    pub id: String,
    /// The operators in it.
    pub name: String,
    /// The host's clock.
    pub now: i64,
    /// Of each subtask.
    pub subtasks: Vec<SubtaskTime>,
}

/// Times of a subtask.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubtaskTime {
    /// Index.
    pub subtask: usize,
    /// Where the host serves.
    pub endpoint: String,
    /// Since it was deployed, or until its end.
    pub duration: i64,
    /// When it entered each state; 0: never, or not known.
    pub timestamps: BTreeMap<String, i64>,
}

/// `/jobs/:jobid/vertices/:vertexid/accumulators`: there are none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VertexAccumulators {
    /// The vertex's id.
    pub id: String,
    /// None.
    pub user_accumulators: Vec<String>,
}

/// A metric over several subtasks; only what was asked for by `agg`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct AggregatedMetric {
    /// Its name.
    pub id: String,
    /// Least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg: Option<f64>,
    /// Sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    /// How uneven: 0 even, 100 all on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew: Option<f64>,
}
