//! Elements of lists of one state in one key group.
//!
//! The last elements of a list lie in its open chunk, an entry under key and namespace; earlier ones in closed
//! chunks, entries under key, namespace and the chunk's number. Invariants: a list that is there has an open chunk
//! with at least one element; closed chunks are numbered without a gap from 0 and never change; the elements before
//! a chunk are those of the chunks before it. So a list that loses elements whose time is over is written anew.

use std::sync::Arc;

use wasmill_model::id::CheckpointId;

use super::changes::Freeze;
use super::page::PageBytes;
use super::table::{Epochs, FrozenTable, Grown, Table, TableFull, TableKey, Walked};
use crate::backend::{Locator, PAGE_ENTRY_BYTES, Page, StateKey, Values};
use crate::snapshot::{Elements, append_element};

/// An open chunk is closed when its elements would have more bytes; one larger element has a chunk of its own.
pub(super) const CHUNK_BYTES: usize = 2 * 1024;

/// Before the elements: number of the first `u64`, number of closed chunks `u32`, count `u32`; of a closed chunk its
/// own number. In memory only, so in the machine's order of bytes.
const HEAD_BYTES: usize = 16;

/// Lists by key and namespace.
pub(super) struct ListTable {
    open: Table,
    closed: Table,
    elements: u64,
    scratch: Vec<u8>,
    /// Of a closed chunk: the namespace and its number.
    numbered: Vec<u8>,
}

/// What a list table held when it was frozen: open chunks and closed ones.
#[derive(Default)]
pub(super) struct FrozenLists {
    pub(super) open: Vec<Arc<PageBytes>>,
    pub(super) closed: Vec<Arc<PageBytes>>,
}

/// A list table on its way into a checkpoint that may be built on: all of it, or of both what has changed.
#[derive(Default)]
pub(super) struct FrozenListTable {
    pub(super) open: FrozenTable,
    pub(super) closed: FrozenTable,
}

/// A chunk as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    /// Number of its first element in the list.
    pub(super) first: u64,
    /// Of a closed chunk its own, of an open one that of the closed ones before it.
    pub(super) number: u32,
    pub(super) count: u32,
    /// The elements, each as [`append_element`] writes it.
    pub(super) run: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// `None` where the bytes are no chunk.
    pub(super) fn of(stored: &'a [u8]) -> Option<Self> {
        let (first, rest) = stored.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (count, run) = rest.split_first_chunk()?;
        Some(Self {
            first: u64::from_ne_bytes(*first),
            number: u32::from_ne_bytes(*number),
            count: u32::from_ne_bytes(*count),
            run,
        })
    }

    pub(super) fn elements(&self) -> Elements<'a> {
        Elements::new(self.count, self.run)
    }

    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.first.to_ne_bytes());
        out.extend_from_slice(&self.number.to_ne_bytes());
        out.extend_from_slice(&self.count.to_ne_bytes());
        out.extend_from_slice(self.run);
    }
}

/// Keys that are looked for at the same time.
const TOUCHED: usize = 16;

/// Loads what a call for each of the keys will look at; those of other groups are left out.
pub(super) fn touch(tables: &[ListTable], start: u16, keys: &[StateKey<'_>]) {
    for keys in keys.chunks(TOUCHED) {
        let mut lookups = [const { None }; TOUCHED];
        for (lookup, key) in lookups.iter_mut().zip(keys) {
            let table = key.group.0.checked_sub(start);
            let table = table.and_then(|index| tables.get(usize::from(index)));
            let hash = list_key(key).table.hash;
            *lookup = table.map(|table| (&table.open, hash));
        }
        Table::touch(lookups.iter().flatten());
    }
}

/// The list that a state key names.
pub(super) fn list_key<'a>(key: &StateKey<'a>) -> ListKey<'a> {
    ListKey::new(key.hash, key.key, key.namespace)
}

