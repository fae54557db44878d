//! Reads a savepoint or checkpoint, entry by entry in the order of its files.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use wasmill_checkpoint::handle::{KeyedHandle, OperatorState};
use wasmill_checkpoint::restore::{self, Restored, open_data};
use wasmill_checkpoint::storage::{CheckpointStorage, StorageSettings};
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_state::backend::StateError;
use wasmill_state::snapshot::{Entry, GroupBlock, SnapshotReader};

use super::OfflineError;
use super::document::Document;
use super::identity::{Identity, Place};
use super::line::{mode_byte, to_line};
use crate::host::trigger::open_savepoint;

/// A savepoint that was read and found whole.
pub struct Savepoint {
    path: String,
    storage: Arc<dyn CheckpointStorage>,
    restored: Restored,
    document: Document,
}

/// Which entries are wanted; `None`: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this operator.
    pub operator: Option<String>,
    /// Of this keyed or operator state.
    pub state: Option<String>,
}

/// A row of `state list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The operator's uid.
    pub operator: String,
    /// Its parallelism when the savepoint was taken.
    pub parallelism: u32,
    /// What it holds: a state's name, or `timers`, `raw state`, `committables`.
    pub state: String,
    /// Kind of the state.
    pub kind: String,
    /// Encoding of its values.
    pub encoding: String,
    /// Schema version of its values.
    pub schema_version: Option<u32>,
    /// Values, map entries or elements.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

type Visit<'v> = dyn FnMut(Identity, &[u8]) -> Result<(), OfflineError> + 'v;

impl Savepoint {
    /// Opens what `path` (a directory or URL) names and checks every byte of it.
    pub fn open(path: &str, settings: &StorageSettings) -> Result<Self, OfflineError> {
        let (storage, directory) = open_savepoint(path, settings).map_err(OfflineError)?;
        let restored =
            restore::load(&*storage, &directory).map_err(|error| OfflineError(error.to_string()))?;
        let document = Document::of(&restored.manifest);
        Ok(Self {
            path: path.to_owned(),
            storage,
            restored,
            document,
        })
    }

    /// What it says of its job and its operators.
    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    fn failed(&self, error: impl std::fmt::Display) -> OfflineError {
        OfflineError(format!("{}: {error}", self.path))
    }

    /// Hands every entry to `visit`; those of one list in their order.
    pub(super) fn visit(&self, filter: &Filter, visit: &mut Visit<'_>) -> Result<(), OfflineError> {
        for (uid, operator) in &self.restored.manifest.operators {
            if filter.operator.as_ref().is_some_and(|wanted| *wanted != uid.0) {
                continue;
            }
            for (subtask, state) in &operator.subtasks {
                if let Some(keyed) = &state.keyed {
                    self.visit_keyed(&uid.0, keyed, filter, visit)?;
                }
                self.visit_rest(&uid.0, *subtask, state, filter, visit)?;
            }
        }
        Ok(())
    }

    fn visit_keyed(
        &self,
        operator: &str,
        keyed: &KeyedHandle,
        filter: &Filter,
        visit: &mut Visit<'_>,
    ) -> Result<(), OfflineError> {
        let mut file = open_data(Arc::clone(&self.storage), &self.restored.directory, &keyed.data)
            .map_err(|error| self.failed(error))?;
        let mut reader = SnapshotReader::open(&mut *file).map_err(|error| self.failed(error))?;
        let states = reader.header().states.clone();
        let groups: Vec<_> = reader.groups().collect();
        let wanted = |name: &str| filter.state.as_ref().is_none_or(|state| state == name);
        for group in groups {
            let mut refused = None;
            let read = reader.read_group(group, &mut |block| {
                let mut give = |place, value: &[u8]| {
                    let identity = Identity {
                        operator: operator.to_owned(),
                        place,
                    };
                    visit(identity, value).map_err(|error| {
                        refused = Some(error);
                        // Never shown: it only ends the reading.
                        StateError::Corrupt(String::new())
                    })
                };
                match block {
                    GroupBlock::Entries { state, entries } => {
                        let Some(state) = states.get(state).filter(|state| wanted(&state.name)) else {
                            return Ok(());
                        };
                        entries
                            .into_iter()
                            .try_for_each(|entry| give_entry(state, group, entry?, &mut give))
                    }
                    GroupBlock::Timers { .. } if filter.state.is_some() => Ok(()),
                    GroupBlock::Timers { domain, timers } => timers.into_iter().try_for_each(|timer| {
                        let place = Place::Timer {
                            group,
                            domain,
                            timestamp: timer.timestamp,
                            key: timer.key.to_vec(),
                            namespace: timer.namespace.to_vec(),
                        };
                        give(place, &[])
                    }),
                }
            });
            match (read, refused) {
                (_, Some(error)) => return Err(error),
                (Err(error), None) => return Err(self.failed(error)),
                (Ok(()), None) => {}
            }
        }
        Ok(())
    }

