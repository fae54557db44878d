//! Rolling aggregations on a keyed stream of JSON objects (G7).
//!
//! As in Flink, `sum`, `min` and `max` replace the field in the first record of the key and keep its
//! other fields; `min-by` and `max-by` keep the record that won. Every record emits the new accumulator.
//! `count` does not look into the record, whatever its format, and allocates nothing for one.

use std::io;

use serde_json::{Number, Value};
use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::graph::{RollingAggregation, Tie};
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::row::{RowHeader, RowRef};
use wasmill_state::backend::{Locator, StateId, StateKey, Values, Write};

use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;

/// One rolling aggregation.
pub struct RollingOperator {
    aggregation: RollingAggregation,
    state: Option<StateId>,
    stored: Values,
    /// The record that `count` is about to emit.
    emitted: Vec<u8>,
}

impl RollingOperator {
    /// Of the given kind.
    pub fn new(aggregation: RollingAggregation) -> Self {
        Self {
            aggregation,
            state: None,
            stored: Values::default(),
            emitted: Vec::new(),
        }
    }

    fn declaration(&self) -> StateDeclaration {
        let encoding = if matches!(self.aggregation, RollingAggregation::Count) {
            "u64-le"
        } else {
            "json"
        };
        StateDeclaration {
            name: "rolling".to_owned(),
            kind: StateKind::Reducing,
            encoding: encoding.to_owned(),
            schema: Value::Null,
            schema_version: 1,
            migrates_from: None,
            prefetch: None,
            reduce: None,
            per_window: false,
            ttl: None,
        }
    }
}

/// The record that a rolling aggregation by a field makes of the one kept so far, if any, and a new one.
pub(crate) fn reduce_records(
    aggregation: &RollingAggregation,
    stored: Option<&[u8]>,
    record: &[u8],
) -> Result<Vec<u8>, String> {
    let (RollingAggregation::Sum(field)
    | RollingAggregation::Min(field)
    | RollingAggregation::Max(field)
    | RollingAggregation::MinBy(field, _)
    | RollingAggregation::MaxBy(field, _)) = aggregation
    else {
        return Err("a count is no reduction of records".to_owned());
    };
    let parsed: Value = serde_json::from_slice(record).map_err(|e| format!("it is no JSON: {e}"))?;
    let new = number(&parsed, field)?;
    let Some(stored) = stored else {
        return Ok(record.to_vec());
    };
    let mut kept: Value =
        serde_json::from_slice(stored).map_err(|e| format!("its accumulator is no JSON: {e}"))?;
    let old = number(&kept, field)?;
    let less = compare(&new, &old).is_lt();
    let equal = compare(&new, &old).is_eq();
    match aggregation {
        RollingAggregation::Sum(_) => kept[field] = Value::Number(sum(&old, &new)?),
        RollingAggregation::Min(_) if less => kept[field] = Value::Number(new),
        RollingAggregation::Max(_) if !less && !equal => kept[field] = Value::Number(new),
        RollingAggregation::MinBy(_, tie) if less || (equal && *tie == Tie::Last) => kept = parsed,
        RollingAggregation::MaxBy(_, tie) if (!less && !equal) || (equal && *tie == Tie::Last) => {
            kept = parsed
        }
        _ => {}
    }
    Ok(kept.to_string().into_bytes())
}

/// The new count of the row's key; writes the record that says so.
fn count(stored: Option<&[u8]>, row: RowRef<'_>, emitted: &mut Vec<u8>) -> io::Result<u64> {
    let before = stored
        .and_then(|s| s.try_into().ok())
        .map_or(0, u64::from_le_bytes);
    let after = before.saturating_add(1);
    emitted.clear();
    emitted.extend_from_slice(b"{\"key\":");
    let key = String::from_utf8_lossy(key::body(row.key().unwrap_or_default()));
    serde_json::to_writer(&mut *emitted, key.as_ref())?;
    emitted.extend_from_slice(b",\"count\":");
    serde_json::to_writer(&mut *emitted, &after)?;
    emitted.push(b'}');
    Ok(after)
}

fn number(record: &Value, field: &str) -> Result<Number, String> {
    match record.get(field) {
        Some(Value::Number(number)) => Ok(number.clone()),
        Some(other) => Err(format!("its field `{field}` is {other}, not a number")),
        None => Err(format!("it has no field `{field}`")),
    }
}

/// Integers are compared exactly, others as floats; NaN cannot occur in JSON.
fn compare(a: &Number, b: &Number) -> std::cmp::Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
    }
}

