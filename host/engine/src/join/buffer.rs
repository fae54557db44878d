//! The elements of one side of an interval join, by timestamp, in map state.
//!
//! A bucket holds the elements of one key and timestamp in the order of their arrival, cut into chunks, so that
//! what one more element costs does not grow with the bucket. The map key is the timestamp, big-endian with its sign
//! flipped, and the number of the chunk (`u32`, big-endian). The first chunk begins with the number of the last one
//! (`u32`, little-endian); then, as in all others, each element has its length (`u32`, little-endian) before it.
//!
//! Invariant: both are part of the checkpoint format.

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::time::Timestamp;
use wasmill_state::backend::{KeyedStateBackend, Locator, NONE, Page, StateId, StateKey, Values, Write};

use crate::error::TaskError;
use crate::window::element::Element;

/// A chunk that has so many bytes takes no further element.
const CHUNK_BYTES: usize = 4 * 1024;
/// The first page of a range; each further one is twice as large, up to [`PAGE_BYTES_MAX`].
const PAGE_BYTES: usize = 4 * 1024;
const PAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a map key, of which the first are the timestamp's.
const KEY_LEN: usize = 12;
const TIME_LEN: usize = 8;
const LENGTH_LEN: usize = 4;

/// A range of timestamps that is read page by page.
pub struct RangeCursor {
    after: Vec<u8>,
    to: Timestamp,
    bytes_max: usize,
}

impl RangeCursor {
    /// From one time to another, both included.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            // A timestamp alone lies before all chunks of its bucket.
            after: map_key(from, 0)[..TIME_LEN].to_vec(),
            to,
            bytes_max: PAGE_BYTES,
        }
    }
}

/// One side's elements.
pub struct JoinBuffer {
    state: StateId,
    page: Page,
    values: Values,
    encoded: Vec<u8>,
}

impl JoinBuffer {
    /// In a state of that name.
    pub fn open(name: &str, state: &mut dyn KeyedStateBackend) -> Result<Self, TaskError> {
        let declaration = StateDeclaration {
            name: name.to_owned(),
            kind: StateKind::Map,
            encoding: "interval-join-bucket".to_owned(),
            schema: serde_json::Value::Null,
            schema_version: 1,
            migrates_from: None,
            prefetch: None,
            reduce: None,
            per_window: false,
            ttl: None,
        };
        Ok(Self {
            state: state.register(&declaration)?,
            page: Page::default(),
            values: Values::default(),
            encoded: Vec::new(),
        })
    }

    /// Adds an element behind those of the same timestamp. `key` is a key without map key, here and below.
    pub fn add(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        key: StateKey<'_>,
        at: Timestamp,
        element: &Element<'_>,
    ) -> Result<(), TaskError> {
        let (mut first, locator) = self.read(backend, key, map_key(at, 0))?;
        if first.is_empty() {
            first.extend_from_slice(&0u32.to_le_bytes());
        }
        let last = last_chunk(&first)?;
        let (chunk, stored, locator) = match last {
            0 => (0, first.clone(), locator),
            last => {
                let (stored, locator) = self.read(backend, key, map_key(at, last))?;
                (last, stored, locator)
            }
        };
        self.encoded.clear();
        self.encoded.extend_from_slice(&[0; LENGTH_LEN]);
        element.encode(&mut self.encoded);
        let length = (self.encoded.len() - LENGTH_LEN) as u32;
        self.encoded[..LENGTH_LEN].copy_from_slice(&length.to_le_bytes());
        if stored.len() < CHUNK_BYTES {
            let stored = [&stored[..], &self.encoded].concat();
            return self.write(backend, key, map_key(at, chunk), locator, Some(&stored));
        }
        let next = last
            .checked_add(1)
            .ok_or_else(|| TaskError::user("too many elements of one key have the same timestamp"))?;
        let added = std::mem::take(&mut self.encoded);
        self.write(backend, key, map_key(at, next), Locator::UNKNOWN, Some(&added))?;
        self.encoded = added;
        first[..LENGTH_LEN].copy_from_slice(&next.to_le_bytes());
        self.write(backend, key, map_key(at, 0), Locator::UNKNOWN, Some(&first))
    }

