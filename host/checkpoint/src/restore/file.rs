//! Files of a checkpoint: checked as a whole before the restore, read in pieces during it.

use std::io;
use std::sync::Arc;

use wasmill_state::backend::SnapshotFile;

use super::RestoreError;
use crate::handle::{Data, FileRef};
use crate::manifest::Manifest;
use crate::storage::{CheckpointStorage, StorageError};

/// Bytes read at once when a file is checked.
const CHECK_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes read ahead of a small read.
const READ_AHEAD_BYTES: u64 = 1024 * 1024;

/// Files checked at once.
const CHECK_THREADS_MAX: usize = 4;

/// Less than this in all is checked on the caller's thread.
const CHECK_ALONE_BYTES: u64 = 4 * 1024 * 1024;

/// Opens keyed state for reading; its checksum was verified by [`super::latest`] or [`super::load`].
/// `directory` is that of [`super::Restored`].
pub fn open_data(
    storage: Arc<dyn CheckpointStorage>,
    directory: &str,
    data: &Data,
) -> Result<Box<dyn SnapshotFile + Send>, RestoreError> {
    let file = match data {
        Data::Inline(bytes) => return Ok(Box::new(InlineFile(bytes.clone()))),
        Data::File { .. } | Data::Shared { .. } => data.file(),
    };
    let file = file.map(|file| (file.path(directory), file.length));
    let (name, length) = file.unwrap_or_default();
    Ok(Box::new(StoredFile {
        storage,
        name,
        length,
        ahead: Vec::new(),
        ahead_at: 0,
    }))
}

/// Checks that all files of a manifest are there, have their length and their checksum. The inner error
/// says what is damaged; the outer one that storage did not answer.
pub(super) fn check_files(
    storage: &dyn CheckpointStorage,
    directory: &str,
    manifest: &Manifest,
) -> Result<Result<(), String>, StorageError> {
    let files: Vec<_> = manifest.files().collect();
    let bytes: u64 = files.iter().map(|file| file.length).sum();
    let check = |file: &FileRef<'_>| check_file(storage, directory, file);
    let mut results: Vec<Result<Result<(), String>, StorageError>> = Vec::new();
    if bytes <= CHECK_ALONE_BYTES || files.len() < 2 {
        results.extend(files.iter().map(check));
    } else {
        let share = files.len().div_ceil(CHECK_THREADS_MAX);
        std::thread::scope(|scope| {
            let parts: Vec<_> = files
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(check).collect::<Vec<_>>()))
                .collect();
            for part in parts {
                results.extend(
                    part.join()
                        .unwrap_or_else(|_| vec![Ok(Err("its check was cut short".to_owned()))]),
                );
            }
        });
    }
    for result in results {
        if let Err(damage) = result? {
            return Ok(Err(damage));
        }
    }
    Ok(Ok(()))
}

fn check_file(
    storage: &dyn CheckpointStorage,
    directory: &str,
    file: &FileRef<'_>,
) -> Result<Result<(), String>, StorageError> {
    let FileRef {
        name,
        length,
        crc32c: expected,
        ..
    } = *file;
    let path = file.path(directory);
    let (mut offset, mut actual) = (0, 0);
    loop {
        let bytes = match storage.read(&path, offset, CHECK_BYTES) {
            Ok(bytes) => bytes,
            Err(StorageError::NotFound { .. }) => return Ok(Err(format!("file `{name}` is missing"))),
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        actual = crc32c::crc32c_append(actual, &bytes);
        if offset > length {
            break;
        }
    }
    Ok(match (offset == length, actual == expected) {
        (false, _) => Err(format!(
            "file `{name}` does not have the {length} bytes that the manifest names"
        )),
        (true, false) => Err(format!(
            "file `{name}` is damaged: its checksum is {actual:08x} instead of {expected:08x}"
        )),
        (true, true) => Ok(()),
    })
}

struct InlineFile(Vec<u8>);

impl SnapshotFile for InlineFile {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.as_slice().read_at(offset, buffer)
    }
}

/// A file in storage, with one piece of it at hand.
struct StoredFile {
    storage: Arc<dyn CheckpointStorage>,
    name: String,
    length: u64,
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl SnapshotFile for StoredFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = buffer.len() as u64;
        let end = offset.checked_add(wanted).filter(|end| *end <= self.length);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let at_hand = self.ahead_at..self.ahead_at + self.ahead.len() as u64;
        if offset < at_hand.start || end > at_hand.end {
            let length = wanted.max(READ_AHEAD_BYTES).min(self.length - offset);
            self.ahead = self
                .storage
                .read(&self.name, offset, length)
                .map_err(io::Error::other)?;
            self.ahead_at = offset;
        }
        let start = (offset - self.ahead_at) as usize;
        let source = self
            .ahead
            .get(start..start + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }
}
