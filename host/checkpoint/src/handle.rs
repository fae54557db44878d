//! What a subtask acknowledges for a checkpoint, and gets back at restore.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasmill_model::function::{OperatorStateMode, StateDeclaration};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;

use crate::layout::{file_name, shared_name};

/// State of all operators of one subtask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubtaskState {
    /// By uid; operators without state are left out.
    pub operators: BTreeMap<OperatorUid, OperatorState>,
}

/// State of one operator in one subtask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorState {
    /// Keyed state and timers.
    pub keyed: Option<KeyedHandle>,
    /// Operator state by name.
    pub lists: Vec<OperatorList>,
    /// Opaque bytes of the same subtask; dropped when the parallelism changes.
    #[serde(with = "bytes_as_base64")]
    pub raw: Vec<u8>,
    /// What the sink has pre-committed up to this checkpoint and not yet committed.
    pub committables: Vec<Committable>,
    /// Records before and behind the operator that the barrier overtook ([`crate::in_flight`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Data>,
}

impl SubtaskState {
    /// Bytes of all that it holds, also of what other checkpoints hold too.
    pub fn bytes(&self) -> u64 {
        let operators = self.operators.values();
        let of = |operator: &OperatorState| {
            operator.data().map(Data::length).sum::<u64>() + operator.small_bytes()
        };
        operators.map(of).sum()
    }
}

impl OperatorState {
    /// Bytes of what is always in the manifest itself: operator state, raw state and committables.
    pub fn small_bytes(&self) -> u64 {
        let lists = self.lists.iter().flat_map(|list| &list.elements);
        let committables = self.committables.iter().map(|c| c.bytes.len());
        let small = lists.map(|element| element.0.len()).chain(committables);
        (small.sum::<usize>() + self.raw.len()) as u64
    }

    /// Its files.
    pub fn data(&self) -> impl Iterator<Item = &Data> {
        let keyed = self.keyed.iter().flat_map(KeyedHandle::data);
        keyed.chain(&self.in_flight)
    }
}

/// Keyed state of one operator in one subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyedHandle {
    /// The groups it covers.
    pub range: KeyGroupRange,
    /// Declarations of the states in it.
    pub states: Vec<StateDeclaration>,
    /// The bytes; where there is `native`, of the timers alone.
    pub data: Data,
    /// Entries as the backend keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeState>,
}

impl KeyedHandle {
    /// Its files.
    pub fn data(&self) -> impl Iterator<Item = &Data> {
        let native = self.native.iter().flat_map(|native| native.files.values());
        std::iter::once(&self.data).chain(native)
    }
}

/// Entries as a backend keeps them: only such a backend reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NativeState {
    /// Which backend's, with the version of its files.
    pub format: String,
    /// The backend's number of each of the states, in the order of the handle.
    pub numbers: Vec<u16>,
    /// By the name that the backend has given each.
    pub files: BTreeMap<String, Data>,
}

/// Bytes of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// In the manifest itself: at most [`INLINE_BYTES_MAX`].
    Inline(#[serde(with = "bytes_as_base64")] Vec<u8>),
    /// In a file beside the manifest.
    File {
        /// Relative to the checkpoint's directory.
        name: String,
        /// Bytes.
        length: u64,
        /// CRC-32C of them.
        crc32c: u32,
    },
    /// In a file that several checkpoints of a job may name: see [`crate::layout::shared_name`].
    Shared {
        /// Relative to the job's directory of them.
        name: String,
        /// Bytes.
        length: u64,
        /// CRC-32C of them.
        crc32c: u32,
    },
}

/// A file that a checkpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef<'a> {
    /// Relative to the checkpoint's directory, or to that of the job's shared files.
    pub name: &'a str,
    /// Bytes.
    pub length: u64,
    /// CRC-32C of them.
    pub crc32c: u32,
    /// Whether other checkpoints may name it too.
    pub shared: bool,
}

impl Data {
    /// Bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File { length, .. } | Self::Shared { length, .. } => *length,
        }
    }

    /// Its file, where it has one.
    pub fn file(&self) -> Option<FileRef<'_>> {
        let (name, length, crc32c, shared) = match self {
            Self::Inline(_) => return None,
            Self::File { name, length, crc32c } => (name, length, crc32c, false),
            Self::Shared { name, length, crc32c } => (name, length, crc32c, true),
        };
        Some(FileRef {
            name,
            length: *length,
            crc32c: *crc32c,
            shared,
        })
    }
}

impl FileRef<'_> {
    /// Its name in the storage of a checkpoint's directory.
    pub fn path(&self, directory: &str) -> String {
        match self.shared {
            true => shared_name(directory, self.name),
            false => file_name(directory, self.name),
        }
    }
}

/// Larger data goes to a file of its own (Flink's `fs.memory-threshold`).
pub const INLINE_BYTES_MAX: usize = 20 * 1024;

/// One operator state of one subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorList {
    /// Its name.
    pub name: String,
    /// How it is redistributed.
    pub mode: OperatorStateMode,
    /// Its elements.
    pub elements: Vec<Base64Bytes>,
}

/// Bytes that are base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Base64Bytes(#[serde(with = "bytes_as_base64")] pub Vec<u8>);

/// What a sink has written and not yet made visible: commit it by these bytes alone, from any process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committable {
    /// The sink.
    pub sink: OperatorUid,
    /// The checkpoint whose completion commits it.
    pub checkpoint: CheckpointId,
    /// Version of the bytes, the sink's own.
    pub version: u32,
    /// The sink's own.
    #[serde(with = "bytes_as_base64")]
    pub bytes: Vec<u8>,
}

mod bytes_as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}
