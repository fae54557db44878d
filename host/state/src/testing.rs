//! What every backend must do, as tests that any backend can run (feature `testing`).
//!
//! A backend passes when [`contract::run`] returns. [`operations`] holds a model of keyed state as plain
//! maps; [`plain_store`] is a store of plain maps, for the backend over stores; [`files`] are those of a checkpoint; [`migration`] converts them; property tests draw sequences of
//! operations and compare. Failures panic, as in tests.

pub mod contents;
pub mod contract;
mod contract_cases;
pub mod files;
pub mod migration;
pub mod operations;
pub mod plain_store;
mod ttl;

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::{self, MaxParallelism};

use crate::backend::StateKey;

/// Max parallelism of all that is tested here.
pub const MAX_PARALLELISM: MaxParallelism = MaxParallelism::DEFAULT;

/// A declaration with a name, a kind and a schema version.
pub fn declaration(name: &str, kind: StateKind, schema_version: u32) -> StateDeclaration {
    StateDeclaration {
        name: name.to_owned(),
        kind,
        encoding: "raw".to_owned(),
        schema: serde_json::Value::Null,
        schema_version,
        migrates_from: None,
        prefetch: None,
        reduce: None,
        per_window: false,
        ttl: None,
    }
}

/// The address of an entry as a record's journey gives it: group and hash of the key.
pub fn state_key<'a>(key: &'a [u8], namespace: &'a [u8], map_key: &'a [u8]) -> StateKey<'a> {
    let hash = key::hash(key);
    StateKey {
        group: MAX_PARALLELISM.group_of(hash),
        hash: hash as u32,
        key,
        namespace,
        map_key,
    }
}
