//! What a guest answers to a frame, checked as a whole.
//!
//! Invariant: every byte here was written by a guest. An [`Answer`] exists only where all of it is valid:
//! applying it needs no further check and changes nothing that the call may not change.

mod decoder;

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use wasmill_engine::asynchronous::Request;
use wasmill_model::batch::Batch;
use wasmill_model::row::{FLAG_NULL, FLAG_TIMESTAMP, HEADER_LEN, KIND_ELEMENT, RowRef};
use wasmill_state::timers::TimeDomain;

use decoder::Decoder;

use super::cursor::{Cursor, Short};
use super::encode::PrefetchedState;
use super::{
    ANSWER_HEADER_LEN, OPTIONAL_SECTION, SECTION_ERROR, SECTION_METRICS, SECTION_OUTPUT, SECTION_REQUESTS,
    SECTION_SIDE, SECTION_STATE_WRITES, SECTION_TIMERS, SECTION_WRITES, VERSION, section_name,
};
use crate::journal::effects::{MetricKind, TimerOp};
use crate::journal::scope::CallScope;

/// What is wrong with an answer: the section, the place in it, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer: {0}")]
pub struct AnswerError(pub String);

/// Status of an entry of STATE.
pub const STATUS_READ: u8 = 1;
/// Status of an entry of STATE.
pub const STATUS_SET: u8 = 2;
/// Status of an entry of STATE.
pub const STATUS_CLEARED: u8 = 3;

/// A block of the answer's STATE that holds a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateBlock {
    /// Index among the prefetched states.
    pub index: usize,
    /// One status for each pair.
    pub statuses: Range<usize>,
    /// `u32` for each entry that is set.
    pub lengths: Range<usize>,
    /// Values of the entries that are set.
    pub values: Range<usize>,
}

/// Why the guest refused the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The row that it concerns.
    pub row: u32,
    /// Which kind of error.
    pub kind: RefusalKind,
    /// The guest's words.
    pub message: String,
}

/// As the cases of the typed family's `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Another attempt would fail in the same way.
    BadRecord,
    /// The same call may succeed later.
    Retry,
    /// The function cannot go on.
    Failed,
}

/// A valid answer.
#[derive(Debug)]
pub struct Answer {
    /// Bytes of all sections.
    pub bytes: Bytes,
    /// Rows consumed: at least 1, at most those of the frame.
    pub consumed: u32,
    /// Rows of the main output.
    pub output: Batch,
    /// Rows of side outputs.
    pub side: Batch,
    /// Writes of prefetched states.
    pub state: Vec<StateBlock>,
    /// Timers, in order.
    pub timers: Vec<TimerOp>,
    /// Writes of other states, checked.
    pub writes: Range<usize>,
    /// Metrics by number.
    pub metrics: Vec<(u32, f64)>,
    /// Requests, in order.
    pub requests: Vec<Request>,
}

/// What a guest said.
#[derive(Debug)]
pub enum Verdict {
    /// All effects of the call.
    Answer(Box<Answer>),
    /// No effect.
    Refusal(Refusal),
}

/// What the frame was that is answered.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Rows of the frame.
    pub rows: u32,
    /// Whether the rows are fired timers, and of which clock.
    pub fired: Option<TimeDomain>,
    /// States that travelled.
    pub prefetched: &'a [PrefetchedState],
}

/// Checks an answer. The bytes become the batches of its output without a copy.
pub fn decode(bytes: Bytes, question: Question<'_>, scope: &CallScope) -> Result<Verdict, AnswerError> {
    let limit = scope.limits().output_bytes_max;
    if bytes.len() > limit {
        scope.hit_output();
        return Err(AnswerError(format!(
            "{} bytes exceed the limit of {limit} for one result: raise the job's `limits.output-bytes-max`",
            bytes.len()
        )));
    }
    let header = Header::read(&bytes)?;
    let section = |tag| header.section(tag).unwrap_or(0..0);
    if let Some(range) = header.section(SECTION_ERROR) {
        return refusal(&bytes[range], question.rows)
            .map(Verdict::Refusal)
            .map_err(within(SECTION_ERROR));
    }
    if header.consumed == 0 || header.consumed > question.rows {
        return Err(AnswerError(format!(
            "header: {} rows consumed of {}; at least one and at most all are",
            header.consumed, question.rows
        )));
    }
    let decoder = Decoder {
        bytes: &bytes,
        consumed: header.consumed,
        question,
        scope,
    };
    if let Some(cause) = scope.last_cause.filter(|cause| *cause >= header.consumed) {
        return Err(AnswerError(format!(
            "header: {} rows consumed, but host-call emitted for row {cause}",
            header.consumed
        )));
    }
    let output = decoder
        .rows(section(SECTION_OUTPUT), 0..=0)
        .map_err(within(SECTION_OUTPUT))?;
    let side_outputs = scope.description().side_outputs.len() as u16;
    let side = decoder
        .rows(section(SECTION_SIDE), 1..=side_outputs)
        .map_err(within(SECTION_SIDE))?;
    let state = decoder
        .state(section(SECTION_STATE_WRITES))
        .map_err(within(SECTION_STATE_WRITES))?;
    let timers = decoder
        .timers(section(SECTION_TIMERS))
        .map_err(within(SECTION_TIMERS))?;
    decoder
        .writes(section(SECTION_WRITES))
        .map_err(within(SECTION_WRITES))?;
    let metrics = decoder
        .metrics(section(SECTION_METRICS))
        .map_err(within(SECTION_METRICS))?;
    let requests = decoder
        .requests(section(SECTION_REQUESTS))
        .map_err(within(SECTION_REQUESTS))?;
    Ok(Verdict::Answer(Box::new(Answer {
        requests,
        consumed: header.consumed,
        output,
        side,
        state,
        timers,
        writes: section(SECTION_WRITES),
        metrics,
        bytes,
    })))
}

