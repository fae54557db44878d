//! A backend's own files as part of a checkpoint (S7): what has not changed since an earlier one is not written again.
//!
//! A file has a name, which its backend gives it once for all: what it holds never changes where it may be reused.
//! Invariant: what such files hold is what a canonical snapshot of the same moment holds, timers apart where the backend
//! says so.

use std::io;

use wasmill_model::element::StateFormat;
use wasmill_model::function::StateDeclaration;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroup, KeyGroupRange};

use crate::backend::{FrozenState, KeyedStateBackend, SnapshotFile, StateError, StateId};
use crate::snapshot::{GroupBlock, SnapshotHeader, SnapshotReader, SnapshotWriter};
use crate::timers::TimerQueue;

/// A checkpoint that is to hold files.
#[derive(Clone, Copy)]
pub struct FilesWanted<'a> {
    /// It.
    pub checkpoint: CheckpointId,
    /// Whether others may name its files, and those of which one it may name again: it never goes back but to none.
    pub format: StateFormat,
    /// The operator's timers.
    pub timers: &'a TimerQueue,
}

/// Keyed state of one moment, as files of its backend.
pub struct NativeSnapshot {
    /// Which backend's, with the version of its files.
    pub format: &'static str,
    /// The states in them, with the numbers by which the backend calls them.
    pub states: Vec<(StateId, StateDeclaration)>,
    /// The files.
    pub files: Box<dyn FrozenFiles>,
    /// Whether they hold the timers too.
    pub hold_timers: bool,
}

/// Files of one moment, on their way to storage.
pub trait FrozenFiles: Send {
    /// Hands every file over, once: reused or put.
    fn write(self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError>;
}

/// Writes a file's content, once.
pub type FileContent<'a> = dyn FnMut(&mut dyn io::Write) -> Result<(), StateError> + 'a;

/// Where the files of a checkpoint go.
pub trait FileSink {
    /// Takes the file of that name from the checkpoint that this one builds on; false where that has none.
    fn reuse(&mut self, name: &str) -> bool;

    /// Takes the content of a file that a later checkpoint may reuse, from whoever is given where to write it.
    fn write(&mut self, name: &str, content: &mut FileContent<'_>) -> Result<(), StateError>;

    /// Takes a file's content; whether a later checkpoint may reuse it.
    fn put(&mut self, name: &str, content: &mut dyn io::Read, reusable: bool) -> Result<(), StateError>;
}

/// What a checkpoint holds of one operator in one of its subtasks.
pub struct NativeState<'a> {
    /// As [`NativeSnapshot::format`].
    pub format: &'a str,
    /// The groups that it covers.
    pub range: KeyGroupRange,
    /// The states in it.
    pub states: &'a [StateDeclaration],
    /// By which numbers the backend calls them.
    pub numbers: &'a [StateId],
    /// The files.
    pub files: &'a mut dyn FileSource,
}

/// Files of a checkpoint that is restored.
pub trait FileSource {
    /// Their names.
    fn names(&self) -> Vec<String>;

    /// Opens one to be read at any place.
    fn open(&self, name: &str) -> Result<Box<dyn SnapshotFile + '_>, StateError>;

    /// Copies one.
    fn copy(&mut self, name: &str, out: &mut dyn io::Write) -> Result<(), StateError>;
}

/// An error about files that the host cannot read.
pub fn unknown_format(format: &str) -> StateError {
    StateError::Unsupported(format!(
        "its state lies in files of the format `{}`, which this host does not read: restore it with the host that wrote \
         it and take a savepoint, which every host and backend reads",
        format.escape_debug()
    ))
}

/// Adds to a backend what a frozen one holds of some groups; `states` are the numbers in `backend` of those that it has.
/// Copies a group at a time.
pub(crate) fn copy_groups(
    frozen: &mut dyn FrozenState,
    groups: KeyGroupRange,
    backend: &mut dyn KeyedStateBackend,
    states: &[StateId],
) -> Result<(), StateError> {
    let declarations = frozen.states().into_iter().map(|(_, declaration)| declaration);
    let header = SnapshotHeader {
        checkpoint: CheckpointId(0),
        range: groups,
        max_parallelism: backend.max_parallelism(),
        states: declarations.collect(),
    };
    let mut copy = Vec::new();
    for group in groups.iter() {
        copy.clear();
        copy_group(frozen, group, &header, &mut copy)?;
        SnapshotReader::open(&mut &copy[..])?.read_group(group, &mut |block| match block {
            GroupBlock::Entries { state, entries } => backend.restore_entries(states[state], group, entries),
            GroupBlock::Timers { .. } => Ok(()),
        })?;
    }
    Ok(())
}

fn copy_group(
    frozen: &mut dyn FrozenState,
    group: KeyGroup,
    header: &SnapshotHeader,
    copy: &mut Vec<u8>,
) -> Result<(), StateError> {
    let mut writer = SnapshotWriter::new(copy, header)?;
    writer.begin_group(group)?;
    frozen.write_group(group, &mut writer)?;
    writer.finish()
}
