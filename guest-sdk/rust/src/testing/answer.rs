//! Reads answers as the host does, and refuses what the document does not allow.

use crate::error::Error;
use crate::http::HttpRequest;

/// A row of OUTPUT or SIDE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputRow {
    pub(super) port: u16,
    pub(super) cause: u32,
    pub(super) timestamp: Option<i64>,
    pub(super) is_null: bool,
    pub(super) value: Vec<u8>,
}

/// What became of a prefetched value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    Untouched,
    Read,
    Set(Vec<u8>),
    Cleared,
}

/// An entry of TIMERS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimerRequest {
    pub(super) row: u32,
    pub(super) operation: u8,
    pub(super) domain: u8,
    pub(super) at: i64,
}

/// An entry of WRITES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) row: u32,
    pub(super) slot: u32,
    pub(super) operation: u8,
    pub(super) map_key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// An answer that holds effects.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) consumed: usize,
    pub(super) output: Vec<OutputRow>,
    pub(super) state: Vec<(u32, Vec<Status>)>,
    pub(super) timers: Vec<TimerRequest>,
    pub(super) writes: Vec<Write>,
    pub(super) metrics: Vec<(u32, f64)>,
    pub(super) requests: Vec<HttpRequest>,
}

/// Effects, or the error of one row.
pub(super) enum Reply {
    Effects(Answer),
    Error(Error),
}

/// A cursor that tells where it ran out.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| format!("{length} bytes wanted, {} left", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn length(&mut self) -> Result<usize, String> {
        Ok(self.u32()? as usize)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }
}

impl Answer {
    /// Reads an answer to a frame of `rows` rows.
    pub(super) fn parse(bytes: &[u8], rows: usize) -> Result<Reply, String> {
        let mut header = Cursor(bytes);
        let (version, flags, header_len) = (header.u8()?, header.u8()?, header.u16()?);
        if (version, flags, header_len) != (1, 0, 16) {
            return Err(format!("answer header {version} {flags} {header_len}"));
        }
        let mut answer = Self {
            consumed: header.length()?,
            ..Self::default()
        };
        let sections = header.u32()?;
        header.u32()?;
        let mut error = None;
        for _ in 0..sections {
            let (tag, offset, length) = (header.u32()?, header.length()?, header.length()?);
            let section = bytes
                .get(offset..offset + length)
                .ok_or("a section exceeds the answer")?;
            match tag {
                16 => answer.output.extend(output_rows(section)?),
                17 => answer.output.extend(output_rows(section)?),
                18 => answer.state = state(section)?,
                19 => answer.timers = timers(section)?,
                20 => answer.writes = writes(section)?,
                21 => error = Some(error_of(section)?),
                22 => answer.requests = requests(section)?,
                23 => answer.metrics = metrics(section)?,
                other => return Err(format!("answer section {other}")),
            }
        }
        if let Some((row, error)) = error {
            return if (row as usize) < rows {
                Ok(Reply::Error(error))
            } else {
                Err(format!("error of row {row} of {rows}"))
            };
        }
        if !(1..=rows).contains(&answer.consumed) {
            return Err(format!("{} of {rows} rows consumed", answer.consumed));
        }
        Ok(Reply::Effects(answer))
    }
}

/// Rows of OUTPUT or SIDE, or of host-call 7.
pub(super) fn output_rows(section: &[u8]) -> Result<Vec<OutputRow>, String> {
    let (mut cursor, mut rows) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let mut row = Cursor(cursor.0);
        let length = row.length()?;
        cursor.take(length)?;
        let (kind, flags, port, cause) = (row.u8()?, row.u8()?, row.u16()?, row.u32()?);
        let (group, timestamp) = (row.u32()?, row.i64()?);
        let (key_len, value_len) = (row.u32()?, row.length()?);
        if kind != 1
            || (group != 0 && port == 0)
            || key_len != 0
            || length != 32 + value_len
            || flags & !5 != 0
        {
            return Err(format!(
                "output row: kind {kind} flags {flags} group {group} key {key_len}"
            ));
        }
        rows.push(OutputRow {
            port,
            cause,
            timestamp: (flags & 1 != 0).then_some(timestamp),
            is_null: flags & 4 != 0,
            value: row.take(value_len)?.to_vec(),
        });
    }
    Ok(rows)
}

