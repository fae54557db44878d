//! Reads a savepoint or checkpoint, entry by entry in the order of its files.
//!
//! Invariant: records that an unaligned barrier overtook are no entries. `list` counts them; all else refuses what
//! holds some, so that none is lost without a word.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmill_checkpoint::handle::{Data, KeyedHandle, OperatorState};
use wasmill_checkpoint::in_flight;
use wasmill_checkpoint::restore::{self, Restored, open_data};
use wasmill_checkpoint::storage::{CheckpointStorage, StorageSettings};
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::OperatorUid;
use wasmill_state::backend::{SnapshotFile, StateError};
use wasmill_state::snapshot::{Entry, GroupBlock, SnapshotReader};

use super::OfflineError;
use super::document::Document;
use super::identity::{Identity, Place};
use super::line::mode_byte;
use crate::host::trigger::open_savepoint;

/// A savepoint that was read and found whole.
pub struct Savepoint {
    path: String,
    pub(super) storage: Arc<dyn CheckpointStorage>,
    pub(super) restored: Restored,
    pub(super) document: Document,
}

/// Which entries are wanted; `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of this operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Of this keyed or operator state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// What it holds: a state's name, or `timers`, `raw state`, `committables`, `records in flight`.
    pub state: String,
    /// Kind of the state.
    pub kind: String,
    /// Encoding of its values.
    pub encoding: String,
    /// Schema version of its values.
    pub schema_version: Option<u32>,
    /// Values, map entries, elements or records.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

type Visit<'v> = dyn FnMut(Identity, &[u8]) -> Result<(), OfflineError> + 'v;

type Give<'g> = dyn FnMut(Place, &[u8]) -> Result<(), StateError> + 'g;

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

    pub(super) fn failed(&self, error: impl std::fmt::Display) -> OfflineError {
        OfflineError(format!("{}: {error}", self.path))
    }

    /// Hands every entry to `visit`; those of one list in their order. Refuses a checkpoint with records in flight.
    pub(super) fn visit(&self, filter: &Filter, visit: &mut Visit<'_>) -> Result<(), OfflineError> {
        self.refuse_in_flight()?;
        self.visit_entries(filter, visit)
    }

    fn visit_entries(&self, filter: &Filter, visit: &mut Visit<'_>) -> Result<(), OfflineError> {
        for (uid, operator) in &self.restored.manifest.operators {
            if filter.operator.as_ref().is_some_and(|wanted| *wanted != uid.0) {
                continue;
            }
            for (subtask, state) in &operator.subtasks {
                if let Some(keyed) = &state.keyed {
                    self.visit_keyed(uid, *subtask, keyed, filter, visit)?;
                }
                self.visit_rest(&uid.0, *subtask, state, filter, visit)?;
            }
        }
        Ok(())
    }

    fn visit_keyed(
        &self,
        operator: &OperatorUid,
        subtask: u32,
        keyed: &KeyedHandle,
        filter: &Filter,
        visit: &mut Visit<'_>,
    ) -> Result<(), OfflineError> {
        let file = open_data(Arc::clone(&self.storage), &self.restored.directory, &keyed.data);
        let file = file.map_err(|error| self.failed(error))?;
        self.visit_file(&operator.0, file, filter, visit)?;
        if let Some(stored) = &keyed.native {
            let canonical = self.canonical(operator, subtask, keyed, stored)?;
            let file = open_data(Arc::clone(&canonical.storage), "", &canonical.data);
            let file = file.map_err(|error| self.failed(error))?;
            self.visit_file(&operator.0, file, filter, visit)?;
        }
        Ok(())
    }

    fn visit_file(
        &self,
        operator: &str,
        mut file: Box<dyn SnapshotFile>,
        filter: &Filter,
        visit: &mut Visit<'_>,
    ) -> Result<(), OfflineError> {
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
                    GroupBlock::Entries { state, mut entries } => {
                        let Some(state) = states.get(state).filter(|state| wanted(&state.name)) else {
                            return Ok(());
                        };
                        entries.try_for_each(|entry| give_entry(state, group, entry?, &mut give))
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

    /// Of each operator and subtask that has some: the records that the barrier overtook.
    fn in_flight(&self) -> impl Iterator<Item = (&str, &Data)> {
        let operators = self.restored.manifest.operators.iter();
        operators.flat_map(|(uid, operator)| {
            let parts = operator.subtasks.values();
            parts.filter_map(move |state| Some((uid.as_str(), state.in_flight.as_ref()?)))
        })
    }

    pub(super) fn refuse_in_flight(&self) -> Result<(), OfflineError> {
        let Some((uid, _)) = self.in_flight().next() else {
            return Ok(());
        };
        Err(self.failed(format!(
            "this unaligned checkpoint holds records that its barrier overtook (of operator `{uid}`), which have no lines: \
             take a savepoint, which holds none, and use that"
        )))
    }

    /// How many records one part holds, and in how many bytes.
    fn count_in_flight(&self, data: &Data) -> Result<(u64, u64), OfflineError> {
        let mut file = open_data(Arc::clone(&self.storage), &self.restored.directory, data)
            .map_err(|error| self.failed(error))?;
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes).map_err(|error| self.failed(error))?;
        let length = bytes.len() as u64;
        let all = in_flight::decode(&bytes.into()).map_err(|error| self.failed(error))?;
        Ok((all.iter().map(|one| u64::from(one.batch.rows())).sum(), length))
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
        let mut add = |operator: &str, part: u8, name: &str, kind: &str, (entries, bytes): (u64, u64)| {
            let row = rows
                .entry((operator.to_owned(), part, name.to_owned()))
                .or_insert_with(|| Row {
                    operator: operator.to_owned(),
                    parallelism: self.document.operators.get(operator).map_or(0, |o| o.parallelism),
                    state: name.to_owned(),
                    kind: kind.to_owned(),
                    ..Row::default()
                });
            row.entries += entries;
            row.bytes += bytes;
        };
        self.visit_entries(&Filter::default(), &mut |identity, value| {
            let (part, name, kind, key_bytes) = summed(&identity.place);
            let bytes = (key_bytes + value.len()) as u64;
            add(&identity.operator, part, name, kind, (1, bytes));
            Ok(())
        })?;
        for (operator, data) in self.in_flight() {
            let counted = self.count_in_flight(data)?;
            add(operator, 5, "records in flight", "in flight", counted);
        }
        Ok(rows.into_values().collect())
    }
}

