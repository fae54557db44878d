//! What a savepoint says of its job and its operators: the first lines of an export.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasmill_checkpoint::manifest::Manifest;
use wasmill_model::function::StateDeclaration;
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::MaxParallelism;
use wasmill_model::time::Timestamp;

use super::read::Filter;

/// Version of the lines.
pub(super) const VERSION: u32 = 1;

/// The job and its operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub(super) head: Head,
    pub(super) operators: BTreeMap<String, OperatorHead>,
}

/// The line `{"savepoint": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) job_id: JobId,
    pub(super) job_name: String,
    pub(super) checkpoint: CheckpointId,
    pub(super) triggered_at: Timestamp,
    pub(super) epoch: u64,
    pub(super) max_parallelism: MaxParallelism,
    #[serde(default)]
    pub(super) plugins: BTreeMap<OperatorUid, String>,
    /// Of an export: what it was asked for where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) only: Option<Filter>,
    /// Of an export as Parquet: its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tables: Option<Vec<String>>,
}

/// The line `{"operator": …, "parallelism": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct OperatorHead {
    pub(super) parallelism: u32,
    /// By name: the order in which a new savepoint numbers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) states: Vec<StateDeclaration>,
}

impl OperatorHead {
    /// A state by its name, with its number.
    pub(super) fn state(&self, name: &str) -> Option<(u16, &StateDeclaration)> {
        let found = self.states.iter().position(|state| state.name == name)?;
        Some((u16::try_from(found).ok()?, &self.states[found]))
    }
}

impl Document {
    /// Of a manifest.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let operators = manifest.operators.iter().map(|(uid, operator)| {
            let keyed = operator
                .subtasks
                .values()
                .filter_map(|subtask| subtask.keyed.as_ref());
            let declared = keyed.flat_map(|keyed| keyed.states.iter().cloned());
            let states: BTreeMap<String, StateDeclaration> =
                declared.map(|state| (state.name.clone(), state)).collect();
            let head = OperatorHead {
                parallelism: operator.parallelism,
                states: states.into_values().collect(),
            };
            (uid.0.clone(), head)
        });
        Self {
            head: Head {
                version: VERSION,
                job_id: manifest.job_id,
                job_name: manifest.job_name.clone(),
                checkpoint: manifest.checkpoint,
                triggered_at: manifest.triggered_at,
                epoch: manifest.epoch,
                max_parallelism: manifest.max_parallelism,
                plugins: manifest.plugins.clone(),
                only: None,
                tables: None,
            },
            operators: operators.collect(),
        }
    }
}
