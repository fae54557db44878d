//! Answers of guests: what a frame comes back with, snapshots of operator state, calls of the host.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::{Description, FunctionDescription};
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::key;
use wasmill_model::row::{FLAG_KEYED, FLAG_TIMESTAMP, RowHeader};
use wasmill_plugin::frame::answer::{Question, Verdict, decode};
use wasmill_plugin::frame::encode::{Clocks, FrameBound, FrameEncoder, PrefetchedState};
use wasmill_plugin::frame::host_call::host_call;
use wasmill_plugin::frame::{apply, snapshot};
use wasmill_plugin::journal::effects::MetricKind;
use wasmill_plugin::journal::scope::{CallScope, DeclaredState, ScopeLimits};
use wasmill_state::memory::MemoryBackend;
use wasmill_state::testing::MAX_PARALLELISM;
use wasmill_state::timers::{TimeDomain, TimerQueue};

use crate::{Target, contents_below};

pub(crate) const TARGET: Target = Target {
    name: "answer",
    run,
    seeds,
};

/// The first byte says what the others are.
fn seeds() -> Vec<Vec<u8>> {
    let answers = contents_below("tests/fixtures/frame-v1");
    let mut seeds: Vec<_> = answers
        .into_iter()
        .map(|answer| [&[0], &answer[..]].concat())
        .collect();
    let state = snapshot::encode(&Default::default());
    seeds.push([&[4], &state[..]].concat());
    // Get the value of the first key; put one.
    seeds.push(vec![5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    seeds.push(vec![5, 10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    seeds
}

fn description() -> FunctionDescription {
    let json = r#"{"version":1,"functions":[{"name":"f","kind":"process",
        "side-outputs":[{"name":"late"},{"name":"bad"}],
        "operator-state":[{"name":"buffer"}],"raw-state":true,
        "state":[{"name":"value","kind":"value"},{"name":"list","kind":"list"},{"name":"map","kind":"map"},
                 {"name":"sum","kind":"reducing","reduce":"sum"},{"name":"cold","kind":"value","prefetch":"on-demand"}]}]}"#;
    Description::parse(json).unwrap().functions[0].clone()
}

/// A call under way.
struct Call {
    scope: CallScope,
    context: OperatorContext,
    encoder: FrameEncoder,
    prefetched: Vec<PrefetchedState>,
    rows: u32,
}

impl Call {
    fn new() -> Self {
        let description = description();
        let mut context = context();
        let declared = |state: &wasmill_model::function::StateDeclaration| DeclaredState {
            name: state.name.clone(),
            kind: state.kind,
            reduce: state.reduce,
            prefetched: state.is_prefetched(),
            of_key: false,
            ttl: state.ttl,
            id: context.state.register(state).unwrap(),
        };
        let states: Vec<DeclaredState> = description.state.iter().map(declared).collect();
        let travels = (0u32..).zip(&states).filter(|(_, state)| state.prefetched);
        let prefetched: Vec<_> = travels
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
        let mut encoder = FrameEncoder::default();
        scope.begin_call();
        let bound = FrameBound {
            rows_max: 100,
            bytes_max: 1 << 20,
        };
        let rows = encoder
            .elements(&batch(), 0, bound, true, &mut scope.keys)
            .unwrap();
        encoder
            .finish(&scope.keys, scope.clocks, &prefetched, &mut *context.state)
            .unwrap();
        scope.attach(std::mem::replace(&mut context.state, backend()));
        Self {
            scope,
            context,
            encoder,
            prefetched,
            rows,
        }
    }
}

fn backend() -> Box<MemoryBackend> {
    Box::new(MemoryBackend::new(
        MAX_PARALLELISM.range_of(0, 1),
        MAX_PARALLELISM,
    ))
}

fn context() -> OperatorContext {
    OperatorContext {
        runtime: Arc::new(RuntimeContext {
            job_id: JobId(1),
            job_name: "job".to_owned(),
            operator: OperatorUid::new("op"),
            task_name: "op".to_owned(),
            subtask_index: 0,
            parallelism: 1,
            max_parallelism: MAX_PARALLELISM,
            key_groups: MAX_PARALLELISM.range_of(0, 1),
            attempt: 0,
        }),
        state: backend(),
        timers: TimerQueue::default(),
        watermark: 100,
        processing_time: 200,
        metrics: Arc::new(OperatorMetrics::default()),
    }
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::default();
    for (at, body) in (0..).zip(["alpha", "b", "alpha"]) {
        let mut encoded = Vec::new();
        key::encode_bytes(&mut encoded, body.as_bytes());
        let hash = key::hash(&encoded);
        let header = RowHeader {
            flags: FLAG_KEYED | FLAG_TIMESTAMP,
            key: hash as u32,
            group: u32::from(MAX_PARALLELISM.group_of(hash).0),
            ..RowHeader::element(Some(at))
        };
        builder.push(header, &encoded, body.as_bytes(), b"");
    }
    builder.finish()
}

fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        4 => operator_state(bytes),
        5 => calls(bytes),
        fired => answer(bytes, fired),
    }
}

fn answer(bytes: &[u8], fired: u8) {
    let mut call = Call::new();
    let question = Question {
        rows: call.rows,
        fired: match fired {
            1 => Some(TimeDomain::Event),
            2 => Some(TimeDomain::Processing),
            _ => None,
        },
        prefetched: &call.prefetched,
    };
    match decode(Bytes::copy_from_slice(bytes), question, &call.scope) {
        Err(error) => assert!(error.to_string().starts_with("answer: ")),
        Ok(Verdict::Refusal(refusal)) => assert!(refusal.row == u32::MAX || refusal.row < call.rows),
        Ok(Verdict::Answer(answer)) => {
            assert!((1..=call.rows).contains(&answer.consumed));
            let (encoder, prefetched) = (&call.encoder, &call.prefetched);
            apply::apply(&answer, encoder, prefetched, &mut call.scope, &mut call.context)
                .expect("an answer that is valid is applied");
            let mut out = Output::default();
            apply::emit(&answer, &mut call.scope, &mut out);
            let emitted: u32 = out.drain().map(|(_, batch)| batch.rows()).sum();
            assert_eq!(emitted, answer.output.rows() + answer.side.rows());
        }
    }
}

/// Each request is `length u8, bytes`.
fn calls(mut bytes: &[u8]) {
    let mut call = Call::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (request, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        if let Err(error) = host_call(&mut call.scope, request) {
            assert!(!error.is_empty());
        }
        bytes = rest;
    }
}

fn operator_state(bytes: &[u8]) {
    let description = description();
    match snapshot::decode(bytes, &description) {
        Err(error) => assert!(!error.is_empty()),
        Ok(state) => {
            let again = snapshot::decode(&snapshot::encode(&state), &description)
                .expect("what was read can be written");
            assert!(again == state);
        }
    }
}
