//! One call of the host: where the rows stand, and all effects until the answer is complete.
//!
//! Invariant: buffers outlive calls and are empty at the start of each, so that a steady stream
//! allocates nothing. Nothing of one call is seen by the next.

use crate::error::{Error, Result};
use crate::frame::{
    FLAG_TIMESTAMP, Frame, KIND_EVENT_TIMER, KIND_PROCESSING_TIMER, NONE, Row, Section, finish_answer,
    finish_emission, output_len, start_answer, start_emission, take_output, write_error_answer,
};
use crate::host::{self, op};
use crate::http::HttpRequest;
use crate::metrics::Metrics;
use crate::overlay::Overlay;
use crate::record::Writer;
use crate::state::broadcast::Broadcast;
use crate::state::prefetched::Prefetched;
use crate::window::Window;

/// An answer that has grown past this many bytes is returned before the next row, and what one row
/// emits beyond it is sent ahead.
const ANSWER_BYTES_TARGET: usize = 1 << 20;

const TAG_SIDE: u32 = 17;
const TAG_STATE: u32 = 18;
const TAG_TIMERS: u32 = 19;
const TAG_WRITES: u32 = 20;
const TAG_REQUESTS: u32 = 22;
const TAG_METRICS: u32 = 23;

/// What is kept between calls for its memory alone, and the metrics.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) answer: Vec<u8>,
    side: Vec<u8>,
    timers: Vec<u8>,
    requests: Vec<u8>,
    pub(crate) writes: Vec<u8>,
    scratch: Vec<u8>,
    pub(crate) request: Vec<u8>,
    pub(crate) prefetched: Prefetched,
    pub(crate) overlay: Overlay,
    pub(crate) metrics: Metrics,
    /// Of a window function, by slot: whether each window has a value of its own. Empty for other kinds, whose
    /// states are all in the namespace of the row.
    pub(crate) per_window: Vec<bool>,
    pub(crate) broadcast: Broadcast,
}

/// The two clocks that timers go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark.
    EventTime,
    /// The host's clock.
    ProcessingTime,
}

/// The call that is under way.
pub(crate) struct Call<'f> {
    pub(crate) frame: Frame<'f>,
    pub(crate) buffers: &'f mut Buffers,
    rest: &'f [u8],
    pub(crate) row: Row<'f>,
    pub(crate) row_index: u32,
    /// Index of the current key's prefetched values.
    pub(crate) pair: Option<u32>,
    /// The key whose keyed state is meant, where that is not the row's.
    pub(crate) scanned_key: Option<u32>,
    /// What a plain emission carries.
    emit_timestamp: Option<i64>,
    /// Rows of the main output that are in the answer.
    output_rows: u32,
    /// A due timer of the domain that is firing was registered or deleted.
    is_reordered: bool,
    latched: Option<Error>,
}

impl<'f> Call<'f> {
    /// Reads the frame and its prefetched state; `states` is how many the function declares.
    pub(crate) fn start(bytes: &'f [u8], states: usize, buffers: &'f mut Buffers) -> Result<Self, String> {
        let frame = Frame::parse(bytes)?;
        start_answer(&mut buffers.answer);
        buffers.side.clear();
        buffers.timers.clear();
        buffers.requests.clear();
        buffers.writes.clear();
        buffers.overlay.clear();
        buffers.metrics.discard();
        buffers.prefetched.load(&frame, states)?;
        let rest = frame.rows;
        Ok(Self {
            frame,
            buffers,
            rest,
            row: Row::default(),
            row_index: 0,
            pair: None,
            scanned_key: None,
            emit_timestamp: None,
            output_rows: 0,
            is_reordered: false,
            latched: None,
        })
    }

