//! Writes a new savepoint from entries in order.
//!
//! Invariant: the manifest is written last, so that a write that fails leaves no savepoint; what is at the place
//! already is never touched.

use std::io;
use std::sync::Arc;

use wasmill_checkpoint::handle::{Base64Bytes, Data, KeyedHandle, OperatorList, OperatorState};
use wasmill_checkpoint::layout::{Writer, data_file_name, file_name, manifest_name};
use wasmill_checkpoint::manifest::{Manifest, ManifestKind, OperatorManifest};
use wasmill_checkpoint::storage::{CheckpointStorage, StorageError, StorageSettings, open};
use wasmill_model::function::StateKind;
use wasmill_model::id::{OperatorUid, SubtaskId, VertexId};
use wasmill_model::key::{KeyGroup, KeyGroupRange};
use wasmill_state::backend::StateError;
use wasmill_state::snapshot::{BLOCK_BYTES, SnapshotHeader, SnapshotWriter};
use wasmill_state::timers::TimerRef;

use super::OfflineError;
use super::document::{Document, OperatorHead};
use super::identity::{Identity, Place};
use super::line::mode_of;
use super::sort::{Record, Sorted};
use crate::host::trigger::{as_url, parent_and_name};

/// The first byte of every record's value: it is of the savepoint that is edited.
pub(super) const BASE: u8 = 0;
/// It takes the place of what the savepoint had.
pub(super) const PUT: u8 = 1;
/// What the savepoint had goes.
pub(super) const DELETED: u8 = 2;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// The savepoint's URL.
    pub savepoint: String,
    /// Values, map entries, elements, timers.
    pub entries: u64,
}

/// Writes the savepoint `to`.
pub(super) fn write(
    document: &Document,
    sorted: &mut Sorted,
    to: &str,
    settings: &StorageSettings,
) -> Result<Written, OfflineError> {
    let url = as_url(to).map_err(OfflineError)?;
    let url = url.trim_end_matches('/');
    let Some((parent, directory)) = parent_and_name(url) else {
        return Err(OfflineError(format!(
            "`{to}` is no place for a savepoint: name a directory to be made"
        )));
    };
    let storage = open(&parent, settings).map_err(|error| OfflineError(error.to_string()))?;
    let present = storage
        .list(&directory)
        .map_err(|error| OfflineError(error.to_string()))?;
    if !present.is_empty() {
        return Err(OfflineError(format!(
            "`{to}` is there already: name a directory that is not"
        )));
    }
    let mut target = Target {
        storage,
        directory,
        files: Vec::new(),
        entries: 0,
    };
    let written = target.all(document, sorted);
    if written.is_err() {
        target.clean_up();
    }
    written.map(|()| Written {
        savepoint: url.to_owned(),
        entries: target.entries,
    })
}

/// The savepoint that is being written.
struct Target {
    storage: Arc<dyn CheckpointStorage>,
    directory: String,
    files: Vec<String>,
    entries: u64,
}

impl Target {
    fn all(&mut self, document: &Document, sorted: &mut Sorted) -> Result<(), OfflineError> {
        let mut entries = Entries {
            document,
            sorted,
            given: 0,
            last: Vec::new(),
            changed: Vec::new(),
        };
        let head = &document.head;
        let mut manifest = Manifest {
            job_id: head.job_id,
            job_name: head.job_name.clone(),
            checkpoint: head.checkpoint,
            kind: ManifestKind::Savepoint,
            triggered_at: head.triggered_at,
            epoch: head.epoch,
            max_parallelism: head.max_parallelism,
            operators: Default::default(),
            plugins: head.plugins.clone(),
        };
        for (number, (uid, operator)) in (0u32..).zip(&document.operators) {
            let mut written = OperatorManifest {
                parallelism: operator.parallelism,
                subtasks: Default::default(),
            };
            if entries.begins_with(&Identity::keyed_prefix(uid)) {
                let keyed = self.keyed(document, number, (uid.as_str(), operator), &mut entries)?;
                written.subtasks.entry(0).or_default().keyed = Some(keyed);
            }
            while let Some((identity, value)) = entries.next(&Identity::operator_prefix(uid))? {
                add(&mut written, identity.place, value)?;
            }
            manifest.operators.insert(OperatorUid::new(uid), written);
        }
        self.entries = entries.given;
        let content = manifest
            .encode()
            .map_err(|error| OfflineError(error.to_string()))?;
        let name = manifest_name(&self.directory);
        self.storage.create(&name, &content).map_err(storage_error)
    }

