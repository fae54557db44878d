//! One call of the frame family: encode, call, check, apply.

use std::convert::Infallible;

use bytes::Bytes;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::{FunctionDescription, FunctionKind};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{KIND_RESULT, RowRef};
use wasmill_state::backend::{KeyedStateBackend, StateError};
use wasmill_state::timers::TimeDomain;

use super::failure::{CallFailure, Cause};
use super::window::rows::PaneWork;
use super::work::Work;
use crate::failure::GuestError;
use crate::frame::answer::{Answer, Question, Verdict, decode};
use crate::frame::apply;
use crate::frame::encode::{Clocks, FrameBound, FrameEncoder, PrefetchedState};
use crate::frame::exports::FrameExports;
use crate::journal::scope::CallScope;
use crate::sandbox::{CallBudget, Guest};

/// What a call that succeeded did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Rows consumed from the front of the work.
    pub(crate) consumed: u32,
    /// Whether timers changed what is due: the rest must be ordered anew.
    pub(crate) reorders: bool,
}

/// Calls frames; its buffers live as long as the operator.
pub(crate) struct FrameCaller {
    encoder: FrameEncoder,
    prefetched: Vec<PrefetchedState>,
    kind: FunctionKind,
    /// Whether its second input is broadcast: rows of it have no key.
    broadcast: bool,
}

impl FrameCaller {
    pub(crate) fn new(description: &FunctionDescription, prefetched: Vec<PrefetchedState>) -> Self {
        Self {
            encoder: FrameEncoder::default(),
            prefetched,
            kind: description.kind,
            broadcast: description.broadcast_state.is_some(),
        }
    }

    /// One call about rows from the front of `work`. `spare` stands in for the backend while it is with
    /// the instance.
    #[allow(clippy::too_many_arguments)] // The parts of an operator that a call needs.
    pub(crate) fn call(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &FrameExports,
        work: &Work<'_>,
        bound: FrameBound,
        context: &mut OperatorContext,
        spare: &mut Option<Box<dyn KeyedStateBackend>>,
        out: &mut Output,
    ) -> Result<Done, CallFailure> {
        let scope = guest.host_mut();
        scope.begin_call();
        scope.clocks = Clocks {
            watermark: context.watermark,
            processing_time: context.processing_time,
        };
        scope.broadcast.port = work.port();
        let (rows, fired) = match work {
            Work::Rows {
                port: port @ 1,
                batch,
            } if self.broadcast && self.kind.needs_key() => {
                let rows = self
                    .encoder
                    .elements_without_keys(batch, *port, bound, &mut scope.keys);
                (rows, None)
            }
            Work::Rows { port, batch } => {
                let keyed = self.kind.needs_key();
                let rows = self.encoder.elements(batch, *port, bound, keyed, &mut scope.keys);
                let rows = rows.map_err(|error| CallFailure::host(TaskError::host(error.to_string())))?;
                (rows, None)
            }
            Work::Periodic => (self.encoder.periodic(&mut scope.keys), None),
            Work::Timers { domain, timers } => {
                let rows = self
                    .encoder
                    .timers(timers, *domain, bound.rows_max, &mut scope.keys);
                (rows, Some(*domain))
            }
            Work::Panes(work) => (self.encoder.panes(*work, bound, &mut scope.keys), None),
        };
        self.finish(work, scope, &mut *context.state)
            .map_err(CallFailure::host)?;
        // The backend moves in for the call, and out again whatever becomes of it.
        if let Some(spare) = spare.take() {
            scope.attach(std::mem::replace(&mut context.state, spare));
        }
        let result = self.conclude(guest, exports, work, rows, fired, context, out);
        let scope = guest.host_mut();
        if result.is_err() {
            scope.undo();
        }
        if let Some(backend) = scope.detach() {
            *spare = Some(std::mem::replace(&mut context.state, backend));
        }
        result.map_err(|cause| CallFailure {
            row: match cause {
                (_, Some(row)) => Some(row),
                // The only row of a call is the one that failed.
                _ => (rows == 1).then_some(0),
            },
            rows,
            cause: cause.0,
        })
    }

