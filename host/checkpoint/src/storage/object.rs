//! Checkpoint storage over `object_store`: a directory now, every other store by URL.
//!
//! Invariant: what `write` and `create` return success for survives a power cut: of local files, file and
//! directories are synced.

use std::error::Error as _;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use super::local::LocalFile;
use super::runtime::Task;
use super::upload::Upload;
use super::{CheckpointStorage, Content, StorageError, Written};

/// Opens the storage of a URL (`file:///…`, `memory:`) or of a plain path, which is taken from the working
/// directory. A directory that is not there is made.
pub fn open(url: &str) -> Result<Arc<dyn CheckpointStorage>, StorageError> {
    Ok(Arc::new(ObjectStorage::open(url)?))
}

/// Storage over an object store.
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    url: String,
    local: Option<Local>,
}

/// What local files are written by.
struct Local {
    root: PathBuf,
    store: Arc<LocalFileSystem>,
}

impl ObjectStorage {
    /// See [`open`].
    pub fn open(url: &str) -> Result<Self, StorageError> {
        match Url::parse(url) {
            Ok(parsed) if parsed.scheme() == "file" => {
                let directory = parsed.to_file_path().map_err(|()| StorageError::Unsupported {
                    url: url.to_owned(),
                    message: "it names another host: write `file:///absolute/path`".to_owned(),
                })?;
                Self::local(&directory)
            }
            Ok(parsed) if parsed.scheme() == "memory" => Ok(Self {
                store: Arc::new(InMemory::new()),
                url: "memory:".to_owned(),
                local: None,
            }),
            Ok(parsed) if url.contains("://") => Self::remote(&parsed),
            // A path may look like a scheme (`C:\x`); without `//` it is one.
            Ok(_) | Err(_) => Self::local(FilePath::new(url)),
        }
    }