    /// All keyed state of an operator goes into one file, as if one subtask had had it: a restore deals it out.
    fn keyed(
        &mut self,
        document: &Document,
        number: u32,
        (uid, operator): (&str, &OperatorHead),
        entries: &mut Entries<'_>,
    ) -> Result<KeyedHandle, OfflineError> {
        let range = KeyGroupRange {
            start: 0,
            end: document.head.max_parallelism.0,
        };
        let header = SnapshotHeader {
            checkpoint: document.head.checkpoint,
            range,
            max_parallelism: document.head.max_parallelism,
            states: operator.states.clone(),
        };
        let writer = Writer {
            epoch: document.head.epoch,
            attempt: 0,
        };
        let subtask = SubtaskId {
            vertex: VertexId(number),
            index: 0,
        };
        let name = data_file_name(writer, subtask, 0);
        let file = file_name(&self.directory, &name);
        self.files.push(file.clone());
        let mut failure = None;
        let prefix = Identity::keyed_prefix(uid);
        let written = self.storage.write(&file, &mut |out| {
            stream(&header, operator, &prefix, entries, out).map_err(|error| {
                let text = error.0.clone();
                failure = Some(error);
                io::Error::other(text)
            })
        });
        let written = match (written, failure) {
            (Ok(written), _) => written,
            (Err(_), Some(error)) => return Err(error),
            (Err(error), None) => return Err(storage_error(error)),
        };
        Ok(KeyedHandle {
            range,
            states: operator.states.clone(),
            data: Data::File {
                name,
                length: written.length,
                crc32c: written.crc32c,
            },
            native: None,
        })
    }

    fn clean_up(&self) {
        for file in &self.files {
            if let Err(error) = self.storage.delete(file) {
                tracing::warn!(file, %error, "a file of a savepoint that failed could not be deleted");
            }
        }
        if let Err(error) = self.storage.prune(&self.directory) {
            tracing::warn!(directory = self.directory, %error, "the directory of a savepoint that failed could not be removed");
        }
    }
}

fn storage_error(error: StorageError) -> OfflineError {
    OfflineError(error.to_string())
}

fn state_error(error: StateError) -> OfflineError {
    OfflineError(error.to_string())
}

/// Entries in order, without those that were changed.
struct Entries<'s> {
    document: &'s Document,
    sorted: &'s mut Sorted,
    given: u64,
    /// The order of the last entry that was given.
    last: Vec<u8>,
    /// The order of the last change.
    changed: Vec<u8>,
}

impl Entries<'_> {
    fn begins_with(&self, prefix: &[u8]) -> bool {
        self.sorted.peek().is_some_and(|order| order.starts_with(prefix))
    }

    /// The next entry whose order begins with `prefix`.
    fn next(&mut self, prefix: &[u8]) -> Result<Option<(Identity, Vec<u8>)>, OfflineError> {
        while self.begins_with(prefix) {
            let Some(Record { order, mut value, .. }) = self.sorted.take()? else {
                break;
            };
            // IMPORTANT: changes were put in first, so they come before what they take the place of.
            match value.remove(0) {
                BASE if self.changed == order => continue,
                BASE => {}
                mark => {
                    self.changed.clone_from(&order);
                    if mark == DELETED {
                        continue;
                    }
                }
            }
            let identity = Identity::of_order(&order)
                .ok_or_else(|| OfflineError("an entry lost its place: this is a bug".to_owned()))?;
            if self.last == order && !self.repeats(&identity) {
                return Err(OfflineError(format!("{} is given twice", shown(&identity))));
            }
            self.last = order;
            self.given += 1;
            return Ok(Some((identity, value)));
        }
        Ok(None)
    }

    /// Whether several entries may have one place: elements of lists.
    fn repeats(&self, identity: &Identity) -> bool {
        match &identity.place {
            Place::Entry { state, .. } => {
                let operator = self.document.operators.get(&identity.operator);
                let state = operator.and_then(|operator| operator.state(state));
                state.is_some_and(|(_, state)| state.kind == StateKind::List)
            }
            Place::Element { .. } | Place::Committable { .. } => true,
            Place::Timer { .. } | Place::Raw { .. } => false,
        }
    }
}

fn shown(identity: &Identity) -> String {
    match &identity.place {
        Place::Entry { state, key, .. } => format!(
            "operator `{}`, state `{state}`: the entry of the key {}",
            identity.operator,
            super::typed::key_to_json(key)
        ),
        Place::Timer { timestamp, key, .. } => format!(
            "operator `{}`: the timer {timestamp} of the key {}",
            identity.operator,
            super::typed::key_to_json(key)
        ),
        _ => format!("operator `{}`: the raw state of a subtask", identity.operator),
    }
}

