//! Restores of segments, to this backend and to any other.
//!
//! Invariant: segments that do not continue one another, or that leave a list without some of its elements, are an error.

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{self, KeyGroup, KeyGroupRange, MaxParallelism};

use crate::backend::{KeyedStateBackend, SnapshotFile, StateError, StateId};
use crate::memory::batch::BatchError;
use crate::memory::list::{Chunk, ListKey};
use crate::memory::ordered::MapKey;
use crate::memory::table::{TableFull, TableKey};
use crate::memory::{MemoryBackend, Tables, group_mut, tables};
use crate::native::{NativeState, copy_groups};
use crate::snapshot::{ChunkEntry, Continues, SegmentBlock, SnapshotReader};
use crate::timers::{TimeDomain, TimerQueue};

/// Adds to a backend and its timers what the segments of a checkpoint hold of its groups.
pub fn read_segments(
    native: &NativeState<'_>,
    backend: &mut dyn KeyedStateBackend,
    timers: &mut TimerQueue,
) -> Result<(), StateError> {
    let states = restore_states(backend, native.states)?;
    let (groups, max_parallelism) = (native.range.intersect(backend.range()), backend.max_parallelism());
    with_segments(native, max_parallelism, |segments| {
        for group in groups.iter() {
            let range = KeyGroupRange {
                start: group.0,
                end: group.0 + 1,
            };
            let mut one = MemoryBackend::new(range, max_parallelism);
            let own = restore_states(&mut one, native.states)?;
            apply_group(segments, group, (&mut one, &own), timers)?;
            copy_groups(&mut *one.snapshot()?, range, backend, &states)?;
        }
        Ok(())
    })
}

impl MemoryBackend {
    /// The backend whose segments these are, for just the groups that they cover. Adds its timers.
    pub fn of_segments(
        max_parallelism: MaxParallelism,
        native: &NativeState<'_>,
        timers: &mut TimerQueue,
    ) -> Result<Self, StateError> {
        let mut backend = Self::new(native.range, max_parallelism);
        let states = restore_states(&mut backend, native.states)?;
        with_segments(native, max_parallelism, |segments| {
            let mut groups = native.range.iter();
            groups.try_for_each(|group| apply_group(segments, group, (&mut backend, &states), timers))
        })?;
        Ok(backend)
    }
}

fn restore_states(
    backend: &mut dyn KeyedStateBackend,
    states: &[StateDeclaration],
) -> Result<Vec<StateId>, StateError> {
    let states = states.iter();
    states
        .map(|declaration| backend.restore_state(declaration))
        .collect()
}

/// A segment that is open.
struct OpenSegment<'a> {
    reader: SnapshotReader<'a>,
    continues: Continues,
    /// By its own number of each state: that among the states that are restored; `None`: there is no such state any more.
    states: Vec<Option<usize>>,
}

