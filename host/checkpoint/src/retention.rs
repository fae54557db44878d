//! Deletes what is no longer needed, and nothing else.
//!
//! Invariants: a manifest goes before the files that it names, so that a crash in between leaves none
//! that names what is gone; nothing that a newer host wrote is touched, and nothing but files that have
//! the names of ours.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::id::{CheckpointId, JobId};

use crate::fence::{Fence, FenceError};
use crate::layout::{
    MANIFEST_NAME, checkpoint_directory, checkpoint_of, claim_name, claimed_by, completed_name,
    epoch_of_data_file, epochs_directory, file_name, job_directory, manifest_name, shared_directory,
    stops_directory,
};
use crate::manifest::{Header, MANIFEST_VERSION, ManifestError};
use crate::restore::{RestoreError, manifest, shared_files};
use crate::storage::{CheckpointStorage, StorageError};

/// Enough for the first line of a manifest.
const HEADER_BYTES: u64 = crate::manifest::HEADER_BYTES_MAX as u64;

/// Deletes a job's own checkpoint as far as the fence's epoch or an older one wrote it; refused where another host has
/// taken the job over, for it may have gone on from this very checkpoint. Then the shared files of these names.
pub fn delete_checkpoint(
    fence: &Fence,
    checkpoint: CheckpointId,
    shared: &[String],
) -> Result<(), FenceError> {
    fence.check()?;
    delete(&**fence.storage(), fence.job(), checkpoint, fence.epoch())?;
    match shared {
        [] => Ok(()),
        names => delete_shared(fence, names),
    }
}

/// Deletes shared files of a job that no checkpoint names; refused where another host has taken the job over.
pub fn delete_shared(fence: &Fence, names: &[String]) -> Result<(), FenceError> {
    fence.check()?;
    let directory = shared_directory(fence.job());
    Ok(delete_files(&**fence.storage(), &directory, names)?)
}

fn delete(
    storage: &dyn CheckpointStorage,
    job: JobId,
    checkpoint: CheckpointId,
    epoch: u64,
) -> Result<(), StorageError> {
    let directory = checkpoint_directory(job, checkpoint);
    if delete_manifest(storage, &directory, epoch)? == Files::Unknown {
        return Ok(());
    }
    for (name, _) in storage.list(&directory)? {
        let own = name
            .strip_prefix(&directory)
            .and_then(|name| name.strip_prefix('/'))
            .and_then(epoch_of_data_file)
            .is_some_and(|writer| writer <= epoch);
        if own {
            storage.delete(&name)?;
        }
    }
    Ok(())
}

/// One that cannot be read is no newer host's: those are put whole or not at all. One of a newer format is.
fn delete_manifest(
    storage: &dyn CheckpointStorage,
    directory: &str,
    epoch: u64,
) -> Result<Files, StorageError> {
    let name = manifest_name(directory);
    let start = match storage.read(&name, 0, HEADER_BYTES) {
        Ok(start) => start,
        Err(StorageError::NotFound { .. }) => return Ok(Files::ByWriter),
        Err(error) => return Err(error),
    };
    match Header::split(&start) {
        Ok((header, _)) if header.epoch > epoch => {}
        Err(ManifestError::Version(version)) if version > MANIFEST_VERSION => return Ok(Files::Unknown),
        _ => storage.withdraw(&name)?,
    }
    Ok(Files::ByWriter)
}

/// Whose the files beside a manifest are.
#[derive(PartialEq, Eq)]
enum Files {
    /// Their names tell.
    ByWriter,
    /// A newer format's: it may name any of them.
    Unknown,
}

/// Deletes files of a checkpoint that no manifest names; `directory` may be a savepoint's.
pub fn delete_files(
    storage: &dyn CheckpointStorage,
    directory: &str,
    names: &[String],
) -> Result<(), StorageError> {
    names
        .iter()
        .try_for_each(|name| storage.delete(&file_name(directory, name)))
}

/// Deletes a savepoint, or a checkpoint of a job that has ended: the manifest and the files that it names, but for shared
/// files that another checkpoint beside it names, or may name.
pub fn delete_savepoint(
    storage: &dyn CheckpointStorage,
    directory: &str,
    manifest: &crate::manifest::Manifest,
) -> Result<(), RestoreError> {
    let mut shared = manifest.shared_files();
    if !shared.is_empty() {
        let beside = directory.rsplit_once('/').map_or("", |(job, _)| job);
        for (name, _) in storage.list(beside)? {
            let other = name
                .strip_suffix(MANIFEST_NAME)
                .and_then(|name| name.strip_suffix('/'));
            if let Some(other) = other.filter(|other| *other != directory) {
                let needed = shared_files(storage, other)?;
                shared.retain(|name| !needed.contains(name));
            }
        }
    }
    storage.withdraw(&manifest_name(directory))?;
    for file in manifest.files() {
        if !file.shared || shared.contains(file.name) {
            storage.delete(&file.path(directory))?;
        }
    }
    Ok(())
}

