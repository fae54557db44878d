//! What all instances of one function of a job share: made once, used by each subtask.

use std::sync::Arc;

use serde_json::{Value, json};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_model::function::{FunctionDescription, FunctionKind, StateDeclaration, StateKind};
use wasmtime::component::InstancePre;

use crate::engine::PluginEngine;
use crate::journal::scope::ScopeLimits;
use crate::registry::info::{Family, LoadedPlugin};
use crate::sandbox::limits::Limits;
use crate::typed::Data;
use crate::typed::linker::linker;

/// The state in which the host keeps the accumulator of a typed reduce or aggregate function.
pub const ACCUMULATOR: &str = "accumulator";

/// See the module.
pub struct Blueprint {
    pub(crate) engine: Arc<PluginEngine>,
    pub(crate) plugin: Arc<LoadedPlugin>,
    pub(crate) pre: InstancePre<Data>,
    pub(crate) description: Arc<FunctionDescription>,
    pub(crate) limits: Limits,
    /// The job file's `config` for the operator; an object.
    config: Value,
    reference: String,
}

impl Blueprint {
    /// Links the component; the error says which import is missing.
    pub fn new(
        engine: Arc<PluginEngine>,
        plugin: Arc<LoadedPlugin>,
        description: &FunctionDescription,
        config: &Value,
        limits: Limits,
    ) -> Result<Self, TaskError> {
        let reference = plugin.info.reference();
        let pre = linker(engine.engine())
            .and_then(|linker| linker.instantiate_pre(&plugin.component))
            .map_err(|error| {
                TaskError::host(format!("plugin {reference} cannot be linked: {error:#}")).for_good()
            })?;
        let mut description = description.clone();
        add_accumulator(&mut description);
        Ok(Self {
            engine,
            plugin,
            pre,
            description: Arc::new(description),
            limits,
            config: if config.is_null() {
                json!({})
            } else {
                config.clone()
            },
            reference,
        })
    }

    /// The plugin by name and digest.
    pub fn plugin(&self) -> &str {
        &self.reference
    }

    /// The function's name.
    pub fn function(&self) -> &str {
        &self.description.name
    }

    /// What it declares, the accumulator that the host adds included.
    pub fn description(&self) -> &FunctionDescription {
        &self.description
    }

    pub(crate) fn family(&self) -> Family {
        self.plugin.info.family
    }

    /// The configuration as JSON.
    pub(crate) fn config_json(&self) -> String {
        self.config.to_string()
    }

    /// What `open` of the frame family is given.
    pub(crate) fn open_request(&self, context: &Value) -> String {
        json!({
            "version": 1,
            "function": self.function(),
            "config": self.config,
            "context": context,
        })
        .to_string()
    }

    pub(crate) fn scope_limits(&self) -> ScopeLimits {
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        ScopeLimits {
            output_bytes_max: bytes(self.limits.output_bytes_max),
            record_bytes_max: bytes(self.limits.record_bytes_max),
            journal_bytes_max: bytes(self.limits.journal_bytes_max),
            operator_state_bytes_max: bytes(self.limits.operator_state_bytes_max),
            host_calls_max: self.limits.host_calls_max,
        }
    }
}

/// A typed reduce or aggregate function may leave its one state undeclared: the host keeps it anyway.
fn add_accumulator(description: &mut FunctionDescription) {
    let kind = match description.kind {
        FunctionKind::Reduce => StateKind::Reducing,
        FunctionKind::Aggregate => StateKind::Aggregating,
        _ => return,
    };
    if description.state.is_empty() {
        description.state.push(StateDeclaration {
            name: ACCUMULATOR.to_owned(),
            kind,
            encoding: "raw".to_owned(),
            schema: Value::Null,
            schema_version: 1,
            migrates_from: None,
            prefetch: None,
            reduce: None,
            per_window: false,
            ttl: None,
        });
    }
}

/// The runtime context as a guest sees it (G9).
pub(crate) fn context_json(runtime: &RuntimeContext) -> Value {
    json!({
        "job-id": runtime.job_id,
        "job-name": runtime.job_name,
        "task-name": runtime.task_name,
        "operator-uid": runtime.operator,
        "subtask-index": runtime.subtask_index,
        "parallelism": runtime.parallelism,
        "max-parallelism": runtime.max_parallelism,
        "attempt": runtime.attempt,
    })
}

/// The seed of a subtask's random numbers: the same after a restart, so that a call repeated there does
/// the same again.
pub(crate) fn seed(runtime: &RuntimeContext) -> u64 {
    let place = format!(
        "{}/{}/{}",
        runtime.job_id, runtime.operator, runtime.subtask_index
    );
    wasmill_model::key::hash(place.as_bytes())
}
