//! The typed family: one call for each record or timer, applied one by one.

mod panes;

use std::time::Instant;

use wasmill_engine::error::TaskError;
use wasmill_engine::join::pair::Pair;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::output::Output;
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::row::{KIND_COMPLETION, KIND_TIMEOUT, RowHeader, RowRef};
use wasmill_state::backend::KeyedStateBackend;
use wasmill_state::timers::{TimeDomain, Timer};

use super::failure::{CallFailure, Cause, refusal_of};
use super::frame::{Done, push_under_key};
use super::pace::CALL_TARGET;
use super::work::Work;
use crate::failure::GuestError;
use crate::frame::encode::{Clocks, FrameBound};
use crate::journal::keys::NONE;
use crate::journal::overlay::Address;
use crate::journal::scope::CallScope;
use crate::sandbox::{CallBudget, Guest};
use crate::typed::exports::{Function, TypedExports};
use crate::typed::generated::exports::wasmill::function::aggregate_function;
use crate::typed::generated::exports::wasmill::function::async_function;
use crate::typed::generated::exports::wasmill::function::process_join_function;
use crate::typed::generated::wasmill::function::types::{Element, Error};

/// Between two looks at the clock, in rows.
const ROWS_BETWEEN_CLOCKS: u32 = 32;

/// Where the host keeps the accumulator of reduce and aggregate functions: their only state.
const ACCUMULATOR: Address = Address {
    slot: 0,
    key: 0,
    namespace: NONE,
};

/// Calls records; its buffers live as long as the operator.
pub(crate) struct TypedCaller {
    element: Element,
}

impl Default for TypedCaller {
    fn default() -> Self {
        Self {
            element: Element {
                key: Vec::new(),
                value: Vec::new(),
                timestamp: None,
            },
        }
    }
}

impl TypedCaller {
    /// Calls for rows from the front of `work` until the bound or the time is reached. Rows before one
    /// that fails are applied and their results emitted: a policy that skips the record can go on.
    #[allow(clippy::too_many_arguments)] // The parts of an operator that a call needs.
    pub(crate) fn call(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
        work: &Work<'_>,
        bound: FrameBound,
        context: &mut OperatorContext,
        spare: &mut Option<Box<dyn KeyedStateBackend>>,
        out: &mut Output,
    ) -> Result<Done, CallFailure> {
        let scope = guest.host_mut();
        scope.clocks = Clocks {
            watermark: context.watermark,
            processing_time: context.processing_time,
        };
        scope.broadcast.port = work.port();
        if let Some(spare) = spare.take() {
            scope.attach(std::mem::replace(&mut context.state, spare));
        }
        let result = match work {
            Work::Rows { port, batch } => {
                let rows = batch.iter().take(bound.rows_max as usize);
                self.each(guest, rows, context, |caller, guest, row, context| {
                    caller.element(guest, exports, *port, row, context)
                })
            }
            Work::Periodic => self.each(guest, std::iter::once(()), context, |_, guest, (), _| {
                on_periodic_emit(guest, exports)
            }),
            Work::Timers { domain, timers } => {
                let timers = timers.iter().take(bound.rows_max as usize);
                self.each(guest, timers, context, |_, guest, timer, _| {
                    on_timer(guest, exports, *domain, timer)
                })
            }
            Work::Panes(work) => {
                let rows = 0..work.len().min(bound.rows_max);
                self.each(guest, rows, context, |caller, guest, row, _| {
                    caller.pane(guest, exports, *work, row)
                })
            }
        };
        let scope = guest.host_mut();
        scope.emissions.flush(out);
        if let Some(backend) = scope.detach() {
            *spare = Some(std::mem::replace(&mut context.state, backend));
        }
        result
    }