/// A list's key: that of its table, and the hash of the key alone.
#[derive(Clone, Copy)]
pub(super) struct ListKey<'a> {
    pub(super) table: TableKey<'a>,
    pub(super) key_hash: u32,
}

impl<'a> ListKey<'a> {
    /// Of the lower half of the key's hash.
    pub(super) fn new(key_hash: u32, key: &'a [u8], namespace: &'a [u8]) -> Self {
        Self {
            table: TableKey::new(key_hash, key, namespace),
            key_hash,
        }
    }

    /// Of a closed chunk; `numbered` is memory for its namespace.
    fn closed<'n>(&self, number: u32, numbered: &'n mut Vec<u8>) -> TableKey<'n>
    where
        'a: 'n,
    {
        numbered.clear();
        numbered.extend_from_slice(self.table.namespace);
        numbered.extend_from_slice(&number.to_be_bytes());
        TableKey::new(self.key_hash, self.table.key, numbered)
    }
}

impl ListTable {
    pub(super) fn new(epochs: &Epochs) -> Self {
        Self {
            open: Table::new(epochs),
            closed: Table::new(epochs),
            elements: 0,
            scratch: Vec::new(),
            numbered: Vec::new(),
        }
    }

    pub(super) fn elements(&self) -> u64 {
        self.elements
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.bytes() + self.closed.bytes()
    }

    /// Appends an element; whether it is the first.
    pub(super) fn append(&mut self, key: ListKey<'_>, element: &[u8]) -> Result<bool, TableFull> {
        self.scratch.clear();
        append_element(&mut self.scratch, element);
        let added = self.scratch.len();
        let (first, number) = match self.open.grow(key.table, added, HEAD_BYTES + CHUNK_BYTES)? {
            Grown::Value(value) => {
                let start = value.len() - added;
                value[start..].copy_from_slice(&self.scratch);
                let count = Chunk::of(value).map_or(0, |chunk| chunk.count) + 1;
                value[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&count.to_ne_bytes());
                self.elements += 1;
                return Ok(false);
            }
            Grown::Missing => (0, 0),
            Grown::Full => self.close(key)?,
        };
        self.scratch.clear();
        let head = Chunk {
            first,
            number,
            count: 1,
            run: &[],
        };
        head.write(&mut self.scratch);
        append_element(&mut self.scratch, element);
        self.open.put_with_room(key.table, &self.scratch)?;
        self.elements += 1;
        Ok(first == 0)
    }

    /// Makes a closed chunk of the open one; returns the number of the first element behind it, and of the next chunk.
    fn close(&mut self, key: ListKey<'_>) -> Result<(u64, u32), TableFull> {
        let Some(chunk) = self.open.get(key.table).and_then(Chunk::of) else {
            return Ok((0, 0));
        };
        let next = (chunk.end(), chunk.number + 1);
        chunk.write(&mut self.scratch);
        let closed = key.closed(chunk.number, &mut self.numbered);
        self.closed.put(closed, Locator::UNKNOWN, &self.scratch)?;
        Ok(next)
    }

    /// Removes a list.
    pub(super) fn clear(&mut self, key: ListKey<'_>) {
        let Some(open) = self.open.get(key.table).and_then(Chunk::of) else {
            return;
        };
        let (elements, chunks) = (open.end(), open.number);
        self.elements -= elements;
        self.open.remove(key.table);
        for number in 0..chunks {
            // They go with the open one.
            self.closed.remove_unnoted(key.closed(number, &mut self.numbered));
        }
    }

