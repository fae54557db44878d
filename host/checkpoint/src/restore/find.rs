//! Looks for the checkpoint to go on from.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::id::{CheckpointId, JobId};

use super::file::check_files;
use super::{Recovered, RestoreError, Restored, Skipped, stop};
use crate::fence::Epochs;
use crate::layout::{MANIFEST_NAME, checkpoint_directory, completed_name, manifest_name, shared_name};
use crate::manifest::{MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest, ManifestError};
use crate::retention::checkpoints;
use crate::storage::{CheckpointStorage, StorageError};

/// Looks for the latest good checkpoint of a job, newest first; an error where one was completed and none
/// is good. Reads every file of those that it looks at. Hold the job's fence.
pub fn latest(storage: &dyn CheckpointStorage, job: JobId) -> Result<Recovered, RestoreError> {
    let found = checkpoints(storage, job)?;
    let epochs = Epochs::read(storage, job)?;
    let stop = stop::newest(storage, job)?;
    let mut skipped = Vec::new();
    let mut latest = None;
    let with_manifest: Vec<_> = found
        .iter()
        .filter(|(_, manifest)| **manifest)
        .map(|(id, _)| *id)
        .collect();
    let mut retained = with_manifest.clone();
    while let Some(id) = retained.last().copied() {
        let directory = checkpoint_directory(job, id);
        match read(storage, &directory, |manifest| {
            refusal(manifest, job, id, &epochs)
        })? {
            Ok(restored) => {
                // What it holds is committed again in a moment: it must not go with the power afterwards.
                storage.keep(&manifest_name(&directory))?;
                latest = Some(restored);
                break;
            }
            Err(reason) => skipped.push(Skipped { directory, reason }),
        }
        retained.pop();
    }
    if latest.is_none() && stop.is_none() && (!skipped.is_empty() || was_completed(storage, job)?) {
        let incomplete = found.keys().rev().filter(|id| !with_manifest.contains(id));
        skipped.extend(incomplete.map(|id| Skipped {
            directory: checkpoint_directory(job, *id),
            reason: format!("it has no manifest `{MANIFEST_NAME}`"),
        }));
        return Err(RestoreError::NoneGood {
            job,
            storage: storage.url(),
            skipped,
        });
    }
    let newest = latest
        .as_ref()
        .map_or(CheckpointId(0), |restored| restored.manifest.checkpoint);
    let stopped = stop.filter(|note| note.checkpoint > newest);
    let last = found
        .keys()
        .next_back()
        .copied()
        .max(stopped.as_ref().map(|note| note.checkpoint));
    let next_id = CheckpointId(last.map_or(0, |id| id.0) + 1);
    let mut shared = BTreeMap::new();
    for id in retained {
        shared.insert(id, shared_files(storage, &checkpoint_directory(job, id))?);
    }
    Ok(Recovered {
        latest,
        skipped,
        retained: shared,
        next_id,
        stopped,
    })
}

/// The shared files that a checkpoint names: of one that cannot be restored none, of a newer host's all that there are.
pub(crate) fn shared_files(
    storage: &dyn CheckpointStorage,
    directory: &str,
) -> Result<BTreeSet<String>, RestoreError> {
    match manifest(storage, directory) {
        Ok(Ok(manifest)) => Ok(manifest.shared_files()),
        Ok(Err(_)) => Ok(BTreeSet::new()),
        Err(RestoreError::Newer { .. }) => {
            let files = storage.list(shared_name(directory, "").trim_end_matches('/'))?;
            let name = |(path, _): (String, u64)| Some(path.rsplit_once('/')?.1.to_owned());
            Ok(files.into_iter().filter_map(name).collect())
        }
        Err(error) => Err(error),
    }
}

/// Reads and checks one checkpoint or savepoint by its directory, empty where it is the storage's own.
pub fn load(storage: &dyn CheckpointStorage, directory: &str) -> Result<Restored, RestoreError> {
    read(storage, directory, |_| None)?.map_err(|reason| RestoreError::Damaged {
        directory: directory.to_owned(),
        storage: storage.url(),
        reason,
    })
}

/// The inner error says what is damaged, or why it is refused; the outer one that storage did not answer, or that a newer
/// host wrote it. Files are read only where the manifest is not refused.
fn read(
    storage: &dyn CheckpointStorage,
    directory: &str,
    refusal: impl FnOnce(&Manifest) -> Option<String>,
) -> Result<Result<Restored, String>, RestoreError> {
    let manifest = match manifest(storage, directory)? {
        Ok(manifest) => manifest,
        Err(damage) => return Ok(Err(damage)),
    };
    if let Some(reason) = refusal(&manifest) {
        return Ok(Err(reason));
    }
    let damage = check_files(storage, directory, &manifest)?;
    Ok(damage.map(|()| Restored {
        directory: directory.to_owned(),
        manifest,
    }))
}

/// The same of the manifest alone.
pub(crate) fn manifest(
    storage: &dyn CheckpointStorage,
    directory: &str,
) -> Result<Result<Manifest, String>, RestoreError> {
    let content = match storage.read(&manifest_name(directory), 0, MANIFEST_BYTES_MAX + 1) {
        Ok(content) => content,
        Err(StorageError::NotFound { .. }) => {
            let reason = "it has no manifest `_metadata`: it was not completed, or this is not its directory";
            return Ok(Err(reason.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    match Manifest::decode(&content) {
        Err(ManifestError::Version(version)) if version > MANIFEST_VERSION => Err(RestoreError::Newer {
            directory: directory.to_owned(),
            storage: storage.url(),
            version,
        }),
        decoded => Ok(decoded.map_err(|error| format!("its manifest `{MANIFEST_NAME}`: {error}"))),
    }
}

/// Why a whole manifest is not that of a checkpoint to go on from.
fn refusal(manifest: &Manifest, job: JobId, id: CheckpointId, epochs: &Epochs) -> Option<String> {
    if manifest.job_id != job {
        let job = manifest.job_id;
        return Some(format!("its manifest `{MANIFEST_NAME}` belongs to job {job}"));
    }
    if manifest.checkpoint != id {
        return Some(format!(
            "its manifest `{MANIFEST_NAME}` is that of checkpoint {}",
            manifest.checkpoint
        ));
    }
    let void = epochs.is_void(id, manifest.epoch);
    void.then(|| {
        format!(
            "host epoch {} wrote it after a newer host had taken the job over",
            manifest.epoch
        )
    })
}

fn was_completed(storage: &dyn CheckpointStorage, job: JobId) -> Result<bool, StorageError> {
    match storage.read(&completed_name(job), 0, 1) {
        Ok(_) => Ok(true),
        Err(StorageError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
