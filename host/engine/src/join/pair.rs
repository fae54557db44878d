//! A pair of elements as a row, as an operator that makes something of pairs is given it.
//!
//! The row has kind [`KIND_PAIR`], the key of both, the later timestamp, and the cause of the element that came
//! last. Its value is `left timestamp i64, right timestamp i64, left length u32, right length u32`, integers
//! little-endian, a length of `0xFFFFFFFF` for null, then the bytes of both: part of the frame format.

use serde_json::Value;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::Format;
use wasmill_model::row::{FLAG_EXTENSION, FLAG_KEYED, FLAG_TIMESTAMP, KIND_PAIR, RowHeader, RowRef};
use wasmill_model::time::Timestamp;
use wasmill_state::backend::StateKey;

use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;
use wasmill_checkpoint::handle::OperatorState;

const NULL: u32 = u32::MAX;
const FIXED_LEN: usize = 24;

/// One side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side<'a> {
    /// Its event time.
    pub timestamp: Timestamp,
    /// Its value; `None`: null.
    pub value: Option<&'a [u8]>,
}

/// Left and right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Of the first input.
    pub left: Side<'a>,
    /// Of the second input.
    pub right: Side<'a>,
}

impl<'a> Pair<'a> {
    /// When it is: results carry it.
    pub fn timestamp(&self) -> Timestamp {
        self.left.timestamp.max(self.right.timestamp)
    }

    /// Appends it as a row of its key, caused by what the entry of an extension says; empty: by nothing known.
    pub fn push(&self, rows: &mut BatchBuilder, key: StateKey<'_>, cause: &[u8]) {
        let extended = if cause.is_empty() { 0 } else { FLAG_EXTENSION };
        let header = RowHeader {
            kind: KIND_PAIR,
            flags: FLAG_KEYED | FLAG_TIMESTAMP | extended,
            port: 0,
            key: key.hash,
            group: u32::from(key.group.0),
            timestamp: self.timestamp(),
        };
        let (left, right) = (self.left.value, self.right.value);
        let length = |value: Option<&[u8]>| value.map_or(NULL, |value| value.len() as u32);
        let mut value =
            Vec::with_capacity(FIXED_LEN + left.unwrap_or_default().len() + right.unwrap_or_default().len());
        value.extend_from_slice(&self.left.timestamp.to_le_bytes());
        value.extend_from_slice(&self.right.timestamp.to_le_bytes());
        value.extend_from_slice(&length(left).to_le_bytes());
        value.extend_from_slice(&length(right).to_le_bytes());
        value.extend_from_slice(left.unwrap_or_default());
        value.extend_from_slice(right.unwrap_or_default());
        rows.push(header, key.key, &value, cause);
    }

    /// Of the value of such a row; `None` where it is not one.
    pub fn of(value: &'a [u8]) -> Option<Self> {
        let (left_at, rest) = value.split_first_chunk()?;
        let (right_at, rest) = rest.split_first_chunk()?;
        let (left_len, rest) = rest.split_first_chunk()?;
        let (right_len, rest) = rest.split_first_chunk()?;
        let (left, rest) = part(u32::from_le_bytes(*left_len), rest)?;
        let (right, rest) = part(u32::from_le_bytes(*right_len), rest)?;
        let side = |timestamp: &[u8; 8], value| Side {
            timestamp: i64::from_le_bytes(*timestamp),
            value,
        };
        rest.is_empty().then(|| Self {
            left: side(left_at, left),
            right: side(right_at, right),
        })
    }
}

/// A value, and what is behind it.
type Part<'a> = (Option<&'a [u8]>, &'a [u8]);

fn part(length: u32, rest: &[u8]) -> Option<Part<'_>> {
    if length == NULL {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(length as usize)?;
    Some((Some(value), rest))
}

/// Emits each pair as `{"left":…,"right":…}`; values that are no JSON as texts.
pub struct EmitPairs {
    /// Of both sides.
    pub formats: [Format; 2],
}

impl EmitPairs {
    fn write(&self, row: RowRef<'_>, out: &mut Vec<u8>) -> Result<(), TaskError> {
        let pair = Pair::of(row.value()).ok_or_else(|| TaskError::host("a row that is no pair"))?;
        out.clear();
        out.extend_from_slice(b"{\"left\":");
        write_value(out, pair.left.value, self.formats[0]);
        out.extend_from_slice(b",\"right\":");
        write_value(out, pair.right.value, self.formats[1]);
        out.push(b'}');
        Ok(())
    }
}

/// Appends a value as JSON; `None` is null.
pub(crate) fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>, format: Format) {
    match (value, format) {
        (None, _) => out.extend_from_slice(b"null"),
        (Some(value), Format::Json) => out.extend_from_slice(value),
        (Some(value), _) => {
            let text = Value::String(String::from_utf8_lossy(value).into_owned());
            out.extend_from_slice(text.to_string().as_bytes());
        }
    }
}

impl Operator for EmitPairs {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _port: u16,
        batch: &Batch,
        _context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::with_capacity(batch.bytes().len());
        let mut value = Vec::new();
        for row in batch {
            self.write(row, &mut value)?;
            results.push_caused(RowHeader::element(row.timestamp()), &value, row.cause());
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_model::key::KeyGroup;

    use super::*;

    #[test]
    fn a_pair_is_frozen_and_read_back() {
        let pair = Pair {
            left: Side {
                timestamp: -2,
                value: Some(b"ab"),
            },
            right: Side {
                timestamp: 3,
                value: None,
            },
        };
        let key = StateKey {
            group: KeyGroup(7),
            hash: 9,
            key: b"bk",
            namespace: &[],
            map_key: &[],
        };
        let mut rows = BatchBuilder::default();
        pair.push(&mut rows, key, &[]);
        let batch = rows.finish();
        let row = batch.iter().next().unwrap();
        assert_eq!(
            (row.kind(), row.key(), row.timestamp()),
            (40, Some(&b"bk"[..]), Some(3))
        );
        assert_eq!((row.key_field(), row.group_field()), (9, 7));
        // IMPORTANT: these bytes are part of the frame format.
        let value = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x03\0\0\0\0\0\0\0\x02\0\0\0\xff\xff\xff\xffab";
        assert_eq!(row.value(), value);
        assert_eq!(Pair::of(value), Some(pair));
        assert_eq!(Pair::of(&value[..25]), None);
        assert_eq!(Pair::of(&[&value[..], b"x"].concat()), None);
    }
}
