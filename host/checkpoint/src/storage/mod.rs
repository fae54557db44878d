//! The seam between checkpoints and the place where their files are.
//!
//! Names are relative, `/`-separated, without `..`: a checkpoint can be moved as a whole.

use std::io;
use std::sync::Arc;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub length: u64,
    /// CRC-32C of them.
    pub crc32c: u32,
}

/// Why storage failed; names the file.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such file.
    #[error("{name}: not found in {storage}")]
    NotFound {
        /// The file.
        name: String,
        /// The storage's URL.
        storage: String,
    },
    /// `create` found the file there already: another host writes to the same place.
    #[error("{name}: exists already in {storage}: does another host write to it?")]
    Exists {
        /// The file.
        name: String,
        /// The storage's URL.
        storage: String,
    },
    /// This host cannot use such a URL.
    #[error("checkpoint storage `{url}`: {message}")]
    Unsupported {
        /// The URL.
        url: String,
        /// What is wrong and what can be used instead.
        message: String,
    },
    /// Anything else that storage says.
    #[error("{name} in {storage}: {source}")]
    Io {
        /// The file.
        name: String,
        /// The storage's URL.
        storage: String,
        /// Its answer.
        source: io::Error,
    },
}

/// Writes a file's content.
pub type Content<'a> = dyn FnMut(&mut dyn io::Write) -> io::Result<()> + 'a;

/// Where checkpoint files are. Calls block; none is made from a subtask's thread.
pub trait CheckpointStorage: Send + Sync {
    /// Writes a file whole; durable once it returns. A file that was there is replaced; after a failure
    /// there may be a part of it under that name, which no manifest names.
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError>;

    /// Writes a small file so that either all of it is there, durable, or nothing; refuses where there is
    /// one of that name. Manifests are written by this.
    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError>;

    /// Reads a part of a file: at most `length` bytes from `offset`, less only at its end.
    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError>;

    /// All names below a prefix (a directory without the slash), sorted, with their lengths.
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError>;

    /// Deletes a file that nobody needs; one that is not there is no error. A power cut may bring it back.
    fn delete(&self, name: &str) -> Result<(), StorageError>;

    /// Makes durable a file that is there: who created it may have died before it was. To be called before anything is
    /// done for what it says.
    fn keep(&self, name: &str) -> Result<(), StorageError> {
        let _ = name;
        Ok(())
    }

    /// Deletes a file that decides what a restore finds: a power cut after it returns does not bring the file back.
    /// One that is not there is no error.
    fn withdraw(&self, name: &str) -> Result<(), StorageError> {
        self.delete(name)
    }

    /// Removes what the store itself has kept of a directory in which [`list`](Self::list) finds nothing:
    /// empty directories, halves of writes that a crash cut off. Only for directories to which nobody
    /// writes any more.
    fn prune(&self, directory: &str) -> Result<(), StorageError> {
        let _ = directory;
        Ok(())
    }

    /// For people: the URL.
    fn url(&self) -> String;

    /// Opens other storage with the settings of this one: a savepoint's, by its URL.
    fn open_other(&self, url: &str) -> Result<Arc<dyn CheckpointStorage>, StorageError> {
        open(url, &StorageSettings::default())
    }
}

mod failure;
mod local;
mod memory;
mod object;
mod remote;
mod runtime;
mod settings;
pub mod testing;
mod upload;

pub use local::{LocalStorage, files};
pub use memory::{MEMORY_STATE_BYTES_MAX, MemoryStorage};
pub use object::open;
pub use settings::{AzureSettings, GcsSettings, S3Settings, Secret, StorageSettings};
#[cfg(test)]
mod tests;
