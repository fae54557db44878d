//! Where the backends of a job come from: the seam by which configuration alone chooses one.

use std::sync::Arc;

use wasmill_model::id::OperatorUid;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};

use crate::backend::{KeyedStateBackend, StateError};
use crate::memory::MemoryBackend;
use crate::native::{NativeState, unknown_format};

/// What a backend is for: it tells apart whatever a backend keeps outside memory.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The operator.
    pub operator: &'a OperatorUid,
    /// Index of the subtask.
    pub subtask: u32,
    /// The execution attempt of the job: the one before may still be on its way out.
    pub attempt: u32,
}

/// Makes the keyed state of one job's subtasks.
pub trait StateBackends: NativeReader {
    /// An empty backend for the groups of `range`. What it needs outside memory it takes when its first state is made
    /// known, and says then what is wrong with it.
    fn open(
        &self,
        place: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend>;

    /// A backend that goes on with a checkpoint's files as they are, for just the groups that these cover; `None` where
    /// it cannot, and [`read_native`](NativeReader::read_native) is the way.
    fn adopt(
        &self,
        _: Place<'_>,
        _: MaxParallelism,
        _: &mut NativeState<'_>,
    ) -> Result<Option<Box<dyn KeyedStateBackend>>, StateError> {
        Ok(None)
    }
}

/// Reads files of backends.
pub trait NativeReader: Send + Sync {
    /// Adds to a backend what a checkpoint's files hold of its groups.
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError>;
}

/// Keyed state in memory.
#[derive(Default)]
pub struct MemoryBackends {
    /// Who reads the files of other backends.
    readers: Option<Arc<dyn NativeReader>>,
}

impl MemoryBackends {
    /// Those that a checkpoint in other backends' files is restored to, too.
    pub fn reading(readers: Arc<dyn NativeReader>) -> Self {
        Self {
            readers: Some(readers),
        }
    }
}

impl StateBackends for MemoryBackends {
    fn open(
        &self,
        _: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend> {
        Box::new(MemoryBackend::new(range, max_parallelism))
    }
}

impl NativeReader for MemoryBackends {
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError> {
        match &self.readers {
            Some(readers) => readers.read_native(place, native, backend),
            None => Err(unknown_format(native.format)),
        }
    }
}
