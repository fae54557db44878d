//! The lock on a job's directory: a second host on the same directory fences the first.
//!
//! Each host that runs a job takes the next epoch, by creating a file that only one can create. Before a
//! manifest is written, an epoch that is no longer the newest is refused. Between that look and the
//! write another host may take over; so each epoch also notes from which checkpoint it went on, and a
//! manifest that an older epoch wrote with a higher number is void. The older host looks once more after the write,
//! and commits nothing where it was late.
//!
//! Invariants: of two hosts, only what the newer one has seen or written is ever restored. All that is known of epochs
//! stands in the names of empty files, where no damage to a file's content can change it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmill_model::id::{CheckpointId, JobId};

use crate::layout::{completed_name, epochs_directory, manifest_name, stops_directory};
use crate::manifest::{Manifest, ManifestError};
use crate::restore::StopNote;
use crate::storage::{CheckpointStorage, StorageError};

/// Epochs that are remembered; a host that comes back after so many others finds itself fenced all the
/// same, since the newest is among them.
const EPOCHS_KEPT: usize = 16;

/// One host's run of one job.
pub struct Fence {
    storage: Arc<dyn CheckpointStorage>,
    job: JobId,
    epoch: u64,
    /// Whether it is noted that a checkpoint was completed.
    noted_completed: AtomicBool,
}

