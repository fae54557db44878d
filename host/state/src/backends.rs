//! Where the backends of a job come from: the seam by which configuration alone chooses one.

use wasmill_model::id::OperatorUid;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};

use crate::backend::KeyedStateBackend;
use crate::memory::MemoryBackend;

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
pub trait StateBackends: Send + Sync {
    /// An empty backend for the groups of `range`. What it needs outside memory it takes when its first state is made
    /// known, and says then what is wrong with it.
    fn open(
        &self,
        place: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Box<dyn KeyedStateBackend>;
}

/// Keyed state in memory.
pub struct MemoryBackends;

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