    fn visit_rest(
        &self,
        operator: &str,
        subtask: u32,
        state: &OperatorState,
        filter: &Filter,
        visit: &mut Visit<'_>,
    ) -> Result<(), OfflineError> {
        let of = |place| Identity {
            operator: operator.to_owned(),
            place,
        };
        for list in &state.lists {
            if filter.state.as_ref().is_some_and(|wanted| *wanted != list.name) {
                continue;
            }
            for element in &list.elements {
                let name = list.name.clone();
                let mut value = vec![mode_byte(list.mode)];
                value.extend_from_slice(&element.0);
                visit(of(Place::Element { name, subtask }), &value)?;
            }
        }
        if filter.state.is_some() {
            return Ok(());
        }
        if !state.raw.is_empty() {
            visit(of(Place::Raw { subtask }), &state.raw)?;
        }
        for committable in &state.committables {
            let value = serde_json::to_vec(committable).map_err(|error| self.failed(error))?;
            visit(of(Place::Committable { subtask }), &value)?;
        }
        Ok(())
    }

    /// Writes all of it, or what the filter asks for, as JSON lines. Returns how many entries there were.
    pub fn export(&self, filter: &Filter, out: &mut dyn Write) -> Result<u64, OfflineError> {
        self.check(filter)?;
        let mut put = |line: &Value| {
            writeln!(out, "{line}")
                .map_err(|error| OfflineError(format!("the export could not be written: {error}")))
        };
        let head = serde_json::to_value(&self.document.head).map_err(|error| self.failed(error))?;
        put(&json!({ "savepoint": head }))?;
        for (uid, operator) in &self.document.operators {
            let mut line = serde_json::Map::new();
            line.insert("operator".to_owned(), Value::from(uid.as_str()));
            let head = serde_json::to_value(operator).map_err(|error| self.failed(error))?;
            line.extend(head.as_object().cloned().unwrap_or_default());
            put(&Value::Object(line))?;
        }
        let mut entries = 0;
        self.visit(filter, &mut |identity, value| {
            let line = to_line(&self.document, &identity, value).map_err(|error| self.failed(error))?;
            entries += 1;
            put(&Value::Object(line))
        })?;
        Ok(entries)
    }

    fn check(&self, filter: &Filter) -> Result<(), OfflineError> {
        let Some(operator) = filter.operator.as_ref() else {
            return Ok(());
        };
        if self.document.operators.contains_key(operator) {
            return Ok(());
        }
        let known: Vec<_> = self.document.operators.keys().collect();
        let suggestion = crate::job::error::suggestion(operator, &known);
        Err(self.failed(format!("there is no operator `{operator}`{suggestion}")))
    }

    /// What it holds, summed up.
    pub fn list(&self) -> Result<Vec<Row>, OfflineError> {
        let mut rows: BTreeMap<(String, u8, String), Row> = BTreeMap::new();
        for (uid, operator) in &self.document.operators {
            for state in &operator.states {
                let place = (uid.clone(), 0, state.name.clone());
                rows.insert(place, declared(uid, operator.parallelism, state));
            }
        }
        self.visit(&Filter::default(), &mut |identity, value| {
            let (part, name, kind, key_bytes) = match &identity.place {
                Place::Entry {
                    state,
                    key,
                    namespace,
                    map_key,
                    ..
                } => {
                    let map_key = map_key.as_ref().map_or(0, Vec::len);
                    (0, state.as_str(), "", key.len() + namespace.len() + map_key)
                }
                Place::Timer { key, namespace, .. } => {
                    (1, "timers", "timer", key.len() + namespace.len() + 8)
                }
                Place::Element { name, .. } => (2, name.as_str(), "operator state", 0),
                Place::Raw { .. } => (3, "raw state", "raw", 0),
                Place::Committable { .. } => (4, "committables", "committable", 0),
            };
            let row = rows
                .entry((identity.operator.clone(), part, name.to_owned()))
                .or_insert_with(|| Row {
                    operator: identity.operator.clone(),
                    parallelism: self
                        .document
                        .operators
                        .get(&identity.operator)
                        .map_or(0, |o| o.parallelism),
                    state: name.to_owned(),
                    kind: kind.to_owned(),
                    ..Row::default()
                });
            row.entries += 1;
            row.bytes += (key_bytes + value.len()) as u64;
            Ok(())
        })?;
        Ok(rows.into_values().collect())
    }
}

fn declared(operator: &str, parallelism: u32, state: &StateDeclaration) -> Row {
    let kind = match state.kind {
        StateKind::Value => "value",
        StateKind::List => "list",
        StateKind::Map => "map",
        StateKind::Reducing => "reducing",
        StateKind::Aggregating => "aggregating",
    };
    Row {
        operator: operator.to_owned(),
        parallelism,
        state: state.name.clone(),
        kind: kind.to_owned(),
        encoding: state.encoding.clone(),
        schema_version: Some(state.schema_version),
        entries: 0,
        bytes: 0,
    }
}

fn give_entry(
    state: &StateDeclaration,
    group: wasmill_model::key::KeyGroup,
    entry: Entry<'_>,
    give: &mut dyn FnMut(Place, &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let place = |key: &[u8], namespace: &[u8], map_key: Option<&[u8]>| Place::Entry {
        group,
        state: state.name.clone(),
        key: key.to_vec(),
        namespace: namespace.to_vec(),
        map_key: map_key.map(<[u8]>::to_vec),
    };
    match entry {
        Entry::Value {
            key,
            namespace,
            value,
        } => give(place(key, namespace, None), value),
        Entry::Map {
            key,
            namespace,
            map_key,
            value,
        } => give(place(key, namespace, Some(map_key)), value),
        Entry::List {
            key,
            namespace,
            mut elements,
        } => elements.try_for_each(|element| give(place(key, namespace, None), element)),
    }
}
