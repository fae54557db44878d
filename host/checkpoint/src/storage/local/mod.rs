//! Checkpoint storage in a directory.
//!
//! Invariant: what is said to be written, created or withdrawn is so after a power cut: a file is synced before it has its
//! name, and the directory after; and a directory that is made is synced into the one above it before anything is put
//! into it, also where another process has made it.

pub mod files;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path as Name;
use url::Url;

use super::failure::with_mend;
use super::object::open;
use super::{CheckpointStorage, Content, StorageError, StorageSettings, Written};
use files::{FileSystem, MachineFiles};
use whole::{STAGED, WholeFile};

/// Directories that are remembered as durable; forgotten all at once beyond it, which costs some syncs.
const DURABLE_MAX: usize = 1_024;

/// Attempts to make a directory that others delete at the same time.
const ATTEMPTS_MAX: u32 = 16;

/// Files below a directory.
pub struct LocalStorage {
    files: Arc<dyn FileSystem>,
    root: PathBuf,
    url: String,
    settings: StorageSettings,
    /// Directories of which this process knows that a power cut leaves them.
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl LocalStorage {
    /// In a directory of the machine, which is made where it is not there.
    pub fn open(directory: &Path, settings: &StorageSettings) -> Result<Self, StorageError> {
        let failed = |source: io::Error| StorageError::Io {
            name: "the directory".to_owned(),
            storage: directory.display().to_string(),
            source: with_mend(source),
        };
        if directory.as_os_str().is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "its path is empty");
            return Err(failed(error));
        }
        let is_there = directory.is_dir();
        std::fs::create_dir_all(directory).map_err(failed)?;
        let root = directory.canonicalize().map_err(failed)?;
        let files = Arc::new(MachineFiles);
        if !is_there {
            for above in root.ancestors().skip(1) {
                match files.sync_directory(above) {
                    // The host has not made anything in what it may not read, nor in what cannot be synced.
                    Err(error) if is_beyond_us(&error) => break,
                    synced => synced.map_err(failed)?,
                }
            }
        }
        Ok(Self {
            settings: settings.clone(),
            ..Self::over(files, &root)
        })
    }

    /// In a directory that is there.
    pub fn over(files: Arc<dyn FileSystem>, root: &Path) -> Self {
        let shown = || root.display().to_string();
        Self {
            files,
            url: Url::from_file_path(root).map_or_else(|()| shown(), String::from),
            root: root.to_owned(),
            settings: StorageSettings::default(),
            durable: Mutex::default(),
        }
    }

    /// The place of a file: the rules of names in buckets refuse those that lead elsewhere.
    fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        if name.is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name");
            return Err(self.failed(name, error));
        }
        self.directory(name)
    }

    /// The place of a directory; empty is the storage itself.
    fn directory(&self, name: &str) -> Result<PathBuf, StorageError> {
        match Name::parse(name) {
            Ok(_) if name.is_empty() => Ok(self.root.clone()),
            Ok(_) => Ok(self.root.join(name)),
            Err(error) => Err(self.failed(name, io::Error::new(io::ErrorKind::InvalidInput, error))),
        }
    }

    fn failed(&self, name: &str, source: io::Error) -> StorageError {
        StorageError::Io {
            name: name.to_owned(),
            storage: self.url.clone(),
            source: with_mend(source),
        }
    }

    fn not_found(&self, name: &str) -> StorageError {
        StorageError::NotFound {
            name: name.to_owned(),
            storage: self.url.clone(),
        }
    }

    /// Begins a file, with directories above it that are durable.
    fn begin(&self, path: &Path) -> io::Result<WholeFile<'_>> {
        let mut attempts = 0;
        loop {
            let begun = self
                .make_directories(path)
                .and_then(|()| WholeFile::create(&*self.files, path.to_owned()));
            match begun {
                // Someone has deleted the last file of the directory meanwhile, and the directory with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    self.durable().clear();
                }
                begun => return begun,
            }
        }
    }

    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let above = path.parent().unwrap_or(&self.root);
        if self.durable().contains(above) {
            return Ok(());
        }
        let below_root = above.ancestors().take_while(|directory| *directory != self.root);
        let directories: Vec<&Path> = below_root.collect();
        for directory in directories.into_iter().rev() {
            match self.files.create_directory(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !self.files.is_directory(directory) {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                }
                made => made?,
            }
            // Also of one that was there: who made it may have died before it was synced.
            self.files
                .sync_directory(directory.parent().unwrap_or(&self.root))?;
        }
        let mut durable = self.durable();
        if durable.len() >= DURABLE_MAX {
            durable.clear();
        }
        durable.insert(above.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file's name away; one that is not there is no error.
    fn remove(&self, name: &str) -> Result<PathBuf, StorageError> {
        let path = self.path(name)?;
        match self.files.remove(&path) {
            Err(error) if !is_absent(&error) => Err(self.failed(name, error)),
            _ => Ok(path),
        }
    }

    /// Removes the directories above a file that are empty now.
    fn remove_empty(&self, path: &Path) {
        let above = path.ancestors().skip(1);
        for directory in above.take_while(|directory| *directory != self.root) {
            if self.files.remove_directory(directory).is_err() {
                break;
            }
            self.durable().remove(directory);
        }
    }

    /// Appends the files below a directory.
    fn walk(&self, directory: &Path, name: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
        let entries = match self.files.entries(directory) {
            Err(error) if is_absent(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let below = match name {
                "" => entry.name.clone(),
                name => format!("{name}/{}", entry.name),
            };
            match entry.length {
                Some(length) if !is_staged(&entry.name) => found.push((below, length)),
                Some(_) => {}
                None => self.walk(&directory.join(&entry.name), &below, found)?,
            }
        }
        Ok(())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_beyond_us(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported)
}

/// A file that was not complete when its writer died.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once(STAGED).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl CheckpointStorage for LocalStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        let path = self.path(name)?;
        let written = self.begin(&path).and_then(|mut file| {
            content(&mut file)?;
            file.replace()
        });
        written.map_err(|error| self.failed(name, error))
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let path = self.path(name)?;
        let begun = self.begin(&path).and_then(|mut file| {
            file.write_all(content)?;
            Ok(file)
        });
        match begun.map_err(|error| self.failed(name, error))?.publish() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StorageError::Exists {
                name: name.to_owned(),
                storage: self.url.clone(),
            }),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        match self.files.read(&self.path(name)?, offset, length) {
            Err(error) if is_absent(&error) => Err(self.not_found(name)),
            read => read.map_err(|error| self.failed(name, error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        let mut found = Vec::new();
        self.walk(&self.directory(prefix)?, prefix, &mut found)
            .map_err(|error| self.failed(prefix, error))?;
        found.sort();
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let path = self.remove(name)?;
        self.remove_empty(&path);
        Ok(())
    }

    fn keep(&self, name: &str) -> Result<(), StorageError> {
        // Its bytes were durable before it had its name.
        let path = self.path(name)?;
        let synced = self.files.sync_directory(path.parent().unwrap_or(&self.root));
        synced.map_err(|error| self.failed(name, error))
    }

    fn withdraw(&self, name: &str) -> Result<(), StorageError> {
        let path = self.remove(name)?;
        let above = path.parent().unwrap_or(&self.root);
        match self.files.sync_directory(above) {
            // Someone has removed the directory too.
            Err(error) if !is_absent(&error) => Err(self.failed(name, error)),
            _ => {
                self.remove_empty(&path);
                Ok(())
            }
        }
    }

    fn prune(&self, directory: &str) -> Result<(), StorageError> {
        let path = self.directory(directory)?;
        if path == self.root || !self.list(directory)?.is_empty() {
            return Ok(());
        }
        self.clear(&path).map_err(|error| self.failed(directory, error))?;
        self.remove_empty(&path.join("any"));
        Ok(())
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn open_other(&self, url: &str) -> Result<Arc<dyn CheckpointStorage>, StorageError> {
        open(url, &self.settings)
    }
}

impl LocalStorage {
    /// Removes what is in a directory in which nothing is listed.
    fn clear(&self, directory: &Path) -> io::Result<()> {
        let entries = match self.files.entries(directory) {
            Err(error) if is_absent(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = directory.join(&entry.name);
            match entry.length {
                Some(_) => self.files.remove(&path)?,
                None => {
                    self.clear(&path)?;
                    self.files.remove_directory(&path)?;
                    self.durable().remove(&path);
                }
            }
        }
        Ok(())
    }
}
