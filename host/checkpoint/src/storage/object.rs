//! Checkpoint storage in a bucket, over `object_store`; and which storage a URL means.
//!
//! Invariant: what `write` and `create` return success for is what the store answered for.

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use url::Url;

use super::failure::{is_container_missing, to_io, with_mend};
use super::local::LocalStorage;
use super::remote::{self, Exclusive, is_unanswered};
use super::runtime::Task;
use super::upload::Upload;
use super::{CheckpointStorage, Content, MemoryStorage, StorageError, StorageSettings, Written};

/// Opens the storage of a URL (`file:///…`, `memory:`, `s3://…`, `gs://…`, `abfs://…`) or of a plain path, which is
/// taken from the working directory. A directory that is not there is made; a bucket is not, nor is it asked
/// anything yet.
pub fn open(url: &str, settings: &StorageSettings) -> Result<Arc<dyn CheckpointStorage>, StorageError> {
    match Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "memory" => Ok(Arc::new(MemoryStorage::bounded())),
        Ok(parsed) if parsed.scheme() == "file" => {
            let directory = parsed.to_file_path().map_err(|()| StorageError::Unsupported {
                url: url.to_owned(),
                message: "it names another host: write `file:///absolute/path`".to_owned(),
            })?;
            Ok(Arc::new(LocalStorage::open(&directory, settings)?))
        }
        Ok(parsed) if url.contains("://") => Ok(Arc::new(ObjectStorage::open(&parsed, settings)?)),
        // A path may look like a scheme (`C:\x`); without `//` it is one.
        Ok(_) | Err(_) => Ok(Arc::new(LocalStorage::open(FilePath::new(url), settings)?)),
    }
}

/// Storage over an object store.
pub(super) struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    url: String,
    exclusive: Exclusive,
    settings: StorageSettings,
}

impl ObjectStorage {
    /// Of a bucket's URL.
    fn open(url: &Url, settings: &StorageSettings) -> Result<Self, StorageError> {
        let remote = remote::open(url, settings)?;
        Ok(Self {
            store: remote.store,
            url: remote.url,
            exclusive: remote.exclusive,
            settings: settings.clone(),
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
            Error::NotFound { .. } if !is_container_missing(&error) => {
                StorageError::NotFound { name, storage }
            }
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

impl CheckpointStorage for ObjectStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        let file = self.file(name)?;
        let mut upload = Upload::new(Arc::clone(&self.store), file);
        if let Err(error) = content(&mut upload) {
            upload.abort();
            return Err(self.failed(name, error));
        }
        upload.finish().map_err(|error| self.failed(name, error))
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let path = self.file(name)?;
        let content = Bytes::copy_from_slice(content);
        self.run(name, self.exclusive.clone().create(path, content))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.file(name)?);
        let end = offset.saturating_add(length);
        self.run(name, async move {
            if offset < end {
                match store.get_range(&path, offset..end).await {
                    Ok(bytes) => return Ok(bytes.into()),
                    Err(error @ Error::NotFound { .. }) => return Err(error),
                    Err(error) if is_unanswered(&error) => return Err(error),
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

    fn url(&self) -> String {
        self.url.clone()
    }

    fn open_other(&self, url: &str) -> Result<Arc<dyn CheckpointStorage>, StorageError> {
        open(url, &self.settings)
    }
}
