//! Restores: entries of a snapshot file, and a store that a checkpoint holds as files, taken over as it is or read into
//! another backend.

use std::sync::Arc;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::{self, KeyGroup, KeyGroupRange, MaxParallelism};

use super::frozen::FrozenStore;
use super::layout::Layout;
use super::settle::Settling;
use super::{Expiries, StoreSource, StoredBackend};
use crate::backend::{KeyedStateBackend, Locator, StateError, StateId, StateKey, Write};
use crate::native::copy_groups;
use crate::snapshot::Entry;
use crate::store::OrderedStore;

impl StoredBackend {
    /// Puts an entry of a snapshot file; whether it is one of a state of this kind.
    pub(super) fn restore_entry(
        &mut self,
        id: StateId,
        layout: Layout,
        group: KeyGroup,
        entry: Entry<'_>,
    ) -> Result<bool, StateError> {
        let address = |key, namespace, map_key| {
            let hash = key::hash(key);
            StateKey {
                group,
                hash: hash as u32,
                key,
                namespace,
                map_key,
            }
        };
        let (key, value) = match (entry, layout) {
            (
                Entry::Value {
                    key,
                    namespace,
                    value,
                },
                Layout::Value,
            ) => (address(key, namespace, &[]), value),
            (
                Entry::Map {
                    key,
                    namespace,
                    map_key,
                    value,
                },
                Layout::Map,
            ) => (address(key, namespace, map_key), value),
            (
                Entry::List {
                    key,
                    namespace,
                    mut elements,
                },
                Layout::List,
            ) => {
                let list = address(key, namespace, &[]);
                elements.try_for_each(|element| self.append_element(id, &list, element).map(drop))?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        let (locator, value) = (Locator::UNKNOWN, Some(value));
        self.put(id, layout, &Write { key, locator, value });
        Ok(true)
    }

    /// A backend over a store that holds these states already, in columns of these numbers, and was opened with their
    /// expiries; `None` where a number is missing, for they are given by the states' places.
    pub fn adopt(
        (range, max_parallelism): (KeyGroupRange, MaxParallelism),
        source: Box<dyn StoreSource>,
        store: Arc<dyn OrderedStore>,
        states: &[StateDeclaration],
        numbers: &[StateId],
        expiries: Expiries,
    ) -> Result<Option<Self>, StateError> {
        if !numbers.iter().map(|id| id.0).eq(0..states.len() as u16) {
            return Ok(None);
        }
        let mut backend = Self::new(range, max_parallelism, source);
        for declaration in states {
            let cache = &mut backend.cache;
            backend.states.restore(declaration, |id, kind| {
                cache.add_stored_state(usize::from(id.0));
                Ok(Layout::of(kind))
            })?;
        }
        backend.expiries = expiries;
        backend.store = Some(Arc::new(Settling::new(store)));
        Ok(Some(backend))
    }
}

/// Adds to a backend what a store holds of its groups, of states in columns of these numbers. Copies a group at a time.
pub fn read_store(
    store: &dyn OrderedStore,
    states: &[StateDeclaration],
    numbers: &[StateId],
    range: KeyGroupRange,
    backend: &mut dyn KeyedStateBackend,
) -> Result<(), StateError> {
    let restored = states
        .iter()
        .map(|declaration| backend.restore_state(declaration));
    let restored = restored.collect::<Result<Vec<_>, _>>()?;
    let numbered = numbers.iter().copied().zip(states.iter().cloned()).collect();
    let mut frozen = FrozenStore::of_view(numbered, store.view()?);
    copy_groups(&mut frozen, range.intersect(backend.range()), backend, &restored)
}