/// In which row an entry counts: its place among the operator's rows, its name and kind; and bytes beside the value.
fn summed(place: &Place) -> (u8, &str, &'static str, usize) {
    match place {
        Place::Entry {
            state,
            key,
            namespace,
            map_key,
            ..
        } => {
            let map_key = map_key.as_ref().map_or(0, Vec::len);
            (0, state, "", key.len() + namespace.len() + map_key)
        }
        Place::Timer { key, namespace, .. } => (1, "timers", "timer", key.len() + namespace.len() + 8),
        Place::Element { name, .. } => (2, name, "operator state", 0),
        Place::Raw { .. } => (3, "raw state", "raw", 0),
        Place::Committable { .. } => (4, "committables", "committable", 0),
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
    give: &mut Give<'_>,
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

#[cfg(test)]
mod tests {
    use wasmill_checkpoint::in_flight::{InFlight, InFlightPlace};
    use wasmill_checkpoint::layout::manifest_name;
    use wasmill_checkpoint::manifest::{Manifest, ManifestKind, OperatorManifest};
    use wasmill_checkpoint::storage::open;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
    use wasmill_model::key::MaxParallelism;
    use wasmill_model::row::RowHeader;

    use super::*;
    use crate::offline::change::edit;
    use crate::offline::diff::diff;

    /// A checkpoint of one operator with two records in flight.
    fn write_unaligned(directory: &str) {
        let mut batch = BatchBuilder::default();
        for value in [b"a", b"b"] {
            batch.push(RowHeader::element(None), b"", value, b"");
        }
        let records = in_flight::encode(&[InFlight {
            place: InFlightPlace::Input { port: 0 },
            batch: batch.finish(),
        }]);
        let state = OperatorState {
            raw: b"x".to_vec(),
            in_flight: Some(Data::Inline(records)),
            ..OperatorState::default()
        };
        let operator = OperatorManifest {
            parallelism: 2,
            subtasks: [(1, state)].into(),
        };
        let manifest = Manifest {
            job_id: JobId(1),
            job_name: "words".to_owned(),
            checkpoint: CheckpointId(7),
            kind: ManifestKind::Checkpoint,
            triggered_at: 0,
            epoch: 1,
            max_parallelism: MaxParallelism(128),
            operators: [(OperatorUid::new("count"), operator)].into(),
            plugins: BTreeMap::new(),
        };
        let storage = open(directory, &StorageSettings::default()).unwrap();
        let content = manifest.encode().unwrap();
        storage.create(&manifest_name("chk-7"), &content).unwrap();
    }

    #[test]
    fn records_in_flight_are_listed_and_all_that_would_lose_them_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_str().unwrap();
        write_unaligned(place);
        let settings = StorageSettings::default();
        let path = format!("{place}/chk-7");
        let savepoint = Savepoint::open(&path, &settings).unwrap();

        let rows = savepoint.list().unwrap();
        let shown: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.entries)).collect();
        assert_eq!(shown, [("raw state", 1), ("records in flight", 2)]);
        assert!(rows[1].bytes > 2 && rows[1].parallelism == 2, "{rows:?}");

        let (all, mut out) = (Filter::default(), Vec::new());
        let new = format!("{place}/new");
        let changes = &mut &br#"{"operator":"count","raw-state":"y","subtask":1}"#[..];
        let errors = [
            savepoint.export(&all, &mut out).unwrap_err(),
            edit(&savepoint, "changes", changes, &new, &settings).unwrap_err(),
            diff(&savepoint, &savepoint, &all, &mut out).unwrap_err(),
        ];
        for OfflineError(error) in errors {
            let named = error.contains(&path) && error.contains("`count`");
            assert!(named && error.contains("take a savepoint"), "{error}");
        }
        assert_eq!(out, b"");
        assert!(!directory.path().join("new").exists());
    }
}
