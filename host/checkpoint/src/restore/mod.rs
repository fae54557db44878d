//! Restore (C6, C8, C10): the latest good checkpoint of a job, and who gets which part of it.
//!
//! Invariants: nothing is restored of which the manifest or a file is missing, cut off or changed; where
//! there was a completed checkpoint and none is good, that is an error and no fresh start; what was passed
//! over is reported.

mod file;
mod find;
mod native;
mod redistribute;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::id::{CheckpointId, JobId, OperatorUid};

pub use file::open_data;
pub use find::{latest, load};
pub(crate) use find::{manifest, shared_files};
pub use native::StoredNative;
pub use redistribute::{
    InFlightPart, KeyedPart, NativePart, OperatorRestore, RestorePlan, SubtaskRestore, Target, redistribute,
};
pub use stop::StopNote;

use crate::manifest::{Manifest, ManifestError};
use crate::storage::StorageError;

/// A checkpoint that was read and found whole: its manifest and the checksums of all files it names.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its directory in the storage; file names of the manifest are relative to it.
    pub directory: String,
    /// It.
    pub manifest: Manifest,
}

/// A checkpoint that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its directory.
    pub directory: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a job's directory holds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The latest good checkpoint; `None`: the job has completed none.
    pub latest: Option<Restored>,
    /// Newer ones that were passed over, newest first.
    pub skipped: Vec<Skipped>,
    /// Completed checkpoints up to `latest`, each with the shared files that it names: for
    /// [`crate::coordinator::Coordinator::set_retained`].
    pub retained: BTreeMap<CheckpointId, BTreeSet<String>>,
    /// The number of the next checkpoint: above all that are or were there.
    pub next_id: CheckpointId,
    /// Where the job was stopped with a savepoint and did not come to record it: there is nothing to do
    /// but to commit what that savepoint holds.
    pub stopped: Option<StopNote>,
}

/// Why a job cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There are checkpoints and none is good: starting afresh would lose state.
    #[error(
        "no checkpoint of job {job} in {storage} can be restored: {}; put what is missing or damaged back from a copy, or \
         start a job anew from a savepoint (`run -s`)", reasons(.skipped)
    )]
    NoneGood {
        /// The job.
        job: JobId,
        /// The storage's URL.
        storage: String,
        /// All of them.
        skipped: Vec<Skipped>,
    },
    /// The checkpoint that was asked for is damaged or incomplete.
    #[error(
        "{directory} in {storage} cannot be restored: {reason}; put its files back from a copy, or restore another \
         checkpoint or savepoint"
    )]
    Damaged {
        /// Its directory.
        directory: String,
        /// The storage's URL.
        storage: String,
        /// What is wrong.
        reason: String,
    },
    /// The note of a stop cannot be read: to pass over it could repeat what was committed.
    #[error(
        "{name} in {storage} should name the savepoint with which the job stopped: {reason}; start a job anew from that \
         savepoint (`run -s`), or delete the note where the job is to go back to its checkpoint before"
    )]
    Stop {
        /// The note's file.
        name: String,
        /// The storage's URL.
        storage: String,
        /// What is wrong.
        reason: String,
    },
    /// A newer host wrote it. It is good, so nothing older is taken instead and nothing is deleted: what came after an
    /// older one is committed already.
    #[error("{directory} in {storage}: {}", ManifestError::Version(*.version))]
    Newer {
        /// Its directory.
        directory: String,
        /// The storage's URL.
        storage: String,
        /// Of its format.
        version: u32,
    },
    /// State that no operator of the job claims (G4).
    #[error(
        "the checkpoint holds state of {}, which the job does not have: give its operators these uids again, \
         or drop the state with `allowNonRestoredState` (`run -n`)", quoted(.uids)
    )]
    Unclaimed {
        /// The operators.
        uids: Vec<OperatorUid>,
    },
    /// The job sets another number of key groups than its state has.
    #[error(
        "the checkpoint has max parallelism {stored}, the job sets {wanted}: it is fixed at the first run; set \
         `max-parallelism: {stored}` or leave it out"
    )]
    MaxParallelism {
        /// Of the checkpoint.
        stored: u16,
        /// Of the job.
        wanted: u16,
    },
    /// The storage does not answer: not a sign of damage, so nothing is passed over.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn reasons(skipped: &[Skipped]) -> String {
    let reasons: Vec<_> = skipped
        .iter()
        .map(|s| format!("{}: {}", s.directory, s.reason))
        .collect();
    reasons.join("; ")
}

fn quoted(uids: &[OperatorUid]) -> String {
    let uids: Vec<_> = uids.iter().map(|uid| format!("`{uid}`")).collect();
    uids.join(", ")
}
