//! The functions of the simulated job: ordinary implementations of the product's operator.
//!
//! (pass →) (ask →) count (value state, a timer a key) → gather (map and list state, a timer a key) → buffer (operator
//! state); at times also two functions of two inputs. What they emit does not depend on the order in which records meet.

pub(crate) mod ask;
mod buffer;
mod count;
mod gather;
mod pass;
pub(crate) mod several;

use serde_json::Value;
use wasmill_engine::asynchronous::AsyncFunction;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::registry::{CustomPartitioner, FunctionPlace, FunctionProvider};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::function::{FunctionDescription, StateDeclaration, StateKind};
use wasmill_model::graph::{FunctionRef, JobSettings};
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::row::RowHeader;
use wasmill_state::backend::{Locator, NONE, StateId, StateKey, Values};
use wasmill_state::timers::{TimeDomain, Timer, TimerBytes};

use crate::sink::{Shared, injected};

/// Makes the functions by their names.
pub(crate) struct Functions {
    pub(crate) external: Shared,
    /// Bytes by which values are longer than they need be.
    pub(crate) padding: usize,
    /// Whether no record may come at or behind a watermark.
    pub(crate) never_late: bool,
}

impl FunctionProvider for Functions {
    fn operator(
        &self,
        _: &str,
        description: &FunctionDescription,
        _: &Value,
        _: &JobSettings,
    ) -> Result<Box<dyn Operator>, TaskError> {
        match description.name.as_str() {
            "count" => Ok(Box::new(count::Count::new(
                self.external.clone(),
                self.padding,
                self.never_late,
            ))),
            "pass" => Ok(Box::new(pass::Pass)),
            "gather" => Ok(Box::new(gather::Gather::new(self.external.clone()))),
            "both" => Ok(Box::new(several::Both::new(self.external.clone()))),
            "known" => Ok(Box::new(several::Known::new(self.external.clone())?)),
            "buffer" => Ok(Box::new(buffer::Buffer::default())),
            other => Err(TaskError::user(format!("there is no function `{other}`"))),
        }
    }

    fn async_function(&self, _: &FunctionRef, _: &JobSettings) -> Result<Box<dyn AsyncFunction>, TaskError> {
        Ok(Box::new(ask::Ask))
    }

    fn partitioner(
        &self,
        _: &FunctionRef,
        _: &FunctionPlace,
    ) -> Result<Box<dyn CustomPartitioner>, TaskError> {
        Ok(Box::new(pass::ByRecord))
    }
}

fn fail_at_times(external: &Shared, what: &str) -> Result<(), TaskError> {
    match external.lock().unwrap().fails() {
        true => Err(injected(what)),
        false => Ok(()),
    }
}

fn declare(context: &mut OperatorContext, name: &str, kind: StateKind) -> Result<StateId, TaskError> {
    let declaration = StateDeclaration {
        name: name.to_owned(),
        kind,
        encoding: "u64-le".to_owned(),
        schema: Value::Null,
        schema_version: 1,
        migrates_from: None,
        prefetch: None,
        reduce: None,
        per_window: false,
        ttl: None,
    };
    Ok(context.state.register(&declaration)?)
}

fn state_key<'a>(group: KeyGroup, key: &'a [u8]) -> StateKey<'a> {
    StateKey {
        group,
        hash: key::hash(key) as u32,
        key,
        namespace: &[],
        map_key: &[],
    }
}

/// A number of value or map state, 0 where there is none, and where it was found.
fn number(
    state: StateId,
    key: StateKey<'_>,
    context: &mut OperatorContext,
) -> Result<(u64, Locator), TaskError> {
    let mut values = Values::default();
    context.state.get_many(state, &[key], &mut values)?;
    let number = match values.lengths[0] {
        NONE => 0,
        _ => u64::from_le_bytes(values.bytes[..8].try_into().unwrap()),
    };
    Ok((number, values.locators[0]))
}

/// At the end of input, the only watermark of the job.
fn timer_at_end(context: &mut OperatorContext, group: KeyGroup, key: &[u8]) {
    let timer = Timer {
        timestamp: 1_000,
        group,
        key: key.into(),
        namespace: TimerBytes::default(),
    };
    context.timers.register(TimeDomain::Event, &timer);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn emit(out: &mut BatchBuilder, text: &str) {
    out.push(RowHeader::element(None), b"", text.as_bytes(), b"");
}
