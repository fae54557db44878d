//! One instance of a function and its life: open, restore, snapshot, close.

use std::sync::Arc;

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_engine::error::{Fault, TaskError};
use wasmill_engine::operator::RuntimeContext;
use wasmill_model::function::FunctionKind;

use super::blueprint::{Blueprint, context_json, seed};
use super::failure::{refusal_of, refused};
use super::log::SubtaskLog;
use crate::failure::{GuestError, MESSAGE_BYTES_SHOWN_MAX, printable_text};
use crate::frame::exports::FrameExports;
use crate::frame::snapshot;
use crate::journal::scope::{CallScope, DeclaredState};
use crate::registry::info::Family;
use crate::sandbox::{CallBudget, Guest};
use crate::typed::exports::TypedExports;
use crate::typed::generated::wasmill::function::types::Error;

/// The exports of either family.
pub(crate) enum Exports {
    Frame(FrameExports),
    Typed(TypedExports),
}

/// An instance that was opened.
pub(crate) struct Instance {
    pub(crate) guest: Guest<CallScope>,
    pub(crate) exports: Exports,
}

/// What an instance needs to know of its subtask.
pub(crate) struct Place {
    pub(crate) runtime: Arc<RuntimeContext>,
    pub(crate) states: Vec<DeclaredState>,
    pub(crate) log: SubtaskLog,
    /// Of a partitioner; 0 for all others.
    pub(crate) channels: u32,
}

/// A frame export that failed by its own words.
fn said(what: &str, message: &str) -> GuestError {
    GuestError::plugin(format!(
        "{what} failed: {}",
        printable_text(message, MESSAGE_BYTES_SHOWN_MAX)
    ))
}

/// A function that refuses its configuration or its state sees nothing else the next time, unless it asks
/// for another attempt.
fn refused_at_start(error: GuestError) -> GuestError {
    GuestError {
        for_good: error.fault != Fault::External,
        ..error
    }
}

/// A typed export that failed by its own words.
fn said_typed(what: &str, error: Error) -> GuestError {
    let (kind, message) = refusal_of(error);
    let error = refused(kind, &message);
    GuestError {
        message: format!("{what}: {}", error.message),
        ..error
    }
}

impl Instance {
    /// Instantiates, opens and, where the function buffers, restores: `restored` is its own state, `None`
    /// on a fresh start.
    pub(crate) fn start(
        blueprint: &Blueprint,
        place: &Place,
        restored: Option<&OperatorState>,
    ) -> Result<Self, TaskError> {
        let mut context = context_json(&place.runtime);
        if place.channels > 0 {
            context["channels"] = place.channels.into();
        }
        let mut scope = CallScope::new(
            blueprint.description.clone(),
            place.states.clone(),
            context.to_string().into(),
            blueprint.scope_limits(),
        );
        scope.holds_timers = blueprint.description().kind == FunctionKind::Trigger;
        scope
            .emissions
            .keep_order(blueprint.description().kind.is_of_windows());
        scope.record.channels = place.channels;
        let fail = |error: GuestError| error.into_task_error(blueprint.plugin(), blueprint.function(), None);
        let seed = seed(&place.runtime);
        let guest = Guest::instantiate(&blueprint.engine, &blueprint.pre, &blueprint.limits, seed, scope);
        let mut guest = guest.map_err(fail)?;
        let exports = load(blueprint, &mut guest).map_err(|error| {
            let message = format!("plugin {}: {error:#}", blueprint.plugin());
            TaskError::host(message).for_good()
        })?;
        let mut instance = Self { guest, exports };
        let opened = instance.open(blueprint, &context).and_then(|()| {
            if blueprint.description().is_buffering() {
                instance.restore(restored)
            } else {
                Ok(())
            }
        });
        instance.flush_log(blueprint, place, opened.is_ok());
        opened.map_err(fail)?;
        Ok(instance)
    }

    pub(crate) fn flush_log(&self, blueprint: &Blueprint, place: &Place, succeeded: bool) {
        place
            .log
            .flush(blueprint.function(), self.guest.sandbox().log(), succeeded);
    }

    fn open(&mut self, blueprint: &Blueprint, context: &serde_json::Value) -> Result<(), GuestError> {
        self.guest.host_mut().begin_call();
        match &self.exports {
            Exports::Frame(exports) => {
                let request = blueprint.open_request(context);
                let (opened,) = self
                    .guest
                    .call(CallBudget::Open, |store| exports.open.call(store, (&request,)))?;
                opened.map_err(|message| refused_at_start(said("open", &message)))
            }
            Exports::Typed(exports) => {
                let (function, config) = (blueprint.function(), blueprint.config_json());
                let opened = self.guest.call(CallBudget::Open, |store| {
                    exports.lifecycle.call_open(store, function, &config)
                })?;
                opened.map_err(|error| refused_at_start(said_typed("open", error)))
            }
        }
    }

