//! Collects what window functions and triggers emit, in the order in which a single element at a time would.
//!
//! Triggers decide while a batch is planned, functions run afterwards: what triggers emitted waits here for its
//! turn.

use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::row::{FLAG_EXTENSION, FLAG_NULL, RowHeader};
use wasmill_model::time::Timestamp;

use super::element::Element;
use crate::output::Output;

/// Which step of a batch's plan something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepId(pub u32);

/// Something emitted while the batch was planned: comes before what later steps emit.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    /// The step that comes next.
    pub(super) before: StepId,
    pub(super) port: u16,
    pub(super) cause: u32,
    pub(super) record: PlannedRecord<'a>,
}

#[derive(Debug)]
pub(super) enum PlannedRecord<'a> {
    /// A late element, passed on as it is but for its key.
    Late(Element<'a>),
    Emitted(Option<Timestamp>, Vec<u8>),
}

/// A batch is handed on when it has so many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// Where window functions emit to. Every row names, in its `key` field, the row of the batch or the timer of the call
/// that caused it.
pub struct Emitter<'a, 'o> {
    planned: std::iter::Peekable<std::vec::IntoIter<Planned<'a>>>,
    /// By step.
    causes: Vec<u32>,
    /// By row, where the rows of the batch know what caused them.
    lines: Vec<&'a [u8]>,
    port: u16,
    rows: BatchBuilder,
    out: &'o mut Output,
}

impl<'a, 'o> Emitter<'a, 'o> {
    /// `rows` is the batch that the plan is of; of timers there is none.
    pub(super) fn new(
        planned: Vec<Planned<'a>>,
        causes: Vec<u32>,
        rows: &'a Batch,
        out: &'o mut Output,
    ) -> Self {
        // A batch's records know their lines all or none.
        let known = rows.iter().next().is_some_and(|row| !row.cause().is_empty());
        let lines = known.then(|| rows.iter().map(|row| row.cause()).collect());
        Self {
            planned: planned.into_iter().peekable(),
            causes,
            lines: lines.unwrap_or_default(),
            port: 0,
            rows: BatchBuilder::default(),
            out,
        }
    }

    /// Emits a result of a step to an output: 0 is the main one, 1 + n the side output n. Steps never go back.
    pub fn emit(&mut self, step: StepId, port: u16, timestamp: Option<Timestamp>, value: &[u8]) {
        self.catch_up(step);
        let cause = self.causes.get(step.0 as usize).copied().unwrap_or_default();
        let header = RowHeader {
            key: cause,
            ..RowHeader::element(timestamp)
        };
        self.push_caused(port, header, value);
    }

    /// Emits a null value.
    pub fn emit_null(&mut self, step: StepId, port: u16, timestamp: Option<Timestamp>) {
        self.catch_up(step);
        let mut header = RowHeader {
            key: self.causes.get(step.0 as usize).copied().unwrap_or_default(),
            ..RowHeader::element(timestamp)
        };
        header.flags |= FLAG_NULL;
        self.push_caused(port, header, &[]);
    }

    pub(super) fn finish(mut self) {
        self.catch_up(StepId(u32::MAX));
        self.flush();
    }

    fn catch_up(&mut self, step: StepId) {
        while let Some(planned) = self.planned.next_if(|planned| planned.before <= step) {
            let header = |timestamp| RowHeader {
                key: planned.cause,
                ..RowHeader::element(timestamp)
            };
            match &planned.record {
                PlannedRecord::Emitted(timestamp, value) => {
                    self.push_caused(planned.port, header(*timestamp), value);
                }
                PlannedRecord::Late(element) => {
                    let mut header = header(element.timestamp);
                    let null = if element.is_null { FLAG_NULL } else { 0 };
                    let extended = if element.extension.is_empty() {
                        0
                    } else {
                        FLAG_EXTENSION
                    };
                    header.flags |= null | extended;
                    self.push(planned.port, header, element.value, element.extension);
                }
            }
        }
    }

    /// What a record makes the operator emit has its cause.
    fn push_caused(&mut self, port: u16, mut header: RowHeader, value: &[u8]) {
        let line = self.lines.get(header.key as usize).copied().unwrap_or_default();
        if !line.is_empty() {
            header.flags |= FLAG_EXTENSION;
        }
        self.push(port, header, value, line);
    }

    fn push(&mut self, port: u16, header: RowHeader, value: &[u8], extension: &[u8]) {
        if port != self.port || self.rows.len() >= BATCH_BYTES {
            self.flush();
            self.port = port;
        }
        self.rows.push(header, &[], value, extension);
    }

    fn flush(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        self.out.emit(self.port, rows.finish());
    }
}
