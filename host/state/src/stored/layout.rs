//! What a stored key is: `key group u16` and the key of [`stored_key`](crate::stored_key), whose rest is nothing of a
//! value, the map key of a map's entry, and of a list's chunk the number of its first element, the open chunk last.
//!
//! In the cache an entry is addressed by the key and what follows it: of a map's entry that is namespace length,
//! namespace and map key as they are stored, of a list key group and namespace, of a value the namespace. The group of values
//! and maps is that of the key; a list may have any key in any group.

use wasmill_model::function::StateKind;
use wasmill_model::key::{self, MaxParallelism};

use super::table_key;
use crate::backend::{StateId, StateKey};
use crate::memory::table::TableKey;
use crate::states::States;
use crate::store::{Changes, Column};
use crate::stored_key;

/// Behind the prefix of an open chunk: after every number of a closed one.
pub(super) const OPEN: [u8; 8] = [255; 8];

/// How the entries of a state are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    Value,
    Map,
    List,
}

impl Layout {
    pub(super) fn of(kind: StateKind) -> Self {
        match kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating => Self::Value,
            StateKind::Map => Self::Map,
            StateKind::List => Self::List,
        }
    }

    /// The address in the cache; `rest` is memory for it.
    pub(super) fn address<'a>(self, key: &StateKey<'a>, rest: &'a mut Vec<u8>) -> TableKey<'a> {
        rest.clear();
        match self {
            Self::Value => return table_key(key, key.namespace),
            Self::List => {
                rest.extend_from_slice(&key.group.0.to_be_bytes());
                rest.extend_from_slice(key.namespace);
            }
            Self::Map => {
                rest.extend_from_slice(&(key.namespace.len() as u32).to_be_bytes());
                rest.extend_from_slice(key.namespace);
                rest.extend_from_slice(key.map_key);
            }
        }
        table_key(key, rest)
    }

    /// Appends the stored key of an entry; of a list that of its open chunk.
    pub(super) fn write_stored(self, out: &mut Vec<u8>, key: &StateKey<'_>) {
        write_prefix(out, key);
        match self {
            Self::Value => {}
            Self::Map => out.extend_from_slice(key.map_key),
            Self::List => out.extend_from_slice(&OPEN),
        }
    }

    /// The same from an address in the cache.
    fn write_addressed(self, out: &mut Vec<u8>, max_parallelism: MaxParallelism, key: &[u8], rest: &[u8]) {
        let of_key = || max_parallelism.group_of(key::hash(key)).0.to_be_bytes();
        match self {
            Self::Value => {
                out.extend_from_slice(&of_key());
                stored_key::encode_prefix(out, key, rest);
            }
            Self::List => {
                let (group, namespace) = rest.split_at_checked(2).unwrap_or_default();
                out.extend_from_slice(group);
                stored_key::encode_prefix(out, key, namespace);
                out.extend_from_slice(&OPEN);
            }
            Self::Map => {
                out.extend_from_slice(&of_key());
                out.extend_from_slice(&(key.len() as u32).to_be_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(rest);
            }
        }
    }
}

/// Appends what all stored keys of a (key, namespace) begin with.
pub(super) fn write_prefix(out: &mut Vec<u8>, key: &StateKey<'_>) {
    out.extend_from_slice(&key.group.0.to_be_bytes());
    stored_key::encode_prefix(out, key.key, key.namespace);
}

/// What all stored keys of a (key, namespace) begin with.
pub(super) fn prefix(key: &StateKey<'_>) -> Vec<u8> {
    let mut prefix = Vec::new();
    write_prefix(&mut prefix, key);
    prefix
}

/// What takes slots that leave the cache and adds them to `changes`.
pub(super) fn into_changes(
    states: &States<Layout>,
    max_parallelism: MaxParallelism,
    changes: &mut Changes,
) -> impl FnMut(usize, &[u8], &[u8], Option<&[u8]>) {
    move |state, key, rest, value| {
        let id = StateId(state as u16);
        // NOTE: a state that was dropped has nothing in the cache.
        if let Ok(of) = states.get(id) {
            let write = |out: &mut Vec<u8>| of.held.write_addressed(out, max_parallelism, key, rest);
            changes.push_with(Column(id.0), write, value);
        }
    }
}