    /// Ends the frame with what its keys have in state.
    fn finish(
        &mut self,
        work: &Work<'_>,
        scope: &CallScope,
        state: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError> {
        self.encoder
            .finish(&scope.keys, scope.clocks, &self.prefetched, state)?;
        if let Work::Panes(work) = work {
            self.encoder.tell_found(*work);
        }
        Ok(())
    }

    /// Calls and applies; an error with the row that the guest named.
    #[allow(clippy::too_many_arguments)] // All of one call, split in two for the backend's sake.
    fn conclude(
        &mut self,
        guest: &mut Guest<CallScope>,
        exports: &FrameExports,
        work: &Work<'_>,
        rows: u32,
        fired: Option<TimeDomain>,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<Done, (Cause, Option<u32>)> {
        let guest_error = |error| (Cause::Guest(error), None);
        let host_error = |error: StateError| (Cause::Host(error.into()), None);
        let frame = self.encoder.frame();
        let called = guest.call(CallBudget::Call, |store| exports.call.call(store, (frame,)));
        let scope = guest.host_mut();
        if let Some(error) = scope.take_host_error() {
            return Err(host_error(error));
        }
        let (answered,) = called.map_err(guest_error)?;
        let bytes = answered.map_err(|message| {
            let message = crate::failure::printable_text(&message, crate::failure::MESSAGE_BYTES_SHOWN_MAX);
            guest_error(GuestError::plugin(format!(
                "the component did not understand its frame: {message}"
            )))
        })?;
        let question = Question {
            rows,
            fired,
            prefetched: &self.prefetched,
        };
        let wrong = |message: String| guest_error(GuestError::plugin(message));
        let answer =
            match decode(Bytes::from(bytes), question, scope).map_err(|error| wrong(error.to_string()))? {
                Verdict::Answer(answer) => answer,
                Verdict::Refusal(refusal) => {
                    return Err((Cause::Refused(refusal.kind, refusal.message), Some(refusal.row)));
                }
            };
        let emitted = scope.emissions.rows_of_call();
        let passed_on = self
            .shape(&answer, emitted, work, context.runtime.max_parallelism)
            .map_err(|error| wrong(format!("answer: section OUTPUT: {error}")))?;
        let reorders = fired.is_some_and(|domain| reorders(&answer, domain, context));
        for request in &answer.requests {
            let made = scope.request(request.clone());
            made.map_err(|error| wrong(format!("answer: section REQUESTS: {error}")))?;
        }
        apply::apply_broadcast(&answer, scope)
            .map_err(|error| wrong(format!("answer: section WRITES: {error}")))?;
        apply::apply(&answer, &self.encoder, &self.prefetched, scope, context).map_err(host_error)?;
        match passed_on {
            Some(batch) => out.emit(0, batch),
            // What caused a row is told by its index in the call, which the caller reads.
            None if self.kind.is_about_records() => apply::emit(&answer, scope, out),
            None => match (work, work.causes()) {
                (Work::Panes(_), _) => apply::emit_in_order(&answer, None, scope, out),
                (_, Some(causes)) => apply::emit_in_order(&answer, Some(causes), scope, out),
                (_, None) => apply::emit(&answer, scope, out),
            },
        }
        Ok(Done {
            consumed: answer.consumed,
            reorders,
        })
    }

    /// Checks that OUTPUT fits the kind of function; of kinds that pass records on, makes those.
    fn shape(
        &self,
        answer: &Answer,
        emitted: u32,
        work: &Work<'_>,
        max_parallelism: MaxParallelism,
    ) -> Result<Option<Batch>, String> {
        let rows = answer.output.rows() + emitted;
        match (self.kind, work) {
            (_, Work::Panes(work)) => check_panes(self.kind, *work, answer).map(|()| None),
            (
                FunctionKind::Map
                | FunctionKind::Reduce
                | FunctionKind::Aggregate
                | FunctionKind::TimestampAssigner
                | FunctionKind::Partitioner,
                _,
            ) if rows != answer.consumed => Err(format!(
                "{rows} rows for {} consumed; this kind of function answers one each",
                answer.consumed
            )),
            (FunctionKind::Filter | FunctionKind::KeySelector, _) if emitted > 0 => {
                Err("this kind of function cannot emit by host-call".to_owned())
            }
            (FunctionKind::Filter, Work::Rows { batch, .. }) => keep(batch, &answer.output).map(Some),
            (FunctionKind::KeySelector, Work::Rows { batch, .. }) => {
                select_keys(batch, answer, max_parallelism).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Whether the answer's timers change what is due by a clock.
fn reorders(answer: &Answer, domain: TimeDomain, context: &OperatorContext) -> bool {
    let clock = match domain {
        TimeDomain::Event => context.watermark,
        TimeDomain::Processing => context.processing_time,
    };
    let mut timers = answer.timers.iter();
    timers.any(|timer| timer.domain == domain && timer.timestamp <= clock)
}

/// Of a part of a window only rows that ask for a result have one.
fn check_panes(kind: FunctionKind, work: PaneWork<'_>, answer: &Answer) -> Result<(), String> {
    if !matches!(kind, FunctionKind::Reduce | FunctionKind::Aggregate) {
        return Ok(());
    }
    let wrong = answer
        .output
        .iter()
        .map(|row| row.key_field())
        .find(|row| work.row(*row).kind != KIND_RESULT);
    match wrong {
        Some(row) => Err(format!(
            "a result of row {row}, which asks for none: only rows of kind {KIND_RESULT} do"
        )),
        None => Ok(()),
    }
}

/// The records whose index the guest kept.
fn keep(batch: &Batch, kept: &Batch) -> Result<Batch, String> {
    let mut records = batch.iter().enumerate();
    let mut out = BatchBuilder::with_capacity(batch.bytes().len());
    for row in kept {
        let index = row.key_field();
        let record = records.find(|(at, _)| *at == index as usize);
        let (_, record) = record.ok_or_else(|| format!("row {index} is kept twice or out of order"))?;
        out.push_row(record);
    }
    Ok(out.finish())
}

/// The records consumed, each under the key that the guest computed.
fn select_keys(batch: &Batch, answer: &Answer, max_parallelism: MaxParallelism) -> Result<Batch, String> {
    if answer.output.rows() != answer.consumed {
        return Err(format!(
            "{} keys for {} rows consumed",
            answer.output.rows(),
            answer.consumed
        ));
    }
    let mut out = BatchBuilder::with_capacity(batch.bytes().len() * 3 / 2);
    for (index, (record, key)) in batch.iter().zip(&answer.output).enumerate() {
        if key.key_field() as usize != index {
            return Err(format!(
                "the key of row {index} is said to be of row {}",
                key.key_field()
            ));
        }
        push_under_key(&mut out, record, key.value(), max_parallelism);
    }
    Ok(out.finish())
}

/// Appends a record under the key with this body.
pub(crate) fn push_under_key(
    out: &mut BatchBuilder,
    record: RowRef<'_>,
    body: &[u8],
    max_parallelism: MaxParallelism,
) {
    let pushed = out.push_under_key(record, max_parallelism, |key| {
        key::encode_bytes(key, body);
        Ok::<(), Infallible>(())
    });
    match pushed {
        Ok(()) => {}
        Err(never) => match never {},
    }
}
