//! What happens to panes, one call each.

use wasmill_engine::error::TaskError;
use wasmill_model::row::{
    KIND_ADD, KIND_CLEAR, KIND_EVICT_BEFORE, KIND_FIRE, KIND_MERGE, KIND_PURGE, KIND_RESULT,
    KIND_TRIGGER_ELEMENT, KIND_TRIGGER_EVENT_TIME, KIND_TRIGGER_MERGE, KIND_TRIGGER_PROCESSING_TIME,
    RowHeader,
};

use super::{TypedCaller, answer, emit, lied};
use crate::journal::overlay::Address;
use crate::journal::scope::CallScope;
use crate::operator::failure::Cause;
use crate::operator::window::rows::{PaneRow, PaneValue, PaneWork};
use crate::sandbox::{CallBudget, Guest};
use crate::typed::exports::{Function, TypedExports};
use crate::typed::generated::exports::wasmill::function::aggregate_function;
use crate::typed::generated::exports::wasmill::function::reduce_function;
use crate::typed::generated::exports::wasmill::function::trigger::{self, TriggerResult};
use crate::typed::generated::exports::wasmill::function::window_assigner;
use crate::typed::generated::wasmill::function::types::Element;

/// The accumulator of the pane at hand, or of a merged one: their namespaces follow its own.
fn accumulator_of(namespace: u32) -> Address {
    Address {
        slot: 0,
        key: 0,
        namespace,
    }
}

fn take(scope: &mut CallScope, namespace: u32) -> Result<Option<Vec<u8>>, Cause> {
    let address = accumulator_of(namespace);
    let value = scope.value(address).map_err(lied)?;
    if value.is_some() {
        scope.set_value(address, None).map_err(lied)?;
    }
    Ok(value)
}

fn put(scope: &mut CallScope, value: Vec<u8>) -> Result<(), Cause> {
    scope.check_size("an accumulator", value.len()).map_err(lied)?;
    scope.set_value(accumulator_of(0), Some(value)).map_err(lied)
}

impl TypedCaller {
    /// One row of `work`.
    pub(super) fn pane(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
        work: PaneWork<'_>,
        index: u32,
    ) -> Result<bool, Cause> {
        let row = work.row(index);
        self.begin_pane(guest.host_mut(), work, &row, index);
        let header = RowHeader {
            key: index,
            ..RowHeader::element(row.timestamp)
        };
        match &exports.function {
            Function::Reduce(function) => {
                let result = self.reduce_pane(guest, function, &row)?;
                result.map_or(Ok(()), |result| emit(guest, header, &result))?;
            }
            Function::Aggregate(function) => {
                let result = self.aggregate_pane(guest, function, &row)?;
                result.map_or(Ok(()), |result| emit(guest, header, &result))?;
            }
            Function::Window(function) => answer(guest.call(CallBudget::Call, |store| match row.kind {
                KIND_FIRE => function.call_process(store),
                _ => function.call_clear(store),
            }))?,
            // That the window is gone is nothing to a function without state of the window.
            Function::CoGroup(_) if row.kind == KIND_CLEAR => {}
            Function::CoGroup(function) => {
                answer(guest.call(CallBudget::Call, |store| function.call_co_group(store)))?;
            }
            Function::Join(function) => {
                let PaneValue::Pair(pair) = row.value else {
                    return Err(Cause::Host(TaskError::host(
                        "a join's function was given no pair",
                    )));
                };
                let [left, right] = pair.map(|side| Element {
                    key: self.element.key.clone(),
                    value: side.value.to_vec(),
                    timestamp: side.timestamp,
                });
                answer(guest.call(CallBudget::Call, |store| function.call_join(store, &left, &right)))?;
            }
            Function::Trigger(function) => {
                if let Some(result) = self.trigger_pane(guest, function, &row)? {
                    emit(guest, header, &[result])?;
                }
            }
            Function::Evictor(function) => {
                let removed = answer(guest.call(CallBudget::Call, |store| match row.kind {
                    KIND_EVICT_BEFORE => function.call_evict_before(store),
                    _ => function.call_evict_after(store),
                }))?;
                let bytes: Vec<u8> = removed.iter().flat_map(|index| index.to_le_bytes()).collect();
                emit(guest, header, &bytes)?;
            }
            _ => {
                return Err(Cause::Host(TaskError::host(
                    "a function that is no part of a window was called with a pane",
                )));
            }
        }
        Ok(false)
    }