fn state(section: &[u8]) -> Result<Vec<(u32, Vec<Status>)>, String> {
    let (mut cursor, mut blocks) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let (slot, count) = (cursor.u32()?, cursor.length()?);
        let codes = cursor.take(count)?;
        let lengths = codes
            .iter()
            .filter(|code| **code == 2)
            .map(|_| cursor.length())
            .collect::<Result<Vec<_>, _>>()?;
        let mut lengths = lengths.into_iter();
        let mut statuses = Vec::new();
        for code in codes {
            statuses.push(match code {
                0 => Status::Untouched,
                1 => Status::Read,
                2 => Status::Set(cursor.take(lengths.next().unwrap_or(0))?.to_vec()),
                3 => Status::Cleared,
                other => return Err(format!("status {other}")),
            });
        }
        blocks.push((slot, statuses));
    }
    Ok(blocks)
}

fn timers(section: &[u8]) -> Result<Vec<TimerRequest>, String> {
    let (mut cursor, mut timers) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let (row, operation, domain) = (cursor.u32()?, cursor.u8()?, cursor.u8()?);
        let (zero, namespace, zeros) = (cursor.u16()?, cursor.u32()?, cursor.u32()?);
        if (zero, namespace, zeros) != (0, u32::MAX, 0) {
            return Err("a timer's padding or namespace".to_owned());
        }
        let at = cursor.i64()?;
        timers.push(TimerRequest {
            row,
            operation,
            domain,
            at,
        });
    }
    Ok(timers)
}

/// Entries of WRITES, or of host-call 5.
pub(super) fn writes(section: &[u8]) -> Result<Vec<Write>, String> {
    let (mut cursor, mut writes) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let mut entry = Cursor(cursor.0);
        let length = entry.length()?;
        let mut entry = Cursor(&cursor.take(length)?[4..]);
        let (row, slot, namespace) = (entry.u32()?, entry.u32()?, entry.u32()?);
        let operation = entry.u8()?;
        if entry.take(3)? != [0; 3] || namespace != u32::MAX {
            return Err("a write's padding or namespace".to_owned());
        }
        let map_key_len = entry.length()?;
        writes.push(Write {
            row,
            slot,
            operation,
            map_key: entry.take(map_key_len)?.to_vec(),
            value: entry.0.to_vec(),
        });
    }
    Ok(writes)
}

fn error_of(section: &[u8]) -> Result<(u32, Error), String> {
    let mut cursor = Cursor(section);
    let (row, kind) = (cursor.u32()?, cursor.u32()?);
    let message = String::from_utf8_lossy(cursor.0).into_owned();
    let error = match kind {
        1 => Error::BadRecord(message),
        2 => Error::Retry(message),
        3 => Error::Failed(message),
        other => return Err(format!("error kind {other}")),
    };
    Ok((row, error))
}

fn requests(section: &[u8]) -> Result<Vec<HttpRequest>, String> {
    let (mut cursor, mut requests) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let mut entry = Cursor(cursor.0);
        let length = entry.length()?;
        let mut entry = Cursor(&cursor.take(length)?[4..]);
        let (_row, request_len) = (entry.u32()?, entry.length()?);
        let request = entry.take(request_len)?;
        requests.push(HttpRequest::read(request, entry.0)?);
    }
    Ok(requests)
}

fn metrics(section: &[u8]) -> Result<Vec<(u32, f64)>, String> {
    let (mut cursor, mut metrics) = (Cursor(section), Vec::new());
    while !cursor.0.is_empty() {
        let (metric, _kind) = (cursor.u32()?, cursor.u32()?);
        metrics.push((metric, f64::from_bits(cursor.i64()? as u64)));
    }
    Ok(metrics)
}
