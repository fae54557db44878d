//! One record or timer as bytes: the layout of `docs/frame.md`.
//!
//! Invariant: a [`RowRef`] only exists for bytes whose lengths agree, so that its accessors cannot
//! fail. Bytes from outside pass through [`read`] first.

use crate::time::Timestamp;

/// Bytes of a row before its key.
pub const HEADER_LEN: usize = 32;

/// "None" in the `key` and `group` fields of a row in a frame.
pub const NONE: u32 = u32::MAX;

/// A record.
pub const KIND_ELEMENT: u8 = 1;
/// A fired event-time timer.
pub const KIND_EVENT_TIMER: u8 = 2;
/// A fired processing-time timer.
pub const KIND_PROCESSING_TIMER: u8 = 3;
/// Of windows: an element joins an accumulator.
pub const KIND_ADD: u8 = 16;
/// Of windows: accumulators are merged into one.
pub const KIND_MERGE: u8 = 17;
/// Of windows: the result of an accumulator.
pub const KIND_RESULT: u8 = 18;
/// Of windows: the function runs over elements.
pub const KIND_FIRE: u8 = 19;
/// Of windows: one is gone.
pub const KIND_CLEAR: u8 = 20;
/// Of windows: an accumulator is removed.
pub const KIND_PURGE: u8 = 21;
/// A trigger sees an element.
pub const KIND_TRIGGER_ELEMENT: u8 = 22;
/// A trigger's event-time timer, or the window's clean-up.
pub const KIND_TRIGGER_EVENT_TIME: u8 = 23;
/// The same of processing time.
pub const KIND_TRIGGER_PROCESSING_TIME: u8 = 24;
/// A trigger's windows were merged.
pub const KIND_TRIGGER_MERGE: u8 = 25;
/// A trigger forgets a window.
pub const KIND_TRIGGER_CLEAR: u8 = 26;
/// An evictor runs before the window function.
pub const KIND_EVICT_BEFORE: u8 = 27;
/// An evictor runs after it.
pub const KIND_EVICT_AFTER: u8 = 28;
/// A pair of an interval join.
pub const KIND_PAIR: u8 = 40;
/// Of windows of two inputs: the function runs over the elements of both.
pub const KIND_CO_GROUP: u8 = 42;
/// Of windows of two inputs: a pair of elements.
pub const KIND_WINDOW_PAIR: u8 = 43;

/// The requests of an element are answered.
pub const KIND_COMPLETION: u8 = 32;
/// The time of an element with requests is over.
pub const KIND_TIMEOUT: u8 = 33;

/// The row has a timestamp.
pub const FLAG_TIMESTAMP: u8 = 1;
/// The row has a key, in the row or in the frame's KEYS.
pub const FLAG_KEYED: u8 = 2;
/// The value is null.
pub const FLAG_NULL: u8 = 4;
/// An extension follows the value.
pub const FLAG_EXTENSION: u8 = 8;

/// A header of the record: `name length u16, name, value`.
pub const EXTENSION_HEADER: u16 = 1;
/// Where the source found the record; opaque to all but the source.
pub const EXTENSION_SOURCE_POSITION: u16 = 2;

/// The line of a tape that the record came from, `u64`; what the record causes has the same.
pub const EXTENSION_CAUSE: u16 = 3;

/// A request of the element: `continuation length u32, continuation, response`; no response where it was not answered.
pub const EXTENSION_REQUEST: u16 = 4;

/// Bytes of a cause with its tag and length.
const CAUSE_LEN: usize = 14;

/// The extension of a record that came from a line of a tape.
pub fn cause(line: u64) -> [u8; CAUSE_LEN] {
    let mut entry = [0; CAUSE_LEN];
    entry[0..2].copy_from_slice(&EXTENSION_CAUSE.to_le_bytes());
    entry[2..6].copy_from_slice(&8u32.to_le_bytes());
    entry[6..].copy_from_slice(&line.to_le_bytes());
    entry
}

/// What is wrong with bytes that should be rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes end within the row.
    #[error("a row of {length} bytes at offset {offset} exceeds the {available} bytes that are left")]
    Truncated {
        /// Where the row starts.
        offset: usize,
        /// What it claims to have.
        length: usize,
        /// What there is.
        available: usize,
    },
    /// Key and value do not fit in the row's own length.
    #[error(
        "the row at offset {offset} of {length} bytes cannot hold a key of {key_len} and a value of {value_len}"
    )]
    Inconsistent {
        /// Where the row starts.
        offset: usize,
        /// Its length.
        length: usize,
        /// Its claimed key length.
        key_len: usize,
        /// Its claimed value length.
        value_len: usize,
    },
}

/// The fixed fields of a row, to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHeader {
    /// `KIND_…`
    pub kind: u8,
    /// `FLAG_…`
    pub flags: u8,
    /// Input or output index.
    pub port: u16,
    /// Key hash, key index or cause: see `docs/frame.md`.
    pub key: u32,
    /// Key group or namespace index.
    pub group: u32,
    /// Meaningful with [`FLAG_TIMESTAMP`], or of a timer.
    pub timestamp: Timestamp,
}