    fn restore(&mut self, restored: Option<&OperatorState>) -> Result<(), GuestError> {
        self.guest.host_mut().begin_call();
        match &self.exports {
            Exports::Frame(exports) => {
                let bytes = restored.map(snapshot::encode).unwrap_or_default();
                let (done,) = self
                    .guest
                    .call(CallBudget::Open, |store| exports.restore.call(store, (&bytes,)))?;
                done.map_err(|message| refused_at_start(said("restore", &message)))
            }
            Exports::Typed(TypedExports { checkpointed, .. }) => {
                let Some(checkpointed) = checkpointed else {
                    return Ok(());
                };
                let raw = restored.map(|state| state.raw.clone()).unwrap_or_default();
                let scope = self.guest.host_mut();
                let declared = scope.description().operator_state.clone();
                scope.operator_lists = declared
                    .iter()
                    .map(|state| {
                        restored
                            .map(|restored| list_of(restored, &state.name))
                            .unwrap_or_default()
                    })
                    .collect();
                let done = self.guest.call(CallBudget::Open, |store| {
                    checkpointed.call_restore_state(store, restored.is_some(), &raw)
                })?;
                done.map_err(|error| refused_at_start(said_typed("restore-state", error)))
            }
        }
    }

    /// The function's own state; empty where it has none.
    pub(crate) fn snapshot(&mut self) -> Result<OperatorState, GuestError> {
        self.guest.host_mut().begin_call();
        match &self.exports {
            Exports::Frame(exports) => {
                let (bytes,) = self
                    .guest
                    .call(CallBudget::Call, |store| exports.snapshot.call(store, ()))?;
                let bytes = bytes.map_err(|message| said("snapshot", &message))?;
                snapshot::decode(&bytes, self.guest.host().description()).map_err(GuestError::plugin)
            }
            Exports::Typed(TypedExports { checkpointed, .. }) => {
                let Some(checkpointed) = checkpointed else {
                    return Ok(OperatorState::default());
                };
                // The function writes its state anew: what an earlier snapshot left is not its state.
                self.guest
                    .host_mut()
                    .operator_lists
                    .iter_mut()
                    .for_each(Vec::clear);
                let raw = self
                    .guest
                    .call(CallBudget::Call, |store| checkpointed.call_snapshot_state(store))?;
                let raw = raw.map_err(|error| said_typed("snapshot-state", error))?;
                self.typed_state(raw)
            }
        }
    }

    fn typed_state(&mut self, raw: Vec<u8>) -> Result<OperatorState, GuestError> {
        let scope = self.guest.host_mut();
        if !raw.is_empty() && !scope.description().raw_state {
            return Err(GuestError::plugin(
                "snapshot-state: raw state that `describe` does not declare by `raw-state`",
            ));
        }
        let declared = scope.description().operator_state.clone();
        let lists = declared
            .into_iter()
            .zip(&mut scope.operator_lists)
            .map(|(state, elements)| OperatorList {
                name: state.name,
                mode: state.mode,
                elements: std::mem::take(elements).into_iter().map(Base64Bytes).collect(),
            })
            .collect();
        Ok(OperatorState {
            lists,
            raw,
            ..OperatorState::default()
        })
    }

    /// The orderly end.
    pub(crate) fn close(&mut self) -> Result<(), GuestError> {
        self.guest.host_mut().begin_call();
        match &self.exports {
            Exports::Frame(exports) => {
                let (closed,) = self
                    .guest
                    .call(CallBudget::Call, |store| exports.close.call(store, ()))?;
                closed.map_err(|message| said("close", &message))
            }
            Exports::Typed(exports) => {
                let closed = self
                    .guest
                    .call(CallBudget::Call, |store| exports.lifecycle.call_close(store))?;
                closed.map_err(|error| said_typed("close", error))
            }
        }
    }
}

fn load(blueprint: &Blueprint, guest: &mut Guest<CallScope>) -> wasmtime::Result<Exports> {
    let instance = guest.instance();
    let store = guest.store_mut();
    Ok(match blueprint.family() {
        Family::Frame => Exports::Frame(FrameExports::load(&blueprint.plugin.component, store, &instance)?),
        Family::Typed => Exports::Typed(TypedExports::load(
            &blueprint.description,
            &blueprint.pre,
            store,
            &instance,
        )?),
    })
}

fn list_of(state: &OperatorState, name: &str) -> Vec<Vec<u8>> {
    let list = state.lists.iter().find(|list| list.name == name);
    list.map(|list| list.elements.iter().map(|element| element.0.clone()).collect())
        .unwrap_or_default()
}