    fn each<T>(
        &mut self,
        guest: &mut Guest<CallScope>,
        items: impl Iterator<Item = T>,
        context: &mut OperatorContext,
        mut one: impl FnMut(&mut Self, &mut Guest<CallScope>, T, &OperatorContext) -> Result<bool, Cause>,
    ) -> Result<Done, CallFailure> {
        let started = Instant::now();
        let mut done = Done {
            consumed: 0,
            reorders: false,
        };
        for item in items {
            guest.host_mut().begin_call();
            guest.host_mut().row = done.consumed;
            let called = one(self, guest, item, context);
            let scope = guest.host_mut();
            let called = match scope.take_host_error() {
                Some(error) => Err(Cause::Host(error.into())),
                None => called,
            };
            let applied = called.and_then(|reorders| {
                let applied = scope.apply(&mut context.timers, &context.metrics);
                applied
                    .map(|()| reorders)
                    .map_err(|error| Cause::Host(error.into()))
            });
            done.reorders = applied.map_err(|cause| {
                scope.undo();
                CallFailure {
                    row: Some(done.consumed),
                    rows: done.consumed + 1,
                    cause,
                }
            })?;
            done.consumed += 1;
            guest.sandbox().log().settle();
            let is_late =
                done.consumed.is_multiple_of(ROWS_BETWEEN_CLOCKS) && started.elapsed() > CALL_TARGET;
            if done.reorders || is_late || guest.sandbox().log().is_full() {
                break;
            }
        }
        Ok(done)
    }

    /// One record.
    fn element(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
        port: u16,
        row: RowRef<'_>,
        context: &OperatorContext,
    ) -> Result<bool, Cause> {
        let scope = guest.host_mut();
        scope.record.timestamp = row.timestamp();
        scope.record.is_null = row.is_null();
        scope.record.extension.clear();
        scope.record.extension.extend_from_slice(row.extension());
        let about_records = scope.description().kind.is_about_records();
        scope
            .emissions
            .set_cause(if about_records { &[] } else { row.cause() });
        scope.record.key = 0;
        let is_keyed = scope.description().is_keyed_on(port);
        let passes_key = is_keyed || !scope.description().kind.needs_key();
        self.set_key(scope, row, is_keyed, passes_key)?;
        self.element.value.clear();
        self.element.value.extend_from_slice(row.value());
        self.element.timestamp = row.timestamp();
        match &exports.function {
            Function::CoMap(_) | Function::CoFlatMap(_) | Function::CoProcess(_) | Function::Broadcast(_) => {
                self.function_of_two_inputs(guest, exports, port, row)?;
            }
            _ => self.function(guest, exports, row, context)?,
        }
        Ok(false)
    }

    /// `passes_key`: the function is shown what key there is; of a broadcast input it is none of the function's.
    fn set_key(
        &mut self,
        scope: &mut CallScope,
        row: RowRef<'_>,
        is_keyed: bool,
        passes_key: bool,
    ) -> Result<(), Cause> {
        self.element.key.clear();
        scope.keys.begin(1);
        match row.key().filter(|_| passes_key) {
            Some(encoded) => {
                self.element.key.extend_from_slice(key::body(encoded));
                if is_keyed {
                    let group = KeyGroup(row.group_field() as u16);
                    let key = scope.keys.key(row.key_field(), group, encoded);
                    scope.keys.row(key);
                }
                Ok(())
            }
            None if is_keyed => Err(Cause::Host(TaskError::host(
                "a record without a key reached a keyed function: a key-by must stand before it",
            ))),
            None => Ok(()),
        }
    }

    fn function(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
        row: RowRef<'_>,
        context: &OperatorContext,
    ) -> Result<(), Cause> {
        let element = &self.element;
        let header = RowHeader::element(row.timestamp());
        match &exports.function {
            Function::Map(function) => {
                let value = answer(guest.call(CallBudget::Call, |store| function.call_map(store, element)))?;
                emit(guest, header, &value)
            }
            Function::Filter(function) => {
                if answer(guest.call(CallBudget::Call, |store| function.call_filter(store, element)))? {
                    guest.host_mut().emissions.port(0).push_row(row);
                }
                Ok(())
            }
            Function::FlatMap(function) => {
                answer(guest.call(CallBudget::Call, |store| function.call_flat_map(store, element)))
            }
            Function::KeySelector(function) => {
                let body =
                    answer(guest.call(CallBudget::Call, |store| function.call_get_key(store, element)))?;
                let out = guest.host_mut().emissions.port(0);
                push_under_key(out, row, &body, context.runtime.max_parallelism);
                Ok(())
            }
            Function::Reduce(function) => {
                let value = match accumulator(guest)? {
                    None => element.value.clone(),
                    Some(accumulator) => answer(guest.call(CallBudget::Call, |store| {
                        function.call_reduce(store, &accumulator, &element.value)
                    }))?,
                };
                emit(guest, header, &value)?;
                set_accumulator(guest, value)
            }
            Function::Aggregate(function) => aggregate(guest, function, element, header),
            Function::Process(function) => answer(guest.call(CallBudget::Call, |store| {
                function.call_process_element(store, element)
            })),
            Function::WindowAssigner(function) => panes::assign_windows(guest, function, element, header),
            Function::Window(_)
            | Function::Trigger(_)
            | Function::Evictor(_)
            | Function::Join(_)
            | Function::CoGroup(_) => Err(Cause::Host(TaskError::host(
                "a part of a window was called with a record",
            ))),
            Function::Async(function) => asynchronous(guest, function, row, element),
            Function::TimestampAssigner(_) | Function::WatermarkGenerator(_) | Function::Partitioner(_) => {
                self.function_about_records(guest, exports)
            }
            Function::CoMap(_) | Function::CoFlatMap(_) | Function::CoProcess(_) | Function::Broadcast(_) => {
                Ok(())
            }
            Function::ProcessJoin(function) => process_pair(guest, function, &element.key, row),
        }
    }

