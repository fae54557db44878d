//! Keyed state and timers of one operator in one subtask, as one file.
//!
//! Invariant: a restore of the same groups gives back exactly the entries and timers that were frozen,
//! whichever backend wrote the file and whichever reads it.

use std::collections::BTreeSet;
use std::io;

use wasmill_model::function::StateDeclaration;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroup, KeyGroupRange, MaxParallelism};
use wasmill_model::time::Timestamp;

use crate::backend::{
    EachEntry, FrozenState, KeyedStateBackend, SnapshotFile, StateError, StateId, StateSnapshot,
};
use crate::native::{FilesWanted, NativeSnapshot};
use crate::snapshot::{Entry, GroupBlock, SnapshotHeader, SnapshotReader, SnapshotWriter};
use crate::states::unregistered;
use crate::timers::{TimeDomain, TimerQueue};

/// Freezes keyed state and timers. Returns at once; the handle is written by another thread.
pub fn freeze(
    backend: &mut dyn KeyedStateBackend,
    timers: &TimerQueue,
    checkpoint: CheckpointId,
) -> Result<Box<dyn StateSnapshot>, StateError> {
    Ok(Box::new(frozen(backend, timers, checkpoint)?))
}

/// The same, without what is over at the instant `now` of states that say so (`cleanup-full-snapshot`).
pub fn freeze_cleaned(
    backend: &mut dyn KeyedStateBackend,
    timers: &TimerQueue,
    checkpoint: CheckpointId,
    now: Timestamp,
) -> Result<Box<dyn StateSnapshot>, StateError> {
    Ok(Box::new(KeyedSnapshot {
        cleaned_at: Some(now),
        ..frozen(backend, timers, checkpoint)?
    }))
}

fn frozen(
    backend: &mut dyn KeyedStateBackend,
    timers: &TimerQueue,
    checkpoint: CheckpointId,
) -> Result<KeyedSnapshot, StateError> {
    Ok(KeyedSnapshot {
        checkpoint,
        range: backend.range(),
        max_parallelism: backend.max_parallelism(),
        state: backend.snapshot()?,
        timers: timers.clone(),
        cleaned_at: None,
    })
}

/// Files of a backend, and the timers as a canonical file without state; that is empty where the files hold them.
pub type FilesAndTimers = (NativeSnapshot, Box<dyn StateSnapshot>);

/// The same as files of the backend, and the timers apart; `None`, and nothing is done, where it has no files.
pub fn freeze_files(
    backend: &mut dyn KeyedStateBackend,
    wanted: FilesWanted<'_>,
) -> Result<Option<FilesAndTimers>, StateError> {
    let (range, max_parallelism) = (backend.range(), backend.max_parallelism());
    let Some(native) = backend.snapshot_files(wanted)? else {
        return Ok(None);
    };
    let timers = KeyedSnapshot {
        checkpoint: wanted.checkpoint,
        range,
        max_parallelism,
        state: Box::new(NoState),
        timers: match native.hold_timers {
            true => TimerQueue::default(),
            false => wanted.timers.clone(),
        },
        cleaned_at: None,
    };
    Ok(Some((native, Box::new(timers))))
}

/// Adds what a snapshot file holds of the groups of `range` to a backend and its timers. Called once for
/// each file whose groups meet those of the subtask, before the first use of either.
pub fn restore(
    file: &mut dyn SnapshotFile,
    range: KeyGroupRange,
    backend: &mut dyn KeyedStateBackend,
    timers: &mut TimerQueue,
) -> Result<(), StateError> {
    let mut reader = SnapshotReader::open(file)?;
    let header = reader.header().clone();
    if header.max_parallelism != backend.max_parallelism() {
        return Err(StateError::Unsupported(format!(
            "it was taken with max parallelism {}, the job has {}: max parallelism is fixed at a job's first run, \
             set it to {} again",
            header.max_parallelism.0,
            backend.max_parallelism().0,
            header.max_parallelism.0
        )));
    }
    let states = header
        .states
        .iter()
        .map(|declaration| backend.restore_state(declaration))
        .collect::<Result<Vec<_>, _>>()?;
    for group in range.intersect(header.range).intersect(backend.range()).iter() {
        reader.read_group(group, &mut |block| match block {
            GroupBlock::Entries { state, entries } => backend.restore_entries(states[state], group, entries),
            GroupBlock::Timers {
                domain,
                timers: restored,
            } => {
                restored.into_iter().for_each(|timer| {
                    timers.register(domain, &timer);
                });
                Ok(())
            }
        })?;
    }
    Ok(())
}

/// Is given the backend, a key's group and the encoded key.
pub type VisitKey<'a> = dyn FnMut(&mut dyn KeyedStateBackend, KeyGroup, &[u8]) -> Result<(), StateError> + 'a;

/// Hands every key that has something in a state, in any namespace, to `visit`, once: group after group, keys of a
/// group in byte order. They are those of the moment of the call, whatever `visit` writes. Copies a group's state at
/// a time.
pub fn for_each_key(
    backend: &mut dyn KeyedStateBackend,
    state: StateId,
    visit: &mut VisitKey<'_>,
) -> Result<(), StateError> {
    let mut scan = KeyScan::new(backend, state)?;
    while let Some((group, keys)) = scan.next_group()? {
        for key in keys {
            visit(backend, group, &key)?;
        }
    }
    Ok(())
}

