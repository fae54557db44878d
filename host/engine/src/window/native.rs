//! Window functions of the host itself: count, reductions by a field of JSON, and all elements as one record.
//!
//! As in Flink a reduction emits a record alone, without key and window; the others say both.

use wasmill_model::function::Format;
use wasmill_model::graph::RollingAggregation;
use wasmill_model::key;

use super::bounds::Window;
use super::element::Element;
use super::function::{
    AccumulatorEncoding, Accumulators, ElementsCall, ElementsFunction, ElementsStep, IncrementalCall,
    IncrementalFunction, MergeAccumulators, Step,
};
use super::panes::PaneId;
use crate::builtin::reduce_records;
use crate::error::TaskError;

/// How many elements a window has: `{"key":…,"start":…,"end":…,"count":…}`. The global window has neither start nor
/// end.
pub struct WindowCount;

impl IncrementalFunction for WindowCount {
    fn accumulator(&self) -> AccumulatorEncoding {
        AccumulatorEncoding::named("u64-le")
    }

    fn merging(&mut self) -> Option<&mut dyn MergeAccumulators> {
        Some(self)
    }

    fn run(&mut self, call: IncrementalCall<'_, '_, '_>) -> Result<(), TaskError> {
        let mut result = Vec::new();
        for step in call.steps {
            match step {
                Step::Add { pane, .. } => add(call.accumulators, *pane, 1)?,
                Step::Merge { target, sources } => {
                    for source in &call.sources[sources.clone()] {
                        if let Some(count) = count(call.accumulators, *source)? {
                            call.accumulators.remove(*source);
                            add(call.accumulators, *target, count)?;
                        }
                    }
                }
                Step::Fire {
                    pane,
                    window,
                    step,
                    even_empty,
                    ..
                } => {
                    let empty = even_empty.then_some(0);
                    if let Some(count) = count(call.accumulators, *pane)?.or(empty) {
                        begin(&mut result, call.panes.key_bytes(*pane), *window)?;
                        result.extend_from_slice(b",\"count\":");
                        write_number(&mut result, false, count);
                        result.push(b'}');
                        call.out.emit(*step, 0, Some(window.max_timestamp()), &result);
                    }
                }
                Step::Purge { pane } => call.accumulators.remove(*pane),
                Step::Clear { .. } => {}
            }
        }
        Ok(())
    }
}

impl MergeAccumulators for WindowCount {
    fn merge(&mut self, into: &mut Vec<u8>, from: &[u8]) -> Result<(), TaskError> {
        let sum = stored_count(into)?.saturating_add(stored_count(from)?);
        into.copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }
}

fn count(accumulators: &Accumulators, pane: PaneId) -> Result<Option<u64>, TaskError> {
    let Some(bytes) = accumulators.get(pane) else {
        return Ok(None);
    };
    stored_count(bytes).map(Some)
}

fn stored_count(bytes: &[u8]) -> Result<u64, TaskError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| TaskError::host("the stored count of a window has not 8 bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn add(accumulators: &mut Accumulators, pane: PaneId, by: u64) -> Result<(), TaskError> {
    let count = count(accumulators, pane)?.unwrap_or(0).saturating_add(by);
    match accumulators.get_mut(pane) {
        Some(stored) => stored.copy_from_slice(&count.to_le_bytes()),
        None => accumulators.set(pane, &count.to_le_bytes()),
    }
    Ok(())
}

/// A reduction of JSON records by one of their fields: a rolling aggregation over the elements of a window.
pub struct WindowReduce(pub RollingAggregation);

impl IncrementalFunction for WindowReduce {
    fn accumulator(&self) -> AccumulatorEncoding {
        AccumulatorEncoding::named("json")
    }

