//! Reads restored keyed state, operator by operator, on blocking threads.
//!
//! Invariant: a subtask gets exactly the key groups that it owns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmill_checkpoint::restore::{self, KeyedPart};
use wasmill_model::id::{OperatorUid, SubtaskId};
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_state::backend::{KeyedStateBackend, StateError};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::TimerQueue;

use super::{Done, Master, Phase};
use crate::error::TaskError;
use crate::task::snapshot::Location;

/// Keyed state and timers of one operator in one subtask.
pub(super) struct KeyedState {
    pub(super) backend: Box<dyn KeyedStateBackend>,
    pub(super) timers: TimerQueue,
}

impl KeyedState {
    pub(super) fn empty(range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self {
            backend: Box::new(MemoryBackend::new(range, max_parallelism)),
            timers: TimerQueue::default(),
        }
    }
}

/// What a blocking job has read.
pub(super) struct Loaded {
    pub(super) subtask: SubtaskId,
    /// The operator's place in its chain.
    pub(super) place: usize,
    pub(super) state: Result<KeyedState, TaskError>,
}

/// One operator of one subtask to be read.
struct Load {
    location: Location,
    uid: OperatorUid,
    parts: Vec<KeyedPart>,
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
}

impl Master {
    /// Starts a blocking job for each operator and subtask that has keyed state to read.
    pub(super) fn load(&mut self, from: &Location) {
        let plan = self.plan.clone();
        let mut left = 0;
        for vertex in &plan.vertices {
            for (place, chained) in vertex.operators.iter().enumerate() {
                let uid = &chained.operator.uid;
                let Some(restored) = self.restore.operators.get(uid) else {
                    continue;
                };
                for (index, subtask) in (0u32..).zip(&restored.subtasks) {
                    if subtask.keyed.is_empty() {
                        continue;
                    }
                    let load = Load {
                        location: from.clone(),
                        uid: uid.clone(),
                        parts: subtask.keyed.clone(),
                        range: plan.max_parallelism.range_of(index, vertex.parallelism),
                        max_parallelism: plan.max_parallelism,
                    };
                    left += 1;
                    self.load_one(
                        SubtaskId {
                            vertex: vertex.id,
                            index,
                        },
                        place,
                        load,
                    );
                }
            }
        }
        self.phase = Phase::Loading { left };
    }

    fn load_one(&self, subtask: SubtaskId, place: usize, load: Load) {
        let (done, attempt) = (self.done.clone(), self.attempt);
        let name = format!("restore {subtask}");
        let work = move || {
            let state = catch_unwind(AssertUnwindSafe(|| load.run()));
            let panicked = || {
                Err(TaskError::host(
                    "reading restored state panicked: a fault of the host",
                ))
            };
            let state = state.unwrap_or_else(|_| panicked());
            let loaded = Loaded {
                subtask,
                place,
                state,
            };
            done.send((attempt, Done::Loaded(Box::new(loaded))));
        };
        self.executor.blocking(name, Box::new(work));
    }
}

impl Load {
    fn run(self) -> Result<KeyedState, TaskError> {
        let mut state = KeyedState::empty(self.range, self.max_parallelism);
        for part in &self.parts {
            self.read(part, &mut state).map_err(|error| TaskError {
                operator: Some(self.uid.clone()),
                ..error
            })?;
        }
        Ok(state)
    }

    fn read(&self, part: &KeyedPart, state: &mut KeyedState) -> Result<(), TaskError> {
        let storage = Arc::clone(&self.location.storage);
        let mut file = restore::open_data(storage, &self.location.directory, &part.data)
            .map_err(|error| TaskError::external(error.to_string()))?;
        let restored = keyed::restore(&mut *file, part.range, &mut *state.backend, &mut state.timers);
        restored.map_err(|error| match error {
            // Files were whole when the checkpoint was chosen: storage has given other bytes since.
            StateError::Corrupt(_) | StateError::Io(_) => TaskError::external(error.to_string()),
            _ => TaskError::from(error),
        })
    }
}
