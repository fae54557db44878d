//! The component's `migrate` for one state of a function (S8).
//!
//! It runs in an instance of its own that nothing has opened, within the limits of any call. What it may import has nothing
//! behind it but the log. Invariant: where a batch fails it is cut in two, until the entry is found that fails alone, or until
//! what is left of it succeeds: a batch that took too long is not the function's last word.

use std::sync::Arc;

use wasmill_engine::error::Fault;
use wasmill_engine::operator::RuntimeContext;
use wasmill_state::migration::{BATCH_ENTRIES_MAX, Migration, MigrationFailure, StoredEntry};

use super::blueprint::{Blueprint, context_json, seed};
use super::log::SubtaskLog;
use crate::failure::{GuestError, MESSAGE_BYTES_SHOWN_MAX, printable_text};
use crate::journal::scope::CallScope;
use crate::sandbox::{CallBudget, Guest};
use crate::typed::exports::{Migrate, load_migration};
use crate::typed::generated::wasmill::function::types::MapEntry;

/// See the module.
pub(crate) struct GuestMigration {
    blueprint: Arc<Blueprint>,
    runtime: Arc<RuntimeContext>,
    log: SubtaskLog,
    /// As the function declares it.
    state: String,
    instance: Option<Instance>,
    /// Entries of one call at most.
    entries_max: usize,
    is_begun: bool,
}

struct Instance {
    guest: Guest<CallScope>,
    exports: Migrate,
}

impl GuestMigration {
    /// Of one subtask.
    pub(crate) fn new(blueprint: &Arc<Blueprint>, runtime: &Arc<RuntimeContext>, state: &str) -> Self {
        Self {
            blueprint: Arc::clone(blueprint),
            runtime: Arc::clone(runtime),
            log: SubtaskLog::new(runtime),
            state: state.to_owned(),
            instance: None,
            entries_max: BATCH_ENTRIES_MAX,
            is_begun: false,
        }
    }

    fn start(&self) -> Result<Instance, GuestError> {
        let blueprint = &self.blueprint;
        let scope = CallScope::new(
            Arc::clone(&blueprint.description),
            Vec::new(),
            context_json(&self.runtime).to_string().into(),
            blueprint.scope_limits(),
        );
        let (pre, seed) = (&blueprint.pre, seed(&self.runtime));
        let mut guest = Guest::instantiate(&blueprint.engine, pre, &blueprint.limits, seed, scope)?;
        let instance = guest.instance();
        let exports = load_migration(pre, guest.store_mut(), &instance);
        let exports = exports.map_err(|error| GuestError::host(format!("{error:#}")))?;
        Ok(Instance { guest, exports })
    }

    /// One call. After an error the instance is gone.
    fn call(
        &mut self,
        from: u32,
        to: u32,
        entries: &[StoredEntry<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, GuestError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.start()?,
        };
        let given = entries.iter().map(|entry| MapEntry {
            key: entry.map_key.to_vec(),
            value: entry.value.to_vec(),
        });
        let given: Vec<MapEntry> = given.collect();
        let Instance { guest, exports } = &mut instance;
        guest.host_mut().begin_call();
        let (function, state) = (self.blueprint.function(), &self.state);
        let called = guest.call(CallBudget::Call, |store| {
            exports.call_migrate(store, function, state, from, to, &given)
        });
        // Whatever else it asked for has no effect.
        guest.host_mut().undo();
        self.log.flush(function, guest.sandbox().log(), called.is_ok());
        let answered = called.map_err(|mut error| {
            error.limit = error.limit.or(guest.host().limit_hit());
            error
        })?;
        let answers = answered.map_err(|message| {
            let message = printable_text(&message, MESSAGE_BYTES_SHOWN_MAX);
            GuestError::plugin(format!("migrate failed: {message}"))
        })?;
        if answers.len() != entries.len() {
            return Err(GuestError::plugin(format!(
                "migrate answered {} values for {} entries: it has to answer one for each, in their order",
                answers.len(),
                entries.len()
            )));
        }
        let limit = self.blueprint.limits.record_bytes_max;
        if let Some(large) = answers.iter().flatten().find(|value| value.len() as u64 > limit) {
            let message = format!(
                "migrate answered a value of {} bytes: store it in parts",
                large.len()
            );
            return Err(GuestError::limit(message, "record-bytes-max", limit));
        }
        if !guest.needs_recycling() {
            self.instance = Some(instance);
        }
        Ok(answers)
    }

    fn begin(&mut self, from: u32, to: u32) {
        if !std::mem::replace(&mut self.is_begun, true) {
            let (job, operator) = (self.runtime.job_id.to_string(), self.runtime.operator.as_str());
            let (subtask, state) = (self.runtime.subtask_index, &self.state);
            tracing::info!(
                job,
                operator,
                subtask,
                state,
                "state is migrated from schema version {from} to {to}"
            );
        }
    }
}

impl Migration for GuestMigration {
    fn migrate(
        &mut self,
        from: u32,
        to: u32,
        entries: &[StoredEntry<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, MigrationFailure> {
        self.begin(from, to);
        let mut answers = Vec::with_capacity(entries.len());
        while let Some(left) = entries.get(answers.len()..)
            && !left.is_empty()
        {
            let some = left.get(..self.entries_max).unwrap_or(left);
            match self.call(from, to, some) {
                Ok(more) => answers.extend(more),
                Err(error) if error.fault == Fault::Host => {
                    return Err(MigrationFailure::Host(error.message));
                }
                Err(error) if some.len() == 1 => {
                    let (plugin, function) = (self.blueprint.plugin(), self.blueprint.function());
                    return Err(MigrationFailure::Refused {
                        entry: Some(answers.len()),
                        reason: error.into_task_error(plugin, function, None).to_string(),
                    });
                }
                Err(_) => self.entries_max = some.len().div_ceil(2),
            }
        }
        Ok(answers)
    }
}
