//! One row of a frame, and the header of an emitted row.

use super::reader::read_u32;

/// Bytes of a row before its key.
const ROW_HEADER: usize = 32;

/// A record.
pub(crate) const KIND_ELEMENT: u8 = 1;
/// A fired event-time timer.
pub(crate) const KIND_EVENT_TIMER: u8 = 2;
/// A fired processing-time timer.
pub(crate) const KIND_PROCESSING_TIMER: u8 = 3;
/// A pair of an interval join.
pub(crate) const KIND_PAIR: u8 = 40;
/// The function runs over the elements of both sides of a window.
pub(crate) const KIND_CO_GROUP: u8 = 42;
/// A pair of a window join.
pub(crate) const KIND_WINDOW_PAIR: u8 = 43;

/// Of windows: an element joins an accumulator.
pub(crate) const KIND_ADD: u8 = 16;
/// Accumulators of other windows of the key are merged into this one's.
pub(crate) const KIND_MERGE: u8 = 17;
/// The result of an accumulator.
pub(crate) const KIND_RESULT: u8 = 18;
/// The function runs over elements.
pub(crate) const KIND_FIRE: u8 = 19;
/// The window is gone.
pub(crate) const KIND_CLEAR: u8 = 20;
/// The accumulator is removed.
pub(crate) const KIND_PURGE: u8 = 21;
/// A trigger sees an element.
pub(crate) const KIND_TRIGGER_ELEMENT: u8 = 22;
/// A trigger's event-time timer, or the window's clean-up.
pub(crate) const KIND_TRIGGER_EVENT_TIME: u8 = 23;
/// The same of processing time.
pub(crate) const KIND_TRIGGER_PROCESSING_TIME: u8 = 24;
/// A trigger's windows were merged.
pub(crate) const KIND_TRIGGER_MERGE: u8 = 25;
/// A trigger forgets a window.
pub(crate) const KIND_TRIGGER_CLEAR: u8 = 26;
/// An evictor runs before the window function.
pub(crate) const KIND_EVICT_BEFORE: u8 = 27;
/// An evictor runs after it.
pub(crate) const KIND_EVICT_AFTER: u8 = 28;
/// The requests of an element are answered.
pub(crate) const KIND_COMPLETION: u8 = 32;
/// The time of an element with requests is over.
pub(crate) const KIND_TIMEOUT: u8 = 33;
/// A tick of a watermark generator's emit interval.
pub(crate) const KIND_PERIODIC: u8 = 41;

/// The row has a timestamp.
pub(crate) const FLAG_TIMESTAMP: u8 = 1;
/// The value is null.
pub(crate) const FLAG_NULL: u8 = 4;
const FLAG_EXTENSION: u8 = 8;

const EXTENSION_HEADER: u16 = 1;

/// One row, its lengths checked.
#[derive(Clone, Copy, Default)]
pub(crate) struct Row<'f> {
    /// `KIND_…`
    pub(crate) kind: u8,
    /// `FLAG_…`
    pub(crate) flags: u8,
    /// Which input of the operator it came in on.
    pub(crate) port: u16,
    /// Index into KEYS.
    pub(crate) key: u32,
    /// Index into NAMESPACES.
    pub(crate) namespace: u32,
    /// Event time, where the flag is set, or the timer's time.
    pub(crate) timestamp: i64,
    /// The record; empty where it is null.
    pub(crate) value: &'f [u8],
    extension: &'f [u8],
}

impl<'f> Row<'f> {
    /// Splits the first row off `rows`.
    #[inline]
    pub(crate) fn split(rows: &mut &'f [u8]) -> Result<Self, String> {
        let all = *rows;
        let Some((header, _)) = all.split_first_chunk::<ROW_HEADER>() else {
            return Err(format!("ROWS ends within a row: {} bytes are left", all.len()));
        };
        let length = read_u32(header, 0) as usize;
        let key_len = read_u32(header, 24) as usize;
        let value_len = read_u32(header, 28) as usize;
        // IMPORTANT: usize has 32 bits here, so sums of what the frame says are checked.
        let value_end = ROW_HEADER
            .checked_add(key_len)
            .and_then(|start| start.checked_add(value_len));
        let fits = length <= all.len() && value_end.is_some_and(|end| end <= length);
        let Some(value_end) = value_end.filter(|_| fits) else {
            return Err(format!(
                "a row of {length} bytes with a key of {key_len} and a value of {value_len} in {} bytes",
                all.len()
            ));
        };
        *rows = &all[length..];
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&header[16..24]);
        Ok(Self {
            kind: header[4],
            flags: header[5],
            port: u16::from_le_bytes([header[6], header[7]]),
            key: read_u32(header, 8),
            namespace: read_u32(header, 12),
            timestamp: i64::from_le_bytes(timestamp),
            value: &all[value_end - value_len..value_end],
            extension: if header[5] & FLAG_EXTENSION != 0 {
                &all[value_end..length]
            } else {
                &[]
            },
        })
    }

    /// Headers and answers.
    pub(crate) fn extension(&self) -> &'f [u8] {
        self.extension
    }

    /// A header of the record by name.
    pub(crate) fn header(&self, name: &str) -> Option<&'f [u8]> {
        let mut rest = self.extension;
        while let Some((head, tail)) = rest.split_first_chunk::<6>() {
            let length = read_u32(head, 2) as usize;
            let body = tail.get(..length)?;
            rest = &tail[length..];
            if u16::from_le_bytes([head[0], head[1]]) != EXTENSION_HEADER {
                continue;
            }
            let (name_len, body) = body.split_first_chunk::<2>()?;
            let name_len = usize::from(u16::from_le_bytes(*name_len));
            if body.get(..name_len)? == name.as_bytes() {
                return body.get(name_len..);
            }
        }
        None
    }
}

/// Appends the header of an emitted row but for its lengths, which `finish_emission` fills in. `after` is how many
/// rows of the main output come before a row of a side output.
#[inline]
pub(crate) fn start_emission(
    out: &mut Vec<u8>,
    port: u16,
    cause: u32,
    after: u32,
    timestamp: Option<i64>,
    is_null: bool,
) {
    let flags = (u8::from(timestamp.is_some()) * FLAG_TIMESTAMP) | (u8::from(is_null) * FLAG_NULL);
    let port = port.to_le_bytes();
    let mut header = [0; ROW_HEADER];
    header[4..8].copy_from_slice(&[KIND_ELEMENT, flags, port[0], port[1]]);
    header[8..12].copy_from_slice(&cause.to_le_bytes());
    header[12..16].copy_from_slice(&after.to_le_bytes());
    header[16..24].copy_from_slice(&timestamp.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&header);
}

/// Fills in the lengths of the row that starts at `start` and ends with `out`.
#[inline]
pub(crate) fn finish_emission(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u32;
    if let Some(header) = out[start..].first_chunk_mut::<ROW_HEADER>() {
        header[0..4].copy_from_slice(&length.to_le_bytes());
        header[28..32].copy_from_slice(&(length - ROW_HEADER as u32).to_le_bytes());
    }
}
