//! What the memory backend held at one instant, on its way into a snapshot.
//!
//! Invariant: it owns all that it writes; pages go group by group as they are written, so that
//! memory taken by copy-on-write comes back while the rest is still being written.

use std::sync::Arc;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::{KeyGroup, KeyGroupRange};

use super::list::{Chunk, FrozenLists};
use super::page::{PageBytes, Slot, walk};
use crate::backend::{EachEntry, FrozenState, StateError, StateId};
use crate::snapshot::{Entry, SnapshotWriter};
use crate::stored_key;

/// Tables of one state, by group.
pub(super) enum FrozenTables {
    Values(Vec<Vec<Arc<PageBytes>>>),
    /// As values, under the stored prefix of key and namespace and the map key.
    Maps(Vec<Vec<Arc<PageBytes>>>),
    Lists(Vec<FrozenLists>),
}

pub(super) struct FrozenMemory {
    pub(super) range: KeyGroupRange,
    pub(super) states: Vec<((StateId, StateDeclaration), FrozenTables)>,
}

impl FrozenState for FrozenMemory {
    fn states(&self) -> Vec<(StateId, StateDeclaration)> {
        self.states.iter().map(|(numbered, _)| numbered.clone()).collect()
    }

    fn write_group(&mut self, group: KeyGroup, writer: &mut SnapshotWriter<'_>) -> Result<(), StateError> {
        let index = usize::from(group.0.wrapping_sub(self.range.start));
        for (number, (_, tables)) in self.states.iter_mut().enumerate() {
            let state = number as u16;
            match tables {
                FrozenTables::Values(groups) => write_values(writer, state, take(groups, index))?,
                FrozenTables::Maps(groups) => write_maps(writer, state, take(groups, index))?,
                FrozenTables::Lists(groups) => {
                    each_run(take(groups, index), |entry| writer.entry(state, entry))?;
                }
            }
        }
        Ok(())
    }

    fn for_each_entry(
        &mut self,
        number: usize,
        group: KeyGroup,
        each: &mut EachEntry<'_>,
    ) -> Result<(), StateError> {
        let index = usize::from(group.0.wrapping_sub(self.range.start));
        match self.states.get_mut(number) {
            Some((_, FrozenTables::Values(groups))) => each_value(take(groups, index), each),
            Some((_, FrozenTables::Maps(groups))) => each_map_entry(&take(groups, index), each),
            Some((_, FrozenTables::Lists(groups))) => each_run(take(groups, index), each),
            None => Ok(()),
        }
    }
}

pub(super) fn take<T: Default>(groups: &mut [T], index: usize) -> T {
    groups.get_mut(index).map(std::mem::take).unwrap_or_default()
}

pub(super) fn write_values(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    pages: Vec<Arc<PageBytes>>,
) -> Result<(), StateError> {
    each_value(pages, |entry| writer.entry(state, entry))
}

pub(super) fn write_maps(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    pages: Vec<Arc<PageBytes>>,
) -> Result<(), StateError> {
    each_map_entry(&pages, |entry| writer.entry(state, entry))
}

/// Pages go one by one.
fn each_value(
    pages: Vec<Arc<PageBytes>>,
    mut each: impl FnMut(Entry<'_>) -> Result<(), StateError>,
) -> Result<(), StateError> {
    pages.into_iter().try_for_each(|page| {
        walk(page.get()).try_for_each(|slot| {
            each(Entry::Value {
                key: slot.key,
                namespace: slot.namespace,
                value: slot.value,
            })
        })
    })
}

fn each_map_entry(
    pages: &[Arc<PageBytes>],
    mut each: impl FnMut(Entry<'_>) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut slots: Vec<_> = pages.iter().flat_map(|page| walk(page.get())).collect();
    slots.sort_unstable_by_key(|slot| (slot.key, slot.namespace));
    slots.into_iter().try_for_each(|slot| {
        let (key, namespace) = of_prefix(slot.key)?;
        each(Entry::Map {
            key,
            namespace,
            map_key: slot.namespace,
            value: slot.value,
        })
    })
}

/// The closed chunks of a list and then its open one, list after list.
fn each_run(
    FrozenLists { open, closed }: FrozenLists,
    mut each: impl FnMut(Entry<'_>) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut numbered: Vec<_> = closed.iter().flat_map(|page| walk(page.get())).collect();
    numbered.sort_unstable_by_key(|slot| (slot.key, slot.namespace));
    // A chunk's number ends its namespace.
    let mut namespace = Vec::new();
    for slot in open.iter().flat_map(|page| walk(page.get())) {
        let last = chunk(slot.value)?;
        for number in 0..last.number {
            namespace.clear();
            namespace.extend_from_slice(slot.namespace);
            namespace.extend_from_slice(&number.to_be_bytes());
            let at =
                numbered.binary_search_by_key(&(slot.key, &namespace[..]), |slot| (slot.key, slot.namespace));
            let found = at.ok().and_then(|at| numbered.get(at));
            each(run(&slot, chunk(found.ok_or_else(broken)?.value)?))?;
        }
        each(run(&slot, last))?;
    }
    Ok(())
}

fn run<'a>(list: &Slot<'a>, chunk: Chunk<'a>) -> Entry<'a> {
    Entry::List {
        key: list.key,
        namespace: list.namespace,
        elements: chunk.elements(),
    }
}

fn chunk(stored: &[u8]) -> Result<Chunk<'_>, StateError> {
    Chunk::of(stored).ok_or_else(broken)
}

fn broken() -> StateError {
    StateError::Corrupt("a list in memory lacks a chunk, or one is broken".to_owned())
}

/// Key and namespace of a stored prefix.
pub(super) fn of_prefix(stored: &[u8]) -> Result<(&[u8], &[u8]), StateError> {
    match stored_key::decode(stored) {
        Some(parts) => Ok((parts.key, parts.namespace)),
        None => Err(StateError::Corrupt("a stored key in memory is broken".to_owned())),
    }
}
