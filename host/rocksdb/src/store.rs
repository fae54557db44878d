//! One database as an ordered store: a column family for each state.
//!
//! Invariants: the directory goes after the database is closed; a view ends before its database is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompactionStyle, DBCompressionType, DBRawIterator,
    Options, ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions, properties,
};
use wasmill_state::backend::StateError;
use wasmill_state::native::FrozenFiles;
use wasmill_state::store::{Changes, Column, Expiry, Keys, OrderedStore, StoreView, Visit};

use crate::Memory;
use crate::closing::OpenDatabase;
use crate::directory::{OwnedDirectory, failed};
use crate::expiry::Expiring;
use crate::files::RocksFiles;
use crate::settings::{CompactionStyle, Compression, Settings};

/// Name and version of the files of a checkpoint: tables and what a database needs to read them, the columns of states
/// by their numbers, entries as [`wasmill_state::stored`] lays them out.
pub(crate) const FORMAT: &str = "rocksdb-1";

/// The column that every database has; nothing is in it.
const DEFAULT: &str = "default";

/// Before the number of a column in its name.
const COLUMN: &str = "state-";

/// Bytes that are written at once: a database takes a batch whole, whatever its buffers hold.
const BATCH_BYTES: usize = 4 << 20;

/// All keys lie from the first of these to before the second: they begin with a key group, of which there are no more
/// than 32,768.
const FIRST_KEY: &[u8] = &[];
const BEHIND_KEYS: &[u8] = &[255, 255];

/// A database and its directory.
struct Database {
    db: DB,
    // NOTE: dropped after `db`, in the order of the fields.
    directory: OwnedDirectory,
    _open: OpenDatabase,
}

/// One database.
pub(crate) struct RocksStore {
    database: Arc<Database>,
    columns: Options,
    expiring: Expiring,
    writes: WriteOptions,
    /// Times that its files were taken.
    checkpoints: AtomicU64,
}

impl RocksStore {
    /// Opens a new one.
    pub(crate) fn open(
        settings: &Settings,
        memory: &Memory,
        directory: OwnedDirectory,
    ) -> Result<Self, StateError> {
        let names = vec![DEFAULT.to_owned()];
        Self::open_columns(settings, memory, directory, names, Expiring::default())
    }

    /// Opens what lies in a directory.
    pub(crate) fn open_files(
        settings: &Settings,
        memory: &Memory,
        directory: OwnedDirectory,
        expiring: Expiring,
    ) -> Result<Self, StateError> {
        let listed = DB::list_cf(&Options::default(), directory.path());
        let names = listed.map_err(|error| failed(directory.path(), &error))?;
        Self::open_columns(settings, memory, directory, names, expiring)
    }

    fn open_columns(
        settings: &Settings,
        memory: &Memory,
        directory: OwnedDirectory,
        names: Vec<String>,
        expiring: Expiring,
    ) -> Result<Self, StateError> {
        let columns = column_options(settings, memory);
        let all = names.into_iter().map(|name| {
            let options = match column_of(&name) {
                Some(column) => expiring.options(column, &columns),
                None => columns.clone(),
            };
            ColumnFamilyDescriptor::new(name, options)
        });
        let opened = DB::open_cf_descriptors(&database_options(settings, memory), directory.path(), all);
        let db = opened.map_err(|error| failed(directory.path(), &error))?;
        let mut writes = WriteOptions::default();
        writes.disable_wal(true);
        Ok(Self {
            database: Arc::new(Database {
                db,
                directory,
                _open: memory.databases.one_more(),
            }),
            columns,
            expiring,
            writes,
            checkpoints: AtomicU64::new(0),
        })
    }

    fn failed(&self, error: &rocksdb::Error) -> StateError {
        self.database.failed(error)
    }
}

impl Database {
    fn failed(&self, error: &rocksdb::Error) -> StateError {
        failed(self.directory.path(), error)
    }

    fn column(&self, column: Column) -> Result<Arc<rocksdb::BoundColumnFamily<'_>>, StateError> {
        self.db
            .cf_handle(&name_of(column))
            .ok_or_else(|| failed(self.directory.path(), &format!("there is no column {}", column.0)))
    }

    /// Visits entries from the place of the iterator on.
    fn visit(&self, mut at: DBRawIterator<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        while let Some((key, value)) = at.item() {
            if !visit(key, value)? {
                return Ok(());
            }
            at.next();
        }
        at.status().map_err(|error| self.failed(&error))
    }
}

impl OrderedStore for RocksStore {
    fn add_column(&self, column: Column, _: &str, expiry: Option<Arc<dyn Expiry>>) -> Result<(), StateError> {
        let (name, db) = (name_of(column), &self.database.db);
        self.expiring.set(column, expiry);
        let made = match db.cf_handle(&name) {
            // A view may still read it: what it holds goes for later reads alone.
            // NOTE: one that was made without time to live stays without a filter, whatever takes its place.
            Some(handle) => db.delete_range_cf_opt(&handle, FIRST_KEY, BEHIND_KEYS, &self.writes),
            None => db.create_cf(&name, &self.expiring.options(column, &self.columns)),
        };
        made.map_err(|error| self.failed(&error))
    }

    fn expiry_changed(&self, column: Column) -> Result<(), StateError> {
        let applied = self.expiring.apply(column, &self.database.db, &name_of(column));
        applied.map_err(|error| self.failed(&error))
    }

