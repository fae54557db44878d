//! A store of plain maps: what the backend over stores is tested with, and counts of what it asked for.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_model::key::{self, KeyGroupRange, MaxParallelism};

use crate::backend::{KeyedStateBackend, StateError};
use crate::backends::{NativeReader, Place, StateBackends};
use crate::memory::{SEGMENTS, read_segments};
use crate::native::{FileSink, FileSource, FrozenFiles, NativeState, unknown_format};
use crate::store::{Changes, Column, Expiry, Keys, OrderedStore, StoreView, Visit};
use crate::stored::{Expiries, StoreSource, StoredBackend, read_store};
use crate::timers::TimerQueue;

/// Of its files.
const FORMAT: &str = "plain-1";

type Columns = BTreeMap<Column, Arc<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Columns as maps.
#[derive(Default)]
pub struct PlainStore {
    columns: Mutex<Columns>,
    expiries: Mutex<BTreeMap<Column, Arc<dyn Expiry>>>,
    /// Keys that were asked for.
    pub reads: AtomicU64,
    /// Writes and removals.
    pub writes: AtomicU64,
    /// Calls by which they came.
    pub batches: AtomicU64,
    /// Whether writes are refused.
    pub is_full: AtomicBool,
}

impl PlainStore {
    fn columns(&self) -> MutexGuard<'_, Columns> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiries(&self) -> MutexGuard<'_, BTreeMap<Column, Arc<dyn Expiry>>> {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what it may, as a compaction does that goes through everything.
    pub fn compact(&self) {
        let mut columns = self.columns();
        for (column, expiry) in &*self.expiries() {
            let mut pass = Arc::clone(expiry).pass();
            let entries = Arc::make_mut(columns.entry(*column).or_default());
            entries.retain(|key, value| !pass.is_over(key, value));
        }
    }

    /// Entries that it holds.
    pub fn entries(&self) -> usize {
        self.columns().values().map(|entries| entries.len()).sum()
    }
}

impl OrderedStore for PlainStore {
    fn add_column(&self, column: Column, _: &str, expiry: Option<Arc<dyn Expiry>>) -> Result<(), StateError> {
        self.columns().insert(column, Arc::default());
        self.expiries().remove(&column);
        self.expiries().extend(expiry.map(|expiry| (column, expiry)));
        Ok(())
    }

    fn get_many(
        &self,
        column: Column,
        keys: &Keys,
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StateError> {
        self.reads.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let columns = self.columns();
        let entries = columns.get(&column);
        for (number, key) in keys.iter().enumerate() {
            found(
                number,
                entries
                    .and_then(|entries| entries.get(key))
                    .map(|value| &value[..]),
            );
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StateError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut columns = self.columns();
        for (column, key, value) in changes.iter() {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let entries = Arc::make_mut(columns.entry(column).or_default());
            match value {
                Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
                None => drop(entries.remove(key)),
            }
        }
        Ok(())
    }

    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        PlainView(self.columns().clone()).scan(column, start, visit)
    }

    fn floor(&self, column: Column, at: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let columns = self.columns();
        let entries = columns.get(&column);
        let last = entries.and_then(|entries| entries.range(..=at.to_vec()).next_back());
        Ok(last.map(|(key, _)| key.clone()))
    }

    fn view(&self) -> Result<Box<dyn StoreView>, StateError> {
        Ok(Box::new(PlainView(self.columns().clone())))
    }

    fn files_format(&self) -> Option<&'static str> {
        Some(FORMAT)
    }

    fn files(&self) -> Result<Box<dyn FrozenFiles>, StateError> {
        Ok(Box::new(PlainFiles(self.columns().clone())))
    }

