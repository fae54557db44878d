//! Keyed state in RocksDB: the only crate that links it.
//!
//! The layout of entries and the write-back cache are those of [`wasmill_state::stored`]; here is the store below
//! them, one database for an operator in one subtask, in a local directory that lives no longer than it does. What
//! outlives it are checkpoints: there is no write-ahead log.
//!
//! | module | holds |
//! |---|---|
//! | this one | the host's memory, shared by all databases, and the backends of a job |
//! | `directory` | local directories: whose they are, and when they go |
//! | `settings` | what a host can be told |
//! | `store` | one database as an ordered store |
//!
//! Invariant: all databases of a host share one block cache, and their write buffers are counted in it; all write-back
//! caches share one bound.

mod directory;
mod settings;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{Cache, WriteBufferManager};
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_state::backend::{KeyedStateBackend, StateError};
use wasmill_state::backends::{Place, StateBackends};
use wasmill_state::store::OrderedStore;
use wasmill_state::stored::{StoreSource, StoredBackend};

use crate::directory::{HostDirectory, TaskDirectory};
pub use crate::settings::{CompactionStyle, Compression, Settings};
use crate::store::RocksStore;

/// What all RocksDB backends of a host share.
pub struct RocksHost {
    settings: Settings,
    memory: Memory,
    directory: HostDirectory,
    /// Databases that are open.
    open: AtomicUsize,
}

/// The block cache and the write buffers of all databases.
struct Memory {
    blocks: Cache,
    buffers: WriteBufferManager,
}

impl RocksHost {
    /// Takes a directory of its own below the local one, and removes what hosts left there that are gone. The error
    /// names the directory and the setting.
    pub fn open(settings: Settings) -> Result<Arc<Self>, String> {
        let directory = HostDirectory::open(&settings.local_directory)?;
        let blocks = Cache::new_lru_cache(settings.memory_bytes);
        let buffers = settings.all_write_buffers_bytes();
        Ok(Arc::new(Self {
            memory: Memory {
                buffers: WriteBufferManager::new_write_buffer_manager_with_cache(buffers, false, blocks.clone()),
                blocks,
            },
            directory,
            settings,
            open: AtomicUsize::new(0),
        }))
    }

    /// The backends of a job; its name is part of a path.
    pub fn backends_of(self: &Arc<Self>, job: String) -> Arc<dyn StateBackends> {
        Arc::new(RocksBackends {
            host: Arc::clone(self),
            job,
        })
    }
}

struct RocksBackends {
    host: Arc<RocksHost>,
    job: String,
}

impl StateBackends for RocksBackends {
    fn open(
        &self,
        place: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend> {
        let source = RocksSource {
            host: Arc::clone(&self.host),
            directory: self.host.directory.of_task(&self.job, place),
            is_open: false,
        };
        Box::new(StoredBackend::new(range, max_parallelism, Box::new(source)))
    }
}

/// The database of one subtask's operator, before and after it is opened.
struct RocksSource {
    host: Arc<RocksHost>,
    directory: TaskDirectory,
    is_open: bool,
}

impl StoreSource for RocksSource {
    fn open(&mut self) -> Result<Arc<dyn OrderedStore>, StateError> {
        let store = RocksStore::open(&self.host.settings, &self.host.memory, self.directory.create()?)?;
        self.host.open.fetch_add(1, Ordering::Relaxed);
        self.is_open = true;
        Ok(Arc::new(store))
    }

    fn cache_bytes(&self) -> usize {
        self.host.settings.cache_bytes / self.host.open.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for RocksSource {
    fn drop(&mut self) {
        if self.is_open {
            self.host.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
