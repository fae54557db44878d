//! Frames and answers against hand-written bytes: here is what the tests share.

mod answers;
mod fixtures;
mod frames;
mod hostile;

use std::sync::Arc;

use bytes::Bytes;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::{Description, FunctionDescription};
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{self, FLAG_KEYED, FLAG_TIMESTAMP, RowHeader};
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, Timer, TimerQueue};

use super::answer::{Answer, AnswerError, Question, RefusalKind, Verdict, decode};
use super::cursor::put_u32;
use super::encode::{Clocks, FrameBound, FrameEncoder, PrefetchedState};
use super::host_call::host_call;
use super::*;
use crate::journal::effects::MetricKind;
use crate::journal::keys::NONE;
use crate::journal::scope::{CallScope, DeclaredState, ScopeLimits};

const GROUPS: MaxParallelism = MaxParallelism::DEFAULT;
const BOUND: FrameBound = FrameBound {
    rows_max: 100,
    bytes_max: 1 << 20,
};

fn description() -> FunctionDescription {
    let json = r#"{"version":1,"functions":[{"name":"f","kind":"process",
        "side-outputs":[{"name":"late"},{"name":"bad"}],
        "state":[{"name":"value","kind":"value"},{"name":"list","kind":"list"},{"name":"map","kind":"map"},
                 {"name":"sum","kind":"reducing","reduce":"sum"},{"name":"cold","kind":"value","prefetch":"on-demand"}]}]}"#;
    Description::parse(json).unwrap().functions[0].clone()
}

/// A call under way: scope, context and encoder, with state registered.
struct Call {
    scope: CallScope,
    context: OperatorContext,
    encoder: FrameEncoder,
    prefetched: Vec<PrefetchedState>,
}

impl Call {
    fn new() -> Self {
        Self::of(description())
    }

    fn of(description: FunctionDescription) -> Self {
        let range = GROUPS.range_of(0, 1);
        let mut context = OperatorContext {
            runtime: Arc::new(RuntimeContext {
                job_id: JobId(1),
                job_name: "job".to_owned(),
                operator: OperatorUid::new("op"),
                task_name: "op".to_owned(),
                subtask_index: 0,
                parallelism: 1,
                max_parallelism: GROUPS,
                key_groups: range,
                attempt: 0,
            }),
            state: Box::new(MemoryBackend::new(range, GROUPS)),
            timers: TimerQueue::default(),
            watermark: 100,
            processing_time: 200,
            metrics: Arc::new(OperatorMetrics::default()),
        };
        let states: Vec<DeclaredState> = description
            .state
            .iter()
            .map(|declaration| DeclaredState {
                name: declaration.name.clone(),
                kind: declaration.kind,
                reduce: declaration.reduce,
                prefetched: declaration.is_prefetched(),
                of_key: false,
                ttl: declaration.ttl,
                id: context.state.register(declaration).unwrap(),
            })
            .collect();
        let prefetched = (0u32..)
            .zip(&states)
            .filter(|(_, state)| state.prefetched)
            .map(|(slot, state)| PrefetchedState {
                slot,
                id: state.id,
                by_key: false,
                ttl: state.ttl,
            })
            .collect();
        let limits = ScopeLimits {
            output_bytes_max: 10_000,
            record_bytes_max: 1_000,
            journal_bytes_max: 100_000,
            operator_state_bytes_max: 100_000,
            host_calls_max: 1_000,
        };
        let mut scope = CallScope::new(Arc::new(description), states, "{\"attempt\":0}".into(), limits);
        scope.clocks = Clocks {
            watermark: 100,
            processing_time: 200,
        };
        scope.metrics.register("seen", MetricKind::Counter).unwrap();
        Self {
            scope,
            context,
            encoder: FrameEncoder::default(),
            prefetched,
        }
    }

    /// Encodes a batch and attaches the backend, as before a call.
    fn ask(&mut self, batch: &Batch) -> u32 {
        self.scope.begin_call();
        let rows = self
            .encoder
            .elements(batch, 0, BOUND, true, &mut self.scope.keys)
            .unwrap();
        let clocks = self.scope.clocks;
        let state = &mut *self.context.state;
        self.encoder
            .finish(&self.scope.keys, clocks, &self.prefetched, state)
            .unwrap();
        let range = GROUPS.range_of(0, 1);
        let spare = Box::new(MemoryBackend::new(range, GROUPS));
        self.scope
            .attach(std::mem::replace(&mut self.context.state, spare));
        rows
    }

    fn decode(&self, rows: u32, fired: Option<TimeDomain>, bytes: Vec<u8>) -> Result<Verdict, AnswerError> {
        let question = Question {
            rows,
            fired,
            prefetched: &self.prefetched,
        };
        decode(Bytes::from(bytes), question, &self.scope)
    }

    fn apply(&mut self, answer: &Answer) -> Vec<(u16, Batch)> {
        let mut out = Output::default();
        apply::apply(
            answer,
            &self.encoder,
            &self.prefetched,
            &mut self.scope,
            &mut self.context,
        )
        .unwrap();
        apply::emit(answer, &mut self.scope, &mut out);
        if let Some(state) = self.scope.detach() {
            self.context.state = state;
        }
        out.drain().collect()
    }
}