/// Integers wrap as Java's `long` does in Flink; a float makes the sum one.
fn sum(a: &Number, b: &Number) -> Result<Number, String> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return Ok(a.wrapping_add(b).into());
    }
    let total = a.as_f64().unwrap_or(0.0) + b.as_f64().unwrap_or(0.0);
    Number::from_f64(total).ok_or_else(|| "its sum exceeds what a JSON number can hold".to_owned())
}

impl Operator for RollingOperator {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.state = Some(context.state.register(&self.declaration())?);
        Ok(())
    }

    fn process(
        &mut self,
        _port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let state = self.state.ok_or_else(|| TaskError::host("rolling: not opened"))?;
        let mut results = BatchBuilder::with_capacity(batch.bytes().len());
        for row in batch {
            let encoded = row
                .key()
                .ok_or_else(|| TaskError::host("rolling: a record without a key"))?;
            let key = StateKey {
                group: KeyGroup(row.group_field() as u16),
                hash: row.key_field(),
                key: encoded,
                namespace: &[],
                map_key: &[],
            };
            self.stored.clear();
            context.state.get_many(state, &[key], &mut self.stored)?;
            let before = (self.stored.lengths.first() != Some(&wasmill_state::backend::NONE))
                .then_some(&*self.stored.bytes);
            let locator = self.stored.locators.first().copied().unwrap_or(Locator::UNKNOWN);
            let mut write = |value: &[u8]| {
                let value = Some(value);
                context.state.write_batch(state, &[Write { key, locator, value }])
            };
            if matches!(self.aggregation, RollingAggregation::Count) {
                let after =
                    count(before, row, &mut self.emitted).map_err(|e| TaskError::host(e.to_string()))?;
                write(&after.to_le_bytes())?;
                results.push_caused(RowHeader::element(row.timestamp()), &self.emitted, row.cause());
                continue;
            }
            let kept = reduce_records(&self.aggregation, before, row.value()).map_err(|message| {
                let record: String = String::from_utf8_lossy(row.value()).chars().take(200).collect();
                TaskError::user(format!(
                    "rolling aggregation: the record cannot be used: {message}; record {record:?}"
                ))
            })?;
            write(&kept)?;
            results.push_caused(RowHeader::element(row.timestamp()), &kept, row.cause());
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(aggregation: RollingAggregation, records: &[&str]) -> Vec<String> {
        let mut stored: Option<Vec<u8>> = None;
        let mut emitted = Vec::new();
        for record in records {
            let kept = reduce_records(&aggregation, stored.as_deref(), record.as_bytes()).unwrap();
            emitted.push(String::from_utf8(kept.clone()).unwrap());
            stored = Some(kept);
        }
        emitted
    }

    #[test]
    fn sum_keeps_the_other_fields_of_the_first_record() {
        let out = run(
            RollingAggregation::Sum("v".into()),
            &[r#"{"v":1,"x":"a"}"#, r#"{"v":2,"x":"b"}"#],
        );
        assert_eq!(out, [r#"{"v":1,"x":"a"}"#, r#"{"v":3,"x":"a"}"#]);
    }

    #[test]
    fn min_by_keeps_the_first_or_the_last_of_equals() {
        let records = [r#"{"v":1,"x":"a"}"#, r#"{"v":1,"x":"b"}"#, r#"{"v":2,"x":"c"}"#];
        let first = run(RollingAggregation::MinBy("v".into(), Tie::First), &records);
        assert_eq!(first, [records[0], records[0], records[0]]);
        let last = run(RollingAggregation::MinBy("v".into(), Tie::Last), &records);
        assert_eq!(last, [records[0], records[1], records[1]]);
    }

    #[test]
    fn max_replaces_the_field_only() {
        let out = run(
            RollingAggregation::Max("v".into()),
            &[r#"{"v":1,"x":"a"}"#, r#"{"v":5,"x":"b"}"#, r#"{"v":2}"#],
        );
        assert_eq!(
            out,
            [r#"{"v":1,"x":"a"}"#, r#"{"v":5,"x":"a"}"#, r#"{"v":5,"x":"a"}"#]
        );
    }

    #[test]
    fn count_counts() {
        let mut builder = BatchBuilder::default();
        let header = RowHeader {
            flags: wasmill_model::row::FLAG_KEYED,
            ..RowHeader::element(None)
        };
        builder.push(header, b"bk", b"x", b"");
        let batch = builder.finish();
        let (row, mut emitted) = (batch.iter().next().unwrap(), Vec::new());
        assert_eq!(count(None, row, &mut emitted).unwrap(), 1);
        assert_eq!(emitted, br#"{"key":"k","count":1}"#);
        assert_eq!(count(Some(&1u64.to_le_bytes()), row, &mut emitted).unwrap(), 2);
        assert_eq!(emitted, br#"{"key":"k","count":2}"#);
    }
}
