//! Applies a valid answer: state, timers, metrics, rows.
//!
//! Invariant: whatever fails here is the host's fault; the answer was checked before.

use wasmill_engine::operator::OperatorContext;
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::row::{RowHeader, RowRef};
use wasmill_model::time::Timestamp;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateError, StateKey, Values, Write};
use wasmill_state::ttl::TtlState;

use super::answer::{Answer, STATUS_CLEARED, STATUS_READ, STATUS_SET};
use super::cursor::Cursor;
use super::encode::{FrameEncoder, PrefetchedState};
use super::writes::{self, WriteEntry, WriteOp};
use crate::journal::effects::apply_timers;
use crate::journal::keys::CallKeys;
use crate::journal::scope::{CallScope, DeclaredState, fold_built_in};
use wasmill_model::function::StateKind;

/// Lists that are prefetched before the first of them grows: what they load has to stay in the cache until then.
const APPENDED_TOGETHER: usize = 64;

/// Applies all effects but the rows: first those of imports, then those of the answer. The backend must
/// be attached to the scope.
pub fn apply(
    answer: &Answer,
    encoder: &FrameEncoder,
    prefetched: &[PrefetchedState],
    scope: &mut CallScope,
    context: &mut OperatorContext,
) -> Result<(), StateError> {
    for (metric, value) in &answer.metrics {
        scope.metrics.record(*metric, *value);
    }
    scope.apply(&mut context.timers, &context.metrics)?;
    // Names are cloned only where a function has states that do not travel.
    let states = if answer.writes.is_empty() {
        Vec::new()
    } else {
        scope.states().to_vec()
    };
    let now = scope.clocks.processing_time;
    let Some((keys, backend)) = scope.keys_and_backend() else {
        return Err(StateError::Corrupt(
            "no backend is attached to the call".to_owned(),
        ));
    };
    apply_state(answer, encoder, prefetched, now, keys, backend)?;
    let section = &answer.bytes[answer.writes.clone()];
    apply_writes(section, &states, now, keys, backend)?;
    match scope.holds_timers {
        true => scope.timers.extend_from_slice(&answer.timers),
        false => apply_timers(&answer.timers, &scope.keys, &mut context.timers),
    }
    Ok(())
}

/// Rows: those of imports come before those of the answer.
pub fn emit(answer: &Answer, scope: &mut CallScope, out: &mut Output) {
    scope.emissions.flush(out);
    out.emit(0, answer.output.clone());
    let mut ports: Vec<BatchBuilder> = Vec::new();
    for row in &answer.side {
        let port = usize::from(row.port());
        if ports.len() <= port {
            ports.resize_with(port + 1, BatchBuilder::default);
        }
        ports[port].push(
            RowHeader {
                port: 0,
                group: 0,
                ..row.header()
            },
            b"",
            row.value(),
            b"",
        );
    }
    for (port, rows) in ports.iter_mut().enumerate() {
        out.emit(port as u16, rows.finish());
    }
}

/// As [`emit`], where emissions to several outputs keep their order. Where the rows of the call know what caused
/// them, so does what they emit; every row names its row of the call still.
pub fn emit_in_order(answer: &Answer, causes: Option<&Batch>, scope: &mut CallScope, out: &mut Output) {
    let causes = causes.map(|rows| rows.iter().map(|row| row.cause()).collect());
    let causes: Vec<&[u8]> = causes.unwrap_or_default();
    let mut ahead = Output::default();
    scope.emissions.flush(&mut ahead);
    let mut emissions = CausedEmissions::default();
    for (port, batch) in ahead.drain() {
        batch
            .iter()
            .for_each(|row| emissions.push(port, row, &causes, out));
    }
    let mut side = answer.side.iter().peekable();
    for (index, row) in answer.output.iter().enumerate() {
        while let Some(row) = side.next_if(|row| row.group_field() as usize <= index) {
            emissions.push(row.port(), row, &causes, out);
        }
        emissions.push(0, row, &causes, out);
    }
    side.for_each(|row| emissions.push(row.port(), row, &causes, out));
    emissions.flush(out);
}

/// Emissions in their order, as batches that each go to one port.
#[derive(Default)]
struct CausedEmissions {
    port: u16,
    rows: BatchBuilder,
}

