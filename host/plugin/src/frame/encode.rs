//! From a batch, or from fired timers, to the frame that a guest receives.
//!
//! Invariant: rows are copied once; nothing is allocated per record, and all buffers are kept from
//! call to call.

mod panes;

use wasmill_model::batch::Batch;
use wasmill_model::function::StateTtl;
use wasmill_model::key::KeyGroup;
use wasmill_model::row::{self, FLAG_KEYED, HEADER_LEN, RowRef};
use wasmill_model::time::Timestamp;
use wasmill_state::backend::{KeyedStateBackend, StateError, StateId, StateKey, Values};
use wasmill_state::timers::{TimeDomain, Timer};
use wasmill_state::ttl::TtlState;

use super::cursor::{put_u32, set_u32};
use super::{
    DIRECTORY_ENTRY_LEN, FRAME_HEADER_LEN, SECTION_KEYS, SECTION_NAMESPACES, SECTION_PAIRS, SECTION_ROWS,
    SECTION_STATE, VERSION,
};
use crate::journal::keys::{CallKeys, NONE};

/// How much of a batch goes into one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameBound {
    /// Rows at most; at least 1.
    pub rows_max: u32,
    /// Bytes of rows at which no further row is added; the first row always is.
    pub bytes_max: usize,
}

/// The operator's clocks at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Event time.
    pub watermark: Timestamp,
    /// Processing time.
    pub processing_time: Timestamp,
}

/// A state whose values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchedState {
    /// Index in the function's `state` list.
    pub slot: u32,
    /// Where it lives.
    pub id: StateId,
    /// Whether its block has an entry for each key, whatever the pairs.
    pub by_key: bool,
    /// How long its values live.
    pub ttl: Option<StateTtl>,
}

/// A row that asks a watermark generator what it says at a tick.
const KIND_PERIODIC: u8 = 41;

/// The most sections that a frame has.
const SECTIONS_MAX: usize = 5;

/// Builds frames in a buffer of its own.
#[derive(Default)]
pub struct FrameEncoder {
    buffer: Vec<u8>,
    sections: Vec<(u32, u32, u32)>,
    values: Vec<Values>,
    panes: panes::LocalPanes,
}

impl FrameEncoder {
    /// Starts a frame with rows from the front of `batch` and returns how many. A keyed row gives its
    /// key to `keys`; rows of a function that is not keyed travel as they are.
    pub fn elements(
        &mut self,
        batch: &Batch,
        port: u16,
        bound: FrameBound,
        keyed: bool,
        keys: &mut CallKeys,
    ) -> Result<u32, MissingKey> {
        let rows_max = bound.rows_max.min(batch.rows()).max(1);
        keys.begin(if keyed { rows_max as usize } else { 0 });
        self.start(batch.bytes().len().min(bound.bytes_max + HEADER_LEN));
        let start = self.buffer.len();
        let mut rows = 0;
        if keyed {
            for row in batch.iter() {
                if rows == rows_max || (rows > 0 && self.buffer.len() - start + row.len() > bound.bytes_max) {
                    break;
                }
                let encoded = row.key().ok_or(MissingKey { row: rows })?;
                let key = keys.key(row.key_field(), KeyGroup(row.group_field() as u16), encoded);
                keys.row(key);
                push_keyed(&mut self.buffer, row, port, key, encoded.len());
                rows += 1;
            }
        } else {
            let length;
            (rows, length) = rows_within(batch, rows_max, bound.bytes_max);
            keys.set_rows_without_keys(rows);
            self.buffer.extend_from_slice(&batch.bytes()[..length]);
            if port != 0 {
                set_ports(&mut self.buffer[start..], port);
            }
        }
        self.end_section(SECTION_ROWS, start);
        Ok(rows)
    }

    /// As [`FrameEncoder::elements`], of the broadcast input of a keyed function: its rows have no key, whatever they
    /// had before they were broadcast.
    pub fn elements_without_keys(
        &mut self,
        batch: &Batch,
        port: u16,
        bound: FrameBound,
        keys: &mut CallKeys,
    ) -> u32 {
        keys.begin(0);
        self.start(batch.bytes().len().min(bound.bytes_max + HEADER_LEN));
        let start = self.buffer.len();
        let (rows, _) = rows_within(batch, bound.rows_max.max(1), bound.bytes_max);
        for row in batch.iter().take(rows as usize) {
            let key_len = row.key().map_or(0, <[u8]>::len);
            let at = self.buffer.len();
            push_keyed(&mut self.buffer, row, port, NONE, key_len);
            self.buffer[at + 5] &= !FLAG_KEYED;
        }
        keys.set_rows_without_keys(rows);
        self.end_section(SECTION_ROWS, start);
        rows
    }

