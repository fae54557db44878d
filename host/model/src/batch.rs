//! Rows one after another in one buffer: what channels, frames and stored channel state share.

use bytes::Bytes;

use crate::key::{self, MaxParallelism};
use crate::row::{self, FLAG_EXTENSION, FLAG_KEYED, HEADER_LEN, RowError, RowHeader, RowRef};
use crate::time::Timestamp;

/// An immutable, reference-counted sequence of rows. Cloning and slicing copy no row.
///
/// Invariant: the bytes are `rows` valid rows and nothing else; [`Batch::from_untrusted`] checks what
/// comes from a guest or from disk.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    rows: u32,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} rows, {} bytes)", self.rows, self.bytes.len())
    }
}

impl Batch {
    /// Checks every row and counts them.
    pub fn from_untrusted(bytes: Bytes) -> Result<Self, RowError> {
        Self::from_checked(bytes, |row| row.map(drop))
    }

    /// As [`Batch::from_untrusted`], with a check of each row's content on the same way.
    #[inline]
    pub fn from_checked<E>(
        bytes: Bytes,
        mut check: impl FnMut(Result<RowRef<'_>, RowError>) -> Result<(), E>,
    ) -> Result<Self, E>
    where
        E: From<RowError>,
    {
        let (mut offset, mut rows) = (0, 0);
        while offset < bytes.len() {
            let row = row::read(&bytes, offset);
            check(row)?;
            offset += row?.len();
            rows += 1;
        }
        Ok(Self { bytes, rows })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The rows in order.
    pub fn iter(&self) -> Rows<'_> {
        Rows { bytes: &self.bytes }
    }

    /// The rows from number `first` on, sharing this batch's memory; empty past the end.
    pub fn skip(&self, first: u32) -> Self {
        let offset: usize = self.iter().take(first as usize).map(|row| row.len()).sum();
        Self {
            bytes: self.bytes.slice(offset..),
            rows: self.rows.saturating_sub(first),
        }
    }

    /// The same rows at other times: one timestamp for each, in order. Rows beyond the last timestamp keep theirs.
    pub fn with_timestamps(&self, timestamps: &[Timestamp]) -> Self {
        let mut bytes = self.bytes.to_vec();
        let mut offset = 0;
        for (row, timestamp) in self.iter().zip(timestamps) {
            row::set_timestamp(&mut bytes[offset..], *timestamp);
            offset += row.len();
        }
        Self {
            bytes: Bytes::from(bytes),
            rows: self.rows,
        }
    }

    /// The same rows, all with that port.
    pub fn with_port(&self, port: u16) -> Self {
        let mut bytes = self.bytes.to_vec();
        let mut offset = 0;
        for row in self {
            bytes[offset + 6..offset + 8].copy_from_slice(&port.to_le_bytes());
            offset += row.len();
        }
        Self {
            bytes: Bytes::from(bytes),
            rows: self.rows,
        }
    }

    /// Splits after `first` rows without copying.
    pub fn split_at(&self, first: u32) -> (Self, Self) {
        let first = first.min(self.rows);
        let offset: usize = self.iter().take(first as usize).map(|row| row.len()).sum();
        let head = Self {
            bytes: self.bytes.slice(..offset),
            rows: first,
        };
        (
            head,
            Self {
                bytes: self.bytes.slice(offset..),
                rows: self.rows - first,
            },
        )
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = RowRef<'a>;
    type IntoIter = Rows<'a>;
    fn into_iter(self) -> Rows<'a> {
        self.iter()
    }
}

/// Iterates over the rows of a batch.
pub struct Rows<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Rows<'a> {
    type Item = RowRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RowRef<'a>> {
        // The batch's invariant makes an error impossible: it would end the iteration.
        let row = row::read(self.bytes, 0).ok()?;
        self.bytes = &self.bytes[row.len()..];
        Some(row)
    }
}

/// Builds a batch by appending rows.
#[derive(Default)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    rows: u32,
}