fn within(tag: u32) -> impl Fn(String) -> AnswerError {
    move |message| AnswerError(format!("section {}, {message}", section_name(tag)))
}

fn short(error: Short) -> String {
    error.to_string()
}

struct Header {
    consumed: u32,
    sections: Vec<(u32, Range<usize>)>,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, AnswerError> {
        let short = |error: Short| AnswerError(format!("header: {error}"));
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u8().map_err(short)?;
        if version != VERSION {
            return Err(AnswerError(format!(
                "header: version {version}, this host reads version {VERSION}"
            )));
        }
        let flags = cursor.u8().map_err(short)?;
        if flags != 0 {
            return Err(AnswerError(format!("header: flags {flags:#04x}, none is known")));
        }
        let header_len = usize::from(cursor.u16().map_err(short)?);
        let consumed = cursor.u32().map_err(short)?;
        let count = cursor.u32().map_err(short)?;
        let Some(skipped) = header_len.checked_sub(cursor.at()) else {
            return Err(AnswerError(format!(
                "header: its length {header_len} is less than {ANSWER_HEADER_LEN}"
            )));
        };
        cursor.take(skipped).map_err(short)?;
        let mut sections = Vec::new();
        for _ in 0..count {
            let (tag, offset, length) = Self::entry(&mut cursor).map_err(short)?;
            let range = offset..offset + length;
            if range.end > bytes.len() {
                return Err(AnswerError(format!(
                    "directory: section {} ({tag}) at {offset} of {length} bytes exceeds the {} bytes of the answer",
                    section_name(tag),
                    bytes.len()
                )));
            }
            if sections.iter().any(|(known, _)| *known == tag) {
                return Err(AnswerError(format!(
                    "directory: section {} ({tag}) is there twice",
                    section_name(tag)
                )));
            }
            if section_name(tag) == "unknown" {
                if tag & OPTIONAL_SECTION == 0 {
                    return Err(AnswerError(format!(
                        "directory: section {tag} is unknown and not optional"
                    )));
                }
                continue;
            }
            sections.push((tag, range));
        }
        Ok(Self { consumed, sections })
    }

    fn entry(cursor: &mut Cursor<'_>) -> Result<(u32, usize, usize), Short> {
        Ok((cursor.u32()?, cursor.u32()? as usize, cursor.u32()? as usize))
    }

    fn section(&self, tag: u32) -> Option<Range<usize>> {
        self.sections
            .iter()
            .find(|(known, _)| *known == tag)
            .map(|(_, range)| range.clone())
    }
}

fn refusal(section: &[u8], rows: u32) -> Result<Refusal, String> {
    let mut cursor = Cursor::new(section);
    let row = cursor.u32().map_err(short)?;
    let code = cursor.u32().map_err(short)?;
    if row >= rows {
        return Err(format!("row {row} is not one of the {rows} rows of the frame"));
    }
    let kind = match code {
        1 => RefusalKind::BadRecord,
        2 => RefusalKind::Retry,
        3 => RefusalKind::Failed,
        _ => return Err(format!("there is no kind of error {code}; they are 1 to 3")),
    };
    let message = String::from_utf8_lossy(cursor.rest()).into_owned();
    Ok(Refusal { row, kind, message })
}

/// Checks one emitted row, which may go to `ports` and name `rows` rows as its cause. Gives its cause.
#[inline]
pub fn check_row(row: RowRef<'_>, ports: &RangeInclusive<u16>, rows: u32) -> Result<u32, String> {
    if row.kind() != KIND_ELEMENT {
        return Err(format!(
            "kind {}; emitted rows are elements, kind {KIND_ELEMENT}",
            row.kind()
        ));
    }
    if row.flags() & !(FLAG_TIMESTAMP | FLAG_NULL) != 0 {
        return Err(format!(
            "flags {:#04x}; an emitted row may have a timestamp (1) and a null value (4)",
            row.flags()
        ));
    }
    if row.len() != HEADER_LEN + row.value().len() {
        return Err(
            "it holds more than its header and value; emitted rows have no key and no extension".to_owned(),
        );
    }
    if row.is_null() && !row.value().is_empty() {
        return Err("a null value that is not empty".to_owned());
    }
    if !ports.contains(&row.port()) {
        return Err(format!(
            "port {}; the main output is 0, side output n of `describe` is n + 1 and goes into section SIDE",
            row.port()
        ));
    }
    if row.group_field() != 0 && row.port() == 0 {
        return Err(format!(
            "group {}; it is 0 in rows of the main output",
            row.group_field()
        ));
    }
    let cause = row.key_field();
    if cause >= rows {
        return Err(format!(
            "it is caused by row {cause}, which is not one of the {rows} rows consumed"
        ));
    }
    Ok(cause)
}

/// Checks a value for a metric.
pub fn check_metric(kind: MetricKind, value: f64) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("a metric of {value}; it must be finite"));
    }
    if kind == MetricKind::Counter && value < 0.0 {
        return Err(format!("a counter cannot go down by {}", -value));
    }
    Ok(())
}