/// Opens the segments of a checkpoint in their order.
fn with_segments<T>(
    native: &NativeState<'_>,
    max_parallelism: MaxParallelism,
    read: impl FnOnce(&mut [OpenSegment<'_>]) -> Result<T, StateError>,
) -> Result<T, StateError> {
    let names = native.files.names();
    let checkpoints = names.iter().map(|name| {
        let number = name.parse().map(CheckpointId);
        number.map_err(|_| {
            corrupt(format!(
                "its file `{}` is not named as a segment is",
                name.escape_debug()
            ))
        })
    });
    let mut checkpoints = checkpoints.collect::<Result<Vec<_>, _>>()?;
    checkpoints.sort_unstable();
    if checkpoints.is_empty() {
        return Err(corrupt("it names no segment".to_owned()));
    }
    let files = checkpoints
        .iter()
        .map(|checkpoint| native.files.open(&checkpoint.0.to_string()));
    let mut files: Vec<Box<dyn SnapshotFile + '_>> = files.collect::<Result<_, _>>()?;
    let mut segments = Vec::new();
    let mut after = None;
    for (checkpoint, file) in checkpoints.into_iter().zip(&mut files) {
        let named = |error| match error {
            StateError::Corrupt(message) => corrupt(format!("segment {checkpoint}: {message}")),
            error => error,
        };
        let (reader, continues) = SnapshotReader::open_segment(&mut **file).map_err(named)?;
        let header = reader.header();
        let fits = header.range == native.range && header.max_parallelism == max_parallelism;
        if !fits || header.checkpoint != checkpoint || continues.after != after {
            return Err(corrupt(format!(
                "segment {checkpoint} does not continue the one before it: one is missing, or is another's"
            )));
        }
        let states = header.states.iter().map(|own| position(native.states, own));
        let states = states.collect::<Result<_, _>>()?;
        segments.push(OpenSegment {
            reader,
            continues,
            states,
        });
        after = Some(checkpoint);
    }
    read(&mut segments)
}

fn position(states: &[StateDeclaration], own: &StateDeclaration) -> Result<Option<usize>, StateError> {
    let position = states.iter().position(|state| state.name == own.name);
    match position.and_then(|position| states.get(position)) {
        Some(state) if state.kind != own.kind => Err(corrupt(format!(
            "state `{}` is of kind {:?} in one segment and {:?} in another",
            own.name, own.kind, state.kind
        ))),
        _ => Ok(position),
    }
}

/// Applies what all segments hold of one group.
fn apply_group(
    segments: &mut [OpenSegment<'_>],
    group: KeyGroup,
    (backend, ids): (&mut MemoryBackend, &[StateId]),
    timers: &mut TimerQueue,
) -> Result<(), StateError> {
    let mut own = TimerQueue::default();
    for OpenSegment {
        reader,
        continues,
        states,
    } in segments
    {
        if continues.timers_replaced {
            own = TimerQueue::default();
        }
        let id = |state: usize| Some(ids[(*states.get(state)?)?]);
        for replaced in &continues.replaced {
            if let Some(id) = id(usize::from(replaced.state))
                && replaced.groups.binary_search(&group).is_ok()
            {
                backend.empty(id, group)?;
            }
        }
        reader.read_changes(group, &mut |block| {
            let state = match &block {
                SegmentBlock::Entries { state, .. }
                | SegmentBlock::Removed { state, .. }
                | SegmentBlock::Chunks { state, .. } => *state,
                SegmentBlock::TimesGone { .. } | SegmentBlock::Timers { .. } => {
                    apply_timers(&mut own, group, block);
                    return Ok(());
                }
            };
            id(state).map_or(Ok(()), |id| backend.apply(id, group, block))
        })?;
    }
    for domain in [TimeDomain::Event, TimeDomain::Processing] {
        own.for_each(domain, |timer| {
            timers.register(domain, timer);
        });
    }
    ids.iter().try_for_each(|id| backend.check_whole(*id, group))
}

fn apply_timers(timers: &mut TimerQueue, group: KeyGroup, block: SegmentBlock<'_>) {
    match block {
        SegmentBlock::TimesGone { domain, times } => {
            for time in times {
                timers.remove_all_at(domain, time, group);
            }
        }
        SegmentBlock::Timers {
            domain,
            are_new,
            timers: changed,
        } => {
            for timer in changed {
                match are_new {
                    true => timers.register(domain, &timer),
                    false => timers.delete(domain, &timer),
                };
            }
        }
        _ => {}
    }
}

impl MemoryBackend {
    /// Applies a block of one of its states.
    fn apply(&mut self, id: StateId, group: KeyGroup, block: SegmentBlock<'_>) -> Result<(), StateError> {
        let (start, lists) = (self.range.start, "elements of a list lie among entries");
        let (state, prefix) = self.state(id)?;
        let applied = match (block, &mut state.held) {
            (SegmentBlock::Entries { entries, .. }, _) if entries.kind() == StateKind::List => {
                return Err(corrupt(lists.to_owned()));
            }
            (SegmentBlock::Entries { entries, .. }, _) => return self.restore_entries(id, group, entries),
            (SegmentBlock::Removed { entries, .. }, Tables::Values(tables)) => {
                group_mut(tables, start, group).map(|table| {
                    for [key, namespace, _] in entries {
                        table.remove(TableKey::new(key::hash(key) as u32, key, namespace));
                    }
                })
            }
            (SegmentBlock::Removed { entries, .. }, Tables::Maps(tables)) => group_mut(tables, start, group)
                .map(|table| {
                    for [key, namespace, map_key] in entries {
                        table.remove(MapKey::encode(prefix, key, namespace, map_key));
                    }
                }),
            (SegmentBlock::Removed { entries, .. }, Tables::Lists(tables)) => group_mut(tables, start, group)
                .map(|table| {
                    for [key, namespace, _] in entries {
                        table.clear(ListKey::new(key::hash(key) as u32, key, namespace));
                    }
                }),
            (SegmentBlock::Chunks { chunks, .. }, Tables::Lists(tables)) => group_mut(tables, start, group)
                .and_then(|table| {
                    let mut chunks = chunks.into_iter();
                    let put = chunks.try_for_each(|entry| {
                        let key = ListKey::new(key::hash(entry.key) as u32, entry.key, entry.namespace);
                        table.put_chunk(key, chunk(&entry), entry.is_open)
                    });
                    put.map_err(|TableFull| BatchError::Full(group))
                }),
            _ => {
                return Err(corrupt(format!(
                    "what it holds of state `{}` is of another kind",
                    state.declaration.name
                )));
            }
        };
        applied.map_err(|error| state.error(error))
    }

    /// Forgets what a state has in a group.
    fn empty(&mut self, id: StateId, group: KeyGroup) -> Result<(), StateError> {
        let (start, kind) = (self.range.start, self.states.get(id)?.declaration.kind);
        let fresh = tables(kind, 1, &self.epochs);
        let (state, _) = self.state(id)?;
        let emptied = match (&mut state.held, fresh) {
            (Tables::Values(all), Tables::Values(fresh)) => put_first(all, start, group, fresh),
            (Tables::Maps(all), Tables::Maps(fresh)) => put_first(all, start, group, fresh),
            (Tables::Lists(all), Tables::Lists(fresh)) => put_first(all, start, group, fresh),
            _ => Ok(()),
        };
        emptied.map_err(|error| state.error(error))
    }

    fn check_whole(&self, id: StateId, group: KeyGroup) -> Result<(), StateError> {
        let state = self.states.get(id)?;
        let Tables::Lists(tables) = &state.held else {
            return Ok(());
        };
        let table = super::super::group(tables, self.range.start, group);
        match table.is_ok_and(|table| table.is_whole()) {
            true => Ok(()),
            false => Err(corrupt(format!(
                "a list of state `{}` lacks some of its elements in key group {}",
                state.declaration.name, group.0
            ))),
        }
    }
}

fn put_first<T>(all: &mut [T], start: u16, group: KeyGroup, fresh: Vec<T>) -> Result<(), BatchError> {
    let table = group_mut(all, start, group)?;
    if let Some(fresh) = fresh.into_iter().next() {
        *table = fresh;
    }
    Ok(())
}

fn chunk<'a>(entry: &ChunkEntry<'a>) -> Chunk<'a> {
    Chunk {
        first: entry.first,
        number: entry.number,
        count: entry.count,
        run: entry.run,
    }
}

fn corrupt(message: String) -> StateError {
    StateError::Corrupt(message)
}