    /// Gives the elements of a page of a range: by time, those of one time in the order in which they came. False
    /// at the end of the range.
    pub fn read_on(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        key: StateKey<'_>,
        range: &mut RangeCursor,
        each: &mut dyn FnMut(Timestamp, Element<'_>),
    ) -> Result<bool, TaskError> {
        backend.map_page(
            self.state,
            key,
            Some(&range.after),
            range.bytes_max,
            &mut self.page,
        )?;
        for (stored_key, chunk) in &self.page.entries {
            let (at, number) = parse_key(stored_key)?;
            if at > range.to {
                return Ok(false);
            }
            let header = if number == 0 { LENGTH_LEN } else { 0 };
            let mut rest = chunk.get(header..).ok_or_else(damaged)?;
            while !rest.is_empty() {
                let (element, behind) = next_element(rest).ok_or_else(damaged)?;
                each(at, element);
                rest = behind;
            }
        }
        range.bytes_max = (range.bytes_max * 2).min(PAGE_BYTES_MAX);
        match self.page.entries.last() {
            Some((last, _)) if !self.page.done => {
                range.after.clone_from(last);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Removes all elements of a key and timestamp.
    pub fn remove(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        key: StateKey<'_>,
        at: Timestamp,
    ) -> Result<(), TaskError> {
        let (first, locator) = self.read(backend, key, map_key(at, 0))?;
        if first.is_empty() {
            return Ok(());
        }
        for chunk in 1..=last_chunk(&first)? {
            self.write(backend, key, map_key(at, chunk), Locator::UNKNOWN, None)?;
        }
        self.write(backend, key, map_key(at, 0), locator, None)
    }

    /// A chunk; empty where there is none.
    fn read(
        &mut self,
        backend: &mut dyn KeyedStateBackend,
        key: StateKey<'_>,
        map_key: [u8; KEY_LEN],
    ) -> Result<(Vec<u8>, Locator), TaskError> {
        self.values.clear();
        let map_key = &map_key;
        backend.get_many(self.state, &[StateKey { map_key, ..key }], &mut self.values)?;
        let locator = self.values.locators.first().copied();
        let stored = match self.values.lengths.first() {
            Some(&NONE) | None => Vec::new(),
            Some(_) => self.values.bytes.clone(),
        };
        Ok((stored, locator.unwrap_or(Locator::UNKNOWN)))
    }

    fn write(
        &self,
        backend: &mut dyn KeyedStateBackend,
        key: StateKey<'_>,
        map_key: [u8; KEY_LEN],
        locator: Locator,
        value: Option<&[u8]>,
    ) -> Result<(), TaskError> {
        let map_key = &map_key;
        let write = Write {
            key: StateKey { map_key, ..key },
            locator,
            value,
        };
        Ok(backend.write_batch(self.state, &[write])?)
    }
}

fn map_key(at: Timestamp, chunk: u32) -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    bytes[..TIME_LEN].copy_from_slice(&((at as u64) ^ (1 << 63)).to_be_bytes());
    bytes[TIME_LEN..].copy_from_slice(&chunk.to_be_bytes());
    bytes
}

fn parse_key(stored: &[u8]) -> Result<(Timestamp, u32), TaskError> {
    let parts = stored.split_first_chunk().zip(stored.last_chunk());
    let ((time, _), chunk) = parts.filter(|_| stored.len() == KEY_LEN).ok_or_else(damaged)?;
    let at = (u64::from_be_bytes(*time) ^ (1 << 63)) as Timestamp;
    Ok((at, u32::from_be_bytes(*chunk)))
}

fn last_chunk(first: &[u8]) -> Result<u32, TaskError> {
    let (last, _) = first.split_first_chunk().ok_or_else(damaged)?;
    Ok(u32::from_le_bytes(*last))
}

fn next_element(elements: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (length, rest) = elements.split_first_chunk()?;
    let (element, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((Element::decode(element)?, behind))
}

fn damaged() -> TaskError {
    TaskError::host("a stored bucket of an interval join is damaged")
}
