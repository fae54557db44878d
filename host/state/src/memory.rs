//! The backend in memory: keyed state in tables of pages, one for each state and key group.
//!
//! Entries of all kinds of state lie in 16 KiB pages found by a hash index; map states have the order of their keys beside
//! that. Invariant: a snapshot takes pointers; what it shares is copied a page at a time when it is written to later, so no
//! batch waits for a checkpoint. Where a checkpoint may be built on, what changes is noted from then on (`segments.rs`), and a
//! later one takes that alone: by pointers too, or copied where that is less. States with time to live are cleaned up while
//! they are used (`cleanup.rs`). Nothing here depends on addresses, time or random numbers: the same calls give
//! the same results and the same snapshot.

mod batch;
mod changes;
mod cleanup;
mod frozen;
pub(crate) mod index;
mod list;
mod ordered;
pub(crate) mod page;
mod restore;
mod segments;
pub(crate) mod table;

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::{KeyGroup, KeyGroupRange, MaxParallelism};
use wasmill_model::time::Timestamp;

use self::batch::BatchError;
use self::cleanup::Cleanups;
use self::frozen::{FrozenMemory, FrozenTables};
use self::list::{ListTable, list_key};
use self::ordered::{MapKey, MapTable};
use self::segments::Segments;
pub use self::segments::{SEGMENTS, SegmentRule, read_segments};
use self::table::{Epochs, Table, TableFull};
use crate::backend::{
    FrozenState, KeyedStateBackend, Page, StateError, StateId, StateKey, StateSize, Values, Write,
};
use crate::native::{FilesWanted, NativeSnapshot};
use crate::snapshot::Entries;
use crate::states::{State, States, usage};
use crate::stored_key;

/// Keyed state in memory.
pub struct MemoryBackend {
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    states: States<Tables>,
    epochs: Epochs,
    /// Stored keys are put together here.
    prefix: Vec<u8>,
    segments: Segments,
    cleanups: Cleanups,
}

/// By group: that of group `range.start + i` at `i`.
enum Tables {
    Values(Vec<Table>),
    Maps(Vec<MapTable>),
    Lists(Vec<ListTable>),
}

impl MemoryBackend {
    /// An empty backend for the groups of `range`.
    pub fn new(range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self {
            range,
            max_parallelism,
            states: States::default(),
            epochs: Epochs::default(),
            prefix: Vec::new(),
            segments: Segments::default(),
            cleanups: Cleanups::default(),
        }
    }

    /// The state and the scratch memory for stored keys.
    fn state(&mut self, id: StateId) -> Result<(&mut State<Tables>, &mut Vec<u8>), StateError> {
        Ok((self.states.get_mut(id)?, &mut self.prefix))
    }
}

fn tables(kind: StateKind, groups: usize, epochs: &Epochs) -> Tables {
    match kind {
        StateKind::Map => Tables::Maps((0..groups).map(|_| MapTable::new(epochs)).collect()),
        StateKind::List => Tables::Lists((0..groups).map(|_| ListTable::new(epochs)).collect()),
        StateKind::Value | StateKind::Reducing | StateKind::Aggregating => {
            Tables::Values((0..groups).map(|_| Table::new(epochs)).collect())
        }
    }
}

impl State<Tables> {
    fn error(&self, error: BatchError) -> StateError {
        let message = match error {
            BatchError::Group(group) => return self.foreign(group),
            BatchError::Full(group) => format!(
                "key group {} has reached 32 GiB: run the job anew with a higher max parallelism",
                group.0
            ),
        };
        usage(&self.declaration.name, message)
    }
}

