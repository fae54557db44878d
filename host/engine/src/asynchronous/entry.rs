//! An element in flight: its record, what it waits for, and the results that it has so far.
//!
//! Invariant: what a checkpoint holds of it is enough to go on: requests without an answer are made again, those with one
//! are not, and the function is not called again for what it has answered.

use bytes::Bytes;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::row::{EXTENSION_REQUEST, FLAG_EXTENSION, RowHeader, RowRef};
use wasmill_model::time::Timestamp;

use super::{Request, UnderWay};

/// Of the form in a checkpoint.
const VERSION: u8 = 1;
/// How a missing response is written.
const NONE: u32 = u32::MAX;

/// An element in flight.
#[derive(Default)]
pub(super) struct Entry {
    /// One row: the element.
    element: Batch,
    pub(super) step: Step,
    /// Results so far, by output port.
    pub(super) results: Vec<(u16, Batch)>,
    /// Repetitions so far.
    pub(super) repetitions: u32,
    /// Counts the rounds of requests, repetitions too.
    pub(super) round: u32,
    /// When its time is over.
    pub(super) timeout_at: Option<Timestamp>,
    /// When what failed is repeated.
    pub(super) retry_at: Option<Timestamp>,
}

/// What an element waits for.
#[derive(Default)]
pub(super) enum Step {
    /// The function is to be called with it.
    #[default]
    Invoke,
    /// Answers to these.
    Requests(Vec<Slot>),
    /// Its turn.
    Done,
}

/// A request of an element.
pub(super) struct Slot {
    pub(super) request: Request,
    pub(super) state: SlotState,
}

/// How far a request is.
pub(super) enum SlotState {
    /// To be made, or made again.
    Open,
    /// Dropping it gives it up.
    UnderWay { _request: UnderWay },
    /// The answer.
    Answered(Bytes),
}

impl Slot {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            state: SlotState::Open,
        }
    }
}

impl Entry {
    pub(super) fn new(row: RowRef<'_>) -> Self {
        let mut element = BatchBuilder::with_capacity(row.len());
        element.push_row(row);
        Self {
            element: element.finish(),
            ..Self::default()
        }
    }

    /// The element as it came.
    pub(super) fn element(&self) -> Batch {
        self.element.clone()
    }

    /// The element as a row of that kind, with its requests and their answers.
    pub(super) fn row(&self, kind: u8) -> Batch {
        let mut out = BatchBuilder::default();
        if let Some(row) = self.element.iter().next() {
            let mut extension = row.extension().to_vec();
            if let Step::Requests(slots) = &self.step {
                slots.iter().for_each(|slot| slot.extend(&mut extension));
            }
            let extended = if extension.is_empty() { 0 } else { FLAG_EXTENSION };
            let header = RowHeader {
                kind,
                flags: row.flags() | extended,
                ..row.header()
            };
            out.push(header, row.key().unwrap_or_default(), row.value(), &extension);
        }
        out.finish()
    }

    /// What a checkpoint holds.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (step, slots): (u8, &[Slot]) = match &self.step {
            Step::Invoke => (0, &[]),
            Step::Requests(slots) => (1, slots),
            Step::Done => (2, &[]),
        };
        let mut out = vec![VERSION, step, 0, 0];
        put(&mut out, self.element.bytes());
        put_u32(&mut out, self.results.len() as u32);
        for (port, batch) in &self.results {
            put_u32(&mut out, u32::from(*port));
            put(&mut out, batch.bytes());
        }
        put_u32(&mut out, slots.len() as u32);
        for slot in slots {
            put(&mut out, &slot.request.request);
            put(&mut out, &slot.request.continuation);
            match &slot.state {
                SlotState::Answered(response) => put(&mut out, response),
                _ => put_u32(&mut out, NONE),
            }
        }
        out
    }

    /// Reads what [`Self::encode`] wrote; the error says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut reader = Reader { rest: bytes };
        let head = reader.take(4)?;
        if head[0] != VERSION {
            return Err(format!("version {}, this host reads version {VERSION}", head[0]));
        }
        let element = reader.batch()?;
        let results = (0..reader.u32()?)
            .map(|_| Ok((reader.u32()? as u16, reader.batch()?)))
            .collect::<Result<Vec<_>, String>>()?;
        let slots = (0..reader.u32()?)
            .map(|_| reader.slot())
            .collect::<Result<Vec<_>, String>>()?;
        let step = match head[1] {
            0 => Step::Invoke,
            1 => Step::Requests(slots),
            2 => Step::Done,
            other => return Err(format!("there is no step {other}")),
        };
        if element.rows() != 1 || !reader.rest.is_empty() {
            return Err(format!(
                "{} records and {} bytes too many",
                element.rows(),
                reader.rest.len()
            ));
        }
        Ok(Self {
            element,
            step,
            results,
            ..Self::default()
        })
    }
}

