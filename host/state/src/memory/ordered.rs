//! Entries of one map or list state in one key group, in the byte order of their stored keys.
//!
//! Invariant: both are persistent trees whose leaves are reference-counted, so a clone takes no time, and
//! a write after it copies one path and shares the rest with the clone.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::backend::{PAGE_ENTRY_BYTES, Page};
use crate::snapshot::{Elements, append_element};

/// A list's elements lie in chunks of about this many bytes: what an append touches at most.
pub(super) const CHUNK_BYTES: usize = 4 * 1024;

/// Memory that a tree takes for an entry beside key and value, estimated: two reference counts, two
/// pointers, allocations rounded up, and leaves that are three quarters full.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Map entries by stored key.
#[derive(Clone, Default)]
pub(super) struct MapTable {
    entries: OrdMap<Arc<[u8]>, Arc<[u8]>>,
    bytes: usize,
}

impl MapTable {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.entries.len() * ENTRY_OVERHEAD_BYTES
    }

    pub(super) fn get(&self, stored: &[u8]) -> Option<&[u8]> {
        self.entries.get(stored).map(|value| &**value)
    }

    pub(super) fn put(&mut self, stored: &[u8], value: &[u8]) {
        if let Some(present) = self.entries.get_mut(stored) {
            self.bytes = self.bytes - present.len() + value.len();
            match Arc::get_mut(present).filter(|bytes| bytes.len() == value.len()) {
                Some(bytes) => bytes.copy_from_slice(value),
                None => *present = Arc::from(value),
            }
            return;
        }
        self.bytes += stored.len() + value.len();
        self.entries.insert(Arc::from(stored), Arc::from(value));
    }

    pub(super) fn remove(&mut self, stored: &[u8]) {
        if let Some((key, value)) = self.entries.remove_with_key(stored) {
            self.bytes -= key.len() + value.len();
        }
    }

    /// Removes all entries whose stored key begins with `prefix`.
    pub(super) fn clear(&mut self, prefix: &[u8]) {
        let keys: Vec<Arc<[u8]>> = keys_of(&self.entries, prefix).cloned().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Fills `out` with the entries of `prefix` after the map key `after`.
    pub(super) fn page(&self, prefix: &[u8], after: Option<&[u8]>, bytes_max: usize, out: &mut Page) {
        let start = [prefix, after.unwrap_or_default()].concat();
        let bound = match after {
            Some(_) => Bound::Excluded(&*start),
            None => Bound::Included(&*start),
        };
        let mut bytes = 0;
        for (stored, value) in self.entries.range::<_, [u8]>((bound, Bound::Unbounded)) {
            let Some(map_key) = stored.strip_prefix(prefix) else {
                break;
            };
            if bytes >= bytes_max && !out.entries.is_empty() {
                return;
            }
            bytes += map_key.len() + value.len() + PAGE_ENTRY_BYTES;
            out.entries.push((map_key.to_vec(), value.to_vec()));
        }
        out.done = true;
    }

    /// All entries in order of stored keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(stored, value)| (&**stored, &**value))
    }
}

/// Elements of lists in chunks. A chunk's stored key ends with the index (u64, big-endian) of its first
/// element: the last chunk is found for an append, and the one that holds an index for a page.
#[derive(Clone, Default)]
pub(super) struct ListTable {
    chunks: OrdMap<Arc<[u8]>, Arc<Chunk>>,
    elements: u64,
    bytes: usize,
}

/// Consecutive elements of one list.
#[derive(Clone, Default)]
struct Chunk {
    count: u32,
    /// Elements as in a run of the snapshot format.
    run: Vec<u8>,
}

const INDEX_BYTES: usize = 8;

impl ListTable {
    pub(super) fn elements(&self) -> u64 {
        self.elements
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.chunks.len() * (ENTRY_OVERHEAD_BYTES + size_of::<Chunk>())
    }