impl KeyedStateBackend for MemoryBackend {
    fn register(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError> {
        let (groups, epochs) = (self.range.len(), &self.epochs);
        let id = self
            .states
            .register(declaration, |_, kind| Ok(tables(kind, groups, epochs)))?;
        self.cleanups.register(id, declaration);
        Ok(id)
    }

    fn get_many(&mut self, id: StateId, keys: &[StateKey<'_>], out: &mut Values) -> Result<(), StateError> {
        self.cleanups.accessed(id, keys.len());
        let start = self.range.start;
        let (state, prefix) = self.state(id)?;
        match &state.held {
            Tables::Values(tables) => {
                batch::get_many(tables, start, keys, out).map_err(|error| state.error(error))
            }
            Tables::Maps(tables) => batch::get_many_entries(tables, start, keys, (prefix, out))
                .map_err(|error| state.error(error)),
            Tables::Lists(_) => state.unfit("get-many"),
        }
    }

    fn write_batch(&mut self, id: StateId, writes: &[Write<'_>]) -> Result<(), StateError> {
        self.cleanups.accessed(id, writes.len());
        let start = self.range.start;
        let (state, prefix) = self.state(id)?;
        writes
            .iter()
            .try_for_each(|write| state.check_entry(&write.key, write.value.unwrap_or_default()))?;
        let written = match &mut state.held {
            Tables::Values(tables) => batch::write_batch(tables, start, writes),
            Tables::Maps(tables) => writes.iter().try_for_each(|write| {
                let table = group_mut(tables, start, write.key.group)?;
                let StateKey {
                    key,
                    namespace,
                    map_key,
                    ..
                } = write.key;
                let key = MapKey::encode(prefix, key, namespace, map_key);
                match write.value {
                    Some(value) => table
                        .put(key, write.locator, value)
                        .map_err(|TableFull| BatchError::Full(write.key.group))?,
                    None => table.remove(key),
                }
                Ok(())
            }),
            Tables::Lists(_) => return state.unfit("write-batch"),
        };
        written.map_err(|error| state.error(error))
    }

    fn append(&mut self, id: StateId, key: StateKey<'_>, element: &[u8]) -> Result<bool, StateError> {
        self.cleanups.accessed(id, 1);
        let start = self.range.start;
        let (state, _) = self.state(id)?;
        state.check_entry(&key, element)?;
        let Tables::Lists(tables) = &mut state.held else {
            return state.unfit("append");
        };
        let appended = group_mut(tables, start, key.group).and_then(|table| {
            table
                .append(list_key(&key), element)
                .map_err(|TableFull| BatchError::Full(key.group))
        });
        appended.map_err(|error| state.error(error))
    }

    fn list_page(
        &mut self,
        id: StateId,
        key: StateKey<'_>,
        first: u64,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        self.cleanups.accessed(id, 1);
        out.entries.clear();
        out.done = false;
        let start = self.range.start;
        let (state, _) = self.state(id)?;
        let Tables::Lists(tables) = &state.held else {
            return state.unfit("list-page");
        };
        group(tables, start, key.group)
            .map(|table| table.page(list_key(&key), first, bytes_max, out))
            .map_err(|error| state.error(error))
    }

    fn list(&mut self, id: StateId, key: StateKey<'_>, out: &mut Values) -> Result<(), StateError> {
        self.cleanups.accessed(id, 1);
        let start = self.range.start;
        let (state, _) = self.state(id)?;
        let Tables::Lists(tables) = &state.held else {
            return state.unfit("list");
        };
        group(tables, start, key.group)
            .map(|table| table.read(list_key(&key), out))
            .map_err(|error| state.error(error))
    }

    fn prefetch(&mut self, id: StateId, keys: &[StateKey<'_>]) {
        let start = self.range.start;
        let Ok((
            State {
                held: Tables::Lists(tables),
                ..
            },
            _,
        )) = self.state(id)
        else {
            return;
        };
        list::touch(tables, start, keys);
    }

    fn map_page(
        &mut self,
        id: StateId,
        key: StateKey<'_>,
        after: Option<&[u8]>,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        self.cleanups.accessed(id, 1);
        out.entries.clear();
        out.done = false;
        let start = self.range.start;
        let (state, prefix) = self.state(id)?;
        let Tables::Maps(tables) = &state.held else {
            return state.unfit("map-page");
        };
        encode(prefix, &key);
        group(tables, start, key.group)
            .map(|table| table.page(prefix, after, bytes_max, out))
            .map_err(|error| state.error(error))
    }

    fn clear(&mut self, id: StateId, key: StateKey<'_>) -> Result<(), StateError> {
        self.cleanups.accessed(id, 1);
        let start = self.range.start;
        let (state, prefix) = self.state(id)?;
        encode(prefix, &key);
        let cleared = match &mut state.held {
            Tables::Values(tables) => group_mut(tables, start, key.group).map(|table| {
                table.remove(batch::table_key(&key));
            }),
            Tables::Maps(tables) => group_mut(tables, start, key.group).map(|table| table.clear(prefix)),
            Tables::Lists(tables) => {
                group_mut(tables, start, key.group).map(|table| table.clear(list_key(&key)))
            }
        };
        cleared.map_err(|error| state.error(error))
    }

    fn clean_up(&mut self, now: Timestamp, records: u64) -> Result<(), StateError> {
        self.clean_up_incrementally(now, records)
    }

    fn snapshot(&mut self) -> Result<Box<dyn FrozenState>, StateError> {
        let states = self.states.numbered_mut().map(|(id, state)| {
            let tables = match &mut state.held {
                Tables::Values(tables) => FrozenTables::Values(tables.iter_mut().map(Table::share).collect()),
                Tables::Maps(tables) => FrozenTables::Maps(tables.iter_mut().map(MapTable::share).collect()),
                Tables::Lists(tables) => {
                    FrozenTables::Lists(tables.iter_mut().map(ListTable::share).collect())
                }
            };
            ((id, state.declaration.clone()), tables)
        });
        Ok(Box::new(FrozenMemory {
            range: self.range,
            states: states.collect(),
        }))
    }

    fn snapshot_files(&mut self, wanted: FilesWanted<'_>) -> Result<Option<NativeSnapshot>, StateError> {
        Ok(self.freeze_segment(wanted))
    }

    fn restore_state(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError> {
        let (groups, epochs) = (self.range.len(), &self.epochs);
        self.states
            .restore(declaration, |_, kind| Ok(tables(kind, groups, epochs)))
    }

    fn restore_entries(
        &mut self,
        id: StateId,
        group: KeyGroup,
        entries: Entries<'_>,
    ) -> Result<(), StateError> {
        let start = self.range.start;
        let (state, prefix) = self.state(id)?;
        restore::entries(&mut state.held, start, group, entries, prefix)?.map_err(|error| state.error(error))
    }

    fn restored(&self, name: &str) -> Option<(StateId, StateDeclaration)> {
        self.states.restored(name)
    }

    fn redeclare(&mut self, id: StateId, declaration: &StateDeclaration) -> Result<(), StateError> {
        self.states.redeclare(id, declaration)
    }

    fn declarations(&self) -> Vec<StateDeclaration> {
        self.states.declarations()
    }

    fn unclaimed(&self) -> Vec<String> {
        self.states.unclaimed()
    }

    fn drop_unclaimed(&mut self) {
        self.states
            .drop_unclaimed(|_, tables| *tables = Tables::Values(Vec::new()));
    }

    fn range(&self) -> KeyGroupRange {
        self.range
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    fn size(&self) -> StateSize {
        let sizes = self.states.iter().map(|state| match &state.held {
            Tables::Values(tables) => sum(tables, |table| (table.len() as u64, table.bytes())),
            Tables::Maps(tables) => sum(tables, |table| (table.len() as u64, table.bytes())),
            Tables::Lists(tables) => sum(tables, |table| (table.elements(), table.bytes())),
        });
        sizes.fold(StateSize::default(), |total, size| StateSize {
            entries: total.entries + size.entries,
            bytes: total.bytes + size.bytes,
        })
    }
}

fn sum<T>(tables: &[T], size: impl Fn(&T) -> (u64, usize)) -> StateSize {
    tables
        .iter()
        .map(size)
        .fold(StateSize::default(), |total, (entries, bytes)| StateSize {
            entries: total.entries + entries,
            bytes: total.bytes + bytes as u64,
        })
}

fn group<T>(tables: &[T], start: u16, group: KeyGroup) -> Result<&T, BatchError> {
    tables
        .get(usize::from(group.0.wrapping_sub(start)))
        .ok_or(BatchError::Group(group))
}

fn group_mut<T>(tables: &mut [T], start: u16, group: KeyGroup) -> Result<&mut T, BatchError> {
    tables
        .get_mut(usize::from(group.0.wrapping_sub(start)))
        .ok_or(BatchError::Group(group))
}

fn encode(out: &mut Vec<u8>, key: &StateKey<'_>) {
    out.clear();
    stored_key::encode_prefix(out, key.key, key.namespace);
}
