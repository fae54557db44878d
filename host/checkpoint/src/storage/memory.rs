//! Checkpoint storage in the host's memory: of jobs with little state that need not outlive the host, of tests and of
//! the simulator. Deterministic, without threads.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::path::Path;

use super::{CheckpointStorage, Content, StorageError, Written};

/// The largest file of `memory:`, Flink's bound on the state of one operator in one subtask.
pub const MEMORY_STATE_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// Files in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The largest file.
    file_bytes_max: Option<u64>,
}

impl MemoryStorage {
    /// Without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the URL `memory:`: no file is larger than [`MEMORY_STATE_BYTES_MAX`].
    pub fn bounded() -> Self {
        Self {
            file_bytes_max: Some(MEMORY_STATE_BYTES_MAX),
            ..Self::default()
        }
    }

    /// Changes a file behind everyone's back, as a failing disk does; `None` where there is none.
    pub fn damage<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        self.files().get_mut(name).map(change)
    }

    /// Puts bytes under a name without any promise: what a torn write leaves.
    pub(super) fn leave(&self, name: &str, content: Vec<u8>) {
        self.files().insert(name.to_owned(), content);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names are what they are in the other storages.
    fn check_name(&self, name: &str) -> Result<(), StorageError> {
        let invalid = |what: String| failed(self, name, io::Error::new(io::ErrorKind::InvalidInput, what));
        match Path::parse(name) {
            Ok(_) if name.is_empty() => Err(invalid("it is empty".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    fn not_found(&self, name: &str) -> StorageError {
        StorageError::NotFound {
            name: name.to_owned(),
            storage: self.url(),
        }
    }
}

impl CheckpointStorage for MemoryStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        self.check_name(name)?;
        let mut file = MemoryFile {
            bytes: Vec::new(),
            bytes_max: self.file_bytes_max.unwrap_or(u64::MAX),
        };
        content(&mut file).map_err(|source| failed(self, name, source))?;
        let bytes = file.bytes;
        let written = Written {
            length: bytes.len() as u64,
            crc32c: crc32c::crc32c(&bytes),
        };
        self.files().insert(name.to_owned(), bytes);
        Ok(written)
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        self.check_name(name)?;
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(StorageError::Exists {
                name: name.to_owned(),
                storage: self.url(),
            });
        }
        files.insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        let files = self.files();
        let file = files.get(name).ok_or_else(|| self.not_found(name))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(file.len() - start);
        Ok(file[start..start + length].to_vec())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        let directory = format!("{prefix}/");
        let files = self.files();
        let below = files
            .iter()
            .filter(|(name, _)| prefix.is_empty() || name.starts_with(&directory));
        Ok(below
            .map(|(name, content)| (name.clone(), content.len() as u64))
            .collect())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.files().remove(name);
        Ok(())
    }

    fn url(&self) -> String {
        "memory:".to_owned()
    }
}

/// A file that is being written.
struct MemoryFile {
    bytes: Vec<u8>,
    bytes_max: u64,
}

impl io::Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len() as u64 + bytes.len() as u64;
        if length > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "the state of an operator is larger than the {} bytes that `memory:` takes: set `checkpoint-storage` to a \
                     directory or a bucket",
                    self.bytes_max
                ),
            ));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn failed(storage: &dyn CheckpointStorage, name: &str, source: io::Error) -> StorageError {
    StorageError::Io {
        name: name.to_owned(),
        storage: storage.url(),
        source,
    }
}