    /// The next row, where there is one.
    #[inline]
    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'f>>, String> {
        if self.row_index == self.frame.row_count {
            return Ok(None);
        }
        let row = Row::split(&mut self.rest)?;
        self.pair = self.frame.pair(row.key, row.namespace);
        self.emit_timestamp = match row.kind {
            KIND_PROCESSING_TIMER => None,
            KIND_EVENT_TIMER => Some(row.timestamp),
            _ => (row.flags & FLAG_TIMESTAMP != 0).then_some(row.timestamp),
        };
        self.row = row;
        Ok(Some(row))
    }

    /// Counts the row as consumed; true where the call is to end before the next one.
    #[inline]
    pub(crate) fn row_done(&mut self) -> bool {
        self.row_index += 1;
        let buffers = &self.buffers;
        let pending = output_len(&buffers.answer)
            + buffers.side.len()
            + buffers.writes.len()
            + buffers.requests.len()
            + buffers.prefetched.set_len()
            + buffers.overlay.len();
        self.is_reordered || pending > ANSWER_BYTES_TARGET
    }

    /// An error that could not be returned where it arose.
    #[inline]
    pub(crate) fn latched(&mut self) -> Result<()> {
        match self.latched.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Completes the answer.
    pub(crate) fn finish(self) {
        let buffers = self.buffers;
        buffers.scratch.clear();
        buffers.prefetched.write_answer(&mut buffers.scratch);
        buffers.request.clear();
        buffers.metrics.drain(&mut buffers.request);
        let sections = [
            (TAG_SIDE, &buffers.side),
            (TAG_STATE, &buffers.scratch),
            (TAG_TIMERS, &buffers.timers),
            (TAG_WRITES, &buffers.writes),
            (TAG_REQUESTS, &buffers.requests),
            (TAG_METRICS, &buffers.request),
        ]
        .map(|(tag, bytes)| Section { tag, bytes });
        finish_answer(&mut buffers.answer, self.row_index, &sections);
    }

    /// Replaces the answer by the error of the current row.
    pub(crate) fn fail(self, error: &Error) {
        self.buffers.metrics.discard();
        self.buffers.broadcast.forget();
        write_error_answer(
            &mut self.buffers.answer,
            self.row_index,
            error.code(),
            error.message(),
        );
    }

    /// Whether a state is reached under the key alone, whatever the window.
    #[inline]
    fn is_of_key(&self, slot: u32) -> bool {
        self.buffers.per_window.get(slot as usize) == Some(&false)
    }

    /// The index of the current value of a state that travels.
    #[inline]
    pub(crate) fn entry_of(&self, slot: u32) -> Option<u32> {
        match self.is_of_key(slot) {
            true => Some(self.row.key),
            false => self.pair,
        }
    }

    /// The namespace in which a state is reached.
    #[inline]
    pub(crate) fn namespace_of(&self, slot: u32) -> u32 {
        match self.is_of_key(slot) {
            true => NONE,
            false => self.row.namespace,
        }
    }

    /// Reaches state of another window of the current key until it is called again or the row is done.
    pub(crate) fn use_window(&mut self, namespace: u32) {
        self.pair = self.frame.pair(self.row.key, namespace);
        self.row.namespace = namespace;
    }

    /// The window of the current row.
    pub(crate) fn window(&self) -> Result<Window> {
        let namespace = self.frame.namespace(self.row.namespace);
        namespace
            .and_then(Window::parse)
            .ok_or_else(|| Error::failed("the frame does not say which window the row is about"))
    }

    /// The current key; none on a stream that is not keyed.
    #[inline]
    pub(crate) fn key(&self) -> Option<&'f [u8]> {
        self.frame.keys.get(self.row.key)
    }

    /// Emits to a port what `write` appends. An error surfaces once the function returns.
    #[inline]
    pub(crate) fn emit(
        &mut self,
        port: u16,
        timestamp: Option<i64>,
        is_null: bool,
        write: impl FnOnce(&mut Writer<'_>) -> Result<()>,
    ) {
        let out = if port == 0 {
            &mut self.buffers.answer
        } else {
            &mut self.buffers.side
        };
        let start = out.len();
        let after = if port == 0 { 0 } else { self.output_rows };
        start_emission(out, port, self.row_index, after, timestamp, is_null);
        if let Err(error) = write(&mut Writer::new(out)) {
            out.truncate(start);
            self.latched.get_or_insert(error);
            return;
        }
        finish_emission(out, start);
        self.output_rows += u32::from(port == 0);
        if out.len() > ANSWER_BYTES_TARGET {
            self.send_output();
        }
    }

    /// Makes a request of the current row.
    pub(crate) fn request(&mut self, request: &HttpRequest) {
        if let Err(error) = request.write(self.row_index, &mut self.buffers.requests) {
            self.latched.get_or_insert(error);
        }
    }

    /// The timestamp of a plain emission.
    #[inline]
    pub(crate) fn emit_timestamp(&self) -> Option<i64> {
        self.emit_timestamp
    }

    /// Sends what was emitted ahead of the answer, so that one row may emit without end in memory
    /// that does not grow.
    #[cold]
    fn send_output(&mut self) {
        let buffers = &mut *self.buffers;
        host::start_request(&mut buffers.request, op::EMIT);
        take_output(&mut buffers.answer, &mut buffers.request);
        self.output_rows = 0;
        buffers.request.append(&mut buffers.side);
        if let Err(message) = host::call(&buffers.request) {
            self.latched.get_or_insert(Error::failed(message));
        }
    }

    /// Registers or deletes a timer of the current key.
    pub(crate) fn timer(&mut self, operation: u8, domain: TimeDomain, at: i64) {
        if self.row.key == NONE {
            let error = Error::failed("a timer needs a key: put a key-by in front of the function");
            self.latched.get_or_insert(error);
            return;
        }
        let (code, clock, firing) = match domain {
            TimeDomain::EventTime => (1, self.frame.watermark, KIND_EVENT_TIMER),
            TimeDomain::ProcessingTime => (2, self.frame.processing_time, KIND_PROCESSING_TIMER),
        };
        // The timers in the frame were ordered before this one was known: the host orders anew.
        self.is_reordered |= self.row.kind == firing && at <= clock;
        let mut entry = [0; 24];
        entry[0..4].copy_from_slice(&self.row_index.to_le_bytes());
        entry[4..6].copy_from_slice(&[operation, code]);
        entry[8..12].copy_from_slice(&self.row.namespace.to_le_bytes());
        entry[16..24].copy_from_slice(&at.to_le_bytes());
        self.buffers.timers.extend_from_slice(&entry);
    }
}