impl CausedEmissions {
    fn push(&mut self, port: u16, row: RowRef<'_>, causes: &[&[u8]], out: &mut Output) {
        if port != self.port {
            self.flush(out);
            self.port = port;
        }
        let header = RowHeader {
            port: 0,
            group: 0,
            ..row.header()
        };
        let cause = causes.get(row.key_field() as usize).copied().unwrap_or_default();
        self.rows.push_caused(header, row.value(), cause);
    }

    fn flush(&mut self, out: &mut Output) {
        out.emit(self.port, self.rows.finish());
    }
}

fn apply_state(
    answer: &Answer,
    encoder: &FrameEncoder,
    prefetched: &[PrefetchedState],
    now: Timestamp,
    keys: &CallKeys,
    backend: &mut dyn KeyedStateBackend,
) -> Result<(), StateError> {
    let bytes = &answer.bytes;
    for block in &answer.state {
        let Some(state) = prefetched.get(block.index) else {
            continue;
        };
        let read = encoder.values(block.index);
        let locators = read.map_or(&[][..], |values| &values.locators);
        let mut timed = TtlState::new(backend, state.id, state.ttl, now);
        let mut held = state.ttl.and(read).map(Values::iter);
        let mut lengths = Cursor::new(&bytes[block.lengths.clone()]);
        let mut values = Cursor::new(&bytes[block.values.clone()]);
        let statuses = &bytes[block.statuses.clone()];
        let mut writes = Vec::with_capacity(statuses.len());
        for (pair, status) in statuses.iter().enumerate() {
            let held = held.as_mut().and_then(Iterator::next).flatten();
            let value = match *status {
                STATUS_SET => lengths.u32().and_then(|length| values.take(length as usize)).ok(),
                STATUS_CLEARED => None,
                STATUS_READ => {
                    let is_expired = read.is_some_and(|read| read.is_expired(pair));
                    match timed.after_read(held, is_expired) {
                        Some(value) => value,
                        None => continue,
                    }
                }
                _ => continue,
            };
            writes.push(Write {
                key: keys.entry_state(pair, state.by_key),
                locator: locators.get(pair).copied().unwrap_or(Locator::UNKNOWN),
                value,
            });
        }
        if !writes.is_empty() {
            timed.write_batch(&writes)?;
        }
    }
    Ok(())
}

/// Those entries of WRITES that are about broadcast state: comes before [`apply`], for a limit may stand against it. The
/// call can still be undone.
pub fn apply_broadcast(answer: &Answer, scope: &mut CallScope) -> Result<(), String> {
    let mut cursor = Cursor::new(&answer.bytes[answer.writes.clone()]);
    while let Ok(entry) = writes::read(&mut cursor) {
        if let Some(write) = writes::broadcast(&entry) {
            scope.broadcast_write(entry.slot, write)?;
        }
    }
    Ok(())
}

/// Applies entries in their order; runs of the same kind on one state go in one batch.
fn apply_writes(
    section: &[u8],
    states: &[DeclaredState],
    now: Timestamp,
    keys: &CallKeys,
    backend: &mut dyn KeyedStateBackend,
) -> Result<(), StateError> {
    let mut cursor = Cursor::new(section);
    let mut run: Vec<(WriteEntry<'_>, StateKey<'_>)> = Vec::new();
    while let Ok(entry) = writes::read(&mut cursor) {
        let (Some(state), Some(key)) = (states.get(entry.slot as usize), writes::key_of(entry.row, keys))
        else {
            continue;
        };
        if writes::broadcast(&entry).is_some() {
            continue;
        }
        if run
            .first()
            .is_some_and(|(first, _)| first.slot != entry.slot || !is_one_run(first.op, entry.op, state.kind))
        {
            apply_run(&run, states, now, backend)?;
            run.clear();
        }
        let key = StateKey {
            map_key: entry.map_key,
            ..keys.state_key(key, entry.namespace)
        };
        run.push((entry, key));
    }
    apply_run(&run, states, now, backend)
}

fn is_one_run(first: WriteOp, next: WriteOp, kind: StateKind) -> bool {
    let single = |op| match op {
        WriteOp::Set | WriteOp::Put | WriteOp::Remove => true,
        WriteOp::Clear => !matches!(kind, StateKind::List | StateKind::Map),
        _ => false,
    };
    (single(first) && single(next)) || (first == next && matches!(first, WriteOp::Append | WriteOp::Fold))
}

