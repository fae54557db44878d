//! Entries of one block, read in place.
//!
//! Invariant: the iterators borrow from the block and never allocate; each ends after the first error.

use wasmill_model::function::StateKind;

use super::format::{put_bytes, take_bytes, take_varint};
use crate::backend::StateError;

/// One entry, or one run of elements of a list.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Of a value, reducing or aggregating state.
    Value {
        /// The encoded key.
        key: &'a [u8],
        /// The window, encoded.
        namespace: &'a [u8],
        /// The value or accumulator.
        value: &'a [u8],
    },
    /// Of a map state.
    Map {
        /// The encoded key.
        key: &'a [u8],
        /// The window, encoded.
        namespace: &'a [u8],
        /// The map key.
        map_key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Of a list state: the elements follow those of the run before.
    List {
        /// The encoded key.
        key: &'a [u8],
        /// The window, encoded.
        namespace: &'a [u8],
        /// At least one.
        elements: Elements<'a>,
    },
}

/// The entries of one state in one group, as far as they lie in one block.
#[derive(Debug)]
pub struct Entries<'a> {
    kind: StateKind,
    bytes: &'a [u8],
    left: u32,
    offset: u64,
}

impl<'a> Entries<'a> {
    /// Entries of a block whose payload begins at `offset` of the file.
    pub(super) fn new(kind: StateKind, count: u32, bytes: &'a [u8], offset: u64) -> Self {
        Self {
            kind,
            bytes,
            left: count,
            offset: offset + bytes.len() as u64,
        }
    }

    /// The kind of the state they belong to.
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    fn take(&mut self) -> Option<Entry<'a>> {
        let key = take_bytes(&mut self.bytes)?;
        let namespace = take_bytes(&mut self.bytes)?;
        Some(match self.kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating => Entry::Value {
                key,
                namespace,
                value: take_bytes(&mut self.bytes)?,
            },
            StateKind::Map => Entry::Map {
                key,
                namespace,
                map_key: take_bytes(&mut self.bytes)?,
                value: take_bytes(&mut self.bytes)?,
            },
            StateKind::List => {
                let count = take_varint(&mut self.bytes)?;
                let start = self.bytes;
                for _ in 0..count {
                    take_bytes(&mut self.bytes)?;
                }
                let bytes = &start[..start.len() - self.bytes.len()];
                let elements = Elements::new(count, bytes);
                Entry::List {
                    key,
                    namespace,
                    elements,
                }
            }
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let rest = std::mem::take(&mut self.bytes).len();
            return (rest > 0).then(|| {
                Err(StateError::Corrupt(format!(
                    "{rest} bytes before offset {} belong to no entry of their block: the file was not written by this format",
                    self.offset
                )))
            });
        }
        let at = self.offset - self.bytes.len() as u64;
        self.left -= 1;
        let entry = self.take();
        if entry.is_none() {
            (self.left, self.bytes) = (0, &[]);
        }
        Some(entry.ok_or_else(|| {
            StateError::Corrupt(format!(
                "the entry at offset {at} runs past the end of its block: the file was not written by this format"
            ))
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize + 1))
    }
}

/// The elements of one run of a list.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    left: u32,
}

impl<'a> Elements<'a> {
    /// `count` elements, each as [`append_element`] writes it.
    pub(crate) fn new(count: u32, bytes: &'a [u8]) -> Self {
        Self { bytes, left: count }
    }

    /// How many are to come.
    pub(super) fn left(&self) -> u32 {
        self.left
    }
}

/// Appends an element of a run: a varint length and its bytes.
pub(crate) fn append_element(run: &mut Vec<u8>, element: &[u8]) {
    put_bytes(run, element);
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        take_bytes(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}