    fn function_about_records(
        &self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
    ) -> Result<(), Cause> {
        let element = &self.element;
        match &exports.function {
            Function::TimestampAssigner(function) => {
                let at = answer(guest.call(CallBudget::Call, |store| {
                    function.call_extract_timestamp(store, element)
                }))?;
                emit(guest, RowHeader::element(Some(at)), b"")
            }
            Function::WatermarkGenerator(function) => {
                answer(guest.call(CallBudget::Call, |store| function.call_on_event(store, element)))
            }
            Function::Partitioner(function) => {
                let channels = guest.host().record.channels;
                let channel = answer(guest.call(CallBudget::Call, |store| {
                    function.call_partition(store, element, channels)
                }))?;
                emit(guest, RowHeader::element(None), &channel.to_le_bytes())
            }
            _ => Ok(()),
        }
    }

    fn function_of_two_inputs(
        &self,
        guest: &mut Guest<CallScope>,
        exports: &TypedExports,
        port: u16,
        row: RowRef<'_>,
    ) -> Result<(), Cause> {
        let element = &self.element;
        match &exports.function {
            Function::CoMap(function) => {
                let value = answer(guest.call(CallBudget::Call, |store| match port {
                    0 => function.call_map1(store, element),
                    _ => function.call_map2(store, element),
                }))?;
                emit(guest, RowHeader::element(row.timestamp()), &value)
            }
            Function::CoFlatMap(function) => answer(guest.call(CallBudget::Call, |store| match port {
                0 => function.call_flat_map1(store, element),
                _ => function.call_flat_map2(store, element),
            })),
            Function::CoProcess(function) => answer(guest.call(CallBudget::Call, |store| match port {
                0 => function.call_process_element1(store, element),
                _ => function.call_process_element2(store, element),
            })),
            Function::Broadcast(function) => answer(guest.call(CallBudget::Call, |store| match port {
                0 => function.call_process_element(store, element),
                _ => function.call_process_broadcast_element(store, element),
            })),
            _ => Ok(()),
        }
    }
}

/// One tick of the emit interval.
fn on_periodic_emit(guest: &mut Guest<CallScope>, exports: &TypedExports) -> Result<bool, Cause> {
    let Function::WatermarkGenerator(function) = &exports.function else {
        return Err(Cause::Host(TaskError::host(
            "a function that generates no watermarks was asked for them",
        )));
    };
    let scope = guest.host_mut();
    scope.emissions.set_cause(&[]);
    scope.keys.begin(1);
    answer(guest.call(CallBudget::Call, |store| function.call_on_periodic_emit(store)))?;
    Ok(false)
}

/// A record of an async function, or the answers to its requests, or the end of its time.
fn asynchronous(
    guest: &mut Guest<CallScope>,
    function: &async_function::Guest,
    row: RowRef<'_>,
    element: &Element,
) -> Result<(), Cause> {
    let read = guest.host_mut().record.read_answers();
    read.map_err(|error| Cause::Host(TaskError::host(format!("an answer cannot be read: {error}"))))?;
    answer(guest.call(CallBudget::Call, |store| match row.kind() {
        KIND_COMPLETION => function.call_complete(store, element),
        KIND_TIMEOUT => function.call_timeout(store, element),
        _ => function.call_invoke(store, element),
    }))
}

