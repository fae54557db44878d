//! Writes a file of local storage whole: aside, synced while it grows, renamed once it is complete.
//!
//! `object_store` could write it too, but only through the page cache and with one sync at the end: a large
//! checkpoint then takes memory from everything else, costs ten times the processor time on a virtual machine
//! (every page of the cache is new to it), and the sync stalls whoever writes next. Invariant: nobody sees a file
//! before it is whole and durable; at most [`WINDOW_BYTES`] of it lie in the page cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::Written;

/// Bytes after which what was written is synced and leaves the page cache.
const WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Small writes are put together up to this size.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is being written; dropped unfinished, it is removed.
pub(super) struct LocalFile {
    file: Option<BufWriter<File>>,
    /// `name#n`, which listings leave out.
    staged: PathBuf,
    path: PathBuf,
    /// Up to where the file is durable and out of the page cache.
    synced: u64,
    length: u64,
    crc32c: u32,
}

impl LocalFile {
    /// Begins the file at `path` below `root`, making its directories.
    pub(super) fn create(root: &Path, path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            create_directories(root, directory)?;
        }
        let (file, staged) = stage(&path)?;
        Ok(Self {
            file: Some(BufWriter::with_capacity(BUFFER_BYTES, file)),
            staged,
            path,
            synced: 0,
            length: 0,
            crc32c: 0,
        })
    }

    /// Makes it durable and visible.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.sync()?;
        // The file is dropped, and so closed, before anybody else opens it.
        self.file = None;
        fs::rename(&self.staged, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(Written {
            length: self.length,
            crc32c: self.crc32c,
        })
    }

    /// Syncs what was written since the last time and lets the page cache forget it.
    fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.flush()?;
        let file = file.get_ref();
        file.sync_all()?;
        if let Some(length) = NonZero::new(self.length - self.synced) {
            // Advice: where it is not taken, the file is as good.
            let _ = fadvise(file, self.synced, Some(length), Advice::DontNeed);
        }
        self.synced = self.length;
        Ok(())
    }
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        file.write_all(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.length += bytes.len() as u64;
        if self.length - self.synced >= WINDOW_BYTES {
            self.sync()?;
        }
        Ok(bytes.len())
    }

    /// Nothing is visible before [`LocalFile::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is still in the buffer need not be written.
            drop(file.into_parts());
            if let Err(error) = fs::remove_file(&self.staged) {
                tracing::warn!(path = %self.staged.display(), %error, "an unfinished file could not be removed");
            }
        }
    }
}

/// Opens the first `path#n` that is not there.
fn stage(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 1u64;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{number}"));
        let staged = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Makes directories below `root`, durable: each one's name is in the one above it.
fn create_directories(root: &Path, directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    let mut made = directory
        .ancestors()
        .skip(1)
        .take_while(|above| above.starts_with(root));
    made.try_for_each(|above| File::open(above)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_of_many_windows_reads_back_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/state");
        let mut file = LocalFile::create(root.path(), path.clone()).unwrap();
        let mut expected = Vec::new();
        for number in 0..(5 * WINDOW_BYTES / 2 / 300_000) {
            let piece = vec![number as u8; 300_000 - number as usize];
            file.write_all(&piece).unwrap();
            expected.extend_from_slice(&piece);
        }
        assert!(!path.exists(), "nobody sees a part of it");
        let written = file.finish().unwrap();
        assert_eq!(written.length, expected.len() as u64);
        assert_eq!(written.crc32c, crc32c::crc32c(&expected));
        assert!(fs::read(&path).unwrap() == expected);
        assert_eq!(names(&root.path().join("a/b")), ["state"]);
    }

    #[test]
    fn an_unfinished_file_is_removed_and_the_old_one_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        fs::write(&path, "old").unwrap();
        // A crash has left the first name behind.
        fs::write(root.path().join("state#1"), "half").unwrap();
        let mut file = LocalFile::create(root.path(), path.clone()).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut left = names(root.path());
        left.sort();
        assert_eq!(left, ["state", "state#1"]);
    }
}
