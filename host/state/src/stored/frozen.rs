//! A view of the store as entries of a snapshot file.

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::KeyGroup;

use super::layout::Layout;
use super::list::Chunk;
use super::settle::{Taken, Ticket};
use crate::backend::{FrozenState, StateError, StateId};
use crate::native::{FileSink, FrozenFiles};
use crate::snapshot::SnapshotWriter;
use crate::store::{Column, StoreView};
use crate::stored_key;

/// What a backend held at one instant.
pub(super) struct FrozenStore {
    states: Vec<(StateId, StateDeclaration)>,
    layouts: Vec<Layout>,
    view: FrozenView,
}

enum FrozenView {
    /// There is no store, and nothing in it.
    Empty,
    Later(Ticket),
    Taken(Box<dyn StoreView>),
}

impl FrozenStore {
    pub(super) fn new(
        states: Vec<(StateId, StateDeclaration)>,
        layouts: Vec<Layout>,
        ticket: Option<Ticket>,
    ) -> Self {
        Self {
            states,
            layouts,
            view: ticket.map_or(FrozenView::Empty, FrozenView::Later),
        }
    }

    /// Of a view that is there.
    pub(super) fn of_view(states: Vec<(StateId, StateDeclaration)>, view: Box<dyn StoreView>) -> Self {
        let layouts = states.iter().map(|(_, state)| Layout::of(state.kind)).collect();
        Self {
            states,
            layouts,
            view: FrozenView::Taken(view),
        }
    }
}

/// The store's files of one instant, once it has settled.
pub(super) struct LaterFiles(pub(super) Ticket);

impl FrozenFiles for LaterFiles {
    fn write(self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError> {
        match self.0.take()? {
            Some(Taken::Files(files)) => files.write(out),
            _ => Err(StateError::Corrupt(
                "files of the local store were taken twice".to_owned(),
            )),
        }
    }
}

impl FrozenState for FrozenStore {
    fn states(&self) -> Vec<(StateId, StateDeclaration)> {
        self.states.clone()
    }

    fn write_group(&mut self, group: KeyGroup, writer: &mut SnapshotWriter<'_>) -> Result<(), StateError> {
        if let FrozenView::Later(ticket) = &self.view
            && let Some(Taken::View(view)) = ticket.take()?
        {
            self.view = FrozenView::Taken(view);
        }
        let FrozenView::Taken(view) = &self.view else {
            return Ok(());
        };
        let prefix = group.0.to_be_bytes();
        let columns = self.states.iter().map(|(id, _)| Column(id.0));
        for (state, (column, layout)) in (0u16..).zip(columns.zip(&self.layouts)) {
            view.scan(column, &prefix, &mut |stored, value| {
                let Some(stored) = stored.strip_prefix(&prefix) else {
                    return Ok(false);
                };
                write_entry(writer, state, *layout, stored, value)?;
                Ok(true)
            })?;
        }
        Ok(())
    }
}

fn write_entry(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    layout: Layout,
    stored: &[u8],
    value: &[u8],
) -> Result<(), StateError> {
    let broken = || StateError::Corrupt("an entry of the local store is broken".to_owned());
    let parts = stored_key::decode(stored).ok_or_else(broken)?;
    match layout {
        Layout::Value => writer.value(state, parts.key, parts.namespace, value),
        Layout::Map => writer.map_entry(state, parts.key, parts.namespace, parts.rest, value),
        Layout::List => {
            let chunk = Chunk::of(value).ok_or_else(broken)?;
            if chunk.count == 0 {
                return Ok(());
            }
            writer.list_run(state, parts.key, parts.namespace, chunk.count, chunk.elements())
        }
    }
}