fn process_pair(
    guest: &mut Guest<CallScope>,
    function: &process_join_function::Guest,
    key: &[u8],
    row: RowRef<'_>,
) -> Result<(), Cause> {
    let pair = Pair::of(row.value())
        .ok_or_else(|| Cause::Host(TaskError::host("a join's function was given no pair")))?;
    let [left, right] = [pair.left, pair.right].map(|side| Element {
        key: key.to_vec(),
        value: side.value.unwrap_or_default().to_vec(),
        timestamp: Some(side.timestamp),
    });
    answer(guest.call(CallBudget::Call, |store| {
        function.call_process_pair(store, &left, &right)
    }))
}

/// One fired timer; true where it changed what is due.
fn on_timer(
    guest: &mut Guest<CallScope>,
    exports: &TypedExports,
    domain: TimeDomain,
    timer: &Timer,
) -> Result<bool, Cause> {
    let scope = guest.host_mut();
    // Flink's rule: what a processing-time timer emits has no timestamp.
    scope.record.timestamp = (domain == TimeDomain::Event).then_some(timer.timestamp);
    scope.record.is_null = false;
    scope.record.key = 0;
    scope.record.extension.clear();
    scope.emissions.set_cause(&[]);
    scope.keys.begin(1);
    let key = scope
        .keys
        .key(key::hash(&timer.key) as u32, timer.group, &timer.key);
    scope.keys.row(key);
    let is_processing = domain == TimeDomain::Processing;
    let at = timer.timestamp;
    answer(match &exports.function {
        Function::Process(function) => guest.call(CallBudget::Call, |store| {
            function.call_on_timer(store, at, is_processing)
        }),
        Function::CoProcess(function) => guest.call(CallBudget::Call, |store| {
            function.call_on_timer(store, at, is_processing)
        }),
        Function::Broadcast(function) => guest.call(CallBudget::Call, |store| {
            function.call_on_timer(store, at, is_processing)
        }),
        _ => {
            return Err(Cause::Host(TaskError::host(
                "a timer fired for a function without timers",
            )));
        }
    })?;
    let scope = guest.host();
    let clock = if is_processing {
        scope.clocks.processing_time
    } else {
        scope.clocks.watermark
    };
    Ok(scope
        .timers
        .iter()
        .any(|op| op.domain == domain && op.timestamp <= clock))
}

/// Adds a record to the accumulator of its key and emits the result.
fn aggregate(
    guest: &mut Guest<CallScope>,
    function: &aggregate_function::Guest,
    element: &Element,
    header: RowHeader,
) -> Result<(), Cause> {
    let accumulator = match accumulator(guest)? {
        Some(accumulator) => accumulator,
        None => answer(guest.call(CallBudget::Call, |store| function.call_create_accumulator(store)))?,
    };
    let added = answer(guest.call(CallBudget::Call, |store| {
        function.call_add(store, &accumulator, element)
    }))?;
    let result = answer(guest.call(CallBudget::Call, |store| function.call_get_result(store, &added)))?;
    emit(guest, header, &result)?;
    set_accumulator(guest, added)
}

/// From what a call gave to its value.
fn answer<T>(called: Result<Result<T, Error>, GuestError>) -> Result<T, Cause> {
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let (kind, message) = refusal_of(error);
            Err(Cause::Refused(kind, message))
        }
        Err(error) => Err(Cause::Guest(error)),
    }
}

fn lied(message: String) -> Cause {
    Cause::Guest(GuestError::plugin(message))
}

fn emit(guest: &mut Guest<CallScope>, header: RowHeader, value: &[u8]) -> Result<(), Cause> {
    let scope = guest.host_mut();
    scope.check_size("a result", value.len()).map_err(lied)?;
    scope.emissions.push(0, header, value);
    Ok(())
}

fn accumulator(guest: &mut Guest<CallScope>) -> Result<Option<Vec<u8>>, Cause> {
    guest.host_mut().value(ACCUMULATOR).map_err(lied)
}

fn set_accumulator(guest: &mut Guest<CallScope>, value: Vec<u8>) -> Result<(), Cause> {
    let scope = guest.host_mut();
    scope.check_size("an accumulator", value.len()).map_err(lied)?;
    scope.set_value(ACCUMULATOR, Some(value)).map_err(lied)
}