impl Slot {
    /// Appends the entry of an extension.
    fn extend(&self, out: &mut Vec<u8>) {
        let response: &[u8] = match &self.state {
            SlotState::Answered(response) => response,
            _ => &[],
        };
        let continuation = &self.request.continuation;
        out.extend_from_slice(&EXTENSION_REQUEST.to_le_bytes());
        put_u32(out, (4 + continuation.len() + response.len()) as u32);
        put(out, continuation);
        out.extend_from_slice(response);
    }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

struct Reader {
    rest: Bytes,
}

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes, String> {
        if length > self.rest.len() {
            return Err(format!(
                "{length} bytes are expected and {} are left",
                self.rest.len()
            ));
        }
        Ok(self.rest.split_to(length))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let mut raw = [0; 4];
        raw.copy_from_slice(&self.take(4)?);
        Ok(u32::from_le_bytes(raw))
    }

    fn bytes(&mut self) -> Result<Bytes, String> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn batch(&mut self) -> Result<Batch, String> {
        Batch::from_untrusted(self.bytes()?).map_err(|error| error.to_string())
    }

    fn slot(&mut self) -> Result<Slot, String> {
        let request = Request {
            request: self.bytes()?,
            continuation: self.bytes()?,
        };
        let state = match self.u32()? {
            NONE => SlotState::Open,
            length => SlotState::Answered(self.take(length as usize)?),
        };
        Ok(Slot { request, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::row::{KIND_COMPLETION, cause};

    fn entry() -> Entry {
        let mut rows = BatchBuilder::default();
        rows.push_caused(RowHeader::element(Some(7)), b"element", &cause(3));
        let batch = rows.finish();
        let mut entry = Entry::new(batch.iter().next().unwrap());
        let slot = |answer: Option<&'static [u8]>| Slot {
            request: Request {
                request: Bytes::from_static(b"GET"),
                continuation: Bytes::from_static(b"second step"),
            },
            state: answer.map_or(SlotState::Open, |answer| {
                SlotState::Answered(Bytes::from_static(answer))
            }),
        };
        entry.step = Step::Requests(vec![slot(None), slot(Some(b"")), slot(Some(b"200"))]);
        entry.results = vec![(0, batch.clone()), (2, batch)];
        entry
    }

    #[test]
    fn what_a_checkpoint_holds_is_read_as_it_was() {
        let entry = entry();
        let bytes = entry.encode();
        let read = Entry::decode(&bytes).unwrap();
        assert_eq!(read.encode(), bytes);
        assert_eq!(read.element(), entry.element());
        assert_eq!(read.results, entry.results);
        assert_eq!(read.row(KIND_COMPLETION), entry.row(KIND_COMPLETION));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = entry().encode();
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end]).is_err(), "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Entry::decode(&longer).is_err());
        let mut newer = bytes;
        newer[0] = 2;
        let error = Entry::decode(&newer).err().unwrap();
        assert_eq!(error, "version 2, this host reads version 1");
    }

    #[test]
    fn the_row_of_a_completion_has_the_element_and_its_answers() {
        let batch = entry().row(KIND_COMPLETION);
        let row = batch.iter().next().unwrap();
        assert_eq!(
            (row.kind(), row.value(), row.timestamp()),
            (32, &b"element"[..], Some(7))
        );
        assert_eq!(row.cause(), cause(3));
        let mut expected = cause(3).to_vec();
        for answer in [&b""[..], b"", b"200"] {
            expected.extend_from_slice(&[4, 0]);
            put_u32(&mut expected, 15 + answer.len() as u32);
            put(&mut expected, b"second step");
            expected.extend_from_slice(answer);
        }
        assert_eq!(row.extension(), expected);
    }
}
