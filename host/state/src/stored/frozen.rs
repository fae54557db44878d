//! A view of the store as entries of a snapshot file.

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::KeyGroup;

use super::layout::Layout;
use super::list::Chunk;
use super::settle::{Taken, Ticket};
use crate::backend::{EachEntry, FrozenState, StateError, StateId};
use crate::native::{FileSink, FrozenFiles};
use crate::snapshot::{Entry, SnapshotWriter};
use crate::store::{Column, StoreView};
use crate::stored_key::{self, StoredKey};

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
        for number in 0..self.states.len() {
            self.for_each_entry(number, group, &mut |entry| writer.entry(number as u16, entry))?;
        }
        Ok(())
    }

    fn for_each_entry(
        &mut self,
        number: usize,
        group: KeyGroup,
        each: &mut EachEntry<'_>,
    ) -> Result<(), StateError> {
        if let FrozenView::Later(ticket) = &self.view
            && let Some(Taken::View(view)) = ticket.take()?
        {
            self.view = FrozenView::Taken(view);
        }
        let (FrozenView::Taken(view), Some((id, _)), Some(layout)) =
            (&self.view, self.states.get(number), self.layouts.get(number))
        else {
            return Ok(());
        };
        let prefix = group.0.to_be_bytes();
        view.scan(Column(id.0), &prefix, &mut |stored, value| {
            let Some(stored) = stored.strip_prefix(&prefix) else {
                return Ok(false);
            };
            if let Some(entry) = entry(*layout, stored, value)? {
                each(entry)?;
            }
            Ok(true)
        })
    }
}

/// What the store holds under a key; `None`: nothing.
fn entry<'a>(layout: Layout, stored: &'a [u8], value: &'a [u8]) -> Result<Option<Entry<'a>>, StateError> {
    let broken = || StateError::Corrupt("an entry of the local store is broken".to_owned());
    let StoredKey { key, namespace, rest } = stored_key::decode(stored).ok_or_else(broken)?;
    Ok(match layout {
        Layout::Value => Some(Entry::Value {
            key,
            namespace,
            value,
        }),
        Layout::Map => Some(Entry::Map {
            key,
            namespace,
            map_key: rest,
            value,
        }),
        Layout::List => {
            let chunk = Chunk::of(value).ok_or_else(broken)?;
            (chunk.count > 0).then(|| Entry::List {
                key,
                namespace,
                elements: chunk.elements(),
            })
        }
    })
}
