//! What the memory backend held at one instant, on its way into a snapshot.
//!
//! Invariant: it owns all that it writes; pages go group by group as they are written, so that
//! memory taken by copy-on-write comes back while the rest is still being written.

use std::sync::Arc;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::{KeyGroup, KeyGroupRange};

use super::list::{Chunk, FrozenLists};
use super::page::{PageBytes, walk};
use crate::backend::{FrozenState, StateError, StateId};
use crate::snapshot::SnapshotWriter;
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
                FrozenTables::Lists(groups) => write_lists(writer, state, take(groups, index))?,
            }
        }
        Ok(())
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
    pages.into_iter().try_for_each(|page| {
        walk(page.get()).try_for_each(|slot| writer.value(state, slot.key, slot.namespace, slot.value))
    })
}

pub(super) fn write_maps(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    pages: Vec<Arc<PageBytes>>,
) -> Result<(), StateError> {
    let mut slots: Vec<_> = pages.iter().flat_map(|page| walk(page.get())).collect();
    slots.sort_unstable_by_key(|slot| (slot.key, slot.namespace));
    slots.into_iter().try_for_each(|slot| {
        let (key, namespace) = of_prefix(slot.key)?;
        writer.map_entry(state, key, namespace, slot.namespace, slot.value)
    })
}

fn write_lists(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    FrozenLists { open, closed }: FrozenLists,
) -> Result<(), StateError> {
    let mut numbered: Vec<_> = closed.iter().flat_map(|page| walk(page.get())).collect();
    // A chunk's number ends its namespace: so the chunks of a list are in order.
    numbered.sort_unstable_by_key(|slot| (slot.key, slot.namespace));
    for slot in numbered {
        let namespace = slot.namespace.split_last_chunk::<4>();
        let namespace = namespace.map_or(&[][..], |(namespace, _)| namespace);
        write_chunk(writer, state, (slot.key, namespace), slot.value)?;
    }
    drop(closed);
    open.into_iter().try_for_each(|page| {
        walk(page.get())
            .try_for_each(|slot| write_chunk(writer, state, (slot.key, slot.namespace), slot.value))
    })
}

fn write_chunk(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    (key, namespace): (&[u8], &[u8]),
    stored: &[u8],
) -> Result<(), StateError> {
    let chunk = Chunk::of(stored)
        .ok_or_else(|| StateError::Corrupt("a chunk of a list in memory is broken".to_owned()))?;
    writer.list_run(state, key, namespace, chunk.count, chunk.elements())
}

/// Key and namespace of a stored prefix.
pub(super) fn of_prefix(stored: &[u8]) -> Result<(&[u8], &[u8]), StateError> {
    match stored_key::decode(stored) {
        Some(parts) => Ok((parts.key, parts.namespace)),
        None => Err(StateError::Corrupt("a stored key in memory is broken".to_owned())),
    }
}