    /// In a directory of the file system, which is made where it is not there.
    pub fn local(directory: &FilePath) -> Result<Self, StorageError> {
        let shown = directory.display().to_string();
        let failed = |source: io::Error| StorageError::Io {
            name: "the directory".to_owned(),
            storage: shown.clone(),
            source: with_mend(source),
        };
        if directory.as_os_str().is_empty() {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "its path is empty",
            )));
        }
        std::fs::create_dir_all(directory).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&directory).map_err(|e| failed(to_io(e)))?;
        let url = Url::from_file_path(&directory).map_or_else(|()| shown.clone(), String::from);
        let store = Arc::new(store.with_fsync(true).with_automatic_cleanup(true));
        Ok(Self {
            store: Arc::clone(&store) as Arc<dyn ObjectStore>,
            url,
            local: Some(Local {
                root: directory,
                store,
            }),
        })
    }

    /// By `object_store`'s own reading of URLs, as far as this host is built with it.
    fn remote(url: &Url) -> Result<Self, StorageError> {
        let (store, prefix) = object_store::parse_url(url).map_err(|error| StorageError::Unsupported {
            url: url.to_string(),
            message: format!(
                "this host is built without support for `{}` ({error}); use `file:///path` or `memory:`",
                url.scheme()
            ),
        })?;
        Ok(Self {
            store: Arc::new(PrefixStore::new(store, prefix)),
            url: url.to_string(),
            local: None,
        })
    }

    /// The place of a file: object_store's own rules refuse names that lead elsewhere.
    fn file(&self, name: &str) -> Result<Path, StorageError> {
        if name.is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name");
            return Err(self.failed(name, error));
        }
        self.directory(name)
    }

    /// The place of a directory; empty is the storage itself.
    fn directory(&self, name: &str) -> Result<Path, StorageError> {
        Path::parse(name)
            .map_err(|error| self.failed(name, io::Error::new(io::ErrorKind::InvalidInput, error)))
    }

    /// Runs one request and turns its error into ours.
    fn run<T: Send + 'static>(
        &self,
        name: &str,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, StorageError> {
        match Task::spawn(request).and_then(Task::wait) {
            Ok(answer) => answer.map_err(|error| self.error(name, error)),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn error(&self, name: &str, error: Error) -> StorageError {
        let (name, storage) = (name.to_owned(), self.url.clone());
        match error {
            Error::NotFound { .. } => StorageError::NotFound { name, storage },
            Error::AlreadyExists { .. } => StorageError::Exists { name, storage },
            error => StorageError::Io {
                name,
                storage,
                source: with_mend(to_io(error)),
            },
        }
    }

    fn failed(&self, name: &str, source: io::Error) -> StorageError {
        StorageError::Io {
            name: name.to_owned(),
            storage: self.url.clone(),
            source: with_mend(source),
        }
    }
}

impl Local {
    fn write(&self, path: &Path, content: &mut Content<'_>) -> io::Result<Written> {
        let path = self.store.path_to_filesystem(path).map_err(to_io)?;
        let mut file = LocalFile::create(&self.root, path)?;
        content(&mut file)?;
        file.finish()
    }
}

impl CheckpointStorage for ObjectStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        let file = self.file(name)?;
        if let Some(local) = &self.local {
            let written = local.write(&file, content);
            return written.map_err(|error| self.failed(name, error));
        }
        let mut upload = Upload::new(Arc::clone(&self.store), file);
        if let Err(error) = content(&mut upload) {
            upload.abort();
            return Err(self.failed(name, error));
        }
        upload.finish().map_err(|error| self.failed(name, error))
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.file(name)?);
        let payload = PutPayload::from(content.to_vec());
        let options = PutOptions::from(PutMode::Create);
        self.run(name, async move {
            store.put_opts(&path, payload, options).await.map(|_| ())
        })
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.file(name)?);
        let end = offset.saturating_add(length);
        self.run(name, async move {
            if offset < end {
                match store.get_range(&path, offset..end).await {
                    Ok(bytes) => return Ok(bytes.into()),
                    Err(error @ Error::NotFound { .. }) => return Err(error),
                    // Stores refuse a range that starts at the end: to us it is empty.
                    Err(error) if store.head(&path).await?.size > offset => return Err(error),
                    Err(_) => {}
                }
            } else {
                store.head(&path).await?;
            }
            Ok(Vec::new())
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.directory(prefix)?);
        let mut names = self.run(prefix, async move {
            let files = store
                .list(Some(&path))
                .map_ok(|file| (file.location.to_string(), file.size));
            files.try_collect::<Vec<_>>().await
        })?;
        names.sort();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.file(name)?);
        match self.run(name, async move { store.delete(&path).await }) {
            Err(StorageError::NotFound { .. }) => Ok(()),
            answer => answer,
        }
    }

    fn prune(&self, directory: &str) -> Result<(), StorageError> {
        let Some(Local { root, .. }) = &self.local else {
            return Ok(());
        };
        // The path's own rules keep it below the root.
        let path = root.join(self.directory(directory)?.as_ref());
        if path == *root || !self.list(directory)?.is_empty() {
            return Ok(());
        }
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(directory, error)),
            _ => Ok(()),
        }
    }

    fn url(&self) -> String {
        self.url.clone()
    }
}

/// Keeps the kind of the error that the system gave, wherever in the chain it is.
pub(super) fn to_io(error: Error) -> io::Error {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(system) = inner.downcast_ref::<io::Error>() {
            return io::Error::new(system.kind(), error.to_string());
        }
        cause = inner.source();
    }
    io::Error::other(error.to_string())
}

/// Says what to do where that is known.
pub(super) fn with_mend(error: io::Error) -> io::Error {
    let mend = match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full: free space, or put checkpoints elsewhere",
        io::ErrorKind::QuotaExceeded => "the quota is used up: raise it, or put checkpoints elsewhere",
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: mount it for writing, or put checkpoints elsewhere"
        }
        io::ErrorKind::PermissionDenied => {
            "the host may not write there: give it the right, or put checkpoints elsewhere"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where a directory is needed: move it away"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {mend}"))
}