impl RowHeader {
    /// An element without key; `timestamp` sets the flag.
    pub fn element(timestamp: Option<Timestamp>) -> Self {
        Self {
            kind: KIND_ELEMENT,
            flags: if timestamp.is_some() { FLAG_TIMESTAMP } else { 0 },
            port: 0,
            key: 0,
            group: 0,
            timestamp: timestamp.unwrap_or(0),
        }
    }
}

/// A row within bytes that were checked.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    /// From the row's start on: what follows the row lets parts of it be copied by copies of a fixed size.
    from: &'a [u8],
    length: usize,
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Reads the row at `offset`; the next one starts at `offset + row.len()`.
#[inline]
pub fn read(bytes: &[u8], offset: usize) -> Result<RowRef<'_>, RowError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    if rest.len() < HEADER_LEN {
        return Err(RowError::Truncated {
            offset,
            length: HEADER_LEN,
            available: rest.len(),
        });
    }
    let length = u32_at(rest, 0) as usize;
    if length > rest.len() {
        return Err(RowError::Truncated {
            offset,
            length,
            available: rest.len(),
        });
    }
    let (key_len, value_len) = (u32_at(rest, 24) as usize, u32_at(rest, 28) as usize);
    // IMPORTANT: no sum of untrusted lengths may wrap; usize is 64 bits on every host that we build for.
    if length < HEADER_LEN || HEADER_LEN + key_len + value_len > length {
        return Err(RowError::Inconsistent {
            offset,
            length,
            key_len,
            value_len,
        });
    }
    Ok(RowRef { from: rest, length })
}

impl<'a> RowRef<'a> {
    /// The row's bytes, header included.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.from[..self.length]
    }

    /// The whole row's length.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // A row is never empty.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Appends a copy of the row from `offset` within it on; panics past the row's end.
    #[inline(always)] // Some instructions where it is called, and a call would double them.
    pub fn copy_from(&self, offset: usize, out: &mut Vec<u8>) {
        extend_by_front(out, &self.from[offset..], self.length - offset);
    }

    /// Bytes of the key; 0 where there is none.
    #[inline]
    pub fn key_len(&self) -> usize {
        u32_at(self.from, 24) as usize
    }

    /// `KIND_…`
    #[inline]
    pub fn kind(&self) -> u8 {
        self.from[4]
    }

    /// `FLAG_…`
    #[inline]
    pub fn flags(&self) -> u8 {
        self.from[5]
    }

    /// Input or output index.
    #[inline]
    pub fn port(&self) -> u16 {
        u16::from_le_bytes([self.from[6], self.from[7]])
    }

    /// The `key` field: in a batch the lower half of the key's hash.
    #[inline]
    pub fn key_field(&self) -> u32 {
        u32_at(self.from, 8)
    }

    /// The `group` field: in a batch the key group.
    #[inline]
    pub fn group_field(&self) -> u32 {
        u32_at(self.from, 12)
    }

    /// The raw timestamp field, whatever the flag says.
    #[inline]
    pub fn timestamp_field(&self) -> Timestamp {
        let mut raw = [0; 8];
        raw.copy_from_slice(&self.from[16..24]);
        i64::from_le_bytes(raw)
    }

    /// Event time, where one was assigned.
    #[inline]
    pub fn timestamp(&self) -> Option<Timestamp> {
        (self.flags() & FLAG_TIMESTAMP != 0).then(|| self.timestamp_field())
    }

    /// The key; none on a stream that is not keyed.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        (self.flags() & FLAG_KEYED != 0).then(|| &self.from[HEADER_LEN..HEADER_LEN + self.key_len()])
    }

    /// The value; empty where it is null.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        let start = HEADER_LEN + self.key_len();
        &self.from[start..start + u32_at(self.from, 28) as usize]
    }

    /// Whether the value is null rather than empty.
    #[inline]
    pub fn is_null(&self) -> bool {
        self.flags() & FLAG_NULL != 0
    }

    /// The extension bytes; empty where there are none.
    #[inline]
    pub fn extension(&self) -> &'a [u8] {
        let start = HEADER_LEN + self.key_len() + u32_at(self.from, 28) as usize;
        if self.flags() & FLAG_EXTENSION != 0 {
            &self.from[start..self.length]
        } else {
            &[]
        }
    }

    /// The entry of the extension that says what caused the row, as [`cause`] makes it; empty where there is none.
    #[inline]
    pub fn cause(&self) -> &'a [u8] {
        match self.flags() & FLAG_EXTENSION {
            0 => &[],
            _ => self.find_cause(),
        }
    }

    fn find_cause(&self) -> &'a [u8] {
        let mut rest = self.extension();
        while let Some(head) = rest.first_chunk::<6>() {
            let Some(entry) = rest.get(..6 + u32_at(head, 2) as usize) else {
                break;
            };
            if head[..2] == EXTENSION_CAUSE.to_le_bytes() && entry.len() == CAUSE_LEN {
                return entry;
            }
            rest = &rest[entry.len()..];
        }
        &[]
    }

    /// The line of a tape that caused the row.
    pub fn cause_line(&self) -> Option<u64> {
        let line = self.cause().last_chunk::<8>()?;
        Some(u64::from_le_bytes(*line))
    }

    /// The fixed fields.
    #[inline]
    pub fn header(&self) -> RowHeader {
        RowHeader {
            kind: self.kind(),
            flags: self.flags(),
            port: self.port(),
            key: self.key_field(),
            group: self.group_field(),
            timestamp: self.timestamp_field(),
        }
    }
}

