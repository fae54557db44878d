//! `/config` and `/overview`.

use axum::Json;
use axum::extract::State;
use wasmill_engine::job::status::JobState;

use super::App;
use super::types::cluster::{ClusterOverview, DashboardConfig, Features};

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name of this program, where Flink has its commit.
pub const REVISION: &str = concat!("wasmill-", env!("CARGO_PKG_VERSION"));

/// What a page needs to know first.
#[utoipa::path(get, path = "/config", tag = "cluster", responses((status = 200, body = DashboardConfig)))]
pub async fn config() -> Json<DashboardConfig> {
    Json(DashboardConfig {
        refresh_interval: 3_000,
        timezone_name: "Coordinated Universal Time".to_owned(),
        timezone_offset: 0,
        flink_version: VERSION.to_owned(),
        flink_revision: REVISION.to_owned(),
        features: Features {
            web_submit: false,
            web_cancel: true,
            web_rescale: false,
            web_history: false,
        },
    })
}

/// Slots and jobs of the host.
#[utoipa::path(get, path = "/overview", tag = "cluster", responses((status = 200, body = ClusterOverview)))]
pub async fn overview(State(host): App) -> Json<ClusterOverview> {
    let states: Vec<_> = host.jobs().iter().map(|job| job.status().state).collect();
    let count =
        |wanted: &dyn Fn(JobState) -> bool| states.iter().filter(|state| wanted(**state)).count() as u32;
    let slots_total = host.settings().slots;
    Json(ClusterOverview {
        taskmanagers: 1,
        slots_total,
        slots_available: slots_total.saturating_sub(host.slots_used()),
        jobs_running: count(&|state| !state.is_terminal()),
        jobs_finished: count(&|state| state == JobState::Finished),
        jobs_cancelled: count(&|state| state == JobState::Canceled),
        jobs_failed: count(&|state| state == JobState::Failed),
        flink_version: VERSION.to_owned(),
        flink_commit: REVISION.to_owned(),
    })
}