fn apply_run(
    run: &[(WriteEntry<'_>, StateKey<'_>)],
    states: &[DeclaredState],
    now: Timestamp,
    backend: &mut dyn KeyedStateBackend,
) -> Result<(), StateError> {
    let Some((first, key)) = run.first() else {
        return Ok(());
    };
    let Some(state) = states.get(first.slot as usize) else {
        return Ok(());
    };
    if first.op == WriteOp::Append {
        return apply_appends(run, state, now, backend);
    }
    let is_whole = matches!(state.kind, StateKind::List | StateKind::Map);
    let mut timed = TtlState::new(backend, state.id, state.ttl, now);
    match first.op {
        WriteOp::Fold => apply_folds(run, state, timed),
        WriteOp::Replace => {
            timed.clear(*key)?;
            writes::elements(first.value)
                .filter_map(Result::ok)
                .try_for_each(|element| timed.append(*key, element))
        }
        WriteOp::Clear if is_whole => timed.clear(*key),
        _ => {
            let writes: Vec<Write<'_>> = run
                .iter()
                .map(|(entry, key)| Write {
                    key: *key,
                    locator: Locator::UNKNOWN,
                    value: matches!(entry.op, WriteOp::Set | WriteOp::Put).then_some(entry.value),
                })
                .collect();
            timed.write_batch(&writes)
        }
    }
}

/// Appends; the lists of several are looked for at the same time.
fn apply_appends(
    run: &[(WriteEntry<'_>, StateKey<'_>)],
    state: &DeclaredState,
    now: Timestamp,
    backend: &mut dyn KeyedStateBackend,
) -> Result<(), StateError> {
    let mut keys = Vec::with_capacity(APPENDED_TOGETHER.min(run.len()));
    for run in run.chunks(APPENDED_TOGETHER) {
        keys.clear();
        keys.extend(run.iter().map(|(_, key)| *key));
        backend.prefetch(state.id, &keys);
        let mut timed = TtlState::new(backend, state.id, state.ttl, now);
        run.iter()
            .try_for_each(|(entry, key)| timed.append(*key, entry.value))?;
    }
    Ok(())
}

/// Folds by the built-in reducer: each key is read once and written once, however often it is folded.
fn apply_folds(
    run: &[(WriteEntry<'_>, StateKey<'_>)],
    state: &DeclaredState,
    mut timed: TtlState<'_>,
) -> Result<(), StateError> {
    let Some(reduce) = state.reduce else { return Ok(()) };
    let mut positions = std::collections::BTreeMap::new();
    let mut distinct: Vec<StateKey<'_>> = Vec::new();
    for (_, key) in run {
        positions.entry((key.key, key.namespace)).or_insert_with(|| {
            distinct.push(*key);
            distinct.len() - 1
        });
    }
    let mut stored = Values::default();
    timed.get_many(&distinct, &mut stored)?;
    let mut at = 0;
    let mut folded: Vec<Option<[u8; 8]>> = Vec::with_capacity(distinct.len());
    for length in &stored.lengths {
        if *length == wasmill_state::backend::NONE {
            folded.push(None);
            continue;
        }
        let bytes = stored.bytes.get(at..at + *length as usize).unwrap_or_default();
        at += *length as usize;
        let eight = <[u8; 8]>::try_from(bytes).map_err(|_| wrong_accumulator(bytes.len()))?;
        folded.push(Some(eight));
    }
    for (entry, key) in run {
        let Some(position) = positions.get(&(key.key, key.namespace)) else {
            continue;
        };
        let Some(value) = folded.get_mut(*position) else {
            continue;
        };
        let sum = fold_built_in(reduce, value.as_ref().map(|v| &v[..]), entry.value);
        *value = Some(sum.map_err(StateError::Corrupt)?.to_le_bytes());
    }
    let writes: Vec<Write<'_>> = distinct
        .iter()
        .zip(&folded)
        .enumerate()
        .map(|(position, (key, value))| Write {
            key: *key,
            locator: stored.locators.get(position).copied().unwrap_or(Locator::UNKNOWN),
            value: value.as_ref().map(|v| &v[..]),
        })
        .collect();
    timed.write_batch(&writes)
}

fn wrong_accumulator(length: usize) -> StateError {
    StateError::Corrupt(format!(
        "the accumulator of a built-in reducer has {length} bytes instead of 8: the state was written under another declaration"
    ))
}