impl BatchBuilder {
    /// With room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            rows: 0,
        }
    }

    /// Appends a row.
    #[inline]
    pub fn push(&mut self, header: RowHeader, key: &[u8], value: &[u8], extension: &[u8]) {
        row::write(&mut self.bytes, header, key, value, extension);
        self.rows += 1;
    }

    /// Appends a row without key that has the cause of another, as [`RowRef::cause`] gives it.
    #[inline]
    pub fn push_caused(&mut self, header: RowHeader, value: &[u8], cause: &[u8]) {
        let extended = if cause.is_empty() { 0 } else { FLAG_EXTENSION };
        let flags = header.flags | extended;
        self.push(RowHeader { flags, ..header }, &[], value, cause);
    }

    /// Appends an element whose value `write` appends to the bytes that it is given.
    #[inline]
    pub fn push_with(&mut self, header: RowHeader, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        write(&mut self.bytes);
        let value_len = self.bytes.len() - start - HEADER_LEN;
        self.set_header(start, row::header_bytes(header, 0, value_len, 0));
        self.rows += 1;
    }

    /// Appends a row under the encoded key that `write_key` appends to the bytes that it is given: the key that
    /// the row has, if any, is replaced. After an error nothing is appended.
    #[inline]
    pub fn push_under_key<E>(
        &mut self,
        row: RowRef<'_>,
        max_parallelism: MaxParallelism,
        write_key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        if let Err(error) = write_key(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let key = &self.bytes[start + HEADER_LEN..];
        let (key_len, hash) = (key.len(), key::hash(key));
        row.copy_from(HEADER_LEN + row.key_len(), &mut self.bytes);
        let value_len = row.value().len();
        let rest_len = self.bytes.len() - start - HEADER_LEN - key_len - value_len;
        let header = RowHeader {
            flags: row.flags() | FLAG_KEYED,
            key: hash as u32,
            group: u32::from(max_parallelism.group_of(hash).0),
            ..row.header()
        };
        self.set_header(start, row::header_bytes(header, key_len, value_len, rest_len));
        self.rows += 1;
        Ok(())
    }

    #[inline]
    fn set_header(&mut self, start: usize, header: [u8; HEADER_LEN]) {
        self.bytes[start..start + HEADER_LEN].copy_from_slice(&header);
    }

    /// Appends a copy of a row.
    #[inline]
    pub fn push_row(&mut self, row: RowRef<'_>) {
        row.copy_from(0, &mut self.bytes);
        self.rows += 1;
    }

    /// Appends copies of all rows of a batch.
    pub fn push_batch(&mut self, batch: &Batch) {
        self.bytes.extend_from_slice(batch.bytes());
        self.rows += batch.rows();
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many bytes they take.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Where the builder stands, to come back to by [`BatchBuilder::truncate`].
    pub fn mark(&self) -> BatchMark {
        BatchMark {
            length: self.bytes.len(),
            rows: self.rows,
        }
    }

    /// Drops the rows that were appended after `mark` was taken from this builder.
    pub fn truncate(&mut self, mark: BatchMark) {
        if mark.length <= self.bytes.len() {
            self.bytes.truncate(mark.length);
            self.rows = mark.rows;
        }
    }

    /// The batch; the builder is empty afterwards and keeps no memory.
    pub fn finish(&mut self) -> Batch {
        self.finish_with_capacity(0)
    }

    /// The batch; the builder goes on with room for `bytes`.
    pub fn finish_with_capacity(&mut self, bytes: usize) -> Batch {
        let rows = std::mem::take(&mut self.rows);
        let done = std::mem::replace(&mut self.bytes, Vec::with_capacity(bytes));
        Batch {
            bytes: Bytes::from(done),
            rows,
        }
    }
}

/// A place between two rows of a [`BatchBuilder`]; the default one is its start.
#[derive(Clone, Copy, Default, Debug)]
pub struct BatchMark {
    length: usize,
    rows: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{FLAG_EXTENSION, FLAG_TIMESTAMP};

    fn three() -> Batch {
        let mut builder = BatchBuilder::default();
        for value in [&b"a"[..], b"", b"ccc"] {
            builder.push(RowHeader::element(None), b"", value, b"");
        }
        builder.finish()
    }

    #[test]
    fn splitting_keeps_every_row_once() {
        let batch = three();
        for at in 0..=4 {
            let (head, tail) = batch.split_at(at);
            let values: Vec<_> = head
                .iter()
                .chain(tail.iter())
                .map(|row| row.value().to_vec())
                .collect();
            assert_eq!(values, [b"a".to_vec(), vec![], b"ccc".to_vec()]);
            assert_eq!(head.rows() + tail.rows(), 3);
        }
    }

    #[test]
    fn other_timestamps_change_nothing_else() {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(None), b"", b"a", b"");
        let keyed = RowHeader {
            flags: FLAG_KEYED | FLAG_EXTENSION,
            key: 7,
            group: 9,
            ..RowHeader::element(None)
        };
        builder.push(keyed, b"bk", b"b", b"extension");
        builder.push(RowHeader::element(Some(3)), b"", b"c", b"");
        let moved = builder.finish().with_timestamps(&[i64::MIN, 5]);
        let rows: Vec<_> = moved.iter().map(|row| (row.timestamp(), row.value())).collect();
        assert_eq!(
            rows,
            [(Some(i64::MIN), &b"a"[..]), (Some(5), b"b"), (Some(3), b"c")]
        );
        let second = moved.iter().nth(1).unwrap();
        assert_eq!(
            (second.key(), second.extension()),
            (Some(&b"bk"[..]), &b"extension"[..])
        );
        assert_eq!((second.key_field(), second.group_field()), (7, 9));
    }

    #[test]
    fn truncating_drops_the_rows_after_the_mark() {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(None), b"", b"kept", b"");
        let mark = builder.mark();
        builder.push(RowHeader::element(None), b"", b"dropped", b"");
        builder.truncate(mark);
        let values: Vec<_> = builder.finish().iter().map(|row| row.value().to_vec()).collect();
        assert_eq!(values, [b"kept".to_vec()]);
    }

    #[test]
    fn copied_rows_are_the_rows() {
        let mut builder = BatchBuilder::default();
        for length in [0, 1, 31, 32, 33, 200, 5] {
            builder.push(RowHeader::element(None), b"", &vec![7; length], b"");
        }
        let batch = builder.finish();
        let mut copy = BatchBuilder::default();
        batch.iter().for_each(|row| copy.push_row(row));
        assert_eq!(copy.finish(), batch);
    }

    #[test]
    fn a_value_written_in_place_is_as_one_that_is_pushed() {
        let (mut pushed, mut written) = (BatchBuilder::default(), BatchBuilder::default());
        for value in [&b""[..], b"x", &[7; 100]] {
            let header = RowHeader::element(Some(value.len() as i64));
            pushed.push(header, b"", value, b"");
            written.push_with(header, |out| out.extend_from_slice(value));
        }
        assert_eq!(written.finish(), pushed.finish());
    }

    #[test]
    fn a_row_under_a_key_keeps_all_but_its_old_key() {
        let mut builder = BatchBuilder::default();
        let header = RowHeader {
            flags: FLAG_TIMESTAMP | FLAG_EXTENSION | FLAG_KEYED,
            port: 3,
            ..RowHeader::element(Some(5))
        };
        builder.push(header, b"bold", b"value", b"extension");
        let batch = builder.finish();
        let (max, mut keyed) = (MaxParallelism(128), BatchBuilder::default());
        for row in &batch {
            keyed
                .push_under_key(row, max, |out| {
                    key::encode_bytes(out, b"new");
                    Ok::<_, ()>(())
                })
                .unwrap();
            assert_eq!(keyed.push_under_key(row, max, |_| Err("no key")), Err("no key"));
        }
        let keyed = keyed.finish();
        let row = keyed.iter().next().unwrap();
        let hash = key::hash(b"bnew");
        assert_eq!((keyed.rows(), row.len()), (1, keyed.bytes().len()));
        assert_eq!((row.key(), row.value()), (Some(&b"bnew"[..]), &b"value"[..]));
        assert_eq!((row.extension(), row.port()), (&b"extension"[..], 3));
        assert_eq!((row.timestamp(), row.key_field()), (Some(5), hash as u32));
        assert_eq!(row.group_field(), u32::from(max.group_of(hash).0));
    }

    #[test]
    fn untrusted_bytes_are_counted_or_refused() {
        let batch = three();
        assert_eq!(Batch::from_untrusted(batch.bytes().clone()).unwrap(), batch);
        assert!(Batch::from_untrusted(batch.bytes().slice(..batch.bytes().len() - 1)).is_err());
    }
}
