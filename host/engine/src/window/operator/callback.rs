//! What a trigger sees and does during one call.

use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::States;
use super::plan::Plan;
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::window::bounds::Window;
use crate::window::emitter::PlannedRecord;
use crate::window::panes::PaneId;
use crate::window::trigger::{MergeValues, TriggerContext, TriggerPanes};

/// A call of the trigger for one pane.
pub(super) struct Callback<'c, 'a> {
    pub(super) pane: PaneId,
    /// While windows merge: those that are no more.
    pub(super) merged: &'c [PaneId],
    pub(super) plan: &'c mut Plan<'a>,
    pub(super) states: &'c States,
    pub(super) context: &'c mut OperatorContext,
}

impl TriggerContext for Callback<'_, '_> {
    fn window(&self) -> Window {
        self.plan.panes.window(self.pane)
    }

    fn watermark(&self) -> Timestamp {
        self.context.watermark
    }

    fn processing_time(&self) -> Timestamp {
        self.context.processing_time
    }

    fn register_timer(&mut self, domain: TimeDomain, at: Timestamp) {
        self.plan.register(self.context, self.pane, domain, at);
    }

    fn delete_timer(&mut self, domain: TimeDomain, at: Timestamp) {
        self.plan.delete(self.context, self.pane, domain, at);
    }

    fn value(&mut self, slot: usize) -> Result<Option<Vec<u8>>, TaskError> {
        let value = self
            .plan
            .slot(&mut *self.context.state, self.states, slot, self.pane)?;
        Ok(value.clone())
    }

    fn set_value(&mut self, slot: usize, value: Option<&[u8]>) -> Result<(), TaskError> {
        self.set(slot, self.pane, value.map(<[u8]>::to_vec))
    }

    fn merge_values(&mut self, slot: usize, fold: &mut MergeValues<'_>) -> Result<(), TaskError> {
        // As Flink merges namespaces: the parts first, then their whole into what is there.
        let mut whole: Option<Vec<u8>> = None;
        for part in self.merged {
            let state = &mut *self.context.state;
            let Some(value) = self.plan.slot(state, self.states, slot, *part)?.take() else {
                continue;
            };
            self.plan.slot_changed(slot, *part);
            whole = Some(match whole {
                None => value,
                Some(before) => fold(&before, &value)?,
            });
        }
        let Some(whole) = whole else { return Ok(()) };
        let value = match self.value(slot)? {
            None => whole,
            Some(there) => fold(&there, &whole)?,
        };
        self.set(slot, self.pane, Some(value))
    }

    fn parts(&mut self) -> (TriggerPanes<'_>, &mut OperatorContext) {
        let panes = TriggerPanes {
            pane: self.pane,
            merged: self.merged,
            panes: &self.plan.panes,
        };
        (panes, self.context)
    }

    fn emit(&mut self, port: u16, timestamp: Option<Timestamp>, value: &[u8]) {
        self.plan
            .emit(port, PlannedRecord::Emitted(timestamp, value.to_vec()));
    }
}

impl Callback<'_, '_> {
    fn set(&mut self, slot: usize, pane: PaneId, value: Option<Vec<u8>>) -> Result<(), TaskError> {
        let state = &mut *self.context.state;
        let stored = self.plan.slot(state, self.states, slot, pane)?;
        if *stored != value {
            *stored = value;
            self.plan.slot_changed(slot, pane);
        }
        Ok(())
    }
}
