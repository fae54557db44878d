//! The note of a stop: a line of JSON, and its checksum on the next one.
//!
//! Invariant: a note of which a byte is missing or changed is never believed, for it decides what is committed.

use wasmill_model::id::CheckpointId;

use super::{RestoreError, Restored};
use crate::layout::stops_directory;
use crate::storage::CheckpointStorage;
use wasmill_model::id::JobId;

/// A note is short.
const BYTES_MAX: u64 = 64 * 1024;

const CHECKSUM: &str = "crc32c=";

/// The note that a stop-with-savepoint leaves in the job's own directory before anything is committed
/// for it: without it a host that dies then would go back to a checkpoint before the savepoint.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StopNote {
    /// The savepoint's number.
    pub checkpoint: CheckpointId,
    /// URL of the storage it is in.
    pub storage: String,
    /// Its directory there.
    pub directory: String,
}

impl StopNote {
    /// The file's content.
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_string(self)?;
        let sum = crc32c::crc32c(body.as_bytes());
        Ok(format!("{body}\n{CHECKSUM}{sum:08x}\n").into_bytes())
    }

    /// Reads a file's content; the error says what is wrong with it.
    pub fn decode(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8")?;
        let cut = "it is cut off or something else";
        let (body, rest) = text.split_once('\n').ok_or(cut)?;
        let sum = rest
            .strip_prefix(CHECKSUM)
            .and_then(|rest| rest.strip_suffix('\n'));
        let expected = format!("{:08x}", crc32c::crc32c(body.as_bytes()));
        match sum {
            Some(sum) if sum == expected => {}
            Some(sum) if sum.len() == expected.len() => {
                return Err(format!(
                    "its checksum is {expected} where it says {}: it is damaged",
                    sum.escape_debug()
                ));
            }
            _ => return Err(cut.to_owned()),
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    /// Whether this is the savepoint of the note; the error says what it is instead.
    pub fn check(&self, restored: &Restored, job: JobId, storage: &str) -> Result<(), RestoreError> {
        let manifest = &restored.manifest;
        let reason = if manifest.job_id != job {
            format!("it belongs to job {}", manifest.job_id)
        } else if manifest.checkpoint != self.checkpoint {
            format!(
                "it is number {} where the job stopped with number {}",
                manifest.checkpoint, self.checkpoint
            )
        } else {
            return Ok(());
        };
        Err(RestoreError::Damaged {
            directory: restored.directory.clone(),
            storage: storage.to_owned(),
            reason,
        })
    }
}

/// The newest note of a job.
pub(super) fn newest(storage: &dyn CheckpointStorage, job: JobId) -> Result<Option<StopNote>, RestoreError> {
    let directory = stops_directory(job);
    let found = storage.list(&directory)?.into_iter().filter_map(|(name, _)| {
        let id: u64 = name.rsplit_once('/')?.1.parse().ok()?;
        Some((CheckpointId(id), name))
    });
    let Some((id, name)) = found.max() else {
        return Ok(None);
    };
    let content = storage.read(&name, 0, BYTES_MAX)?;
    let note = StopNote::decode(&content).and_then(|note| match note.checkpoint == id {
        true => Ok(note),
        false => Err(format!("it is the note of number {}", note.checkpoint)),
    });
    storage.keep(&name)?;
    note.map(Some).map_err(|reason| RestoreError::Stop {
        name,
        storage: storage.url(),
        reason,
    })
}
