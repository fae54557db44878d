//! The manifest of a checkpoint: self-contained, written last, names all files of it with checksums.
//!
//! ```text
//! wasmill-checkpoint version=1 epoch=3 length=5120 crc32c=8a9136aa\n
//! {"job-id":…}
//! ```
//!
//! Invariants: a manifest of which a byte is missing or changed is never taken for one; every host reads
//! the versions before its own (`tests/fixtures`); no name in it leads out of its directory, so a
//! checkpoint can be moved as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key::MaxParallelism;
use wasmill_model::time::Timestamp;

use crate::coordinator::Acknowledged;
use crate::handle::{Data, FileRef, KeyedHandle, OperatorState};

mod header;

pub(crate) use header::HEADER_BYTES_MAX;
pub use header::Header;

/// Version of the format that this host reads, with all before it.
pub const MANIFEST_VERSION: u32 = 2;

/// Of a manifest without state in a backend's own files: an older host reads it too.
const VERSION_CANONICAL: u32 = 1;

/// A longer manifest is refused: it would hold state that belongs into files.
pub const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A checkpoint or savepoint, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The job that wrote it.
    pub job_id: JobId,
    /// Its name, for people.
    pub job_name: String,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// What it is.
    pub kind: ManifestKind,
    /// When it was triggered.
    pub triggered_at: Timestamp,
    /// The host that wrote it ([`crate::fence`]).
    pub epoch: u64,
    /// Number of key groups: fixed from the first run on.
    pub max_parallelism: MaxParallelism,
    /// State by operator. Operators without state are in it too where the job names them.
    pub operators: BTreeMap<OperatorUid, OperatorManifest>,
    /// Digests of the components that wrote it, by operator.
    pub plugins: BTreeMap<OperatorUid, String>,
}

/// What a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestKind {
    /// A periodic one.
    Checkpoint,
    /// The last one of a job whose input has ended: a job restored from it has only commits to do.
    Final,
    /// A savepoint.
    Savepoint,
    /// The savepoint with which the job stopped.
    StopWithSavepoint,
}

/// State of one operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperatorManifest {
    /// At which it was taken.
    pub parallelism: u32,
    /// By subtask index; subtasks without state are left out.
    pub subtasks: BTreeMap<u32, OperatorState>,
}

/// What a job adds to each of its manifests.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPart {
    /// The job.
    pub job_id: JobId,
    /// Its name.
    pub job_name: String,
    /// Of this host's run.
    pub epoch: u64,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
    /// Of each operator, as planned.
    pub parallelism: BTreeMap<OperatorUid, u32>,
    /// Digests of components, by operator.
    pub plugins: BTreeMap<OperatorUid, String>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the start of one.
    #[error("it is no manifest of a checkpoint: its first line is not known")]
    NotAManifest,
    /// Written by a newer host.
    #[error(
        "it has format version {0}, this host reads up to {MANIFEST_VERSION}: restore it with a newer host"
    )]
    Version(u32),
    /// Bytes are missing or too many.
    #[error("its body has {actual} bytes where its first line says {expected}: it is cut off or torn")]
    Length {
        /// As the first line says.
        expected: u64,
        /// As they are.
        actual: u64,
    },
    /// A bit has changed.
    #[error("its checksum is wrong ({actual:08x} where its first line says {expected:08x}): it is damaged")]
    Checksum {
        /// As the first line says.
        expected: u32,
        /// As it is.
        actual: u32,
    },
    /// The body is whole and says what no host would.
    #[error("it is not valid: {0}")]
    Content(String),
}

impl Manifest {
    /// Puts a checkpoint together.
    pub fn new(job: &JobPart, done: Acknowledged) -> Self {
        let mut operators: BTreeMap<OperatorUid, OperatorManifest> = BTreeMap::new();
        for (subtask, state) in done.subtasks {
            for (uid, state) in state.operators {
                let parallelism = job.parallelism.get(&uid).copied().unwrap_or(subtask.index + 1);
                let operator = operators.entry(uid).or_insert_with(|| OperatorManifest {
                    parallelism,
                    subtasks: BTreeMap::new(),
                });
                operator.subtasks.insert(subtask.index, state);
            }
        }
        Self {
            job_id: job.job_id,
            job_name: job.job_name.clone(),
            checkpoint: done.checkpoint,
            kind: done.kind,
            triggered_at: done.triggered_at,
            epoch: job.epoch,
            max_parallelism: job.max_parallelism,
            operators,
            plugins: job.plugins.clone(),
        }
    }

