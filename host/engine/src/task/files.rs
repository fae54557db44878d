//! Files of a backend on their way into a checkpoint (S7).
//!
//! Invariant: a file is named again only where the checkpoint that the barrier names as base holds it, for the coordinator
//! keeps just that one's files until the new one has ended.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Mutex;

use wasmill_checkpoint::handle::{Data, INLINE_BYTES_MAX};
use wasmill_checkpoint::layout;
use wasmill_model::id::CheckpointId;
use wasmill_state::backend::StateError;
use wasmill_state::native::{FileContent, FileSink};

use super::snapshot::Location;
use crate::lock::lock;

/// Checkpoints since the base whose files are known: more than may be under way.
const KEPT_MAX: usize = 16;

/// By the name that their backend gave them.
type Files = BTreeMap<String, Data>;

/// What the checkpoints of one subtask hold of each operator, as far as one may build on them.
#[derive(Default)]
pub(crate) struct StoredFiles(Mutex<BTreeMap<usize, BTreeMap<CheckpointId, Files>>>);

impl StoredFiles {
    /// What a checkpoint holds of an operator, by its place in the chain.
    pub(crate) fn of(&self, place: usize, base: Option<CheckpointId>) -> Files {
        let stored = lock(&self.0);
        let of_base = stored.get(&place).zip(base).and_then(|(of, base)| of.get(&base));
        of_base.cloned().unwrap_or_default()
    }

    /// A checkpoint holds these. Those before its base are never built on again.
    pub(crate) fn keep(
        &self,
        place: usize,
        checkpoint: CheckpointId,
        base: Option<CheckpointId>,
        files: Files,
    ) {
        let mut stored = lock(&self.0);
        let of = stored.entry(place).or_default();
        of.insert(checkpoint, files);
        let newest = of.keys().rev().nth(KEPT_MAX).copied();
        of.retain(|id, _| Some(*id) == base || Some(*id) > base.max(newest));
    }
}

/// Puts the files of one operator into a checkpoint.
pub(super) struct NativeFiles<'a, N> {
    location: &'a Location,
    /// What may be named again; `None`: all is this checkpoint's own.
    base: Option<Files>,
    /// The name of the next file.
    name_of: N,
    files: Files,
    bytes: u64,
}

impl<'a, N: Fn(usize) -> String> NativeFiles<'a, N> {
    /// `base` is what may be named again, `None` where nothing is shared with other checkpoints; `name_of` gives the n-th
    /// file of this checkpoint its name.
    pub(super) fn new(location: &'a Location, base: Option<Files>, name_of: N) -> Self {
        Self {
            location,
            base,
            name_of,
            files: Files::new(),
            bytes: 0,
        }
    }

    /// Bytes written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the checkpoint holds.
    pub(super) fn finish(self) -> Files {
        self.files
    }
}

impl<N: Fn(usize) -> String> FileSink for NativeFiles<'_, N> {
    fn reuse(&mut self, name: &str) -> bool {
        let stored = self.base.as_ref().and_then(|base| base.get(name));
        let stored = stored.filter(|data| matches!(data, Data::Shared { .. }));
        let Some(stored) = stored.cloned() else {
            return false;
        };
        self.files.insert(name.to_owned(), stored);
        true
    }

    fn write(&mut self, name: &str, content: &mut FileContent<'_>) -> Result<(), StateError> {
        self.store(name, self.base.is_some(), content)
    }

    fn put(&mut self, name: &str, content: &mut dyn Read, reusable: bool) -> Result<(), StateError> {
        if !reusable {
            // What changes with every checkpoint is small.
            let mut start = Vec::new();
            content
                .take(INLINE_BYTES_MAX as u64 + 1)
                .read_to_end(&mut start)?;
            if start.len() <= INLINE_BYTES_MAX {
                self.bytes += start.len() as u64;
                self.files.insert(name.to_owned(), Data::Inline(start));
                return Ok(());
            }
            let mut content = start.as_slice().chain(content);
            return self.store(name, false, &mut |out| Ok(io::copy(&mut content, out).map(drop)?));
        }
        self.store(name, self.base.is_some(), &mut |out| {
            Ok(io::copy(content, out).map(drop)?)
        })
    }
}

impl<N: Fn(usize) -> String> NativeFiles<'_, N> {
    fn store(&mut self, name: &str, shared: bool, content: &mut FileContent<'_>) -> Result<(), StateError> {
        let stored = (self.name_of)(self.files.len());
        let path = match shared {
            true => layout::shared_name(&self.location.directory, &stored),
            false => layout::file_name(&self.location.directory, &stored),
        };
        let mut read = false;
        let written = self.location.storage.write(&path, &mut |out| {
            if std::mem::replace(&mut read, true) {
                return Err(io::Error::other("the storage asked twice for a file's bytes"));
            }
            content(out).map_err(io::Error::other)
        });
        let written = written.map_err(io::Error::other)?;
        let (length, crc32c) = (written.length, written.crc32c);
        self.bytes += length;
        let data = match shared {
            true => Data::Shared {
                name: stored,
                length,
                crc32c,
            },
            false => Data::File {
                name: stored,
                length,
                crc32c,
            },
        };
        self.files.insert(name.to_owned(), data);
        Ok(())
    }
}
