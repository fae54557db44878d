//! State of an older schema version, converted before anything reads it (S8).
//!
//! Whoever declares a state says what its entries are in the version declared, a batch after another. Where an entry is stays as
//! it was: key, window, map key and the order of a list. Invariants: each entry is converted just once, from a view that
//! was frozen before the first was written; time to live goes on from the stamp that was stored; memory held is a batch.
//! After an error the backend holds both versions: nobody goes on with it.

use std::ops::Range;

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::{self, KeyGroup};

use crate::backend::{KeyedStateBackend, Locator, StateError, StateId, StateKey, Write};
use crate::snapshot::Entry;
use crate::states::{map_keys_fit, unregistered};
use crate::stored_key;
use crate::ttl::STAMP_BYTES;

/// Entries of a batch at most.
pub const BATCH_ENTRIES_MAX: usize = 1024;

/// Bytes of a batch, keys included: the entry that reaches it is the last.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a key that an error shows.
const KEY_BYTES_SHOWN_MAX: usize = 64;

/// A value, an element of a list, an entry of a map or an accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredEntry<'a> {
    /// Of a map's entry: it stays as it is. Empty of all others.
    pub map_key: &'a [u8],
    /// Its bytes in the older version, without the stamp of a state with time to live.
    pub value: &'a [u8],
}

/// Converts what an older version of one state has stored.
pub trait Migration {
    /// Says for each entry, in order, what its bytes are in version `to`; `None`: it goes. Elements of a list come in its order,
    /// all other entries in any.
    fn migrate(
        &mut self,
        from: u32,
        to: u32,
        entries: &[StoredEntry<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, MigrationFailure>;
}

/// Why a batch was not converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationFailure {
    /// The function cannot, and will not the next time.
    Refused {
        /// The entry by its place in the batch, where it is known.
        entry: Option<usize>,
        /// What the function said, or did, and which one it is.
        reason: String,
    },
    /// A fault of the host's.
    Host(String),
}

/// Registers a state as [`KeyedStateBackend::register`] does. Where the backend was restored with an older version of it that
/// the declaration says it migrates from, its entries are converted first.
pub fn register(
    backend: &mut dyn KeyedStateBackend,
    declaration: &StateDeclaration,
    migration: Option<&mut dyn Migration>,
) -> Result<StateId, StateError> {
    if let (Some((state, stored)), Some(migration)) = (backend.restored(&declaration.name), migration)
        && declaration.migrates(&stored)
    {
        map_keys_fit(&stored, declaration)?;
        let mut conversion = Conversion {
            backend: &mut *backend,
            migration,
            state,
            stored: &stored,
            declared: declaration,
            group: KeyGroup(0),
            batch: Batch::default(),
            list: Vec::new(),
        };
        conversion.run()?;
        backend.redeclare(state, declaration)?;
    }
    backend.register(declaration)
}

/// One state on its way from one version to another.
struct Conversion<'a> {
    backend: &'a mut dyn KeyedStateBackend,
    migration: &'a mut dyn Migration,
    state: StateId,
    stored: &'a StateDeclaration,
    declared: &'a StateDeclaration,
    /// Of the entries in the batch.
    group: KeyGroup,
    batch: Batch,
    /// Key and namespace of the list whose elements came last in this group.
    list: Vec<u8>,
}

/// Entries that wait to be converted.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Held>,
}

/// Places in the batch's bytes.
#[derive(Clone)]
struct Held {
    key: Range<usize>,
    namespace: Range<usize>,
    map_key: Range<usize>,
    /// Empty where the state has no time to live.
    stamp: Range<usize>,
    value: Range<usize>,
    /// Of a list: nothing of it was converted before.
    is_first: bool,
}