/// Appends the first `length` bytes of `from`. What follows them there is not appended; it lets the copy be of
/// a fixed size, which costs a third of one of any size. Most keys and values are short enough.
#[inline(always)]
pub fn extend_by_front(out: &mut Vec<u8>, from: &[u8], length: usize) {
    const SHORT: usize = 32;
    const LONGER: usize = 64;
    let end = out.len() + length;
    if let (true, Some(wide)) = (length <= SHORT, from.first_chunk::<SHORT>()) {
        out.extend_from_slice(wide);
        out.truncate(end);
    } else if let (true, Some(wide)) = (length <= LONGER, from.first_chunk::<LONGER>()) {
        out.extend_from_slice(wide);
        out.truncate(end);
    } else {
        out.extend_from_slice(&from[..length]);
    }
}

/// The fixed fields as they stand at the front of a row of `key_len`, `value_len` and `rest_len` bytes.
#[inline]
pub(crate) fn header_bytes(
    header: RowHeader,
    key_len: usize,
    value_len: usize,
    rest_len: usize,
) -> [u8; HEADER_LEN] {
    let length = HEADER_LEN + key_len + value_len + rest_len;
    let mut fixed = [0u8; HEADER_LEN];
    fixed[0..4].copy_from_slice(&(length as u32).to_le_bytes());
    fixed[4] = header.kind;
    fixed[5] = header.flags;
    fixed[6..8].copy_from_slice(&header.port.to_le_bytes());
    fixed[8..12].copy_from_slice(&header.key.to_le_bytes());
    fixed[12..16].copy_from_slice(&header.group.to_le_bytes());
    fixed[16..24].copy_from_slice(&header.timestamp.to_le_bytes());
    fixed[24..28].copy_from_slice(&(key_len as u32).to_le_bytes());
    fixed[28..32].copy_from_slice(&(value_len as u32).to_le_bytes());
    fixed
}

/// Gives the row at the front of `bytes` a timestamp.
pub(crate) fn set_timestamp(bytes: &mut [u8], timestamp: Timestamp) {
    bytes[5] |= FLAG_TIMESTAMP;
    bytes[16..24].copy_from_slice(&timestamp.to_le_bytes());
}

/// Appends a row. Key, value and extension must together stay under 4 GiB; callers limit records far
/// below that (`Limits::record_bytes_max`).
#[inline]
pub fn write(out: &mut Vec<u8>, header: RowHeader, key: &[u8], value: &[u8], extension: &[u8]) {
    out.reserve(HEADER_LEN + key.len() + value.len() + extension.len());
    out.extend_from_slice(&header_bytes(header, key.len(), value.len(), extension.len()));
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    if !extension.is_empty() {
        out.extend_from_slice(extension);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        let header = RowHeader {
            flags: FLAG_TIMESTAMP | FLAG_KEYED,
            key: 7,
            group: 9,
            ..RowHeader::element(Some(-5))
        };
        write(&mut bytes, header, b"k", b"value", b"");
        let row = read(&bytes, 0).unwrap();
        assert_eq!(row.header(), header);
        assert_eq!(
            (row.key(), row.value(), row.timestamp()),
            (Some(&b"k"[..]), &b"value"[..], Some(-5))
        );
        assert_eq!(row.len(), bytes.len());
    }

    #[test]
    fn a_cause_is_found_among_other_extensions_and_not_in_broken_ones() {
        let mut extension = vec![1, 0, 3, 0, 0, 0, 0, 0, b'x'];
        extension.extend_from_slice(&cause(77));
        let header = RowHeader {
            flags: FLAG_EXTENSION,
            ..RowHeader::element(None)
        };
        for end in 0..=extension.len() {
            let mut bytes = Vec::new();
            write(&mut bytes, header, b"", b"v", &extension[..end]);
            let line = read(&bytes, 0).unwrap().cause_line();
            assert_eq!(line, (end == extension.len()).then_some(77), "{end}");
        }
    }

    #[test]
    fn a_front_is_copied_at_every_length() {
        let from: Vec<u8> = (0..200).collect();
        for room in [0, 1, 31, 32, 33, 64, 65, 200] {
            for length in 0..=room {
                let mut out = vec![9];
                extend_by_front(&mut out, &from[..room], length);
                assert_eq!((out[0], &out[1..]), (9, &from[..length]), "{length} of {room}");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, RowHeader::element(None), b"", b"value", b"");
        for end in 0..bytes.len() {
            assert!(
                matches!(read(&bytes[..end], 0), Err(RowError::Truncated { .. })),
                "{end}"
            );
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, RowHeader::element(None), b"", b"value", b"");
        bytes[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(&bytes, 0), Err(RowError::Inconsistent { .. })));
    }
}