    /// Key, window and elements of the row.
    fn begin_pane(&mut self, scope: &mut CallScope, work: PaneWork<'_>, row: &PaneRow<'_>, index: u32) {
        let panes = work.panes();
        scope.row = index;
        scope.record.timestamp = row.timestamp;
        scope.record.is_null = row.is_null;
        scope.record.extension.clear();
        scope.record.extension.extend_from_slice(row.extension);
        scope.emissions.set_cause(&[]);
        scope.keys.begin(0);
        let state = panes.state_key(row.pane);
        let key = scope.keys.add_key(state.hash, state.group, state.key);
        let namespace = scope.keys.add_namespace(state.namespace);
        scope.keys.row(key);
        let window = &mut scope.window;
        window.bounds = Some(panes.window(row.pane).bounds());
        window.namespace = namespace;
        window.merged = 0;
        window.taken = Default::default();
        window.left = None;
        window.elements.clear();
        window.values.clear();
        self.element.key.clear();
        self.element.key.extend_from_slice(scope.keys.body(key));
        self.element.value.clear();
        self.element.timestamp = row.timestamp;
        match row.value {
            PaneValue::Bytes(value) => self.element.value.extend_from_slice(value),
            PaneValue::Panes(merged) => {
                scope.window.merged = merged.len() as u32;
                for pane in merged {
                    scope.keys.add_namespace(panes.state_key(*pane).namespace);
                }
            }
            PaneValue::Elements(elements) => elements.iter().for_each(|element| window.push(element)),
            PaneValue::Sides(elements) => {
                let (right, left): (Vec<_>, Vec<_>) = elements.iter().partition(|element| element.is_second);
                left.into_iter().for_each(|element| window.push(element));
                let taken = (window.elements.len(), window.values.len());
                window.left = Some(taken.0);
                window.taken[1] = taken;
                right.into_iter().for_each(|element| window.push(element));
            }
            // They are handed over as they are.
            PaneValue::Pair(_) => {}
        }
    }

    fn reduce_pane(
        &mut self,
        guest: &mut Guest<CallScope>,
        function: &reduce_function::Guest,
        row: &PaneRow<'_>,
    ) -> Result<Option<Vec<u8>>, Cause> {
        let mut reduce = |guest: &mut Guest<CallScope>, before: Option<Vec<u8>>, value: Vec<u8>| match before
        {
            None => Ok(value),
            Some(before) => answer(guest.call(CallBudget::Call, |store| {
                function.call_reduce(store, &before, &value)
            })),
        };
        match row.kind {
            KIND_ADD => {
                let before = guest.host_mut().value(accumulator_of(0)).map_err(lied)?;
                let reduced = reduce(guest, before, self.element.value.clone())?;
                put(guest.host_mut(), reduced)?;
            }
            KIND_MERGE => {
                if let Some(whole) = merge_parts(guest, &mut reduce)? {
                    let before = guest.host_mut().value(accumulator_of(0)).map_err(lied)?;
                    let reduced = reduce(guest, before, whole)?;
                    put(guest.host_mut(), reduced)?;
                }
            }
            KIND_RESULT => return guest.host_mut().value(accumulator_of(0)).map_err(lied),
            KIND_PURGE => drop(take(guest.host_mut(), 0)?),
            _ => {}
        }
        Ok(None)
    }