    fn run(&mut self, call: IncrementalCall<'_, '_, '_>) -> Result<(), TaskError> {
        for step in call.steps {
            match step {
                Step::Add { pane, element } => self.reduce(call.accumulators, *pane, element.value)?,
                Step::Merge { target, sources } => {
                    let mut parts = call.sources[sources.clone()].iter();
                    let Some(whole) = parts.find(|part| call.accumulators.get(**part).is_some()) else {
                        continue;
                    };
                    for part in parts {
                        self.move_into(call.accumulators, *whole, *part)?;
                    }
                    self.move_into(call.accumulators, *target, *whole)?;
                }
                Step::Fire {
                    pane, window, step, ..
                } => {
                    if let Some(record) = call.accumulators.get(*pane) {
                        call.out.emit(*step, 0, Some(window.max_timestamp()), record);
                    }
                }
                Step::Purge { pane } => call.accumulators.remove(*pane),
                Step::Clear { .. } => {}
            }
        }
        Ok(())
    }
}

impl WindowReduce {
    fn move_into(
        &self,
        accumulators: &mut Accumulators,
        target: PaneId,
        source: PaneId,
    ) -> Result<(), TaskError> {
        if let Some(record) = accumulators.get(source).map(<[u8]>::to_vec) {
            accumulators.remove(source);
            self.reduce(accumulators, target, &record)?;
        }
        Ok(())
    }

    fn reduce(&self, accumulators: &mut Accumulators, pane: PaneId, record: &[u8]) -> Result<(), TaskError> {
        let reduced = reduce_records(&self.0, accumulators.get(pane), record).map_err(|message| {
            let record: String = String::from_utf8_lossy(record).chars().take(200).collect();
            TaskError::user(format!(
                "window reduction: the record cannot be used: {message}; record {record:?}"
            ))
        })?;
        accumulators.set(pane, &reduced);
        Ok(())
    }
}

/// All elements of a window: `{"key":…,"start":…,"end":…,"elements":[…]}`; those that are no JSON as texts.
pub struct Collect {
    /// Of the elements.
    pub format: Format,
}

impl ElementsFunction for Collect {
    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        let mut result = Vec::new();
        for fired in call.steps {
            let ElementsStep::Fire {
                pane,
                window,
                step,
                elements,
            } = fired
            else {
                continue;
            };
            begin(&mut result, call.panes.key_bytes(*pane), *window)?;
            result.extend_from_slice(b",\"elements\":");
            let mut separator = b'[';
            for element in &call.elements[elements.clone()] {
                result.push(std::mem::replace(&mut separator, b','));
                self.write(&mut result, element)?;
            }
            result.extend_from_slice(if separator == b'[' { b"[]}" } else { b"]}" });
            call.out.emit(*step, 0, Some(window.max_timestamp()), &result);
        }
        Ok(())
    }
}

impl Collect {
    fn write(&self, out: &mut Vec<u8>, element: &Element<'_>) -> Result<(), TaskError> {
        match (element.is_null, self.format) {
            (true, _) => out.extend_from_slice(b"null"),
            (false, Format::Json) => out.extend_from_slice(element.value),
            (false, _) => write_text(out, element.value)?,
        }
        Ok(())
    }
}

/// `{"key":…,"start":…,"end":…`
pub(crate) fn begin(out: &mut Vec<u8>, encoded_key: &[u8], window: Window) -> Result<(), TaskError> {
    out.clear();
    out.extend_from_slice(b"{\"key\":");
    write_text(out, key::body(encoded_key))?;
    if let Window::Time { start, end } = window {
        out.extend_from_slice(b",\"start\":");
        write_number(out, start < 0, start.unsigned_abs());
        out.extend_from_slice(b",\"end\":");
        write_number(out, end < 0, end.unsigned_abs());
    }
    Ok(())
}

/// Results are mostly numbers, and formatting by the standard library was a tenth of what a result costs.
fn write_number(out: &mut Vec<u8>, is_negative: bool, mut rest: u64) {
    let (mut digits, mut start) = ([0; 20], 20);
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if is_negative {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), TaskError> {
    serde_json::to_writer(out, &String::from_utf8_lossy(text)).map_err(host)
}

fn host(error: impl std::fmt::Display) -> TaskError {
    TaskError::host(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 7, -1, 10, -908, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_number(&mut out, number < 0, number.unsigned_abs());
            assert_eq!(out, number.to_string().as_bytes());
        }
        let mut out = Vec::new();
        write_number(&mut out, false, u64::MAX);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