impl Batch {
    fn push(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn get(&self, place: &Range<usize>) -> &[u8] {
        self.bytes.get(place.clone()).unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_ENTRIES_MAX || self.bytes.len() >= BATCH_BYTES_MAX
    }
}

impl Conversion<'_> {
    fn run(&mut self) -> Result<(), StateError> {
        let mut frozen = self.backend.snapshot()?;
        let states = frozen.states();
        let number = states.iter().position(|(id, _)| *id == self.state);
        let number = number.ok_or_else(|| unregistered(self.state))?;
        for group in self.backend.range().iter() {
            self.group = group;
            self.list.clear();
            frozen.for_each_entry(number, group, &mut |entry| self.add(entry))?;
            self.flush()?;
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry<'_>) -> Result<(), StateError> {
        match entry {
            Entry::Value {
                key,
                namespace,
                value,
            } => self.add_one((key, namespace, &[]), value, false),
            Entry::Map {
                key,
                namespace,
                map_key,
                value,
            } => self.add_one((key, namespace, map_key), value, false),
            Entry::List {
                key,
                namespace,
                mut elements,
            } => {
                let mut list = Vec::new();
                stored_key::encode_prefix(&mut list, key, namespace);
                let mut is_first = self.list != list;
                self.list = list;
                elements.try_for_each(|element| {
                    let is_first = std::mem::take(&mut is_first);
                    self.add_one((key, namespace, &[]), element, is_first)
                })
            }
        }
    }

    fn add_one(
        &mut self,
        (key, namespace, map_key): (&[u8], &[u8], &[u8]),
        stored: &[u8],
        is_first: bool,
    ) -> Result<(), StateError> {
        let (stamp, value) = match self.declared.ttl {
            None => (&[][..], stored),
            Some(_) => stored.split_at_checked(STAMP_BYTES).ok_or_else(|| {
                StateError::Corrupt(format!(
                    "a value of {} bytes of state `{}` has no stamp of time to live",
                    stored.len(),
                    self.stored.name
                ))
            })?,
        };
        let batch = &mut self.batch;
        let held = Held {
            key: batch.push(key),
            namespace: batch.push(namespace),
            map_key: batch.push(map_key),
            stamp: batch.push(stamp),
            value: batch.push(value),
            is_first,
        };
        batch.entries.push(held);
        match batch.is_full() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Converts what waits, and writes it.
    fn flush(&mut self) -> Result<(), StateError> {
        if self.batch.entries.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let entries = batch.entries.iter().map(|held| StoredEntry {
            map_key: batch.get(&held.map_key),
            value: batch.get(&held.value),
        });
        let entries: Vec<StoredEntry<'_>> = entries.collect();
        let (from, to) = (self.stored.schema_version, self.declared.schema_version);
        let converted = self.migration.migrate(from, to, &entries);
        let converted = converted.map_err(|failure| self.failed(&batch, failure))?;
        if converted.len() != entries.len() {
            let reason = format!(
                "it answered {} values for {} entries, and has to answer one for each, in their order",
                converted.len(),
                entries.len()
            );
            return Err(self.failed(&batch, MigrationFailure::Refused { entry: None, reason }));
        }
        match self.declared.kind {
            StateKind::List => self.write_elements(&batch, converted)?,
            _ => self.write_entries(&batch, converted)?,
        }
        self.batch = batch;
        self.batch.entries.clear();
        self.batch.bytes.clear();
        Ok(())
    }

    fn write_entries(&mut self, batch: &Batch, converted: Vec<Option<Vec<u8>>>) -> Result<(), StateError> {
        let values = batch.entries.iter().zip(converted);
        let values = values.map(|(held, value)| Some(stamped(batch.get(&held.stamp), value?)));
        let values: Vec<Option<Vec<u8>>> = values.collect();
        let writes = batch.entries.iter().zip(&values).map(|(held, value)| Write {
            key: self.key(batch, held),
            locator: Locator::UNKNOWN,
            value: value.as_deref(),
        });
        let writes: Vec<Write<'_>> = writes.collect();
        self.backend.write_batch(self.state, &writes)
    }

    /// A list is written anew from its first element on.
    fn write_elements(&mut self, batch: &Batch, converted: Vec<Option<Vec<u8>>>) -> Result<(), StateError> {
        for (held, value) in batch.entries.iter().zip(converted) {
            let key = self.key(batch, held);
            if held.is_first {
                self.backend.clear(self.state, key)?;
            }
            if let Some(value) = value {
                let element = stamped(batch.get(&held.stamp), value);
                self.backend.append(self.state, key, &element)?;
            }
        }
        Ok(())
    }

    fn key<'b>(&self, batch: &'b Batch, held: &Held) -> StateKey<'b> {
        let key = batch.get(&held.key);
        StateKey {
            group: self.group,
            hash: key::hash(key) as u32,
            key,
            namespace: batch.get(&held.namespace),
            map_key: batch.get(&held.map_key),
        }
    }

    fn failed(&self, batch: &Batch, failure: MigrationFailure) -> StateError {
        let (entry, reason) = match failure {
            MigrationFailure::Refused { entry, reason } => (entry, reason),
            MigrationFailure::Host(message) => return std::io::Error::other(message).into(),
        };
        let group = self.group.0;
        let key = entry.and_then(|entry| batch.entries.get(entry));
        StateError::Migration {
            name: self.declared.name.clone(),
            stored: self.stored.schema_version,
            declared: self.declared.schema_version,
            place: match key.map(|held| shown(key::body(batch.get(&held.key)))) {
                Some(key) => format!("what key {key} of key group {group} has"),
                None => format!("what key group {group} has"),
            },
            reason,
        }
    }
}

fn stamped(stamp: &[u8], value: Vec<u8>) -> Vec<u8> {
    match stamp.is_empty() {
        true => value,
        false => [stamp, &value].concat(),
    }
}

/// A key for an error: as text where it is text, and not all of one that is long.
fn shown(key: &[u8]) -> String {
    let cut = key.get(..KEY_BYTES_SHOWN_MAX).unwrap_or(key);
    let more = if cut.len() < key.len() { "…" } else { "" };
    match std::str::from_utf8(key) {
        Ok(_) => format!("`{}{more}`", String::from_utf8_lossy(cut).escape_debug()),
        Err(_) => {
            let digits: String = cut.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}{more}")
        }
    }
}
