//! The calls of a file system that local storage is made of: those of the machine, or a model of them that loses power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZero;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// It.
    pub name: String,
    /// Of a file, its bytes; `None`: it is a directory.
    pub length: Option<u64>,
}

/// What is asked of a file system. Nothing is durable before it is synced: bytes by the sync of their file, names by
/// the sync of their directory.
pub trait FileSystem: Send + Sync {
    /// Makes an empty file; refuses where there is one of that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;
    /// Makes one directory; refuses where there is something of that name.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Whether there is a directory.
    fn is_directory(&self, path: &Path) -> bool;
    /// Gives a file another name in its directory, taking the place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name in its directory; refuses where there is one of that name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which names a directory has.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// At most `length` bytes of a file from `offset`, less only at its end.
    fn read(&self, path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>>;
    /// What is in a directory, in any order.
    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>>;
}

/// A file that is being written.
pub trait OpenFile: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes them durable; those from `offset` are not needed in memory.
    fn sync(&mut self, offset: u64) -> io::Result<()>;
}

/// The machine's.
pub struct MachineFiles;

impl FileSystem for MachineFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(
            OpenOptions::new().write(true).create_new(true).open(path)?,
        ))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read(&self, path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        // A directory opens as well as a file.
        let there = file.metadata()?;
        if there.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let left = there.len().saturating_sub(offset).min(length);
        let mut content = Vec::with_capacity(usize::try_from(left).unwrap_or(0));
        file.seek(SeekFrom::Start(offset))?;
        file.take(length).read_to_end(&mut content)?;
        Ok(content)
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                // It went in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                let length = metadata.is_file().then_some(metadata.len());
                entries.push(Entry { name, length });
            }
        }
        Ok(entries)
    }
}

impl OpenFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self, offset: u64) -> io::Result<()> {
        self.sync_all()?;
        if let Some(length) = NonZero::new(self.metadata()?.len().saturating_sub(offset)) {
            // Advice: where it is not taken, the file is as good.
            let _ = fadvise(&*self, offset, Some(length), Advice::DontNeed);
        }
        Ok(())
    }
}
