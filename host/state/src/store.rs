//! The seam between keyed state that is kept in storage and the storage itself: columns of entries in byte order.
//!
//! [`stored`](crate::stored) puts the layout of entries and the write-back cache above it, so that an engine of storage
//! is no more than this. A store belongs to one operator in one subtask and lives no longer: what outlives it are
//! checkpoints. So it need not survive a crash, and nothing it writes has to be synced.
//!
//! Invariant: calls may come from the thread of the subtask and from that of a checkpoint, never two at a time but for
//! views, which are read while the store is written.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::StateError;
use crate::native::{FrozenFiles, unknown_format};

/// A column of a store: one state's entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Column(pub u16);

/// Is given a key and its value; whether it wants more.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError> + 'a;

/// Knows which entries of a column are over: a store may drop those by itself, at any time, and never has to.
pub trait Expiry: Send + Sync {
    /// For one time that a store goes through entries, in the order of their keys.
    fn pass(self: Arc<Self>) -> Box<dyn ExpiryPass>;

    /// A store goes through entries that nothing else has made it go through for so long, ms; 0: it need not.
    fn pass_every_ms(&self) -> u64;
}

/// One pass through some entries of a column.
pub trait ExpiryPass: Send {
    /// Whether an entry may be dropped.
    fn is_over(&mut self, key: &[u8], value: &[u8]) -> bool;
}

/// Columns of entries in byte order of their keys.
pub trait OrderedStore: Send + Sync {
    /// Makes an empty column for a state of that name; one of that number that is there goes.
    fn add_column(
        &self,
        column: Column,
        name: &str,
        expiry: Option<Arc<dyn Expiry>>,
    ) -> Result<(), StateError>;

    /// What the expiry of a column says of passes is another than when the column was made.
    fn expiry_changed(&self, column: Column) -> Result<(), StateError> {
        let _ = column;
        Ok(())
    }

    /// Hands the value of each key, with the key's number, to `found`, in order; `None` where there is none.
    fn get_many(
        &self,
        column: Column,
        keys: &Keys,
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StateError>;

    /// Applies changes in their order. After an error any of them may be done: to apply them again does no harm.
    fn write(&self, changes: &Changes) -> Result<(), StateError>;

    /// Hands the entries from the first at or after `start` to `visit`, ascending, until it wants no more.
    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError>;

    /// The key of the last entry at or before `at`.
    fn floor(&self, column: Column, at: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// What the store holds now, for another thread.
    fn view(&self) -> Result<Box<dyn StoreView>, StateError>;

    /// Name and version of the files that it can hand over; `None`: it hands none over.
    fn files_format(&self) -> Option<&'static str> {
        None
    }

    /// What the store holds now as files, for another thread; only where there is a format.
    fn files(&self) -> Result<Box<dyn FrozenFiles>, StateError> {
        Err(unknown_format("none"))
    }

    /// Entries held, as an estimate.
    fn entries_estimate(&self) -> u64;
}

/// What a store held at one instant.
pub trait StoreView: Send {
    /// As [`OrderedStore::scan`].
    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError>;
}

/// Keys one after another in one piece of memory.
#[derive(Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds the key that `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// Writes and removals, in order.
#[derive(Default)]
pub struct Changes {
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

struct Change {
    column: Column,
    key: Range<usize>,
    /// Behind the key.
    value: Option<usize>,
}

impl Changes {
    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes that they have.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.changes.len() * size_of::<Change>()
    }

    /// Memory taken, also by what was there before.
    pub fn bytes_taken(&self) -> usize {
        self.bytes.capacity() + self.changes.capacity() * size_of::<Change>()
    }

    /// Adds a write, or a removal where there is no value; `write_key` appends the key.
    pub fn push_with(&mut self, column: Column, write_key: impl FnOnce(&mut Vec<u8>), value: Option<&[u8]>) {
        let start = self.bytes.len();
        write_key(&mut self.bytes);
        let key = start..self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.changes.push(Change {
            column,
            key,
            value: value.map(<[u8]>::len),
        });
    }

    /// Column, key, and value unless it is a removal.
    pub fn iter(&self) -> impl Iterator<Item = (Column, &[u8], Option<&[u8]>)> {
        self.changes.iter().map(|change| {
            let end = change.key.end;
            let key = self.bytes.get(change.key.clone()).unwrap_or_default();
            let value = change
                .value
                .map(|length| self.bytes.get(end..end + length).unwrap_or_default());
            (change.column, key, value)
        })
    }
}
