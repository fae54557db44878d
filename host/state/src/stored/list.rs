//! Lists: the last elements lie in an open chunk, which is an entry of the cache as a value is; earlier ones in closed
//! chunks, which go to the store and stay as they are.
//!
//! Invariants: a list that is there has an open chunk, and an element in it or before it; closed chunks are sorted by the
//! number of their first element, without a gap; the open chunk is small whatever the elements are, so that an append
//! never reads more.

use super::StoredBackend;
use super::cache::{Known, Put};
use super::layout::{Layout, OPEN, prefix, write_prefix};
use crate::backend::{NONE, PAGE_ENTRY_BYTES, Page, StateError, StateId, StateKey, Values};
use crate::snapshot::{Elements, append_element};
use crate::store::Column;

/// An open chunk is closed when its elements would have more bytes; one larger element has a closed chunk of its own.
const CHUNK_BYTES: usize = 2 * 1024;

/// Before the elements: number of the first `u64`, count `u32`, little-endian.
const HEAD_BYTES: usize = 12;

/// A chunk as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) first: u64,
    pub(super) count: u32,
    run: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// `None` where the bytes are no chunk.
    pub(super) fn of(stored: &'a [u8]) -> Option<Self> {
        let (first, rest) = stored.split_first_chunk()?;
        let (count, run) = rest.split_first_chunk()?;
        Some(Self {
            first: u64::from_le_bytes(*first),
            count: u32::from_le_bytes(*count),
            run,
        })
    }

    pub(super) fn elements(&self) -> Elements<'a> {
        Elements::new(self.count, self.run)
    }

    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

fn write_chunk(out: &mut Vec<u8>, first: u64, count: u32, run: &[u8]) {
    out.clear();
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(run);
}

impl StoredBackend {
    /// Appends an element; whether it is the first.
    pub(super) fn append_element(
        &mut self,
        id: StateId,
        key: &StateKey<'_>,
        element: &[u8],
    ) -> Result<bool, StateError> {
        let mut longer = std::mem::take(&mut self.buffers.longer);
        longer.clear();
        append_element(&mut longer, element);
        let appended = self.append_run(id, key, &longer);
        self.buffers.longer = longer;
        appended
    }

