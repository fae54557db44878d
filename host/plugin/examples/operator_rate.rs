//! Rate of one operator alone: no engine, no exchange, one core.
//!
//! `operator_rate COMPONENT FUNCTION [KEYS] [RECORDS]`: encodes, calls, decodes and applies; the input is
//! batches of 32 KiB made beforehand, with KEYS distinct keys (0: not keyed).

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{Operator, OperatorContext, RuntimeContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::graph::JobSettings;
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::key::{self, MaxParallelism};
use wasmill_model::row::{FLAG_KEYED, RowHeader};
use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::operator::function::FunctionOperator;
use wasmill_plugin::operator::provider::PluginFunctions;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::sandbox::limits::HostLimits;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::TimerQueue;

const GROUPS: MaxParallelism = MaxParallelism::DEFAULT;
const BATCH_BYTES: usize = 32 * 1024;

/// Records of about 35 bytes of payload, keys in a scattered order.
fn batches(records: u64, keys: u64) -> Vec<Batch> {
    let (mut batches, mut builder, mut encoded) = (Vec::new(), BatchBuilder::default(), Vec::new());
    for i in 0..records {
        let mut header = RowHeader::element(Some(i as i64));
        encoded.clear();
        if keys > 0 {
            let number = (i.wrapping_mul(2_654_435_761) >> 7) % keys;
            key::encode_bytes(&mut encoded, format!("user-{number:06}").as_bytes());
            let hash = key::hash(&encoded);
            header.flags |= FLAG_KEYED;
            header.key = hash as u32;
            header.group = u32::from(GROUPS.group_of(hash).0);
        }
        builder.push(header, &encoded, format!("value-{i:018}").as_bytes(), b"");
        if builder.len() >= BATCH_BYTES {
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    batches
}

fn context() -> OperatorContext {
    let range = GROUPS.range_of(0, 1);
    OperatorContext {
        runtime: Arc::new(RuntimeContext {
            job_id: JobId(1),
            job_name: "rate".to_owned(),
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
        watermark: i64::MIN,
        processing_time: 0,
        metrics: Arc::new(OperatorMetrics::default()),
    }
}

fn operator(component: &str, function: &str) -> Result<FunctionOperator, String> {
    let data = std::env::temp_dir().join("wasmill-operator-rate");
    let registry = PluginRegistry::open(&data, CompileIn::ThisProcess, HostLimits::default())?;
    let bytes = std::fs::read(Path::new(component)).map_err(|e| format!("{component}: {e}"))?;
    let info = registry.upload("rate", &bytes).map_err(|e| e.to_string())?;
    let description = info.description.function(function);
    let description = description.ok_or_else(|| format!("{component} has no function `{function}`"))?;
    let functions = PluginFunctions::new(Arc::new(registry));
    let settings = JobSettings::default();
    let digest = info.digest.to_string();
    let blueprint = functions.blueprint(&digest, description, &Value::Null, &settings);
    Ok(FunctionOperator::new(blueprint.map_err(|e| e.to_string())?))
}

fn run(
    operator: &mut FunctionOperator,
    batches: &[Batch],
    context: &mut OperatorContext,
) -> Result<u64, String> {
    let mut emitted = 0;
    for batch in batches {
        let mut rest = batch.clone();
        while !rest.is_empty() {
            let mut out = Output::default();
            let consumed = operator
                .process(0, &rest, context, &mut out)
                .map_err(|e| e.to_string())?;
            rest = rest.skip(consumed);
            emitted += out.drain().map(|(_, rows)| u64::from(rows.rows())).sum::<u64>();
        }
    }
    Ok(emitted)
}

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [component, function, rest @ ..] = &args[..] else {
        return Err("operator_rate COMPONENT FUNCTION [KEYS] [RECORDS]".to_owned());
    };
    let number = |at: usize, default: u64| rest.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (keys, records) = (number(0, 100_000), number(1, 2_000_000));
    let mut operator = operator(component, function)?;
    let mut context = context();
    operator.open(&mut context, None).map_err(|e| e.to_string())?;
    let batches = batches(records, keys);
    for round in 0..5 {
        let started = Instant::now();
        let emitted = run(&mut operator, &batches, &mut context)?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "round {round}: {:.2} M records/s, {emitted} emitted",
            records as f64 / seconds / 1e6
        );
    }
    Ok(())
}