    /// Starts the frame of a tick of a watermark generator's emit interval: one row.
    pub fn periodic(&mut self, keys: &mut CallKeys) -> u32 {
        keys.begin(0);
        self.start(HEADER_LEN);
        let start = self.buffer.len();
        let header = row::RowHeader {
            kind: KIND_PERIODIC,
            flags: 0,
            port: 0,
            key: NONE,
            group: NONE,
            timestamp: 0,
        };
        row::write(&mut self.buffer, header, b"", b"", b"");
        keys.set_rows_without_keys(1);
        self.end_section(SECTION_ROWS, start);
        1
    }

    /// Starts a frame with fired timers from the front of `timers`, in their order, and returns how many.
    pub fn timers(
        &mut self,
        timers: &[Timer],
        domain: TimeDomain,
        rows_max: u32,
        keys: &mut CallKeys,
    ) -> u32 {
        let rows = timers.len().min(rows_max.max(1) as usize);
        keys.begin(rows);
        self.start(rows * HEADER_LEN);
        let start = self.buffer.len();
        let has_windows = timers[..rows].iter().any(|timer| !timer.namespace.is_empty());
        let mut pairs = std::collections::BTreeMap::new();
        for timer in &timers[..rows] {
            let key = keys.key(
                wasmill_model::key::hash(&timer.key) as u32,
                timer.group,
                &timer.key,
            );
            let namespace = keys.namespace(&timer.namespace);
            keys.row(key);
            if has_windows {
                let next = pairs.len();
                pairs.entry((key, namespace)).or_insert(next);
            }
            push_timer(&mut self.buffer, timer.timestamp, domain, key, namespace);
        }
        if has_windows {
            let mut ordered: Vec<_> = pairs.into_iter().collect();
            ordered.sort_by_key(|(_, position)| *position);
            keys.set_pairs(ordered.into_iter().map(|(pair, _)| pair).collect());
        }
        self.end_section(SECTION_ROWS, start);
        rows as u32
    }

    /// Ends the frame: keys, namespaces, and the values of the states that travel, each read with one
    /// call of the backend.
    pub fn finish(
        &mut self,
        keys: &CallKeys,
        clocks: Clocks,
        prefetched: &[PrefetchedState],
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError> {
        if !keys.is_empty() {
            self.offsets_section(SECTION_KEYS, (0..keys.len() as u32).map(|key| keys.body(key)));
        }
        if keys.namespace_count() > 0 {
            let namespaces = (0..keys.namespace_count()).map(|index| keys.namespace_bytes(index));
            self.offsets_section(SECTION_NAMESPACES, namespaces);
        }
        if let Some(pairs) = keys.explicit_pairs() {
            let start = self.buffer.len();
            for (key, namespace) in pairs {
                put_u32(&mut self.buffer, *key);
                put_u32(&mut self.buffer, *namespace);
            }
            self.end_section(SECTION_PAIRS, start);
        }
        if !prefetched.is_empty() {
            self.state_section(keys, clocks.processing_time, prefetched, backend)?;
        }
        self.header(keys, clocks);
        Ok(())
    }

    /// The frame that was finished last.
    pub fn frame(&self) -> &[u8] {
        &self.buffer
    }

    /// Where the values of prefetched state number `index` were found, for the writes that follow.
    pub fn values(&self, index: usize) -> Option<&Values> {
        self.values.get(index)
    }

    fn start(&mut self, rows_len: usize) {
        self.buffer.clear();
        self.sections.clear();
        self.buffer.reserve(rows_len + rows_len / 2 + 256);
        // Room for the longest directory: sections that a frame does not have leave a gap before ROWS.
        self.buffer
            .resize(FRAME_HEADER_LEN + SECTIONS_MAX * DIRECTORY_ENTRY_LEN, 0);
    }

    fn end_section(&mut self, tag: u32, start: usize) {
        self.sections
            .push((tag, start as u32, (self.buffer.len() - start) as u32));
    }

    fn offsets_section<'a>(&mut self, tag: u32, items: impl ExactSizeIterator<Item = &'a [u8]>) {
        let start = self.buffer.len();
        let bytes_start = start + (items.len() + 1) * 4;
        self.buffer.resize(bytes_start, 0);
        let mut at = start + 4;
        for item in items {
            self.buffer.extend_from_slice(item);
            let end = (self.buffer.len() - bytes_start) as u32;
            set_u32(&mut self.buffer, at, end);
            at += 4;
        }
        self.end_section(tag, start);
    }