    fn entries_estimate(&self) -> u64 {
        self.entries() as u64
    }
}

struct PlainView(Columns);

impl StoreView for PlainView {
    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let Some(entries) = self.0.get(&column) else {
            return Ok(());
        };
        for (key, value) in entries.range(start.to_vec()..) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}

/// A file for each column and key group, named by what is in it: what has not changed has the name that it had.
struct PlainFiles(Columns);

impl FrozenFiles for PlainFiles {
    fn write(self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError> {
        for (column, entries) in &self.0 {
            let mut groups: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
            for (key, value) in &**entries {
                let file = groups.entry(key.get(..2).unwrap_or_default()).or_default();
                for part in [key, value] {
                    file.extend_from_slice(&(part.len() as u32).to_le_bytes());
                    file.extend_from_slice(part);
                }
            }
            for file in groups.values() {
                let name = format!("{}-{:016x}", column.0, key::hash(file));
                if !out.reuse(&name) {
                    out.put(&name, &mut file.as_slice(), true)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads them back.
fn read(files: &mut dyn FileSource) -> Result<PlainStore, StateError> {
    let broken = || StateError::Corrupt("a file of a plain store is broken".to_owned());
    let store = PlainStore::default();
    for name in files.names() {
        let column = name.split_once('-').and_then(|(column, _)| column.parse().ok());
        let column = Column(column.ok_or_else(broken)?);
        let mut content = Vec::new();
        files.copy(&name, &mut content)?;
        let mut rest = &content[..];
        let mut part = || {
            let length = rest
                .split_off(..4)
                .map(|bytes| bytes.try_into().map(u32::from_le_bytes));
            let length = length.and_then(Result::ok).ok_or_else(broken)?;
            rest.split_off(..length as usize)
                .map(<[u8]>::to_vec)
                .ok_or_else(broken)
        };
        let mut read = 0;
        while read < content.len() {
            let (key, value) = (part()?, part()?);
            read += 8 + key.len() + value.len();
            Arc::make_mut(store.columns().entry(column).or_default()).insert(key, value);
        }
    }
    Ok(store)
}

/// Backends over plain stores, which hand over files.
pub struct PlainBackends {
    /// What the cache of each may take.
    pub cache_bytes: usize,
}

impl StateBackends for PlainBackends {
    fn open(
        &self,
        _: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend> {
        let source = self.source(Arc::default());
        Box::new(StoredBackend::new(range, max_parallelism, Box::new(source)))
    }

    fn adopt(
        &self,
        _: Place<'_>,
        max_parallelism: MaxParallelism,
        native: &mut NativeState<'_>,
        _: &mut TimerQueue,
    ) -> Result<Option<Box<dyn KeyedStateBackend>>, StateError> {
        let adopted = self.adopt_with_store(max_parallelism, native)?;
        Ok(adopted.map(|(_, backend)| backend))
    }
}

/// A backend, with a handle of its store.
pub type WithStore = (Arc<PlainStore>, Box<dyn KeyedStateBackend>);

impl PlainBackends {
    /// Adopts files, and gives a handle of the store as well.
    pub fn adopt_with_store(
        &self,
        max_parallelism: MaxParallelism,
        native: &mut NativeState<'_>,
    ) -> Result<Option<WithStore>, StateError> {
        if native.format != FORMAT {
            return Ok(None);
        }
        let store = Arc::new(read(native.files)?);
        let expiries = Expiries::of(native.states);
        store.expiries().extend(expiries.columns());
        let source = Box::new(self.source(Arc::clone(&store)));
        let groups = (native.range, max_parallelism);
        let below = Arc::clone(&store) as Arc<dyn OrderedStore>;
        let adopted = StoredBackend::adopt(groups, source, below, native.states, native.numbers, expiries)?;
        Ok(adopted.map(|backend| (store, Box::new(backend) as Box<dyn KeyedStateBackend>)))
    }

    fn source(&self, store: Arc<PlainStore>) -> PlainSource {
        PlainSource {
            store,
            cache_bytes: self.cache_bytes,
        }
    }
}

impl NativeReader for PlainBackends {
    fn read_native(
        &self,
        _: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
        timers: &mut TimerQueue,
    ) -> Result<(), StateError> {
        match native.format {
            FORMAT => {}
            SEGMENTS => return read_segments(native, backend, timers),
            other => return Err(unknown_format(other)),
        }
        let store = read(native.files)?;
        read_store(&store, native.states, native.numbers, native.range, backend)
    }
}

/// Gives a store that the test keeps a handle of.
pub struct PlainSource {
    /// The store.
    pub store: Arc<PlainStore>,
    /// What the cache may take.
    pub cache_bytes: usize,
}

impl StoreSource for PlainSource {
    fn open(&mut self) -> Result<Arc<dyn OrderedStore>, StateError> {
        Ok(Arc::clone(&self.store) as Arc<dyn OrderedStore>)
    }

    fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }
}
