//! Where the backends of a job come from: the seam by which configuration alone chooses one.

use std::sync::Arc;

use wasmill_model::id::OperatorUid;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};

use crate::backend::{KeyedStateBackend, StateError};
use crate::memory::{MemoryBackend, SEGMENTS, SegmentRule, read_segments};
use crate::native::{NativeState, unknown_format};
use crate::timers::TimerQueue;

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
    /// it cannot, and [`read_native`](NativeReader::read_native) is the way. Timers in them are added to `timers`.
    fn adopt(
        &self,
        _: Place<'_>,
        _: MaxParallelism,
        _: &mut NativeState<'_>,
        timers: &mut TimerQueue,
    ) -> Result<Option<Box<dyn KeyedStateBackend>>, StateError> {
        let _ = timers;
        Ok(None)
    }
}

/// Reads files of backends.
pub trait NativeReader: Send + Sync {
    /// Adds to a backend and its timers what a checkpoint's files hold of its groups. Files of the memory backend
    /// ([`crate::memory::read_segments`]) are read by all.
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
        timers: &mut TimerQueue,
    ) -> Result<(), StateError>;
}

/// Keyed state in memory.
#[derive(Default)]
pub struct MemoryBackends {
    /// Who reads the files of other backends.
    readers: Option<Arc<dyn NativeReader>>,
    segments: SegmentRule,
}

impl MemoryBackends {
    /// Those that a checkpoint in other backends' files is restored to, too.
    pub fn reading(readers: Arc<dyn NativeReader>) -> Self {
        Self {
            readers: Some(readers),
            ..Self::default()
        }
    }

    /// The same with another rule for their checkpoints.
    pub fn with_segments(self, segments: SegmentRule) -> Self {
        Self { segments, ..self }
    }
}

impl StateBackends for MemoryBackends {
    fn open(
        &self,
        _: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend> {
        let backend = MemoryBackend::new(range, max_parallelism);
        Box::new(backend.with_segments(self.segments))
    }

    fn adopt(
        &self,
        _: Place<'_>,
        max_parallelism: MaxParallelism,
        native: &mut NativeState<'_>,
        timers: &mut TimerQueue,
    ) -> Result<Option<Box<dyn KeyedStateBackend>>, StateError> {
        if native.format != SEGMENTS {
            return Ok(None);
        }
        let backend = MemoryBackend::of_segments(max_parallelism, native, timers)?;
        Ok(Some(Box::new(backend.with_segments(self.segments))))
    }
}

impl NativeReader for MemoryBackends {
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
        timers: &mut TimerQueue,
    ) -> Result<(), StateError> {
        match &self.readers {
            _ if native.format == SEGMENTS => read_segments(native, backend, timers),
            Some(readers) => readers.read_native(place, native, backend, timers),
            None => Err(unknown_format(native.format)),
        }
    }
}