    fn aggregate_pane(
        &mut self,
        guest: &mut Guest<CallScope>,
        function: &aggregate_function::Guest,
        row: &PaneRow<'_>,
    ) -> Result<Option<Vec<u8>>, Cause> {
        let create = |guest: &mut Guest<CallScope>| {
            answer(guest.call(CallBudget::Call, |store| function.call_create_accumulator(store)))
        };
        let mut merge = |guest: &mut Guest<CallScope>, before: Option<Vec<u8>>, part: Vec<u8>| match before {
            None => Ok(part),
            Some(before) => answer(guest.call(CallBudget::Call, |store| {
                function.call_merge(store, &before, &part)
            })),
        };
        match row.kind {
            KIND_ADD => {
                let accumulator = match guest.host_mut().value(accumulator_of(0)).map_err(lied)? {
                    Some(accumulator) => accumulator,
                    None => create(guest)?,
                };
                let element = &self.element;
                let added = answer(guest.call(CallBudget::Call, |store| {
                    function.call_add(store, &accumulator, element)
                }))?;
                put(guest.host_mut(), added)?;
            }
            KIND_MERGE => {
                if let Some(whole) = merge_parts(guest, &mut merge)? {
                    let before = guest.host_mut().value(accumulator_of(0)).map_err(lied)?;
                    let merged = merge(guest, before, whole)?;
                    put(guest.host_mut(), merged)?;
                }
            }
            KIND_RESULT => {
                let accumulator = match guest.host_mut().value(accumulator_of(0)).map_err(lied)? {
                    None if self.element.value.is_empty() => return Ok(None),
                    // An evictor left nothing: the result of nothing.
                    None => create(guest)?,
                    Some(accumulator) => accumulator,
                };
                let result = answer(guest.call(CallBudget::Call, |store| {
                    function.call_get_result(store, &accumulator)
                }))?;
                return Ok(Some(result));
            }
            KIND_PURGE => drop(take(guest.host_mut(), 0)?),
            _ => {}
        }
        Ok(None)
    }

    /// The result, where the row asks for one.
    fn trigger_pane(
        &mut self,
        guest: &mut Guest<CallScope>,
        function: &trigger::Guest,
        row: &PaneRow<'_>,
    ) -> Result<Option<u8>, Cause> {
        let (element, at) = (&self.element, row.timestamp.unwrap_or_default());
        let result = answer(guest.call(CallBudget::Call, |store| {
            Ok(match row.kind {
                KIND_TRIGGER_ELEMENT => function.call_on_element(store, element)?.map(Some),
                KIND_TRIGGER_EVENT_TIME => function.call_on_event_time(store, at)?.map(Some),
                KIND_TRIGGER_PROCESSING_TIME => function.call_on_processing_time(store, at)?.map(Some),
                KIND_TRIGGER_MERGE => function.call_on_merge(store)?.map(|()| None),
                _ => function.call_clear(store)?.map(|()| None),
            })
        }))?;
        Ok(result.map(|result| match result {
            TriggerResult::Proceed => 0,
            TriggerResult::Fire => 1,
            TriggerResult::Purge => 2,
            TriggerResult::FireAndPurge => 3,
        }))
    }
}

/// The windows of a record, start and end of each.
pub(super) fn assign_windows(
    guest: &mut Guest<CallScope>,
    function: &window_assigner::Guest,
    element: &Element,
    header: RowHeader,
) -> Result<(), Cause> {
    let windows = answer(guest.call(CallBudget::Call, |store| {
        function.call_assign_windows(store, element)
    }))?;
    let bounds = windows.iter().flat_map(|(start, end)| [*start, *end]);
    let bytes: Vec<u8> = bounds.flat_map(i64::to_le_bytes).collect();
    emit(guest, header, &bytes)
}

/// Merges the accumulators of the windows that were merged away, each into the one before; they are removed.
fn merge_parts(
    guest: &mut Guest<CallScope>,
    merge: &mut impl FnMut(&mut Guest<CallScope>, Option<Vec<u8>>, Vec<u8>) -> Result<Vec<u8>, Cause>,
) -> Result<Option<Vec<u8>>, Cause> {
    let mut whole = None;
    for part in 1..=guest.host().window.merged {
        if let Some(value) = take(guest.host_mut(), part)? {
            whole = Some(merge(guest, whole, value)?);
        }
    }
    Ok(whole)
}
