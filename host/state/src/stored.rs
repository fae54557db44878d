//! Keyed state in a store, behind a write-back cache: what a backend on disk is, but for the disk.
//!
//! | module | holds |
//! |---|---|
//! | this one | the backend: batches through the cache, what is missing from the store |
//! | `cache` | entries in memory, bounded in bytes |
//! | `layout` | what a stored key is, of values, maps and lists |
//! | `expiry` | what a store may drop by itself of states with time to live |
//! | `list`, `map` | lists in chunks, maps in byte order |
//! | `settle` | what a checkpoint has taken and the store does not have yet |
//! | `frozen` | a view of the store as a snapshot file |
//! | `restore` | entries of a snapshot file, a store that a checkpoint holds as files |
//!
//! Invariants: changes reach the store in the order in which they left the cache, and before it is asked for anything;
//! whatever the cache holds, calls answer as the backend in memory does.

mod cache;
mod expiry;
mod frozen;
mod layout;
mod list;
mod map;
mod restore;
mod settle;

use std::sync::Arc;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::{KeyGroup, KeyGroupRange, MaxParallelism};
use wasmill_model::time::Timestamp;

use self::cache::{Cache, Put};
use self::frozen::{FrozenStore, LaterFiles};
use self::layout::Layout;
use self::settle::{Settling, Wanted};
use crate::backend::{
    FrozenState, KeyedStateBackend, Locator, NONE, Page, StateError, StateId, StateKey, StateSize, Values,
    Write,
};
use crate::memory::table::TableKey;
use crate::native::{FilesWanted, NativeSnapshot};
use crate::snapshot::Entries;
use crate::states::{State, States};
use crate::store::{Changes, Column, Keys, OrderedStore};

pub use self::expiry::Expiries;
pub use self::restore::read_store;

/// Changes are written together, so many bytes at a time.
const CHANGES_BYTES: usize = 256 * 1024;

/// Where the store of a backend comes from, and how much memory its cache may take.
pub trait StoreSource: Send {
    /// Opens the store, empty. Called once, when the first state is made known.
    fn open(&mut self) -> Result<Arc<dyn OrderedStore>, StateError>;

    /// Bytes that the cache may take now.
    fn cache_bytes(&self) -> usize;
}

/// Keyed state in a store.
pub struct StoredBackend {
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    source: Box<dyn StoreSource>,
    store: Option<Arc<Settling>>,
    states: States<Layout>,
    expiries: Expiries,
    cache: Cache,
    /// What the cache has handed out and the store does not have yet.
    changes: Changes,
    buffers: Buffers,
}

/// Memory that is used again.
#[derive(Default)]
struct Buffers {
    /// Numbers of keys of which the cache knows nothing.
    missing: Vec<u32>,
    keys: Keys,
    fetched: Values,
    /// What the cache gave for a batch.
    cached: Vec<u8>,
    /// The part of a cached entry's address behind the key.
    rest: Vec<u8>,
    chunk: Vec<u8>,
    /// A chunk that is made longer.
    longer: Vec<u8>,
}

impl StoredBackend {
    /// An empty backend for the groups of `range`.
    pub fn new(range: KeyGroupRange, max_parallelism: MaxParallelism, source: Box<dyn StoreSource>) -> Self {
        Self {
            range,
            max_parallelism,
            source,
            store: None,
            states: States::default(),
            expiries: Expiries::default(),
            cache: Cache::default(),
            changes: Changes::default(),
            buffers: Buffers::default(),
        }
    }

    /// The states, ready to have columns added: the store is opened before the first.
    fn opened(&mut self) -> Result<Arc<dyn OrderedStore>, StateError> {
        if self.store.is_none() {
            self.store = Some(Arc::new(Settling::new(self.source.open()?)));
        }
        self.reach()
    }