    fn state_section(
        &mut self,
        keys: &CallKeys,
        now: Timestamp,
        prefetched: &[PrefetchedState],
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError> {
        let start = self.buffer.len();
        self.values
            .resize_with(prefetched.len().max(self.values.len()), Values::default);
        let addresses = |by_key: bool| -> Vec<StateKey<'_>> {
            let entries = 0..keys.entry_count(by_key);
            entries.map(|entry| keys.entry_state(entry, by_key)).collect()
        };
        let [mut of_pairs, mut of_keys] = [None, None];
        for (state, values) in prefetched.iter().zip(&mut self.values) {
            values.clear();
            let addresses = match state.by_key {
                true => of_keys.get_or_insert_with(|| addresses(true)),
                false => of_pairs.get_or_insert_with(|| addresses(false)),
            };
            TtlState::new(backend, state.id, state.ttl, now).get_many(addresses, values)?;
            put_u32(&mut self.buffer, state.slot);
            put_u32(&mut self.buffer, values.lengths.len() as u32);
            for length in &values.lengths {
                self.buffer.extend_from_slice(&length.to_le_bytes());
            }
            self.buffer.extend_from_slice(&values.bytes);
        }
        self.end_section(SECTION_STATE, start);
        Ok(())
    }

    fn header(&mut self, keys: &CallKeys, clocks: Clocks) {
        let buffer = &mut self.buffer;
        buffer[0] = VERSION;
        buffer[1] = 0;
        buffer[2..4].copy_from_slice(&(FRAME_HEADER_LEN as u16).to_le_bytes());
        set_u32(buffer, 4, keys.row_count());
        buffer[8..16].copy_from_slice(&clocks.watermark.to_le_bytes());
        buffer[16..24].copy_from_slice(&clocks.processing_time.to_le_bytes());
        set_u32(buffer, 24, keys.len() as u32);
        set_u32(buffer, 28, self.sections.len() as u32);
        buffer[32..40].fill(0);
        for (index, (tag, offset, length)) in self.sections.iter().enumerate() {
            let at = FRAME_HEADER_LEN + index * DIRECTORY_ENTRY_LEN;
            set_u32(buffer, at, *tag);
            set_u32(buffer, at + 4, *offset);
            set_u32(buffer, at + 8, *length);
        }
    }
}

/// How many rows from the front of a batch, and how many bytes, fit; at least one row.
fn rows_within(batch: &Batch, rows_max: u32, bytes_max: usize) -> (u32, usize) {
    if batch.rows() <= rows_max && batch.bytes().len() <= bytes_max {
        return (batch.rows(), batch.bytes().len());
    }
    let (mut rows, mut length) = (0, 0);
    for row in batch.iter() {
        if rows == rows_max || (rows > 0 && length + row.len() > bytes_max) {
            break;
        }
        length += row.len();
        rows += 1;
    }
    (rows, length)
}

/// A row without a key reached a keyed function: the graph was planned wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the batch has no key: a key-by must stand before a keyed function")]
pub struct MissingKey {
    /// Index of the row.
    pub row: u32,
}

#[inline]
fn push_keyed(out: &mut Vec<u8>, row: RowRef<'_>, port: u16, key: u32, key_len: usize) {
    let mut fixed = [0u8; HEADER_LEN];
    fixed.copy_from_slice(&row.bytes()[..HEADER_LEN]);
    fixed[0..4].copy_from_slice(&((row.len() - key_len) as u32).to_le_bytes());
    fixed[6..8].copy_from_slice(&port.to_le_bytes());
    fixed[8..12].copy_from_slice(&key.to_le_bytes());
    fixed[12..16].copy_from_slice(&NONE.to_le_bytes());
    fixed[24..28].fill(0);
    out.extend_from_slice(&fixed);
    row.copy_from(HEADER_LEN + key_len, out);
}

fn push_timer(out: &mut Vec<u8>, at: Timestamp, domain: TimeDomain, key: u32, namespace: u32) {
    let header = row::RowHeader {
        kind: match domain {
            TimeDomain::Event => row::KIND_EVENT_TIMER,
            TimeDomain::Processing => row::KIND_PROCESSING_TIMER,
        },
        flags: FLAG_KEYED,
        port: 0,
        key,
        group: namespace,
        timestamp: at,
    };
    row::write(out, header, b"", b"", b"");
}

/// Sets the port of rows that were copied as they are.
fn set_ports(rows: &mut [u8], port: u16) {
    let mut at = 0;
    while let Ok(length) = row::read(rows, at).map(|row| row.len()) {
        rows[at + 6..at + 8].copy_from_slice(&port.to_le_bytes());
        at += length;
    }
}
