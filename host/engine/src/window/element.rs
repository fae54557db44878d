//! An element of a window, in flight and in list state.
//!
//! Stored, it is `flags u8, timestamp i64, value length u32, value, extension`, integers little-endian: part of the
//! checkpoint format. The flags are those of a row, and `0x80` of an element of the second input.

use wasmill_model::row::{FLAG_NULL, FLAG_TIMESTAMP, RowRef};
use wasmill_model::time::Timestamp;

/// Of a stored element: it is of the second input. Rows have no such flag.
const FLAG_SECOND: u8 = 0x80;

/// An element, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Event time, where one was assigned.
    pub timestamp: Option<Timestamp>,
    /// The value; empty where it is null.
    pub value: &'a [u8],
    /// Whether the value is null rather than empty.
    pub is_null: bool,
    /// The extension bytes of its row.
    pub extension: &'a [u8],
    /// Whether it came in on the second input; of windows of two streams.
    pub is_second: bool,
}

impl<'a> Element<'a> {
    /// Of a row.
    pub fn of(row: RowRef<'a>) -> Self {
        Self {
            is_second: false,
            timestamp: row.timestamp(),
            value: row.value(),
            is_null: row.is_null(),
            extension: row.extension(),
        }
    }

    /// Appends it as it is stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let timestamp = if self.timestamp.is_some() {
            FLAG_TIMESTAMP
        } else {
            0
        };
        let second = if self.is_second { FLAG_SECOND } else { 0 };
        out.push(timestamp | second | if self.is_null { FLAG_NULL } else { 0 });
        out.extend_from_slice(&self.timestamp.unwrap_or_default().to_le_bytes());
        out.extend_from_slice(&(self.value.len() as u32).to_le_bytes());
        out.extend_from_slice(self.value);
        out.extend_from_slice(self.extension);
    }

    /// What was stored; `None` where the bytes are not an element.
    pub fn decode(stored: &'a [u8]) -> Option<Self> {
        let (flags, rest) = stored.split_first()?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, extension) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self {
            timestamp: (flags & FLAG_TIMESTAMP != 0).then(|| i64::from_le_bytes(*timestamp)),
            value,
            is_null: flags & FLAG_NULL != 0,
            extension,
            is_second: flags & FLAG_SECOND != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_element_is_frozen_and_read_back() {
        let element = Element {
            timestamp: Some(-2),
            value: b"ab",
            is_null: false,
            extension: b"x",
            is_second: false,
        };
        let mut stored = Vec::new();
        element.encode(&mut stored);
        // IMPORTANT: these bytes are part of the checkpoint format.
        assert_eq!(stored, b"\x01\xfe\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0abx");
        assert_eq!(Element::decode(&stored), Some(element));
        assert_eq!(Element::decode(&stored[..14]), None);
        let second = Element {
            is_second: true,
            ..element
        };
        let mut other = Vec::new();
        second.encode(&mut other);
        assert_eq!((other[0], &other[1..]), (0x81, &stored[1..]));
        assert_eq!(Element::decode(&other), Some(second));
    }
}