/// The keys that have something in a state, in any namespace, as they were when it was made: group after group, keys of
/// a group in byte order. Copies a group's state at a time.
pub struct KeyScan {
    frozen: Box<dyn FrozenState>,
    header: SnapshotHeader,
    /// Its number in the snapshot.
    state: usize,
    groups: std::vec::IntoIter<KeyGroup>,
    copy: Vec<u8>,
}

impl KeyScan {
    /// Of a state that is registered.
    pub fn new(backend: &mut dyn KeyedStateBackend, state: StateId) -> Result<Self, StateError> {
        let (range, max_parallelism) = (backend.range(), backend.max_parallelism());
        let frozen = backend.snapshot()?;
        let (ids, states): (Vec<_>, _) = frozen.states().into_iter().unzip();
        let position = ids.iter().position(|id| *id == state);
        Ok(Self {
            header: SnapshotHeader {
                checkpoint: CheckpointId(0),
                range,
                max_parallelism,
                states,
            },
            frozen,
            state: position.ok_or_else(|| unregistered(state))?,
            groups: range.iter().collect::<Vec<_>>().into_iter(),
            copy: Vec::new(),
        })
    }

    /// The encoded keys of the next group; `None` where there is no further group.
    pub fn next_group(&mut self) -> Result<Option<GroupKeys>, StateError> {
        let Some(group) = self.groups.next() else {
            return Ok(None);
        };
        self.copy.clear();
        let mut writer = SnapshotWriter::new(&mut self.copy, &self.header)?;
        writer.begin_group(group)?;
        self.frozen.write_group(group, &mut writer)?;
        writer.finish()?;
        Ok(Some((group, keys_of(&self.copy, group, self.state)?)))
    }
}

/// A key group and its encoded keys.
pub type GroupKeys = (KeyGroup, BTreeSet<Vec<u8>>);

fn keys_of(copy: &[u8], group: KeyGroup, of: usize) -> Result<BTreeSet<Vec<u8>>, StateError> {
    let mut keys = BTreeSet::new();
    let mut file = copy;
    SnapshotReader::open(&mut file)?.read_group(group, &mut |block| {
        if let GroupBlock::Entries { state, mut entries } = block
            && state == of
        {
            entries.try_for_each(|entry| {
                let (Entry::Value { key, .. } | Entry::Map { key, .. } | Entry::List { key, .. }) = entry?;
                if !keys.contains(key) {
                    keys.insert(key.to_vec());
                }
                Ok::<_, StateError>(())
            })?;
        }
        Ok(())
    })?;
    Ok(keys)
}

/// What stands beside files of a backend: no state.
struct NoState;

impl FrozenState for NoState {
    fn states(&self) -> Vec<(StateId, StateDeclaration)> {
        Vec::new()
    }

    fn write_group(&mut self, _: KeyGroup, _: &mut SnapshotWriter<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn for_each_entry(&mut self, _: usize, _: KeyGroup, _: &mut EachEntry<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

struct KeyedSnapshot {
    checkpoint: CheckpointId,
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    state: Box<dyn FrozenState>,
    timers: TimerQueue,
    /// What is over then is left out, of states that say so.
    cleaned_at: Option<Timestamp>,
}

impl StateSnapshot for KeyedSnapshot {
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> Result<(), StateError> {
        let Self {
            checkpoint,
            range,
            max_parallelism,
            mut state,
            timers,
            cleaned_at,
        } = *self;
        let declarations = state.states().into_iter().map(|(_, declaration)| declaration);
        let header = SnapshotHeader {
            checkpoint,
            range,
            max_parallelism,
            states: declarations.collect(),
        };
        let mut writer = SnapshotWriter::new(out, &header)?;
        if let Some(now) = cleaned_at {
            writer = writer.without_expired(&header.states, now);
        }
        let event = by_group(&timers, TimeDomain::Event, range);
        let processing = by_group(&timers, TimeDomain::Processing, range);
        for ((group, event), processing) in range.iter().zip(event).zip(processing) {
            writer.begin_group(group)?;
            state.write_group(group, &mut writer)?;
            for (domain, places) in [(TimeDomain::Event, event), (TimeDomain::Processing, processing)] {
                for place in places {
                    timers.for_each_at(domain, place, |timer| writer.timer(domain, timer))?;
                }
            }
        }
        writer.finish()
    }
}

/// Where the timers of each group of a range lie, in firing order.
fn by_group(
    timers: &TimerQueue,
    domain: TimeDomain,
    range: KeyGroupRange,
) -> Vec<Vec<(Timestamp, KeyGroup)>> {
    let mut groups = vec![Vec::new(); range.len()];
    for place in timers.places(domain) {
        let KeyGroup(group) = place.1;
        if let Some(places) = group
            .checked_sub(range.start)
            .and_then(|index| groups.get_mut(usize::from(index)))
        {
            places.push(place);
        }
    }
    groups
}
