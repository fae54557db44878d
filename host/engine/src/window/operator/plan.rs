//! What a batch does to its panes, decided before any of it is done.
//!
//! Triggers look at elements, clocks and their own slots, never at contents. So all that a batch does can be planned
//! first, and then done by one call of the window function.

use wasmill_model::time::Timestamp;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateId, StateKey, Values, Write};
use wasmill_state::timers::{TimeDomain, Timer, TimerRef};

use super::States;
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::window::element::Element;
use crate::window::emitter::{Planned, PlannedRecord, StepId};
use crate::window::merging::MergingWindowSet;
use crate::window::panes::{KeyId, PaneId, Panes};

/// What happens to contents; the operator translates it for its kind of function.
pub(super) enum Action<'a> {
    Add(PaneId, Element<'a>),
    Merge(PaneId, Vec<PaneId>),
    /// The pane with the contents, and that of the window that fires.
    Fire(PaneId, PaneId),
    Purge(PaneId),
    /// The window is gone: its pane.
    Clear(PaneId),
}

/// Everything that a batch does.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) panes: Panes,
    pub(super) actions: Vec<Action<'a>>,
    /// By action: the row or timer that caused it.
    pub(super) causes: Vec<u32>,
    pub(super) emitted: Vec<Planned<'a>>,
    /// The row or timer that is being planned.
    pub(super) cause: u32,
    /// Which timers are firing: the current one and those still to come.
    firing: Option<(TimeDomain, &'a [Timer])>,
    /// A timer was registered or deleted that concerns those still to come: they must be ordered anew.
    pub(super) must_stop: bool,
    slots: Vec<Vec<Slot>>,
    sets: Vec<Option<LoadedSet>>,
    /// Whether timers are registered only for panes that had nothing: see [`Plan::defers`].
    defers: bool,
    /// Timers of panes that may have had nothing.
    pub(super) deferred: Vec<(PaneId, TimeDomain, Timestamp)>,
    /// By pane: the timers last registered for it, so that not every element registers them again.
    registered: Vec<[Option<(TimeDomain, Timestamp)>; 2]>,
    values: Values,
}

#[derive(Clone, Default)]
struct Slot {
    value: Option<Vec<u8>>,
    is_loaded: bool,
    is_changed: bool,
}

#[derive(Clone, Default)]
struct LoadedSet {
    set: MergingWindowSet,
    is_changed: bool,
}

impl<'a> Plan<'a> {
    /// The plan of timers that fire: the current one and those behind it.
    pub(super) fn fires(&mut self, domain: TimeDomain, timers: &'a [Timer]) {
        self.firing = Some((domain, timers));
    }

    /// The plan of a batch whose windows register, with each element, the timers that they have registered with the
    /// first: where a pane has contents it has its timers, so they are registered once the contents are known.
    pub(super) fn defers(&mut self) {
        self.defers = true;
    }

    /// Registers the timers of those panes that had nothing.
    pub(super) fn register_deferred(
        context: &mut OperatorContext,
        panes: &Panes,
        deferred: &[(PaneId, TimeDomain, Timestamp)],
        had_nothing: impl Fn(PaneId) -> bool,
    ) {
        for (pane, domain, at) in deferred {
            if had_nothing(*pane) {
                let timer = timer(panes.state_key(*pane), *at);
                context.timers.register(*domain, timer);
            }
        }
    }

    pub(super) fn push(&mut self, action: Action<'a>) {
        self.actions.push(action);
        self.causes.push(self.cause);
    }

    pub(super) fn emit(&mut self, port: u16, record: PlannedRecord<'a>) {
        self.emitted.push(Planned {
            before: StepId(self.actions.len() as u32),
            port,
            cause: self.cause,
            record,
        });
    }

    pub(super) fn register(
        &mut self,
        context: &mut OperatorContext,
        pane: PaneId,
        domain: TimeDomain,
        at: Timestamp,
    ) {
        if self.registered.len() <= pane.index() {
            self.registered.resize(self.panes.len(), [None; 2]);
        }
        let known = &mut self.registered[pane.index()];
        if known.contains(&Some((domain, at))) && self.firing.is_none() {
            return;
        }
        known.swap(0, 1);
        known[0] = Some((domain, at));
        if self.defers {
            self.deferred.push((pane, domain, at));
            return;
        }
        context
            .timers
            .register(domain, timer(self.panes.state_key(pane), at));
        let clock = match domain {
            TimeDomain::Event => context.watermark,
            TimeDomain::Processing => context.processing_time,
        };
        self.must_stop |= at <= clock && self.firing.is_some_and(|(firing, _)| firing == domain);
    }

