//! The sections of an answer, each checked against the call that it answers.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use wasmill_engine::asynchronous::Request;
use wasmill_model::batch::Batch;
use wasmill_model::row::RowError;
use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::{Question, STATUS_CLEARED, STATUS_SET, StateBlock, check_metric, check_row, short};
use crate::frame::cursor::Cursor;
use crate::frame::writes;
use crate::journal::effects::{MetricKind, TimerOp};
use crate::journal::keys::NONE;
use crate::journal::scope::CallScope;

/// What is wrong with an emitted row.
enum RowFault {
    Bytes(RowError),
    Content(String),
}

impl From<RowError> for RowFault {
    fn from(error: RowError) -> Self {
        Self::Bytes(error)
    }
}

impl From<String> for RowFault {
    fn from(error: String) -> Self {
        Self::Content(error)
    }
}

pub(super) struct Decoder<'a> {
    pub(super) bytes: &'a Bytes,
    pub(super) consumed: u32,
    pub(super) question: Question<'a>,
    pub(super) scope: &'a CallScope,
}

impl Decoder<'_> {
    /// Rows of a section; `ports` as in [`check_row`].
    pub(super) fn rows(&self, range: Range<usize>, ports: RangeInclusive<u16>) -> Result<Batch, String> {
        if range.is_empty() {
            return Ok(Batch::default());
        }
        let mut index = 0u32;
        let record_bytes_max = self.scope.limits().record_bytes_max;
        let checked = Batch::from_checked(self.bytes.slice(range), |row| {
            let row = row.map_err(RowFault::Bytes)?;
            check_row(row, &ports, self.consumed)?;
            if row.value().len() > record_bytes_max {
                self.scope.check_size("a value", row.value().len())?;
            }
            index += 1;
            Ok(())
        });
        checked.map_err(|fault: RowFault| match fault {
            RowFault::Bytes(error) => format!("row {index}: {error}"),
            RowFault::Content(error) => format!("row {index}: {error}"),
        })
    }

    pub(super) fn state(&self, range: Range<usize>) -> Result<Vec<StateBlock>, String> {
        let end = range.end;
        let mut cursor = Cursor::new(&self.bytes[..end]);
        cursor.take(range.start).map_err(short)?;
        let (mut blocks, mut next, mut number) = (Vec::new(), 0, 0);
        while !cursor.is_done() {
            let block = self.block(&mut cursor, &mut next);
            blocks.push(block.map_err(|error| format!("block {number}: {error}"))?);
            number += 1;
        }
        Ok(blocks)
    }

    /// Reads one block; `next` is the index of the first prefetched state that may still come.
    fn block(&self, cursor: &mut Cursor<'_>, next: &mut usize) -> Result<StateBlock, String> {
        let slot = cursor.u32().map_err(short)?;
        let count = cursor.u32().map_err(short)? as usize;
        let left = self.question.prefetched.get(*next..).unwrap_or_default();
        let Some(found) = left.iter().position(|state| state.slot == slot) else {
            return Err(format!(
                "slot {slot} did not travel in the frame, or its block is out of order"
            ));
        };
        let index = *next + found;
        *next = index + 1;
        let entries = self.scope.keys.entry_count(left[found].by_key);
        if count != entries {
            return Err(format!("{count} entries where the frame had {entries}"));
        }
        let statuses_at = cursor.at();
        let statuses = cursor.take(count).map_err(short)?;
        let mut set = 0;
        for (entry, status) in statuses.iter().enumerate() {
            if *status > STATUS_CLEARED {
                return Err(format!(
                    "entry {entry}: there is no status {status}; they are 0 to 3"
                ));
            }
            set += usize::from(*status == STATUS_SET);
        }
        let lengths_at = cursor.at();
        let lengths = Cursor::new(cursor.take(set * 4).map_err(short)?);
        let bytes = self.lengths(lengths)?;
        let values_at = cursor.at();
        cursor.take(bytes).map_err(short)?;
        Ok(StateBlock {
            index,
            statuses: statuses_at..lengths_at,
            lengths: lengths_at..values_at,
            values: values_at..cursor.at(),
        })
    }

    /// The sum of lengths, each within the limit.
    fn lengths(&self, mut lengths: Cursor<'_>) -> Result<usize, String> {
        let (mut sum, limit) = (0, self.scope.limits().record_bytes_max);
        while let Ok(length) = lengths.u32() {
            let length = length as usize;
            if length > limit {
                self.scope.check_size("a value", length)?;
            }
            sum += length;
        }
        Ok(sum)
    }

    pub(super) fn timers(&self, range: Range<usize>) -> Result<Vec<TimerOp>, String> {
        let mut cursor = Cursor::new(&self.bytes[range]);
        let mut timers = Vec::new();
        while !cursor.is_done() {
            let number = timers.len();
            let timer = self
                .timer(&mut cursor)
                .map_err(|error| format!("entry {number}: {error}"))?;
            timers.push(timer);
        }
        Ok(timers)
    }

    fn timer(&self, cursor: &mut Cursor<'_>) -> Result<TimerOp, String> {
        self.scope.check_timers()?;
        let row = cursor.u32().map_err(short)?;
        let (op, domain) = (cursor.u8().map_err(short)?, cursor.u8().map_err(short)?);
        cursor.take(2).map_err(short)?;
        let namespace = cursor.u32().map_err(short)?;
        cursor.take(4).map_err(short)?;
        let timestamp = cursor.i64().map_err(short)?;
        let key = (row < self.consumed)
            .then(|| self.scope.keys.key_of_row(row))
            .flatten()
            .ok_or_else(|| {
                format!(
                    "row {row} is not a keyed row among the {} rows consumed",
                    self.consumed
                )
            })?;
        if namespace != NONE && !self.scope.keys.contains(key, namespace) {
            return Err(format!("there is no namespace {namespace} in this frame"));
        }
        let register = match op {
            1 => true,
            2 => false,
            _ => return Err(format!("there is no operation {op}; 1 registers, 2 deletes")),
        };
        let domain = match domain {
            1 => TimeDomain::Event,
            2 => TimeDomain::Processing,
            _ => {
                return Err(format!(
                    "there is no domain {domain}; 1 is event time, 2 processing time"
                ));
            }
        };
        self.check_order(row, domain, timestamp)?;
        Ok(TimerOp {
            register,
            domain,
            key,
            namespace,
            timestamp,
        })
    }

    /// A timer that changes what is due must be the last one that was consumed.
    fn check_order(&self, row: u32, domain: TimeDomain, timestamp: Timestamp) -> Result<(), String> {
        let clock = match domain {
            TimeDomain::Event => self.scope.clocks.watermark,
            TimeDomain::Processing => self.scope.clocks.processing_time,
        };
        if self.question.fired == Some(domain) && timestamp <= clock && row + 1 != self.consumed {
            return Err(format!(
                "the timer of row {row} changes what is due at {clock}, but {} rows were consumed: a guest stops after such a row",
                self.consumed
            ));
        }
        Ok(())
    }

    pub(super) fn writes(&self, range: Range<usize>) -> Result<(), String> {
        let mut cursor = Cursor::new(&self.bytes[range]);
        let mut number = 0;
        while !cursor.is_done() {
            let entry = writes::read(&mut cursor).map_err(|error| format!("entry {number}: {error}"))?;
            writes::check(&entry, self.consumed, self.scope)
                .map_err(|error| format!("entry {number}: {error}"))?;
            number += 1;
        }
        Ok(())
    }

    pub(super) fn metrics(&self, range: Range<usize>) -> Result<Vec<(u32, f64)>, String> {
        let mut cursor = Cursor::new(&self.bytes[range]);
        let mut metrics = Vec::new();
        while !cursor.is_done() {
            let metric = self
                .metric(&mut cursor)
                .map_err(|error| format!("entry {}: {error}", metrics.len()))?;
            metrics.push(metric);
        }
        Ok(metrics)
    }

    pub(super) fn requests(&self, range: Range<usize>) -> Result<Vec<Request>, String> {
        let end = range.end;
        let mut cursor = Cursor::new(&self.bytes[..end]);
        cursor.take(range.start).map_err(short)?;
        let mut requests = Vec::new();
        while !cursor.is_done() {
            let number = requests.len();
            let request = self.request(&mut cursor);
            requests.push(request.map_err(|error| format!("entry {number}: {error}"))?);
        }
        Ok(requests)
    }

    fn request(&self, cursor: &mut Cursor<'_>) -> Result<Request, String> {
        let start = cursor.at();
        let length = cursor.u32().map_err(short)? as usize;
        let row = cursor.u32().map_err(short)?;
        let request_len = cursor.u32().map_err(short)? as usize;
        if row >= self.consumed {
            return Err(format!(
                "row {row} is not one of the {} rows consumed",
                self.consumed
            ));
        }
        let Some(continuation_len) = length.checked_sub(12 + request_len) else {
            return Err(format!("{length} bytes cannot hold a request of {request_len}"));
        };
        let request_at = start + 12;
        cursor.take(request_len).map_err(short)?;
        let continuation_at = cursor.at();
        cursor.take(continuation_len).map_err(short)?;
        Ok(Request {
            request: self.bytes.slice(request_at..continuation_at),
            continuation: self.bytes.slice(continuation_at..cursor.at()),
        })
    }

    fn metric(&self, cursor: &mut Cursor<'_>) -> Result<(u32, f64), String> {
        let metric = cursor.u32().map_err(short)?;
        let code = cursor.u32().map_err(short)?;
        let value = cursor.f64().map_err(short)?;
        let known = self.scope.metrics.kind(metric);
        let known = known.ok_or_else(|| format!("metric {metric} was not registered by host-call"))?;
        if MetricKind::from_code(code) != Some(known) {
            return Err(format!("metric {metric} is a {known:?}, not of kind {code}"));
        }
        check_metric(known, value)?;
        Ok((metric, value))
    }
}