    /// The store, with all changes in it that have left the cache.
    fn reach(&mut self) -> Result<Arc<dyn OrderedStore>, StateError> {
        let Some(settling) = &self.store else {
            return Err(StateError::Usage {
                name: "(none)".to_owned(),
                message: "no state is registered: register one first".to_owned(),
            });
        };
        let store = settling.store()?;
        if !self.changes.is_empty() {
            store.write(&self.changes)?;
            match self.changes.bytes_taken() > 4 * CHANGES_BYTES {
                // What one call alone made so large is seldom needed again.
                true => self.changes = Changes::default(),
                false => self.changes.clear(),
            }
        }
        Ok(store)
    }

    fn state(&self, id: StateId) -> Result<&State<Layout>, StateError> {
        self.states.get(id)
    }

    fn check_group(&self, id: StateId, group: KeyGroup) -> Result<(), StateError> {
        match self.range.contains(group) {
            true => Ok(()),
            false => Err(self.state(id)?.foreign(group)),
        }
    }

    /// Lets the cache give back what it may not take.
    fn make_room(&mut self) -> Result<(), StateError> {
        let limit = self.source.cache_bytes().min(cache::BYTES_MAX);
        let Self {
            cache,
            changes,
            states,
            max_parallelism,
            ..
        } = self;
        cache.shrink(
            limit,
            &mut layout::into_changes(states, *max_parallelism, changes),
        );
        if self.changes.bytes() > CHANGES_BYTES {
            self.reach()?;
        }
        Ok(())
    }

    /// Hands over what the cache holds of a state and the store does not.
    fn flush(&mut self, id: StateId) {
        let Self {
            cache,
            changes,
            states,
            max_parallelism,
            ..
        } = self;
        let mut emit = layout::into_changes(states, *max_parallelism, changes);
        cache.flush(usize::from(id.0), &mut emit);
    }

