//! Reads restored keyed state, operator by operator, on blocking threads.
//!
//! Invariant: a subtask gets exactly the key groups that it owns.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmill_checkpoint::in_flight::{self, InFlight, InFlightPlace};
use wasmill_checkpoint::restore::{self, InFlightPart, KeyedPart, NativePart, StoredNative};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::graph::Partitioner;
use wasmill_model::id::{OperatorUid, SubtaskId, VertexId};
use wasmill_model::key::{KeyGroup, KeyGroupRange, MaxParallelism};
use wasmill_model::row::RowRef;
use wasmill_state::backend::{KeyedStateBackend, StateError, StateId};
use wasmill_state::backends::{Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::native::NativeState;
use wasmill_state::timers::TimerQueue;

use super::{Done, Master, Phase};
use crate::error::TaskError;
use crate::plan::JobPlan;
use crate::task::snapshot::Location;

/// Keyed state and timers of one operator in one subtask.
pub(super) struct KeyedState {
    pub(super) backend: Box<dyn KeyedStateBackend>,
    pub(super) timers: TimerQueue,
}

impl KeyedState {
    pub(super) fn empty(
        state: &dyn StateBackends,
        place: Place<'_>,
        range: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Self {
        Self {
            backend: state.open(place, range, max_parallelism),
            timers: TimerQueue::default(),
        }
    }
}

/// What a blocking job has read.
pub(super) struct Loaded {
    pub(super) subtask: SubtaskId,
    /// The operator's place in its chain.
    pub(super) place: usize,
    pub(super) state: Result<(KeyedState, Vec<(OperatorUid, InFlight)>), TaskError>,
}

/// One operator of one subtask to be read.
struct Load {
    location: Location,
    state: Arc<dyn StateBackends>,
    uid: OperatorUid,
    attempt: u32,
    parts: Vec<KeyedPart>,
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    in_flight: Vec<InFlightPart>,
    share: Share,
}

/// Which records in flight are a subtask's.
struct Share {
    index: u32,
    parallelism: u32,
    range: KeyGroupRange,
    /// Ports whose records go to the owner of their key group.
    by_group: BTreeSet<u16>,
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
                    if subtask.keyed.is_empty() && subtask.in_flight.is_empty() {
                        continue;
                    }
                    let range = plan.max_parallelism.range_of(index, vertex.parallelism);
                    let load = Load {
                        location: from.clone(),
                        state: Arc::clone(&self.spec.state),
                        uid: uid.clone(),
                        attempt: self.attempt,
                        parts: subtask.keyed.clone(),
                        range,
                        max_parallelism: plan.max_parallelism,
                        in_flight: subtask.in_flight.clone(),
                        share: Share {
                            index,
                            parallelism: vertex.parallelism,
                            range,
                            by_group: by_group(&plan, vertex.id, place),
                        },
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
    fn run(self) -> Result<(KeyedState, Vec<(OperatorUid, InFlight)>), TaskError> {
        let named = |error| TaskError {
            operator: Some(self.uid.clone()),
            ..error
        };
        let place = Place {
            operator: &self.uid,
            subtask: self.share.index,
            attempt: self.attempt,
        };
        let mut state = match &self.parts[..] {
            [only] => self.adopt(place, only).map_err(named)?,
            _ => None,
        };
        let adopted = state.is_some();
        let mut state = state
            .take()
            .unwrap_or_else(|| KeyedState::empty(&*self.state, place, self.range, self.max_parallelism));
        for part in &self.parts {
            self.read(part, &mut state).map_err(named)?;
            if !adopted && let Some(native) = &part.native {
                self.read_native(place, part, native, &mut state).map_err(named)?;
            }
        }
        let mut in_flight = Vec::new();
        for part in &self.in_flight {
            let all = self.read_in_flight(part).map_err(named)?;
            let own = all.into_iter().filter_map(|one| self.share.of(one, part.from));
            in_flight.extend(own.map(|one| (self.uid.clone(), one)));
        }
        Ok((state, in_flight))
    }

    fn read_in_flight(&self, part: &InFlightPart) -> Result<Vec<InFlight>, TaskError> {
        let storage = Arc::clone(&self.location.storage);
        let external = |error: String| TaskError::external(error);
        let mut file = restore::open_data(storage, &self.location.directory, &part.data)
            .map_err(|error| external(error.to_string()))?;
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes)
            .map_err(|error| external(error.to_string()))?;
        // Files were whole when the checkpoint was chosen: storage has given other bytes since.
        in_flight::decode(&bytes.into()).map_err(|error| external(error.to_string()))
    }

    /// The backend's own files, as they are.
    fn adopt(&self, place: Place<'_>, part: &KeyedPart) -> Result<Option<KeyedState>, TaskError> {
        let Some(native) = part.native.as_ref().filter(|native| native.range == self.range) else {
            return Ok(None);
        };
        let mut timers = TimerQueue::default();
        let backend = self.with_files(part, native, |state| {
            self.state.adopt(place, self.max_parallelism, state, &mut timers)
        })?;
        Ok(backend.map(|backend| KeyedState { backend, timers }))
    }

    fn read_native(
        &self,
        place: Place<'_>,
        part: &KeyedPart,
        native: &NativePart,
        state: &mut KeyedState,
    ) -> Result<(), TaskError> {
        let KeyedState { backend, timers } = state;
        self.with_files(part, native, |files| {
            self.state.read_native(place, files, &mut **backend, timers)
        })
    }

    fn with_files<T>(
        &self,
        part: &KeyedPart,
        native: &NativePart,
        read: impl FnOnce(&mut NativeState<'_>) -> Result<T, StateError>,
    ) -> Result<T, TaskError> {
        let mut files = StoredNative {
            storage: &self.location.storage,
            directory: &self.location.directory,
            files: &native.state.files,
        };
        let numbers: Vec<_> = native
            .state
            .numbers
            .iter()
            .map(|number| StateId(*number))
            .collect();
        let mut state = NativeState {
            format: &native.state.format,
            range: native.range,
            states: &part.states,
            numbers: &numbers,
            files: &mut files,
        };
        read(&mut state).map_err(unread)
    }

    fn read(&self, part: &KeyedPart, state: &mut KeyedState) -> Result<(), TaskError> {
        let storage = Arc::clone(&self.location.storage);
        let mut file = restore::open_data(storage, &self.location.directory, &part.data)
            .map_err(|error| TaskError::external(error.to_string()))?;
        let restored = keyed::restore(&mut *file, part.range, &mut *state.backend, &mut state.timers);
        restored.map_err(unread)
    }
}

fn unread(error: StateError) -> TaskError {
    match error {
        // Files were whole when the checkpoint was chosen: storage has given other bytes since.
        StateError::Corrupt(_) | StateError::Io(_) => TaskError::external(error.to_string()),
        _ => TaskError::from(error),
    }
}

/// The ports of an operator to which records go by their key: of one that is chained to another, none.
fn by_group(plan: &JobPlan, vertex: VertexId, place: usize) -> BTreeSet<u16> {
    let edges = plan.edges.iter().filter(|edge| edge.to == vertex && place == 0);
    edges
        .filter(|edge| edge.partitioner == Partitioner::Hash)
        .map(|edge| edge.to_port)
        .collect()
}

impl Share {
    /// What of a batch of an old subtask is this one's.
    fn of(&self, one: InFlight, from: u32) -> Option<InFlight> {
        let InFlight { place, batch } = one;
        let batch = match &place {
            InFlightPlace::Input { port } if self.by_group.contains(port) => {
                let mut own = BatchBuilder::default();
                let is_own = |row: &RowRef<'_>| {
                    let group = KeyGroup(row.group_field() as u16);
                    self.range.contains(group)
                };
                batch.iter().filter(is_own).for_each(|row| own.push_row(row));
                own.finish()
            }
            _ if from % self.parallelism == self.index => batch,
            _ => return None,
        };
        (!batch.is_empty()).then_some(InFlight { place, batch })
    }
}
