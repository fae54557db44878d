//! A backend's own files in a checkpoint that is restored or read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use wasmill_state::backend::{SnapshotFile, StateError};
use wasmill_state::native::FileSource;

use super::open_data;
use crate::handle::Data;
use crate::storage::CheckpointStorage;

/// Read at one time.
const COPY_BYTES: u64 = 1 << 20;

/// What a checkpoint holds of one operator in one subtask, by the names that the backend has given its files.
pub struct StoredNative<'a> {
    /// Of the checkpoint.
    pub storage: &'a Arc<dyn CheckpointStorage>,
    /// The checkpoint's in it.
    pub directory: &'a str,
    /// Where each file's bytes are.
    pub files: &'a BTreeMap<String, Data>,
}

impl FileSource for StoredNative<'_> {
    fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn open(&self, name: &str) -> Result<Box<dyn SnapshotFile + '_>, StateError> {
        let missing = || StateError::Corrupt(format!("it holds no file `{name}`"));
        let data = self.files.get(name).ok_or_else(missing)?;
        let file = open_data(Arc::clone(self.storage), self.directory, data);
        Ok(file.map_err(io::Error::other)?)
    }

    fn copy(&mut self, name: &str, out: &mut dyn Write) -> Result<(), StateError> {
        let mut file = self.open(name)?;
        let (mut offset, length) = (0, file.len());
        let mut buffer = vec![0; length.min(COPY_BYTES) as usize];
        while offset < length {
            let piece = (length - offset).min(COPY_BYTES);
            let buffer = buffer.get_mut(..piece as usize).unwrap_or_default();
            file.read_at(offset, buffer)?;
            out.write_all(buffer)?;
            offset += piece;
        }
        Ok(())
    }
}