    /// The file's content.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let body = serde_json::to_vec(self).map_err(|e| ManifestError::Content(e.to_string()))?;
        if body.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Content(format!(
                "it would have {} bytes, and at most {MANIFEST_BYTES_MAX} are allowed: operator state or \
                 committables have grown beyond measure",
                body.len()
            )));
        }
        let header = Header {
            version: match self
                .states()
                .any(|state| state.keyed.iter().any(|keyed| keyed.native.is_some()))
            {
                true => MANIFEST_VERSION,
                false => VERSION_CANONICAL,
            },
            epoch: self.epoch,
            length: body.len() as u64,
            crc32c: crc32c::crc32c(&body),
        };
        let mut content = header.encode().into_bytes();
        content.extend_from_slice(&body);
        Ok(content)
    }

    /// Reads and checks a file's content.
    pub fn decode(content: &[u8]) -> Result<Self, ManifestError> {
        let (header, body) = Header::split(content)?;
        let actual = body.len() as u64;
        if actual != header.length {
            return Err(ManifestError::Length {
                expected: header.length,
                actual,
            });
        }
        let actual = crc32c::crc32c(body);
        if actual != header.crc32c {
            return Err(ManifestError::Checksum {
                expected: header.crc32c,
                actual,
            });
        }
        let manifest: Self =
            serde_json::from_slice(body).map_err(|e| ManifestError::Content(e.to_string()))?;
        if manifest.epoch != header.epoch {
            return Err(ManifestError::Content(
                "its first line and its body differ in the epoch".to_owned(),
            ));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// All data files that it names.
    pub fn files(&self) -> impl Iterator<Item = FileRef<'_>> {
        self.states().flat_map(OperatorState::data).filter_map(Data::file)
    }

    /// Names of the shared files among them.
    pub fn shared_files(&self) -> BTreeSet<String> {
        let shared = self.files().filter(|file| file.shared);
        shared.map(|file| file.name.to_owned()).collect()
    }

    fn states(&self) -> impl Iterator<Item = &OperatorState> {
        self.operators
            .values()
            .flat_map(|operator| operator.subtasks.values())
    }

    fn check(&self) -> Result<(), ManifestError> {
        let fail = |message: String| Err(ManifestError::Content(message));
        let groups = self.max_parallelism.0;
        if groups == 0 {
            return fail("its max parallelism is 0".to_owned());
        }
        let native = self
            .states()
            .filter_map(|state| state.keyed.as_ref()?.native.as_ref());
        let given = native.flat_map(|native| native.files.keys().map(String::as_str));
        let mut names = self.files().map(|file| file.name).chain(given);
        if let Some(name) = names.find(|name| !is_file_name(name)) {
            return fail(format!(
                "`{}` is no name of a file beside it",
                name.escape_debug()
            ));
        }
        let keyed = self.states().filter_map(|state| state.keyed.as_ref());
        let unnumbered = |keyed: &KeyedHandle| {
            let native = keyed.native.as_ref();
            native.is_some_and(|native| native.numbers.len() != keyed.states.len())
        };
        if keyed.into_iter().any(unnumbered) {
            return fail("a state has no number, or a number no state".to_owned());
        }
        for (uid, operator) in &self.operators {
            if operator
                .subtasks
                .keys()
                .any(|index| *index >= operator.parallelism)
            {
                return fail(format!("operator `{uid}` has more subtasks than its parallelism"));
            }
            let ranges = operator
                .subtasks
                .values()
                .filter_map(|state| Some(state.keyed.as_ref()?.range));
            if ranges
                .into_iter()
                .any(|range| range.start > range.end || range.end > groups)
            {
                return fail(format!("operator `{uid}` has key groups beyond {groups}"));
            }
        }
        Ok(())
    }
}

/// A plain name: nothing that leads to another directory.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
