//! A backend's own files as part of a checkpoint (S7): what has not changed since an earlier one is not written again.
//!
//! A file has a name, which its backend gives it once for all: what it holds never changes where it may be reused.
//! Invariant: what such files hold is what a canonical snapshot of the same moment holds, timers apart.

use std::io;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::KeyGroupRange;

use crate::backend::{StateError, StateId};

/// Keyed state of one moment, as files of its backend.
pub struct NativeSnapshot {
    /// Which backend's, with the version of its files.
    pub format: &'static str,
    /// The states in them, with the numbers by which the backend calls them.
    pub states: Vec<(StateId, StateDeclaration)>,
    /// The files.
    pub files: Box<dyn FrozenFiles>,
}

/// Files of one moment, on their way to storage.
pub trait FrozenFiles: Send {
    /// Hands every file over, once: reused or put.
    fn write(self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError>;
}

/// Where the files of a checkpoint go.
pub trait FileSink {
    /// Takes the file of that name from the checkpoint that this one builds on; false where that has none.
    fn reuse(&mut self, name: &str) -> bool;

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