    pub(super) fn delete(
        &mut self,
        context: &mut OperatorContext,
        pane: PaneId,
        domain: TimeDomain,
        at: Timestamp,
    ) {
        if let Some(known) = self.registered.get_mut(pane.index()) {
            *known = [None; 2];
        }
        let timer = timer(self.panes.state_key(pane), at);
        let firing = self.firing.filter(|(firing, _)| *firing == domain);
        if let Some((current, to_come)) = firing.and_then(|(_, timers)| timers.split_first()) {
            // It was taken to fire; had it been registered anew, the plan would stop.
            if TimerRef::from(current) == timer && !self.must_stop {
                return;
            }
            let found = to_come.binary_search_by(|t| TimerRef::from(t).cmp(&timer));
            self.must_stop |= found.is_ok();
        }
        context.timers.delete(domain, timer);
    }

    /// The value of a trigger's slot.
    pub(super) fn slot(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        states: &States,
        slot: usize,
        pane: PaneId,
    ) -> Result<&mut Option<Vec<u8>>, TaskError> {
        if self.slots.len() < states.slots.len() {
            self.slots.resize(states.slots.len(), Vec::new());
        }
        let state = *states
            .slots
            .get(slot)
            .ok_or_else(|| TaskError::host("a trigger used a slot that it does not have"))?;
        if self.slots[slot].len() <= pane.index() {
            self.slots[slot].resize(self.panes.len(), Slot::default());
        }
        let entry = &mut self.slots[slot][pane.index()];
        if !entry.is_loaded {
            entry.value = load(backend, state, self.panes.state_key(pane), &mut self.values)?;
            entry.is_loaded = true;
        }
        Ok(&mut entry.value)
    }

    pub(super) fn slot_changed(&mut self, slot: usize, pane: PaneId) {
        self.slots[slot][pane.index()].is_changed = true;
    }

    /// The merging windows of a key, to look at.
    pub(super) fn set(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        states: &States,
        key: KeyId,
    ) -> Result<&MergingWindowSet, TaskError> {
        self.loaded_set(backend, states, key).map(|loaded| &loaded.set)
    }

    /// The merging windows of a key, to change.
    pub(super) fn set_mut(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        states: &States,
        key: KeyId,
    ) -> Result<&mut MergingWindowSet, TaskError> {
        let loaded = self.loaded_set(backend, states, key)?;
        loaded.is_changed = true;
        Ok(&mut loaded.set)
    }

    fn loaded_set(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        states: &States,
        key: KeyId,
    ) -> Result<&mut LoadedSet, TaskError> {
        let state = states
            .merging
            .ok_or_else(|| TaskError::host("merging windows without their state"))?;
        let index = key.0 as usize;
        if self.sets.len() <= index {
            self.sets.resize(index + 1, None);
        }
        let entry = &mut self.sets[index];
        if entry.is_none() {
            let stored = load(backend, state, self.panes.global_key(key), &mut self.values)?;
            let set = MergingWindowSet::decode(&stored.unwrap_or_default())
                .ok_or_else(|| TaskError::host("the stored set of merging windows is damaged"))?;
            *entry = Some(LoadedSet {
                set,
                is_changed: false,
            });
        }
        Ok(entry.get_or_insert_default())
    }

    /// Writes slots and sets that changed.
    pub(super) fn store(
        &self,
        backend: &mut dyn KeyedStateBackend,
        states: &States,
    ) -> Result<(), TaskError> {
        for (state, slots) in states.slots.iter().zip(&self.slots) {
            let changed = slots.iter().enumerate().filter(|(_, slot)| slot.is_changed);
            let writes: Vec<_> = changed
                .map(|(index, slot)| Write {
                    key: self.panes.state_key(PaneId(index as u32)),
                    locator: Locator::UNKNOWN,
                    value: slot.value.as_deref(),
                })
                .collect();
            backend.write_batch(*state, &writes)?;
        }
        for (index, loaded) in self.sets.iter().enumerate() {
            let (Some(loaded), Some(state)) = (loaded, states.merging) else {
                continue;
            };
            if loaded.is_changed {
                let value = loaded.set.encode();
                let key = self.panes.global_key(KeyId(index as u32));
                let write = Write {
                    key,
                    locator: Locator::UNKNOWN,
                    value: value.as_deref(),
                };
                backend.write_batch(state, &[write])?;
            }
        }
        Ok(())
    }
}

fn timer<'a>(key: StateKey<'a>, timestamp: Timestamp) -> TimerRef<'a> {
    TimerRef {
        timestamp,
        group: key.group,
        key: key.key,
        namespace: key.namespace,
    }
}

fn load(
    backend: &mut dyn KeyedStateBackend,
    state: StateId,
    key: StateKey<'_>,
    values: &mut Values,
) -> Result<Option<Vec<u8>>, TaskError> {
    values.clear();
    backend.get_many(state, &[key], values)?;
    let is_there = values.lengths.first() != Some(&wasmill_state::backend::NONE);
    Ok(is_there.then(|| values.bytes.clone()))
}
