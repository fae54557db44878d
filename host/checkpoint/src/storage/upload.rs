//! Writes a file of any size in parts, some of which are on their way while the next one is filled.
//!
//! Invariant: at most `PARTS_IN_FLIGHT_MAX + 1` parts are in memory, whatever the file's size.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use super::Written;
use super::failure::to_io;
use super::runtime::Task;

/// Bytes of a part; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts on their way.
const PARTS_IN_FLIGHT_MAX: usize = 3;

type Answer = Result<(), object_store::Error>;

/// A file that is being written.
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    part: Vec<u8>,
    /// `None` as long as all of it fits into one part.
    parts: Option<Box<dyn MultipartUpload>>,
    in_flight: VecDeque<Task<Answer>>,
    length: u64,
    crc32c: u32,
}

impl Upload {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self {
            store,
            path,
            part: Vec::new(),
            parts: None,
            in_flight: VecDeque::new(),
            length: 0,
            crc32c: 0,
        }
    }

    /// Makes it durable and visible.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        let result = self.complete();
        if result.is_err() {
            self.abort();
        }
        result.map(|()| Written {
            length: self.length,
            crc32c: self.crc32c,
        })
    }

    /// Removes what was written of it, as far as the store lets us.
    pub(super) fn abort(&mut self) {
        self.in_flight.clear();
        if let Some(mut parts) = self.parts.take() {
            let aborted = Task::spawn(async move { parts.abort().await }).and_then(Task::wait);
            if let Err(error) | Ok(Err(error)) = aborted.map(|answer| answer.map_err(to_io)) {
                tracing::warn!(path = %self.path, %error, "an unfinished file could not be removed");
            }
        }
    }

    fn complete(&mut self) -> io::Result<()> {
        if self.parts.is_none() {
            let (store, path) = (Arc::clone(&self.store), self.path.clone());
            let payload = PutPayload::from(std::mem::take(&mut self.part));
            let put = Task::spawn(async move { store.put(&path, payload).await.map(|_| ()) })?;
            return put.wait()?.map_err(to_io);
        }
        self.send_part()?;
        while self.wait_for_one()? {}
        let Some(mut parts) = self.parts.take() else {
            return Ok(());
        };
        let complete = Task::spawn(async move {
            let answer = parts.complete().await;
            (parts, answer)
        })?;
        let (parts, answer) = complete.wait()?;
        answer.map(|_| ()).map_err(|error| {
            self.parts = Some(parts);
            to_io(error)
        })
    }

    fn send_part(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        if self.parts.is_none() {
            let (store, path) = (Arc::clone(&self.store), self.path.clone());
            let start = Task::spawn(async move { store.put_multipart(&path).await })?;
            self.parts = Some(start.wait()?.map_err(to_io)?);
        }
        if self.in_flight.len() == PARTS_IN_FLIGHT_MAX {
            self.wait_for_one()?;
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
        if let Some(parts) = &mut self.parts {
            self.in_flight
                .push_back(Task::spawn(parts.put_part(part.into()))?);
        }
        Ok(())
    }

    /// False where none is on its way.
    fn wait_for_one(&mut self) -> io::Result<bool> {
        let Some(part) = self.in_flight.pop_front() else {
            return Ok(false);
        };
        part.wait()?.map_err(to_io)?;
        Ok(true)
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART_BYTES {
            self.send_part()?;
        }
        let taken = &bytes[..bytes.len().min(PART_BYTES - self.part.len())];
        self.part.extend_from_slice(taken);
        self.crc32c = crc32c::crc32c_append(self.crc32c, taken);
        self.length += taken.len() as u64;
        Ok(taken.len())
    }

    /// Nothing is visible before [`Upload::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
