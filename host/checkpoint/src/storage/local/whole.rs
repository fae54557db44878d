//! Writes a file of local storage whole: aside, synced while it grows, renamed once it is complete.
//!
//! Through the page cache with one sync at the end a large checkpoint would take memory from everything else, cost ten
//! times the processor time on a virtual machine (every page of the cache is new to it), and the sync would stall whoever
//! writes next. Invariant: nobody sees a file before it is whole and durable; at most [`WINDOW_BYTES`] of it lie in the
//! page cache.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files::{FileSystem, OpenFile};
use crate::storage::Written;

/// Bytes after which what was written is synced and leaves the page cache.
pub(super) const WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Small writes are put together up to this size.
const BUFFER_BYTES: usize = 256 * 1024;

/// Between a file's name and the number of an attempt to write it; listings leave such names out.
pub(super) const STAGED: char = '#';

/// A file that is being written; dropped unfinished, it is removed.
pub(super) struct WholeFile<'f> {
    files: &'f dyn FileSystem,
    /// `None`: it is complete.
    file: Option<Box<dyn OpenFile>>,
    /// `name#n`.
    staged: PathBuf,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Up to where the file is durable and out of the page cache.
    synced: u64,
    length: u64,
    crc32c: u32,
}

impl<'f> WholeFile<'f> {
    /// Begins the file at `path`, whose directory is there.
    pub(super) fn create(files: &'f dyn FileSystem, path: PathBuf) -> io::Result<Self> {
        let (file, staged) = stage(files, &path)?;
        Ok(Self {
            files,
            file: Some(file),
            staged,
            path,
            buffer: Vec::new(),
            synced: 0,
            length: 0,
            crc32c: 0,
        })
    }

    /// Makes it durable and visible, in the place of one of that name.
    pub(super) fn replace(mut self) -> io::Result<Written> {
        self.sync()?;
        self.files.rename(&self.staged, &self.path)?;
        self.file = None;
        self.sync_name()
    }

    /// Makes it durable and visible; refuses where there is one of that name.
    pub(super) fn publish(mut self) -> io::Result<Written> {
        self.sync()?;
        self.files.link(&self.staged, &self.path)?;
        self.remove_staged();
        self.sync_name()
    }

    fn sync_name(&self) -> io::Result<Written> {
        if let Some(directory) = self.path.parent() {
            self.files.sync_directory(directory)?;
        }
        Ok(Written {
            length: self.length,
            crc32c: self.crc32c,
        })
    }

    /// Syncs what was written since the last time and lets the page cache forget it.
    fn sync(&mut self) -> io::Result<()> {
        self.append_buffered()?;
        if let Some(file) = &mut self.file {
            file.sync(self.synced)?;
        }
        self.synced = self.length;
        Ok(())
    }

    fn append_buffered(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file
            && !self.buffer.is_empty()
        {
            file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn remove_staged(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = self.files.remove(&self.staged)
        {
            tracing::warn!(path = %self.staged.display(), %error, "an unfinished file could not be removed");
        }
    }
}

impl Write for WholeFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.append_buffered()?;
        }
        match &mut self.file {
            Some(file) if bytes.len() >= BUFFER_BYTES => file.append(bytes)?,
            _ => self.buffer.extend_from_slice(bytes),
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.length += bytes.len() as u64;
        if self.length - self.synced >= WINDOW_BYTES {
            self.sync()?;
        }
        Ok(bytes.len())
    }

    /// Nothing is visible before it is complete.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WholeFile<'_> {
    fn drop(&mut self) {
        self.remove_staged();
    }
}

/// Opens the first `path#n` that is not there.
fn stage(files: &dyn FileSystem, path: &Path) -> io::Result<(Box<dyn OpenFile>, PathBuf)> {
    let mut number = 1u64;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{STAGED}{number}"));
        let staged = PathBuf::from(name);
        match files.create(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}
