//! Keyed state in RocksDB: the only crate that links it.
//!
//! The layout of entries and the write-back cache are those of [`wasmill_state::stored`]; here is the store below
//! them, one database for an operator in one subtask, in a local directory that lives no longer than it does. What
//! outlives it are checkpoints: there is no write-ahead log. An incremental checkpoint takes the files of a database as they
//! are, by hard links, and stores those that are new (S7).
//!
//! | module | holds |
//! |---|---|
//! | this one | the host's memory, shared by all databases, and the backends of a job |
//! | `closing` | which databases are open |
//! | `directory` | local directories: whose they are, and when they go |
//! | `settings` | what a host can be told |
//! | `store` | one database as an ordered store |
//! | `expiry` | compactions that leave out what is over |
//! | `files` | the files of a database at one instant |
//!
//! Invariant: all databases of a host share one block cache, and their write buffers are counted in it; all write-back
//! caches share one bound.

mod closing;
mod directory;
mod expiry;
mod files;
mod settings;
mod store;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocksdb::{Cache, WriteBufferManager};
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_state::backend::{KeyedStateBackend, StateError};
use wasmill_state::backends::{NativeReader, Place, StateBackends};
use wasmill_state::memory::{SEGMENTS, read_segments};
use wasmill_state::native::{FileSource, NativeState, unknown_format};
use wasmill_state::store::OrderedStore;
use wasmill_state::stored::{Expiries, StoreSource, StoredBackend, read_store};
use wasmill_state::timers::TimerQueue;

use crate::closing::OpenDatabases;
use crate::directory::{HostDirectory, TaskDirectory};
use crate::expiry::Expiring;
pub use crate::settings::{CompactionStyle, Compression, Settings};
use crate::store::{FORMAT, RocksStore};

/// What all RocksDB backends of a host share.
pub struct RocksHost {
    settings: Settings,
    memory: Memory,
    directory: HostDirectory,
    /// Databases that are open.
    open: AtomicUsize,
}

/// The block cache and the write buffers of all databases, and which those are.
struct Memory {
    blocks: Cache,
    buffers: WriteBufferManager,
    databases: Arc<OpenDatabases>,
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
                buffers: WriteBufferManager::new_write_buffer_manager_with_cache(
                    buffers,
                    false,
                    blocks.clone(),
                ),
                blocks,
                databases: Arc::default(),
            },
            directory,
            settings,
            open: AtomicUsize::new(0),
        }))
    }

    /// Waits until all databases are closed, as they must be before the process ends; false where some is open after that
    /// time.
    pub fn wait_until_closed(&self, limit: Duration) -> bool {
        self.memory.databases.wait_for_none(limit)
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
        let source = self.source(place);
        Box::new(StoredBackend::new(range, max_parallelism, Box::new(source)))
    }

    fn adopt(
        &self,
        place: Place<'_>,
        max_parallelism: MaxParallelism,
        native: &mut NativeState<'_>,
        _: &mut TimerQueue,
    ) -> Result<Option<Box<dyn KeyedStateBackend>>, StateError> {
        if native.format != FORMAT {
            return Ok(None);
        }
        let (mut source, expiries) = (self.source(place), Expiries::of(native.states));
        let store = source.open_files(native.files, Expiring::new(expiries.columns()))?;
        let (groups, source) = ((native.range, max_parallelism), Box::new(source));
        let backend = StoredBackend::adopt(groups, source, store, native.states, native.numbers, expiries)?;
        Ok(backend.map(|backend| Box::new(backend) as Box<dyn KeyedStateBackend>))
    }
}

impl NativeReader for RocksBackends {
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
        timers: &mut TimerQueue,
    ) -> Result<(), StateError> {
        match native.format {
            FORMAT => {}
            SEGMENTS => return read_segments(native, backend, timers),
            other => return Err(unknown_format(other)),
        }
        let store = self.source(place).open_files(native.files, Expiring::default())?;
        read_store(&*store, native.states, native.numbers, native.range, backend)
    }
}

impl RocksBackends {
    fn source(&self, place: Place<'_>) -> RocksSource {
        RocksSource {
            host: Arc::clone(&self.host),
            directory: self.host.directory.of_task(&self.job, place),
            is_open: false,
        }
    }
}

/// The database of one subtask's operator, before and after it is opened.
struct RocksSource {
    host: Arc<RocksHost>,
    directory: TaskDirectory,
    is_open: bool,
}

impl RocksSource {
    /// Opens a database of a checkpoint's files.
    fn open_files(
        &mut self,
        files: &mut dyn FileSource,
        expiring: Expiring,
    ) -> Result<Arc<dyn OrderedStore>, StateError> {
        let directory = self.directory.create()?;
        for name in files.names() {
            let path = directory.path().join(&name);
            let mut file = File::create_new(&path).map_err(|error| directory::failed(&path, &error))?;
            files.copy(&name, &mut file)?;
        }
        let store = RocksStore::open_files(&self.host.settings, &self.host.memory, directory, expiring)?;
        Ok(self.opened(store))
    }

    fn opened(&mut self, store: RocksStore) -> Arc<dyn OrderedStore> {
        self.host.open.fetch_add(1, Ordering::Relaxed);
        self.is_open = true;
        Arc::new(store)
    }
}

impl StoreSource for RocksSource {
    fn open(&mut self) -> Result<Arc<dyn OrderedStore>, StateError> {
        let store = RocksStore::open(&self.host.settings, &self.host.memory, self.directory.create()?)?;
        Ok(self.opened(store))
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