    /// Appends an element to the list of `prefix`. `stored` is scratch memory.
    pub(super) fn append(&mut self, prefix: &[u8], element: &[u8], stored: &mut Vec<u8>) {
        chunk_key(stored, prefix, u64::MAX);
        let last = self.chunks.get_prev(stored.as_slice());
        let last = last.filter(|(key, _)| key.starts_with(prefix));
        self.elements += 1;
        let mut next = 0;
        if let Some((key, chunk)) = last {
            next = first_index(key, prefix) + u64::from(chunk.count);
            if chunk.run.len() + element.len() <= CHUNK_BYTES {
                chunk_key(stored, prefix, first_index(key, prefix));
                if let Some(chunk) = self.chunks.get_mut(stored.as_slice()) {
                    let chunk = Arc::make_mut(chunk);
                    let before = chunk.run.capacity();
                    append_element(&mut chunk.run, element);
                    chunk.count += 1;
                    self.bytes = self.bytes + chunk.run.capacity() - before;
                    return;
                }
            }
        }
        let mut chunk = Chunk {
            count: 1,
            run: Vec::new(),
        };
        append_element(&mut chunk.run, element);
        chunk_key(stored, prefix, next);
        self.bytes += stored.len() + chunk.run.capacity();
        self.chunks.insert(Arc::from(stored.as_slice()), Arc::new(chunk));
    }

    /// Removes the list of `prefix`.
    pub(super) fn clear(&mut self, prefix: &[u8]) {
        let keys: Vec<Arc<[u8]>> = keys_of(&self.chunks, prefix).cloned().collect();
        for key in keys {
            if let Some(chunk) = self.chunks.remove(&key) {
                self.elements -= u64::from(chunk.count);
                self.bytes = self.bytes.saturating_sub(key.len() + chunk.run.capacity());
            }
        }
    }

    /// Fills `out` with the elements of `prefix` from index `start`.
    pub(super) fn page(&self, prefix: &[u8], start: u64, bytes_max: usize, out: &mut Page) {
        let mut stored = Vec::new();
        chunk_key(&mut stored, prefix, start);
        let holder = self
            .chunks
            .get_prev(stored.as_slice())
            .filter(|(key, _)| key.starts_with(prefix));
        let from = holder.map_or(&*stored, |(key, _)| &**key);
        let mut bytes = 0;
        for (key, chunk) in self
            .chunks
            .range::<_, [u8]>((Bound::Included(from), Bound::Unbounded))
        {
            if !key.starts_with(prefix) {
                break;
            }
            let skip = start.saturating_sub(first_index(key, prefix));
            for element in
                Elements::new(chunk.count, &chunk.run).skip(usize::try_from(skip).unwrap_or(usize::MAX))
            {
                if bytes >= bytes_max && !out.entries.is_empty() {
                    return;
                }
                bytes += element.len() + PAGE_ENTRY_BYTES;
                out.entries.push((Vec::new(), element.to_vec()));
            }
        }
        out.done = true;
    }

    /// All chunks: key prefix without the index, number of elements, elements.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u32, Elements<'_>)> {
        self.chunks.iter().map(|(stored, chunk)| {
            let prefix = &stored[..stored.len() - INDEX_BYTES];
            (prefix, chunk.count, Elements::new(chunk.count, &chunk.run))
        })
    }
}

fn keys_of<'a, V: Clone>(
    entries: &'a OrdMap<Arc<[u8]>, V>,
    prefix: &'a [u8],
) -> impl Iterator<Item = &'a Arc<[u8]>> {
    entries
        .range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
        .map(|(key, _)| key)
        .take_while(move |key| key.starts_with(prefix))
}

fn chunk_key(stored: &mut Vec<u8>, prefix: &[u8], first: u64) {
    stored.clear();
    stored.extend_from_slice(prefix);
    stored.extend_from_slice(&first.to_be_bytes());
}

fn first_index(stored: &[u8], prefix: &[u8]) -> u64 {
    let index = stored.get(prefix.len()..).and_then(<[u8]>::first_chunk);
    index.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