    /// Reads from the store what the cache did not have: `out` holds the cache's answers from these lengths and bytes on.
    fn fetch(
        &mut self,
        id: StateId,
        layout: Layout,
        keys: &[StateKey<'_>],
        (lengths_from, bytes_from): (usize, usize),
        out: &mut Values,
    ) -> Result<(), StateError> {
        let store = self.reach()?;
        let Buffers {
            missing,
            keys: stored,
            fetched,
            cached,
            rest,
            ..
        } = &mut self.buffers;
        stored.clear();
        fetched.clear();
        let of_missing = || missing.iter().filter_map(|number| keys.get(*number as usize));
        for key in of_missing() {
            stored.push_with(|bytes| layout.write_stored(bytes, key));
        }
        store.get_many(Column(id.0), stored, &mut |_, value| {
            fetched
                .lengths
                .push(value.map_or(NONE, |value| value.len() as u32));
            fetched.bytes.extend_from_slice(value.unwrap_or_default());
        })?;
        cached.clear();
        cached.extend_from_slice(&out.bytes[bytes_from..]);
        out.bytes.truncate(bytes_from);
        let (mut known, mut read) = (&cached[..], fetched.iter());
        let mut missing_numbers = missing.iter().peekable();
        for (number, length) in (0u32..).zip(&mut out.lengths[lengths_from..]) {
            let value = match missing_numbers.next_if_eq(&&number) {
                Some(_) => read.next().flatten(),
                None if *length == NONE => None,
                None => known.split_off(..*length as usize),
            };
            *length = value.map_or(NONE, |value| value.len() as u32);
            out.bytes.extend_from_slice(value.unwrap_or_default());
        }
        for (key, value) in of_missing().zip(fetched.iter()) {
            let address = layout.address(key, rest);
            self.cache.fill(usize::from(id.0), address, value);
        }
        Ok(())
    }

    /// Writes or removes one entry.
    fn put(&mut self, id: StateId, layout: Layout, write: &Write<'_>) {
        let address = layout.address(&write.key, &mut self.buffers.rest);
        let put = self
            .cache
            .put(usize::from(id.0), address, write.locator, write.value);
        if put == Put::TooLarge {
            let key = |bytes: &mut Vec<u8>| layout.write_stored(bytes, &write.key);
            self.changes.push_with(Column(id.0), key, write.value);
        }
    }
}

impl KeyedStateBackend for StoredBackend {
    fn register(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError> {
        let store = self.opened()?;
        let (cache, expiries) = (&mut self.cache, &mut self.expiries);
        let id = self.states.register(declaration, |id, _| {
            add(&*store, cache, expiries, id, declaration)
        })?;
        self.expiries.declare(id, declaration, &*store)?;
        Ok(id)
    }

    fn get_many(&mut self, id: StateId, keys: &[StateKey<'_>], out: &mut Values) -> Result<(), StateError> {
        let layout = self.state(id)?.held;
        keys.iter().try_for_each(|key| self.check_group(id, key.group))?;
        let (lengths_from, bytes_from) = (out.lengths.len(), out.bytes.len());
        let (state, cache) = (usize::from(id.0), &mut self.cache);
        let Buffers { missing, rest, .. } = &mut self.buffers;
        missing.clear();
        match layout {
            Layout::Value => cache.get_many(state, keys, out, missing),
            Layout::Map => missing.extend((0u32..).zip(keys).filter_map(|(number, key)| {
                let address = layout.address(key, rest);
                cache.get_one(state, address, out).then_some(number)
            })),
            Layout::List => return self.state(id)?.unfit("get-many"),
        }
        if self.buffers.missing.is_empty() {
            return Ok(());
        }
        self.fetch(id, layout, keys, (lengths_from, bytes_from), out)?;
        self.make_room()
    }

    fn write_batch(&mut self, id: StateId, writes: &[Write<'_>]) -> Result<(), StateError> {
        let state = self.state(id)?;
        let layout = state.held;
        for write in writes {
            state.check_entry(&write.key, write.value.unwrap_or_default())?;
            self.check_group(id, write.key.group)?;
        }
        if layout == Layout::List {
            return state.unfit("write-batch");
        }
        writes.iter().for_each(|write| self.put(id, layout, write));
        self.make_room()
    }

    fn append(&mut self, id: StateId, key: StateKey<'_>, element: &[u8]) -> Result<bool, StateError> {
        let state = self.state(id)?;
        state.check_entry(&key, element)?;
        if state.held != Layout::List {
            return state.unfit("append");
        }
        self.check_group(id, key.group)?;
        let is_first = self.append_element(id, &key, element)?;
        self.make_room()?;
        Ok(is_first)
    }

    fn list_page(
        &mut self,
        id: StateId,
        key: StateKey<'_>,
        start: u64,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        out.entries.clear();
        out.done = false;
        if self.state(id)?.held != Layout::List {
            return self.state(id)?.unfit("list-page");
        }
        self.check_group(id, key.group)?;
        self.page_of_list(id, &key, start, bytes_max, out)?;
        self.make_room()
    }

    fn list(&mut self, id: StateId, key: StateKey<'_>, out: &mut Values) -> Result<(), StateError> {
        if self.state(id)?.held != Layout::List {
            return self.state(id)?.unfit("list");
        }
        self.check_group(id, key.group)?;
        self.visit_list(id, &key, 0, &mut |element| {
            out.lengths.push(element.len() as u32);
            out.bytes.extend_from_slice(element);
            true
        })?;
        self.make_room()
    }

    fn map_page(
        &mut self,
        id: StateId,
        key: StateKey<'_>,
        after: Option<&[u8]>,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        out.entries.clear();
        out.done = false;
        if self.state(id)?.held != Layout::Map {
            return self.state(id)?.unfit("map-page");
        }
        self.check_group(id, key.group)?;
        self.page_of_map(id, &key, after, bytes_max, out)
    }

    fn clear(&mut self, id: StateId, key: StateKey<'_>) -> Result<(), StateError> {
        let layout = self.state(id)?.held;
        self.check_group(id, key.group)?;
        match layout {
            Layout::Map => self.clear_map(id, &key)?,
            Layout::List => self.clear_list(id, &key)?,
            Layout::Value => {}
        }
        if layout != Layout::Map {
            let (locator, value) = (Locator::UNKNOWN, None);
            let key = StateKey { map_key: &[], ..key };
            self.put(id, layout, &Write { key, locator, value });
        }
        self.make_room()
    }

    fn clean_up(&mut self, now: Timestamp, _: u64) -> Result<(), StateError> {
        self.expire(now)
    }

    fn snapshot(&mut self) -> Result<Box<dyn FrozenState>, StateError> {
        let numbered = self.states.numbered();
        let (states, layouts): (Vec<_>, _) = numbered
            .map(|(id, state)| ((id, state.declaration.clone()), state.held))
            .unzip();
        states.iter().for_each(|(id, _)| self.flush(*id));
        let view = self
            .store
            .as_ref()
            .map(|store| Settling::freeze(store, std::mem::take(&mut self.changes), Wanted::View));
        Ok(Box::new(FrozenStore::new(states, layouts, view)))
    }

    fn snapshot_files(&mut self, _: FilesWanted<'_>) -> Result<Option<NativeSnapshot>, StateError> {
        let Some((store, format)) = self
            .store
            .clone()
            .and_then(|store| Some((store.clone(), store.files_format()?)))
        else {
            return Ok(None);
        };
        let states = self.states.numbered();
        let states: Vec<_> = states
            .map(|(id, state)| (id, state.declaration.clone()))
            .collect();
        states.iter().for_each(|(id, _)| self.flush(*id));
        let ticket = Settling::freeze(&store, std::mem::take(&mut self.changes), Wanted::Files);
        Ok(Some(NativeSnapshot {
            format,
            states,
            files: Box::new(LaterFiles(ticket)),
            hold_timers: false,
        }))
    }

    fn restore_state(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError> {
        let store = self.opened()?;
        let (cache, expiries) = (&mut self.cache, &mut self.expiries);
        self.states.restore(declaration, |id, _| {
            add(&*store, cache, expiries, id, declaration)
        })
    }

    fn restore_entries(
        &mut self,
        id: StateId,
        group: KeyGroup,
        entries: Entries<'_>,
    ) -> Result<(), StateError> {
        self.check_group(id, group)?;
        let layout = self.state(id)?.held;
        for entry in entries {
            if !self.restore_entry(id, layout, group, entry?)? {
                return Err(StateError::Usage {
                    name: format!("of key group {}", group.0),
                    message: "its entries belong to a state of another kind".to_owned(),
                });
            }
        }
        self.make_room()
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
        let (cache, expiries) = (&mut self.cache, &mut self.expiries);
        // NOTE: a column that stays behind in the store is emptied when its number is used again.
        self.states.drop_unclaimed(|id, _| {
            cache.forget_state(usize::from(id.0));
            expiries.forget(id);
        });
    }

    fn range(&self) -> KeyGroupRange {
        self.range
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    fn size(&self) -> StateSize {
        let stored = self.store.as_ref().map_or(0, |store| store.entries_estimate());
        StateSize {
            entries: stored.max(self.cache.entries()),
            bytes: (self.cache.bytes() + self.changes.bytes_taken()) as u64,
        }
    }
}

/// Makes an empty column, and room in the cache.
fn add(
    store: &dyn OrderedStore,
    cache: &mut Cache,
    expiries: &mut Expiries,
    id: StateId,
    declaration: &StateDeclaration,
) -> Result<Layout, StateError> {
    let expiry = expiries.add(id, declaration);
    store.add_column(Column(id.0), &declaration.name, expiry)?;
    cache.add_state(usize::from(id.0));
    Ok(Layout::of(declaration.kind))
}

/// The address of the entry in the cache.
fn table_key<'a>(key: &StateKey<'a>, rest: &'a [u8]) -> TableKey<'a> {
    TableKey::new(key.hash, key.key, rest)
}