fn batch(keys: &[&str]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (i, body) in keys.iter().enumerate() {
        let mut encoded = Vec::new();
        key::encode_bytes(&mut encoded, body.as_bytes());
        let hash = key::hash(&encoded);
        let header = RowHeader {
            flags: FLAG_KEYED | FLAG_TIMESTAMP,
            key: hash as u32,
            group: u32::from(GROUPS.group_of(hash).0),
            ..RowHeader::element(Some(i as i64))
        };
        builder.push(header, &encoded, format!("v{i}").as_bytes(), b"");
    }
    builder.finish()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn section(frame: &[u8], tag: u32) -> Option<&[u8]> {
    (0..u32_at(frame, 28) as usize)
        .map(|i| FRAME_HEADER_LEN + i * DIRECTORY_ENTRY_LEN)
        .find(|at| u32_at(frame, *at) == tag)
        .map(|at| &frame[u32_at(frame, at + 4) as usize..][..u32_at(frame, at + 8) as usize])
}

/// An answer from sections.
fn answer(consumed: u32, sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![VERSION, 0];
    out.extend_from_slice(&(ANSWER_HEADER_LEN as u16).to_le_bytes());
    put_u32(&mut out, consumed);
    put_u32(&mut out, sections.len() as u32);
    put_u32(&mut out, 0);
    let mut offset = out.len() + sections.len() * DIRECTORY_ENTRY_LEN;
    for (tag, bytes) in sections {
        put_u32(&mut out, *tag);
        put_u32(&mut out, offset as u32);
        put_u32(&mut out, bytes.len() as u32);
        offset += bytes.len();
    }
    sections
        .iter()
        .for_each(|(_, bytes)| out.extend_from_slice(bytes));
    out
}

fn emitted(port: u16, cause: u32, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RowHeader {
        port,
        key: cause,
        ..RowHeader::element(Some(5))
    };
    row::write(&mut out, header, b"", value.as_bytes(), b"");
    out
}

fn state_block(slot: u32, entries: &[(u8, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, slot);
    put_u32(&mut out, entries.len() as u32);
    out.extend(entries.iter().map(|(status, _)| *status));
    let set = || entries.iter().filter(|(status, _)| *status == 2);
    set().for_each(|(_, value)| put_u32(&mut out, value.len() as u32));
    set().for_each(|(_, value)| out.extend_from_slice(value.as_bytes()));
    out
}

fn timer(row: u32, op: u8, domain: u8, timestamp: i64) -> Vec<u8> {
    let mut out = row.to_le_bytes().to_vec();
    out.extend_from_slice(&[op, domain, 0, 0]);
    put_u32(&mut out, NONE);
    put_u32(&mut out, 0);
    out.extend_from_slice(&timestamp.to_le_bytes());
    out
}

fn write(row: u32, slot: u32, op: u8, map_key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(
        &mut out,
        (writes::WRITE_HEADER_LEN + map_key.len() + value.len()) as u32,
    );
    put_u32(&mut out, row);
    put_u32(&mut out, slot);
    put_u32(&mut out, NONE);
    out.extend_from_slice(&[op, 0, 0, 0]);
    put_u32(&mut out, map_key.len() as u32);
    out.extend_from_slice(map_key.as_bytes());
    out.extend_from_slice(value);
    out
}

fn metric(number: u32, kind: u32, value: f64) -> Vec<u8> {
    let mut out = number.to_le_bytes().to_vec();
    put_u32(&mut out, kind);
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn get_many(scope: &mut CallScope, slot: u32, key: u32, map_key: &str) -> Option<Vec<u8>> {
    let mut request = vec![2, 0, 0, 0];
    for word in [slot, 1, key, NONE, map_key.len() as u32] {
        put_u32(&mut request, word);
    }
    request.extend_from_slice(map_key.as_bytes());
    let response = host_call(scope, &request).unwrap();
    (u32_at(&response, 0) != NONE).then(|| response[4..].to_vec())
}

/// An answer with every section and operation.
fn full_answer() -> Vec<u8> {
    answer(
        3,
        &[
            (
                SECTION_OUTPUT,
                [emitted(0, 0, "one"), emitted(0, 2, "two")].concat(),
            ),
            (SECTION_SIDE, emitted(1, 1, "late")),
            (SECTION_STATE_WRITES, state_block(0, &[(2, "new"), (3, "")])),
            (SECTION_TIMERS, [timer(0, 1, 1, 500), timer(1, 2, 2, 7)].concat()),
            (
                SECTION_WRITES,
                [
                    write(0, 1, 3, "", b"x"),
                    write(2, 1, 4, "", &[1, 0, 0, 0, 9]),
                    write(1, 2, 5, "k", b"v"),
                    write(0, 3, 7, "", &5i64.to_le_bytes()),
                    write(1, 2, 2, "", b""),
                ]
                .concat(),
            ),
            (SECTION_METRICS, metric(0, 1, 3.0)),
        ],
    )
}