    /// Appends an element as it is within a chunk.
    fn append_run(&mut self, id: StateId, key: &StateKey<'_>, added: &[u8]) -> Result<bool, StateError> {
        let state = usize::from(id.0);
        let address = Layout::List.address(key, &mut self.buffers.rest);
        if let Known::Value(stored) = self.cache.get(state, address)
            && stored.len() + added.len() <= HEAD_BYTES + CHUNK_BYTES
            && let Some(grown) = self.cache.grow(state, address, added.len())
        {
            let start = grown.len() - added.len();
            grown[start..].copy_from_slice(added);
            let count = Chunk::of(grown).map_or(0, |chunk| chunk.count) + 1;
            grown[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
            return Ok(false);
        }
        let is_there = self.open_chunk(id, key)?;
        let mut stored = std::mem::take(&mut self.buffers.chunk);
        let open = Chunk::of(&stored).filter(|_| is_there).unwrap_or(Chunk {
            first: 0,
            count: 0,
            run: &[],
        });
        let (mut first, mut count, mut run) = (open.first, open.count, open.run.len());
        if count > 0 && run + added.len() > CHUNK_BYTES {
            self.write_closed(id, key, first, &stored);
            (first, count, run) = (open.end(), 0, 0);
            stored.truncate(HEAD_BYTES);
        }
        if added.len() > CHUNK_BYTES {
            write_chunk(&mut stored, first, 1, added);
            self.write_closed(id, key, first, &stored);
            write_chunk(&mut stored, first + 1, 0, &[]);
        } else {
            let mut head = Vec::with_capacity(HEAD_BYTES);
            write_chunk(&mut head, first, count + 1, &[]);
            stored.resize(HEAD_BYTES + run, 0);
            stored[..HEAD_BYTES].copy_from_slice(&head);
            stored.extend_from_slice(added);
        }
        self.write_open(id, key, &stored);
        self.buffers.chunk = stored;
        Ok(!is_there)
    }

    /// Puts the open chunk of a list into `buffers.chunk`; false where there is no list.
    fn open_chunk(&mut self, id: StateId, key: &StateKey<'_>) -> Result<bool, StateError> {
        let address = Layout::List.address(key, &mut self.buffers.rest);
        self.buffers.chunk.clear();
        match self.cache.get(usize::from(id.0), address) {
            Known::Value(stored) => {
                self.buffers.chunk.extend_from_slice(stored);
                return Ok(true);
            }
            Known::Absent => return Ok(false),
            Known::Nothing => {}
        }
        let mut out = Values {
            lengths: vec![NONE],
            bytes: std::mem::take(&mut self.buffers.chunk),
            ..Values::default()
        };
        self.buffers.missing.clear();
        self.buffers.missing.push(0);
        self.fetch(id, Layout::List, &[*key], (0, 0), &mut out)?;
        self.buffers.chunk = out.bytes;
        Ok(out.lengths != [NONE])
    }

    fn write_open(&mut self, id: StateId, key: &StateKey<'_>, stored: &[u8]) {
        let address = Layout::List.address(key, &mut self.buffers.rest);
        // As much room again: a list that grows is moved seldom.
        let room = stored
            .len()
            .min(HEAD_BYTES + CHUNK_BYTES - stored.len().min(HEAD_BYTES + CHUNK_BYTES));
        let put = self.cache.put_by_search(usize::from(id.0), address, stored, room);
        if put == Put::TooLarge {
            let write = |out: &mut Vec<u8>| Layout::List.write_stored(out, key);
            self.changes.push_with(Column(id.0), write, Some(stored));
        }
    }

    fn write_closed(&mut self, id: StateId, key: &StateKey<'_>, first: u64, stored: &[u8]) {
        let write = |out: &mut Vec<u8>| {
            write_prefix(out, key);
            out.extend_from_slice(&first.to_be_bytes());
        };
        self.changes.push_with(Column(id.0), write, Some(stored));
    }

    pub(super) fn page_of_list(
        &mut self,
        id: StateId,
        key: &StateKey<'_>,
        start: u64,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        let mut bytes = 0;
        let entries = &mut out.entries;
        out.done = self.visit_list(id, key, start, &mut |element| {
            if bytes >= bytes_max && !entries.is_empty() {
                return false;
            }
            bytes += element.len() + PAGE_ENTRY_BYTES;
            entries.push((Vec::new(), element.to_vec()));
            true
        })?;
        Ok(())
    }

    /// Gives the elements from number `start` on until there are none, or `each` says that it is enough; whether there
    /// are none.
    pub(super) fn visit_list(
        &mut self,
        id: StateId,
        key: &StateKey<'_>,
        start: u64,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool, StateError> {
        if !self.open_chunk(id, key)? {
            return Ok(true);
        }
        let stored = std::mem::take(&mut self.buffers.chunk);
        let open = Chunk::of(&stored).ok_or_else(broken)?;
        let mut is_over = true;
        if start < open.first {
            self.visit_closed(id, key, start, &mut |chunk| {
                is_over = visit(chunk, start, each);
                is_over
            })?;
        }
        is_over = is_over && visit(open, start, each);
        self.buffers.chunk = stored;
        Ok(is_over)
    }

    /// Gives the closed chunks from that on which holds number `start`, until `each` wants no more.
    fn visit_closed(
        &mut self,
        id: StateId,
        key: &StateKey<'_>,
        start: u64,
        each: &mut dyn FnMut(Chunk<'_>) -> bool,
    ) -> Result<(), StateError> {
        let store = self.reach()?;
        let prefix = prefix(key);
        let at = [&prefix[..], &start.to_be_bytes()].concat();
        let from = store.floor(Column(id.0), &at)?;
        let from = from.filter(|found| found.starts_with(&prefix)).unwrap_or(at);
        store.scan(
            Column(id.0),
            &from,
            &mut |stored, value| match stored.strip_prefix(&prefix[..]) {
                Some(number) if number != OPEN => Ok(each(Chunk::of(value).ok_or_else(broken)?)),
                _ => Ok(false),
            },
        )
    }

    /// Removes the closed chunks of a list.
    pub(super) fn clear_list(&mut self, id: StateId, key: &StateKey<'_>) -> Result<(), StateError> {
        let is_there = self.open_chunk(id, key)?;
        let has_closed = Chunk::of(&self.buffers.chunk).is_some_and(|open| open.first > 0);
        if !is_there || !has_closed {
            return Ok(());
        }
        let mut firsts = Vec::new();
        self.visit_closed(id, key, 0, &mut |chunk| {
            firsts.push(chunk.first);
            true
        })?;
        for first in firsts {
            let write = |out: &mut Vec<u8>| {
                write_prefix(out, key);
                out.extend_from_slice(&first.to_be_bytes());
            };
            self.changes.push_with(Column(id.0), write, None);
        }
        Ok(())
    }
}

/// Gives the elements of a chunk from number `start` of the list on; false where `each` says that it is enough.
fn visit(chunk: Chunk<'_>, start: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let skip = usize::try_from(start.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
    chunk.elements().skip(skip).all(each)
}

fn broken() -> StateError {
    StateError::Corrupt("a chunk of a list in the local store is broken".to_owned())
}