    fn get_many(
        &self,
        column: Column,
        keys: &Keys,
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StateError> {
        let handle = self.database.column(column)?;
        let options = ReadOptions::default();
        let keys: Vec<&[u8]> = keys.iter().collect();
        let values =
            self.database
                .db
                .batched_multi_get_cf_opt(&handle, keys.iter().copied(), false, &options);
        for (number, value) in values.into_iter().enumerate() {
            let value = value.map_err(|error| self.failed(&error))?;
            found(number, value.as_deref());
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        let mut current: Option<(Column, Arc<rocksdb::BoundColumnFamily<'_>>)> = None;
        for (column, key, value) in changes.iter() {
            let handle = match &current {
                Some((of, handle)) if *of == column => handle,
                _ => &current.insert((column, self.database.column(column)?)).1,
            };
            match value {
                Some(value) => batch.put_cf(handle, key, value),
                None => batch.delete_cf(handle, key),
            }
            if batch.size_in_bytes() >= BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                let written = self.database.db.write_opt(full, &self.writes);
                written.map_err(|error| self.failed(&error))?;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.database.db.write_opt(batch, &self.writes);
        written.map_err(|error| self.failed(&error))
    }

    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let handle = self.database.column(column)?;
        let mut at = self.database.db.raw_iterator_cf(&handle);
        at.seek(start);
        self.database.visit(at, visit)
    }

    fn floor(&self, column: Column, at: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let handle = self.database.column(column)?;
        let mut iterator = self.database.db.raw_iterator_cf(&handle);
        iterator.seek_for_prev(at);
        let key = iterator.key().map(<[u8]>::to_vec);
        iterator.status().map_err(|error| self.failed(&error))?;
        Ok(key)
    }

    fn view(&self) -> Result<Box<dyn StoreView>, StateError> {
        Ok(Box::new(RocksView::new(Arc::clone(&self.database))))
    }

    fn files_format(&self) -> Option<&'static str> {
        Some(FORMAT)
    }

    fn files(&self) -> Result<Box<dyn FrozenFiles>, StateError> {
        let number = self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let links = RocksFiles(self.database.directory.beside(number));
        let made = Checkpoint::new(&self.database.db)
            // What is in memory is flushed first.
            .and_then(|checkpoint| checkpoint.create_checkpoint(links.0.path()));
        made.map_err(|error| self.failed(&error))?;
        Ok(Box::new(links))
    }

    fn entries_estimate(&self) -> u64 {
        // NOTE: the sum over column families is an estimate too; zero where the database does not say.
        let db = &self.database.db;
        let columns = (0..u16::MAX).map_while(|column| {
            let handle = db.cf_handle(&name_of(Column(column)))?;
            db.property_int_value_cf(&handle, properties::ESTIMATE_NUM_KEYS)
                .ok()?
        });
        columns.sum()
    }
}

/// What a database held at one instant.
struct RocksView {
    // NOTE: dropped before `database`, in the order of the fields.
    snapshot: SnapshotWithThreadMode<'static, DB>,
    database: Arc<Database>,
}

impl RocksView {
    #[expect(
        unsafe_code,
        reason = "a snapshot borrows its database, and here it travels with it"
    )]
    fn new(database: Arc<Database>) -> Self {
        // SAFETY: the database is neither moved nor dropped while the snapshot lives: it lies in the allocation that
        // `database` keeps alive, and the snapshot is the earlier field, so it is dropped first. Neither field is given
        // out with the lifetime.
        let db: &'static DB = unsafe { &*std::ptr::from_ref(&database.db) };
        Self {
            snapshot: db.snapshot(),
            database,
        }
    }
}

impl StoreView for RocksView {
    fn scan(&self, column: Column, start: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let handle = self.database.column(column)?;
        let mut options = ReadOptions::default();
        // A checkpoint reads everything once: it must not push out what the job reads.
        options.fill_cache(false);
        let mut at = self.snapshot.raw_iterator_cf_opt(&handle, options);
        at.seek(start);
        self.database.visit(at, visit)
    }
}

fn name_of(column: Column) -> String {
    format!("{COLUMN}{}", column.0)
}

fn column_of(name: &str) -> Option<Column> {
    name.strip_prefix(COLUMN)?.parse().ok().map(Column)
}

fn database_options(settings: &Settings, memory: &Memory) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_manager(&memory.buffers);
    options.set_max_background_jobs(settings.threads as i32);
    // Nothing is read after it is closed.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_open_files(-1);
    options.set_stats_dump_period_sec(0);
    options.set_keep_log_file_num(1);
    options.set_log_level(rocksdb::LogLevel::Warn);
    options
}

fn column_options(settings: &Settings, memory: &Memory) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&memory.blocks);
    table.set_block_size(settings.block_bytes);
    // What tables need to be read is counted in the cache, so that memory is bounded.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if settings.use_bloom_filter {
        table.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(
        settings
            .write_buffer_bytes
            .min(settings.all_write_buffers_bytes())
            .max(64 << 10),
    );
    options.set_compaction_style(match settings.compaction_style {
        CompactionStyle::Level => DBCompactionStyle::Level,
        CompactionStyle::Universal => DBCompactionStyle::Universal,
    });
    options.set_compression_type(match settings.compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
    });
    options
}
