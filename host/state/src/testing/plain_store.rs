//! A store of plain maps: what the backend over stores is tested with, and counts of what it asked for.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::StateError;
use crate::store::{Changes, Column, Keys, OrderedStore, StoreView, Visit};
use crate::stored::StoreSource;

type Columns = BTreeMap<Column, Arc<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Columns as maps.
#[derive(Default)]
pub struct PlainStore {
    columns: Mutex<Columns>,
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
}

impl OrderedStore for PlainStore {
    fn add_column(&self, column: Column, _: &str) -> Result<(), StateError> {
        self.columns().insert(column, Arc::default());
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

    fn entries_estimate(&self) -> u64 {
        self.columns().values().map(|entries| entries.len() as u64).sum()
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