/// Why a host may not go on with a job.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Another host has taken the job over.
    #[error(
        "job {job} in {storage} was taken over by another host (epoch {newer}, ours is {ours}): two hosts must not run \
         one job; stop one of them or give it a directory of its own"
    )]
    Fenced {
        /// The job.
        job: JobId,
        /// The storage's URL.
        storage: String,
        /// Our epoch.
        ours: u64,
        /// The other's.
        newer: u64,
    },
    /// The manifest cannot be written in its format.
    #[error("manifest of checkpoint {checkpoint}: {source}")]
    Manifest {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The storage does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Fence {
    /// Takes the job over: every older epoch is stale from now on. To be called before the latest
    /// checkpoint is looked for.
    pub fn acquire(storage: Arc<dyn CheckpointStorage>, job: JobId) -> Result<Self, FenceError> {
        let directory = epochs_directory(job);
        let epochs = Epochs::read(&*storage, job)?;
        let epoch = epochs.newest() + 1;
        // Its content tells it from another host's where the answer is lost. Nobody else reads it.
        match storage.create(&format!("{directory}/{epoch}"), token().as_bytes()) {
            Ok(()) => {}
            Err(StorageError::Exists { .. }) => {
                let storage = storage.url();
                return Err(FenceError::Fenced {
                    job,
                    storage,
                    ours: epoch,
                    newer: epoch,
                });
            }
            Err(error) => return Err(error.into()),
        }
        for (old, base) in epochs.bases.iter().rev().skip(EPOCHS_KEPT) {
            if let Some(base) = base {
                storage.delete(&base_name(job, *old, *base))?;
            }
            storage.delete(&format!("{directory}/{old}"))?;
        }
        Ok(Self {
            storage,
            job,
            epoch,
            noted_completed: AtomicBool::new(false),
        })
    }

    /// Ours, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The job's own storage.
    pub fn storage(&self) -> &Arc<dyn CheckpointStorage> {
        &self.storage
    }

    /// Whether nobody has taken the job over since.
    pub fn check(&self) -> Result<(), FenceError> {
        self.checked().map(drop)
    }

    fn checked(&self) -> Result<Epochs, FenceError> {
        let epochs = Epochs::read(&*self.storage, self.job)?;
        let newer = epochs.newest();
        if newer > self.epoch {
            let storage = self.storage.url();
            return Err(FenceError::Fenced {
                job: self.job,
                storage,
                ours: self.epoch,
                newer,
            });
        }
        Ok(epochs)
    }

    /// Notes from which checkpoint this host goes on, once, before any sink recovers: manifests of older
    /// epochs with a higher number are void from then on. `None`: from the start.
    pub fn settle(&self, restored: Option<CheckpointId>) -> Result<(), FenceError> {
        let epochs = self.checked()?;
        // Of an earlier attempt in this host: what it went on from bounds this one, too.
        if epochs.bases.get(&self.epoch).is_some_and(Option::is_some) {
            return Ok(());
        }
        let name = base_name(self.job, self.epoch, restored.map_or(0, |id| id.0));
        match self.storage.create(&name, b"") {
            Ok(()) | Err(StorageError::Exists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Completes a checkpoint: puts its manifest into `directory` of `storage`, which is the job's own or
    /// that of a savepoint. Refused where another host has taken over. One that takes over in between may not see it, and
    /// goes on from one before: before anything is committed for a checkpoint, [`Fence::check`] is to be asked again.
    pub fn write_manifest(
        &self,
        storage: &dyn CheckpointStorage,
        directory: &str,
        manifest: &Manifest,
    ) -> Result<(), FenceError> {
        let checkpoint = manifest.checkpoint;
        let content = manifest
            .encode()
            .map_err(|source| FenceError::Manifest { checkpoint, source })?;
        self.check()?;
        create_or_withdraw(storage, &manifest_name(directory), &content)?;
        Ok(())
    }

    /// To be called after the first manifest of the job's own: from then on a directory without a good
    /// checkpoint is an error and no fresh start. Costs nothing from the second call on.
    pub fn note_completed(&self) -> Result<(), FenceError> {
        if self.noted_completed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let name = completed_name(self.job);
        match self.storage.create(&name, b"") {
            Ok(()) => {}
            Err(StorageError::Exists { .. }) => self.storage.keep(&name)?,
            Err(error) => return Err(error.into()),
        }
        self.noted_completed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// To be called after the manifest of a stop-with-savepoint and before anything is committed for it:
    /// a host that dies then finds the note and does not go back to a checkpoint before.
    pub fn note_stop(&self, note: &StopNote) -> Result<(), FenceError> {
        self.check()?;
        let name = format!("{}/{}", stops_directory(self.job), note.checkpoint);
        let content = note.encode().map_err(|error| FenceError::Manifest {
            checkpoint: note.checkpoint,
            source: ManifestError::Content(error.to_string()),
        })?;
        Ok(create_or_withdraw(&*self.storage, &name, &content)?)
    }
}

/// Never the same twice.
fn token() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// Creates a file that decides what a restore finds. Where the answer is an error the file may be there all
/// the same; then it is taken back, so that what was called a failure is one.
fn create_or_withdraw(
    storage: &dyn CheckpointStorage,
    name: &str,
    content: &[u8],
) -> Result<(), StorageError> {
    let Err(error) = storage.create(name, content) else {
        return Ok(());
    };
    // One of that name with other content is somebody else's.
    let ours = |found: Vec<u8>| found == content;
    let is_there = !matches!(error, StorageError::Exists { .. })
        && storage.read(name, 0, content.len() as u64 + 1).is_ok_and(ours);
    if is_there && let Err(second) = storage.withdraw(name) {
        tracing::warn!(name, %error, %second, "a file whose creation failed is there and could not be deleted");
    }
    Err(error)
}

/// Between an epoch and the checkpoint that it went on from, in the name of a file.
const BASE: &str = ".from-";

fn base_name(job: JobId, epoch: u64, base: u64) -> String {
    format!("{}/{epoch}{BASE}{base}", epochs_directory(job))
}

/// All epochs of a job and what they went on from.
pub(crate) struct Epochs {
    bases: BTreeMap<u64, Option<u64>>,
}

impl Epochs {
    pub(crate) fn read(storage: &dyn CheckpointStorage, job: JobId) -> Result<Self, StorageError> {
        let directory = epochs_directory(job);
        let mut bases: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (name, _) in storage.list(&directory)? {
            let Some(below) = name.strip_prefix(&directory).and_then(|n| n.strip_prefix('/')) else {
                continue;
            };
            let (epoch, base) = match below.split_once(BASE) {
                Some((epoch, base)) => (epoch.parse(), base.parse().ok()),
                None => (below.parse(), None),
            };
            if let Ok(epoch) = epoch {
                let known = bases.entry(epoch).or_default();
                *known = known.or(base);
            }
        }
        Ok(Self { bases })
    }

    fn newest(&self) -> u64 {
        self.bases.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether a newer epoch went on from an older checkpoint, and so never saw this one.
    pub(crate) fn is_void(&self, checkpoint: CheckpointId, epoch: u64) -> bool {
        let newer = self.bases.range(epoch.saturating_add(1)..);
        newer
            .filter_map(|(_, base)| *base)
            .any(|base| checkpoint.0 > base)
    }
}
