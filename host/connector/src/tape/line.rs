//! One line of a tape, and the lines of a file.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use wasmill_engine::error::TaskError;
use wasmill_engine::source::SourceSignal;
use wasmill_model::time::{TimeSignal, Timestamp};

/// A tape is read whole: longer ones are refused.
const TAPE_BYTES_MAX: u64 = 1 << 30;

/// What one line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// Something of one input.
    Of {
        /// From 1.
        input: u32,
        /// What.
        what: What,
    },
    /// The clock moves.
    Clock(Timestamp),
}

/// What an input says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A record.
    Record {
        /// Event time.
        timestamp: Timestamp,
        /// Its fields, without those that are the tape's own.
        value: String,
    },
    /// A watermark or a status.
    Signal(SourceSignal),
}

/// Reads a tape; the error names the line.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, TaskError> {
    let fail = |e: std::io::Error| TaskError::external(format!("tape: {}: {e}", path.display()));
    let length = fs::metadata(path).map_err(fail)?.len();
    if length > TAPE_BYTES_MAX {
        return Err(TaskError::user(format!(
            "tape: {} has {length} bytes, more than the {TAPE_BYTES_MAX} that a tape may have: cut it",
            path.display()
        )));
    }
    let text = fs::read_to_string(path).map_err(fail)?;
    let lines = text.lines().enumerate().map(|(number, text)| {
        parse(number as u64, text).map_err(|what| {
            let shown: String = text.chars().take(200).collect();
            TaskError::user(format!(
                "tape: {}: line {number} (counted from 0): {what}: {shown}",
                path.display()
            ))
        })
    });
    lines.collect()
}

fn parse(number: u64, text: &str) -> Result<Line, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| format!("it is no JSON object: {e}"))?;
    if let Some(time) = fields.get("processing-time") {
        return Ok(Line::Clock(integer("processing-time", time)?));
    }
    let input = match fields.shift_remove("input") {
        None => 1,
        Some(input) => u32::try_from(integer("input", &input)?)
            .ok()
            .filter(|input| *input > 0)
            .ok_or("`input` must be 1 or more")?,
    };
    let what = if let Some(ts) = fields.shift_remove("ts") {
        fields.insert("n".to_owned(), number.into());
        What::Record {
            timestamp: integer("ts", &ts)?,
            value: Value::Object(fields).to_string(),
        }
    } else if let Some(time) = fields.get("watermark") {
        What::Signal(SourceSignal::Time(TimeSignal::Watermark(integer(
            "watermark",
            time,
        )?)))
    } else {
        match fields.get("status").and_then(Value::as_str) {
            Some("idle") => What::Signal(SourceSignal::Time(TimeSignal::Idle)),
            Some("active") => What::Signal(SourceSignal::Time(TimeSignal::Active)),
            _ => {
                return Err(
                    "it has none of `ts`, `watermark`, `status` (`idle` or `active`), `processing-time`"
                        .to_owned(),
                );
            }
        }
    };
    Ok(Line::Of { input, what })
}

fn integer(field: &str, value: &Value) -> Result<i64, String> {
    value
        .as_i64()
        .ok_or_else(|| format!("`{field}` must be an integer of 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_own_fields_in_order_and_its_line() {
        let line = parse(7, r#"{"ts":-5,"key":"k","value":3,"op":"add","input":2}"#).unwrap();
        let value = r#"{"key":"k","value":3,"op":"add","n":7}"#.to_owned();
        let what = What::Record { timestamp: -5, value };
        assert_eq!(line, Line::Of { input: 2, what });
    }

    #[test]
    fn what_a_line_does_not_say_is_told() {
        let error = |text: &str| parse(0, text).unwrap_err();
        assert!(error("[]").contains("no JSON object"));
        assert!(error("{}").contains("none of `ts`"));
        assert!(error(r#"{"status":"asleep"}"#).contains("none of `ts`"));
        assert!(error(r#"{"watermark":1.5}"#).contains("`watermark` must be an integer"));
        assert!(error(r#"{"ts":1,"input":0}"#).contains("`input` must be 1 or more"));
        assert!(error(r#"{"processing-time":"soon"}"#).contains("`processing-time`"));
    }
}
