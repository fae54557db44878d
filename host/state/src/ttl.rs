//! Time to live of keyed state (S4): a layer over any backend, whose states keep a stamp before each value, list
//! element and map entry.
//!
//! | module | holds |
//! |---|---|
//! | this one | the stamp, and batches of reads and writes |
//! | [`read`] | what one read gives and what it changes: Flink's rules for each kind of state |
//!
//! What nobody reads is cleaned up elsewhere, by the backends and by the writer of snapshots: they know the stamp too. They
//! remove what is over and nothing else, so that they change only what a state shows that returns what is over.
//!
//! A stored value is the stamp (`i64`, little-endian: the processing time of its last update, in ms) and then the bytes
//! that the function knows, so that a snapshot has both. Invariant: a state without time to live is handed to the
//! backend as it is, and its calls cost a test more for a batch.

pub mod read;

use wasmill_model::function::{StateTtl, UpdateType};
use wasmill_model::time::Timestamp;

use crate::backend::{KeyedStateBackend, NONE, StateError, StateId, StateKey, Values, Write};

/// Bytes of the stamp.
pub const STAMP_BYTES: usize = 8;

/// Time to live of a state at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    settings: StateTtl,
    now: Timestamp,
}

/// A stored value, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Aged<'a> {
    stamp: Timestamp,
    value: &'a [u8],
    is_expired: bool,
}

impl TimeToLive {
    /// At the processing time `now`.
    pub fn new(settings: StateTtl, now: Timestamp) -> Self {
        Self { settings, now }
    }

    /// What is stored of a value that is written now.
    pub fn stamped(&self, value: &[u8]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(STAMP_BYTES + value.len());
        self.stamp_into(&mut stored, value);
        stored
    }

    fn stamp_into(&self, out: &mut Vec<u8>, value: &[u8]) {
        out.extend_from_slice(&self.now.to_le_bytes());
        out.extend_from_slice(value);
    }

    /// The instant.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether something stored is over; what has no stamp never is.
    pub fn is_over(&self, stored: &[u8]) -> bool {
        self.open(stored).is_ok_and(|aged| aged.is_expired)
    }

    /// The same; where it is not, `oldest` becomes its stamp if that is less.
    pub(crate) fn is_over_or_oldest(&self, stored: &[u8], oldest: &mut Timestamp) -> bool {
        let Ok(aged) = self.open(stored) else {
            return false;
        };
        if !aged.is_expired {
            *oldest = aged.stamp.min(*oldest);
        }
        aged.is_expired
    }

    /// When something of that stamp is over.
    pub(crate) fn end_of(&self, stamp: Timestamp) -> Timestamp {
        stamp.saturating_add(self.settings.time_to_live)
    }

    fn open<'a>(&self, stored: &'a [u8]) -> Result<Aged<'a>, StateError> {
        let Some((stamp, value)) = stored.split_first_chunk::<STAMP_BYTES>() else {
            return Err(StateError::Corrupt(format!(
                "a value of {} bytes has no stamp: it was written by a state without time to live",
                stored.len()
            )));
        };
        let stamp = Timestamp::from_le_bytes(*stamp);
        let is_expired = self.end_of(stamp) <= self.now;
        Ok(Aged {
            stamp,
            value,
            is_expired,
        })
    }

    /// Whether a function sees it.
    fn shows(&self, aged: Aged<'_>) -> bool {
        !aged.is_expired || self.settings.returns_expired()
    }

    /// Whether a read changes its stamp.
    fn renews(&self, aged: Aged<'_>) -> bool {
        self.settings.update_type == UpdateType::OnReadAndWrite && !aged.is_expired && aged.stamp != self.now
    }
}

/// One state of a backend, through its time to live where it has one. Its reads change nothing: what a function has
/// read of them is told by [`TtlState::after_read`].
pub struct TtlState<'a> {
    backend: &'a mut dyn KeyedStateBackend,
    state: StateId,
    ttl: Option<TimeToLive>,
}

impl<'a> TtlState<'a> {
    /// Of a backend; `now` is the processing time.
    pub fn new(
        backend: &'a mut dyn KeyedStateBackend,
        state: StateId,
        ttl: Option<StateTtl>,
        now: Timestamp,
    ) -> Self {
        let ttl = ttl.map(|settings| TimeToLive::new(settings, now));
        Self { backend, state, ttl }
    }

    /// As [`KeyedStateBackend::get_many`]: what is seen now. What is stored and over is noted in `out.expired`.
    pub fn get_many(&mut self, keys: &[StateKey<'_>], out: &mut Values) -> Result<(), StateError> {
        let Some(ttl) = self.ttl else {
            return self.backend.get_many(self.state, keys, out);
        };
        let mut stored = Values::default();
        self.backend.get_many(self.state, keys, &mut stored)?;
        for held in stored.iter() {
            let aged = held.map(|bytes| ttl.open(bytes)).transpose()?;
            if aged.is_some_and(|aged| aged.is_expired) {
                out.expired.push(out.lengths.len() as u32);
            }
            match aged.filter(|aged| ttl.shows(*aged)) {
                Some(aged) => {
                    out.lengths.push(aged.value.len() as u32);
                    out.bytes.extend_from_slice(aged.value);
                }
                None => out.lengths.push(NONE),
            }
        }
        out.locators.append(&mut stored.locators);
        Ok(())
    }

    /// As [`KeyedStateBackend::write_batch`]: values live from now on.
    pub fn write_batch(&mut self, writes: &[Write<'_>]) -> Result<(), StateError> {
        let Some(ttl) = self.ttl else {
            return self.backend.write_batch(self.state, writes);
        };
        let values = || writes.iter().filter_map(|write| write.value);
        let mut buffer = Vec::with_capacity(values().map(|value| STAMP_BYTES + value.len()).sum());
        values().for_each(|value| ttl.stamp_into(&mut buffer, value));
        let mut rest = &buffer[..];
        let stamped = writes.iter().map(|write| Write {
            value: write.value.map(|value| {
                let (stored, after) = rest.split_at(STAMP_BYTES + value.len());
                rest = after;
                stored
            }),
            ..*write
        });
        let stamped: Vec<Write<'_>> = stamped.collect();
        self.backend.write_batch(self.state, &stamped)
    }

    /// As [`KeyedStateBackend::append`]: the element lives from now on.
    pub fn append(&mut self, key: StateKey<'_>, element: &[u8]) -> Result<(), StateError> {
        match self.ttl {
            None => self.backend.append(self.state, key, element)?,
            Some(ttl) => self.backend.append(self.state, key, &ttl.stamped(element))?,
        };
        Ok(())
    }

    /// As [`KeyedStateBackend::clear`].
    pub fn clear(&mut self, key: StateKey<'_>) -> Result<(), StateError> {
        self.backend.clear(self.state, key)
    }

    /// What is to be written for a value that a function has read: `None` where that changes nothing, else the value
    /// that lives anew, or that it is gone. `expired` is whether it is over.
    pub fn after_read<'v>(&self, value: Option<&'v [u8]>, expired: bool) -> Option<Option<&'v [u8]>> {
        let ttl = self.ttl?;
        match (value, expired) {
            (_, true) => Some(None),
            (Some(_), false) if ttl.settings.update_type == UpdateType::OnReadAndWrite => Some(value),
            _ => None,
        }
    }
}