/// Operator state, raw state and committables, which lie in the manifest.
fn add(operator: &mut OperatorManifest, place: Place, mut value: Vec<u8>) -> Result<(), OfflineError> {
    match place {
        Place::Element { name, subtask } => {
            let mode = mode_of(value.remove(0));
            let lists = &mut subtask_of(operator, subtask).lists;
            let list = match lists.iter().position(|list| list.name == name) {
                Some(found) if lists[found].mode != mode => {
                    return Err(OfflineError(format!(
                        "subtask {subtask}: the elements of the operator state `{name}` have two modes: write one"
                    )));
                }
                Some(found) => &mut lists[found],
                None => {
                    lists.push(OperatorList {
                        name,
                        mode,
                        elements: Vec::new(),
                    });
                    let last = lists.len() - 1;
                    &mut lists[last]
                }
            };
            list.elements.push(Base64Bytes(value));
        }
        Place::Raw { subtask } => subtask_of(operator, subtask).raw = value,
        Place::Committable { subtask } => {
            let read = serde_json::from_slice(&value).map_err(|error| OfflineError(error.to_string()))?;
            subtask_of(operator, subtask).committables.push(read);
        }
        Place::Entry { .. } | Place::Timer { .. } => {}
    }
    Ok(())
}

fn subtask_of(operator: &mut OperatorManifest, subtask: u32) -> &mut OperatorState {
    operator.subtasks.entry(subtask).or_default()
}

/// Elements of one list that wait to be written together.
#[derive(Default)]
struct Run {
    of: Option<(u16, Vec<u8>, Vec<u8>)>,
    elements: Vec<Vec<u8>>,
    bytes: usize,
}

impl Run {
    fn flush(&mut self, writer: &mut SnapshotWriter<'_>) -> Result<(), OfflineError> {
        let elements = std::mem::take(&mut self.elements);
        self.bytes = 0;
        let Some((state, key, namespace)) = self.of.as_ref().filter(|_| !elements.is_empty()) else {
            return Ok(());
        };
        let count = elements.len() as u32;
        let elements = elements.iter().map(Vec::as_slice);
        writer
            .list_run(*state, key, namespace, count, elements)
            .map_err(state_error)
    }
}

fn stream(
    header: &SnapshotHeader,
    operator: &OperatorHead,
    prefix: &[u8],
    entries: &mut Entries<'_>,
    out: &mut dyn io::Write,
) -> Result<(), OfflineError> {
    let mut writer = SnapshotWriter::new(out, header).map_err(state_error)?;
    let (mut group, mut run): (Option<KeyGroup>, Run) = (None, Run::default());
    while let Some((identity, value)) = entries.next(prefix)? {
        let (Place::Entry { group: own, .. } | Place::Timer { group: own, .. }) = &identity.place else {
            break;
        };
        if group != Some(*own) {
            run.flush(&mut writer)?;
            writer.begin_group(*own).map_err(state_error)?;
            group = Some(*own);
        }
        put(&mut writer, &mut run, operator, identity.place, value)?;
    }
    run.flush(&mut writer)?;
    writer.finish().map_err(state_error)
}

fn put(
    writer: &mut SnapshotWriter<'_>,
    run: &mut Run,
    operator: &OperatorHead,
    place: Place,
    value: Vec<u8>,
) -> Result<(), OfflineError> {
    match place {
        Place::Entry {
            state,
            key,
            namespace,
            map_key,
            ..
        } => {
            let Some((number, state)) = operator.state(&state) else {
                return Err(OfflineError(format!("the state `{state}` is not declared")));
            };
            if state.kind == StateKind::List {
                let of = Some((number, key, namespace));
                if run.of != of || run.bytes >= BLOCK_BYTES {
                    run.flush(writer)?;
                    run.of = of;
                }
                run.bytes += value.len();
                run.elements.push(value);
                return Ok(());
            }
            run.flush(writer)?;
            match map_key {
                Some(map_key) => writer.map_entry(number, &key, &namespace, &map_key, &value),
                None => writer.value(number, &key, &namespace, &value),
            }
            .map_err(state_error)
        }
        Place::Timer {
            group,
            domain,
            timestamp,
            key,
            namespace,
        } => {
            run.flush(writer)?;
            let timer = TimerRef {
                timestamp,
                group,
                key: &key,
                namespace: &namespace,
            };
            writer.timer(domain, timer).map_err(state_error)
        }
        _ => Ok(()),
    }
}