    /// Goes on through the lists, from where the last call stopped, and removes elements of which `is_over` says that they
    /// may go: of a list in one chunk all of them, of a longer one once they are about half of it. Whether the end was
    /// reached.
    pub(super) fn clean(
        &mut self,
        slots_left: &mut u64,
        is_over: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool, TableFull> {
        loop {
            let at = match self.open.walk_on(slots_left) {
                Walked::Entry(at) => at,
                Walked::Paused => return Ok(false),
                Walked::End => return Ok(true),
            };
            let Some((slot, open)) = self
                .open
                .entry(at)
                .and_then(|slot| Some((slot, Chunk::of(slot.value)?)))
            else {
                continue;
            };
            *slots_left = slots_left.saturating_sub(u64::from(open.count).saturating_sub(1));
            let hash = wasmill_model::key::hash(slot.key) as u32;
            let key = ListKey::new(hash, slot.key, slot.namespace);
            let is_due = match open.number.checked_sub(1) {
                None => open.elements().any(&mut *is_over),
                // Elements come in the order of time: where the last of the first half is over, all of it is.
                Some(last) => {
                    let closed = self.closed.get(key.closed(last / 2, &mut self.numbered));
                    let last = closed
                        .and_then(Chunk::of)
                        .and_then(|chunk| chunk.elements().last());
                    last.is_some_and(&mut *is_over)
                }
            };
            if is_due {
                let (key, namespace) = (slot.key.to_vec(), slot.namespace.to_vec());
                self.keep(ListKey::new(hash, &key, &namespace), &mut |element| {
                    !is_over(element)
                })?;
            }
        }
    }

    /// Writes a list anew with some of its elements.
    fn keep(&mut self, key: ListKey<'_>, keeps: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), TableFull> {
        let mut kept = Values::default();
        self.visit(key, 0, &mut |element| {
            if keeps(element) {
                kept.lengths.push(element.len() as u32);
                kept.bytes.extend_from_slice(element);
            }
            true
        });
        self.clear(key);
        let mut elements = kept.iter().flatten();
        elements.try_for_each(|element| self.append(key, element).map(drop))
    }

    /// Fills `out` with the elements of a list from number `start` on.
    pub(super) fn page(&self, key: ListKey<'_>, start: u64, bytes_max: usize, out: &mut Page) {
        let mut bytes = 0;
        let mut push = |element: &[u8]| {
            if bytes >= bytes_max && !out.entries.is_empty() {
                return false;
            }
            bytes += element.len() + PAGE_ENTRY_BYTES;
            out.entries.push((Vec::new(), element.to_vec()));
            true
        };
        out.done = self.visit(key, start, &mut push);
    }

    /// Appends all elements of a list to `out`.
    pub(super) fn read(&self, key: ListKey<'_>, out: &mut Values) {
        self.visit(key, 0, &mut |element| {
            out.lengths.push(element.len() as u32);
            out.bytes.extend_from_slice(element);
            true
        });
    }

    /// Gives the elements from number `start` on until there are none, or `each` says that it is enough; whether
    /// there are none.
    fn visit(&self, key: ListKey<'_>, start: u64, each: &mut impl FnMut(&[u8]) -> bool) -> bool {
        let Some(open) = self.open.get(key.table).and_then(Chunk::of) else {
            return true;
        };
        let mut numbered = Vec::new();
        let mut closed = |number: u32| {
            let chunk = self.closed.get(key.closed(number, &mut numbered));
            chunk.and_then(Chunk::of)
        };
        let (mut low, mut high) = (0, open.number);
        // NOTE: the chunk that holds `start` is the first that ends behind it.
        while low < high {
            let middle = low + (high - low) / 2;
            match closed(middle).is_some_and(|chunk| chunk.end() <= start) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        for number in low..=open.number {
            let chunk = match number == open.number {
                true => Some(open),
                false => closed(number),
            };
            let Some(chunk) = chunk else { continue };
            let skip = usize::try_from(start.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
            if !chunk.elements().skip(skip).all(&mut *each) {
                return false;
            }
        }
        true
    }

    /// The pages, shared with whoever writes the snapshot.
    pub(super) fn share(&mut self) -> FrozenLists {
        FrozenLists {
            open: self.open.share(),
            closed: self.closed.share(),
        }
    }

    /// How many chunks have changed since a checkpoint, and there are.
    pub(super) fn changed(&self, since: Option<CheckpointId>) -> (usize, usize) {
        let changed = self.open.changed(since) + self.closed.changed(since);
        (changed, self.open.len() + self.closed.len())
    }

    /// What goes into a checkpoint that may be built on.
    pub(super) fn freeze(&mut self, freeze: Freeze) -> FrozenListTable {
        let (open, closed) = (self.open.end_lot(freeze), self.closed.end_lot(freeze));
        FrozenListTable {
            open: self.open.frozen(freeze, open && closed),
            closed: self.closed.frozen(freeze, open && closed),
        }
    }

    /// Puts a chunk of a checkpoint: the open one, or a closed one.
    pub(super) fn put_chunk(
        &mut self,
        key: ListKey<'_>,
        chunk: Chunk<'_>,
        is_open: bool,
    ) -> Result<(), TableFull> {
        chunk.write(&mut self.scratch);
        if !is_open {
            let closed = key.closed(chunk.number, &mut self.numbered);
            return self.closed.put(closed, Locator::UNKNOWN, &self.scratch);
        }
        let before = self.open.get(key.table).and_then(Chunk::of);
        let before = before.map_or(0, |before| before.end());
        self.elements = self.elements.wrapping_add(chunk.end()).wrapping_sub(before);
        self.open.put_with_room(key.table, &self.scratch)
    }

    /// Whether all closed chunks are there that the open ones say are before them.
    pub(super) fn is_whole(&self) -> bool {
        let open = self.open.slots();
        let closed = open.filter_map(|slot| Some(Chunk::of(slot.value)?.number as usize));
        closed.sum::<usize>() == self.closed.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn all(table: &ListTable, key: ListKey<'_>) -> Vec<Vec<u8>> {
        let mut values = Values::default();
        table.read(key, &mut values);
        let mut rest = &values.bytes[..];
        let lengths = values.lengths.iter();
        lengths
            .map(|length| rest.split_off(..*length as usize).unwrap().to_vec())
            .collect()
    }

    proptest! {
        #[test]
        fn lists_are_what_was_appended_and_pages_begin_anywhere(
            steps in prop::collection::vec((0..6u8, 0..40usize, prop::bool::weighted(0.02)), 1..600),
            length in 1..300usize,
            page_bytes in 1..5_000usize,
        ) {
            let mut table = ListTable::new(&Epochs::default());
            let mut model: HashMap<u8, Vec<Vec<u8>>> = HashMap::new();
            for (number, (name, size, clear)) in steps.into_iter().enumerate() {
                let bytes = [name];
                // Hashes collide, and one key has another's namespace as a prefix.
                let key = ListKey::new(u32::from(name % 2), &bytes[..usize::from(name > 2)], &bytes);
                if clear {
                    table.clear(key);
                    model.remove(&name);
                } else {
                    let element = vec![number as u8; if size == 0 { 5_000 } else { size * length / 8 }];
                    table.append(key, &element).unwrap();
                    model.entry(name).or_default().push(element);
                }
            }
            let total: usize = model.values().map(Vec::len).sum();
            prop_assert_eq!(table.elements(), total as u64);
            for name in 0..6u8 {
                let bytes = [name];
                let key = ListKey::new(u32::from(name % 2), &bytes[..usize::from(name > 2)], &bytes);
                let expected = model.remove(&name).unwrap_or_default();
                prop_assert_eq!(&all(&table, key), &expected);
                let (mut paged, mut page) = (Vec::new(), Page::default());
                while !page.done {
                    page = Page::default();
                    table.page(key, paged.len() as u64, page_bytes, &mut page);
                    paged.extend(page.entries.drain(..).map(|(_, element)| element));
                }
                prop_assert_eq!(paged, expected);
                table.clear(key);
            }
            prop_assert_eq!(table.elements(), 0);
        }
    }
}