/// [`delete_savepoint`] of what stands in a directory; nothing is done where there is no good manifest.
pub fn dispose(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), RestoreError> {
    let Ok(manifest) = manifest(storage, directory)? else {
        return Ok(());
    };
    delete_savepoint(storage, directory, &manifest)?;
    Ok(storage.prune(directory)?)
}

/// Notes that a checkpoint or savepoint is the job's own from now on, so that it is this one that the job deletes, and not
/// what somebody puts in its place later.
pub fn claim(storage: &dyn CheckpointStorage, directory: &str, job: JobId) -> Result<(), StorageError> {
    match storage.create(&claim_name(directory, job), b"claimed\n") {
        Err(StorageError::Exists { .. }) => Ok(()),
        created => created,
    }
}

/// The jobs that have it for their own.
pub fn claims(storage: &dyn CheckpointStorage, directory: &str) -> Result<Vec<JobId>, StorageError> {
    let files = storage.list(directory)?;
    Ok(files.iter().filter_map(|(name, _)| claimed_by(name)).collect())
}

/// Takes the note back.
pub fn release(storage: &dyn CheckpointStorage, directory: &str, job: JobId) -> Result<(), StorageError> {
    storage.delete(&claim_name(directory, job))
}

/// [`dispose`] of what the job has claimed; nothing is done where it has not, or no more.
pub fn dispose_claimed(
    storage: &dyn CheckpointStorage,
    directory: &str,
    job: JobId,
) -> Result<(), RestoreError> {
    if !claims(storage, directory)?.contains(&job) {
        return Ok(());
    }
    dispose(storage, directory)?;
    release(storage, directory, job)?;
    Ok(storage.prune(directory)?)
}

/// At the start of an attempt, after the latest checkpoint was found and before any sink recovers: deletes
/// all checkpoints of the job but `keep`, which are `Recovered::retained`, and the shared files that these do not name.
/// What a dead run left, or what was passed over as damaged, must never be found again: its transactions are about
/// to be aborted. Returns the numbers deleted.
pub fn sweep(
    fence: &Fence,
    keep: &BTreeMap<CheckpointId, BTreeSet<String>>,
) -> Result<Vec<CheckpointId>, FenceError> {
    fence.check()?;
    let (storage, job) = (fence.storage(), fence.job());
    let mut swept = Vec::new();
    for checkpoint in checkpoints(&**storage, job)?
        .into_keys()
        .filter(|id| !keep.contains_key(id))
    {
        delete(&**storage, job, checkpoint, fence.epoch())?;
        storage.prune(&checkpoint_directory(job, checkpoint))?;
        swept.push(checkpoint);
    }
    sweep_shared(fence, keep)?;
    Ok(swept)
}

fn sweep_shared(fence: &Fence, keep: &BTreeMap<CheckpointId, BTreeSet<String>>) -> Result<(), StorageError> {
    let storage = fence.storage();
    let directory = shared_directory(fence.job());
    for (path, _) in storage.list(&directory)? {
        let name = path
            .strip_prefix(&directory)
            .and_then(|name| name.strip_prefix('/'));
        let Some(name) = name else { continue };
        let is_own = epoch_of_data_file(name).is_some_and(|writer| writer <= fence.epoch());
        if is_own && !keep.values().any(|named| named.contains(name)) {
            storage.delete(&path)?;
        }
    }
    storage.prune(&directory)
}

/// Deletes all that a job has left, its locks and notes too. For a job that has ended for good and whose
/// checkpoints are not retained.
pub fn delete_job(fence: &Fence) -> Result<(), FenceError> {
    sweep(fence, &BTreeMap::new())?;
    let (storage, job) = (fence.storage(), fence.job());
    storage.withdraw(&completed_name(job))?;
    // The locks go last: without them a second host could begin while files are still there.
    for directory in [stops_directory(job), epochs_directory(job)] {
        for (name, _) in storage.list(&directory)? {
            storage.withdraw(&name)?;
        }
    }
    Ok(storage.prune(&job_directory(job))?)
}

/// The directories `chk-<n>` of a job, and whether they have a manifest.
pub(crate) fn checkpoints(
    storage: &dyn CheckpointStorage,
    job: JobId,
) -> Result<BTreeMap<CheckpointId, bool>, StorageError> {
    let directory = format!("{}/", job_directory(job));
    let mut found = BTreeMap::new();
    for (name, _) in storage.list(&job_directory(job))? {
        let Some(below) = name.strip_prefix(&directory) else {
            continue;
        };
        if let Some(id) = checkpoint_of(below) {
            let manifest =
                below.ends_with(MANIFEST_NAME) && manifest_name(&checkpoint_directory(job, id)) == name;
            *found.entry(id).or_insert(false) |= manifest;
        }
    }
    Ok(found)
}
