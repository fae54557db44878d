//! The shapes of answers. Names are Flink's to the letter, whatever their case; times are ms since the epoch, durations
//! ms, −1 for "none".

pub mod checkpoint;
pub mod checkpoint_subtasks;
pub mod cluster;
pub mod job;
pub mod vertex;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A metric's name, and its value where it was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metric {
    /// Name.
    pub id: String,
    /// Value as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Counts by state.
pub type Counts = BTreeMap<String, u64>;

/// Nothing to say.
#[derive(Debug, Serialize, ToSchema)]
pub struct Empty {}

/// The name that serde gives a state.
pub fn name_of<T: Serialize>(state: &T) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
