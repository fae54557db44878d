//! Names of a checkpoint's files: the one place that knows them.
//!
//! ```text
//! <job id>/chk-<n>/_metadata        the manifest, written last
//! <job id>/chk-<n>/e1-a0-v2-s0-o0   data: host epoch, attempt, vertex, subtask, operator in its chain
//! <job id>/chk-<n>/e1-a0-v2-s0-f0   records in flight of that operator
//! <job id>/shared/e1-a0-v2-s0-o0-c17-3  a file that several checkpoints may name: as data, checkpoint that wrote it, number
//! <job id>/epochs/<e>               the lock of a host's run, and <e>.from-<n>: what it went on from (`fence`)
//! <directory>/_claimed-by-<job id>   note that the job has the checkpoint or savepoint in this directory for its own
//! <job id>/stops/<n>                note that savepoint n ended the job
//! <job id>/completed                there was a completed checkpoint: never start afresh silently
//! ```
//!
//! Invariant: a data file's name holds epoch and attempt, so a run never writes to, nor deletes, a file
//! of another run, even where two runs use one checkpoint number.

use wasmill_model::id::{CheckpointId, JobId, SubtaskId};

/// The manifest's name in its directory (Flink's).
pub const MANIFEST_NAME: &str = "_metadata";

/// The directory of shared files, beside those of checkpoints (Flink's).
const SHARED: &str = "shared";

const CLAIMED: &str = "_claimed-by-";

/// Which run of a job writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// The host's, from [`crate::fence`].
    pub epoch: u64,
    /// The job's attempt within it.
    pub attempt: u32,
}

/// The directory of a job.
pub fn job_directory(job: JobId) -> String {
    job.to_string()
}

/// The directory of a job's own checkpoint.
pub fn checkpoint_directory(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{job}/chk-{checkpoint}")
}

/// The manifest of a checkpoint's directory.
pub fn manifest_name(directory: &str) -> String {
    file_name(directory, MANIFEST_NAME)
}

/// The note, in the directory of a checkpoint or savepoint, that a job has it for its own.
pub(crate) fn claim_name(directory: &str, job: JobId) -> String {
    file_name(directory, &format!("{CLAIMED}{job}"))
}

/// The job that such a note names.
pub(crate) fn claimed_by(name: &str) -> Option<JobId> {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    file.strip_prefix(CLAIMED)?.parse().ok()
}

/// A file of a checkpoint's directory; the directory may be the storage's own, empty.
pub fn file_name(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// The name, relative to the checkpoint's directory, of the file that holds an operator's keyed state.
/// `operator` is its place in the chain.
pub fn data_file_name(writer: Writer, subtask: SubtaskId, operator: usize) -> String {
    let Writer { epoch, attempt } = writer;
    let SubtaskId { vertex, index } = subtask;
    format!("e{epoch}-a{attempt}-v{}-s{index}-o{operator}", vertex.0)
}

/// The same of the file that holds an operator's records in flight.
pub fn in_flight_file_name(writer: Writer, subtask: SubtaskId, operator: usize) -> String {
    let Writer { epoch, attempt } = writer;
    let SubtaskId { vertex, index } = subtask;
    format!("e{epoch}-a{attempt}-v{}-s{index}-f{operator}", vertex.0)
}

/// The name, in the directory of a job's shared files, of one that a checkpoint writes for an operator.
pub fn shared_file_name(
    writer: Writer,
    subtask: SubtaskId,
    operator: usize,
    checkpoint: CheckpointId,
    number: usize,
) -> String {
    format!(
        "{}-c{checkpoint}-{number}",
        data_file_name(writer, subtask, operator)
    )
}

/// A shared file, seen from the directory of a checkpoint that names it, beside which they lie.
pub fn shared_name(directory: &str, name: &str) -> String {
    match directory.rsplit_once('/') {
        Some((job, _)) => format!("{job}/{SHARED}/{name}"),
        None => format!("{SHARED}/{name}"),
    }
}

/// The directory of a job's shared files.
pub(crate) fn shared_directory(job: JobId) -> String {
    format!("{job}/{SHARED}")
}

/// The epoch in a data file's name; `None`: it is not one of ours.
pub(crate) fn epoch_of_data_file(name: &str) -> Option<u64> {
    name.strip_prefix('e')?.split_once("-a")?.0.parse().ok()
}

/// The number in the directory part of a name below the job's directory, such as `chk-7/_metadata`.
pub(crate) fn checkpoint_of(below_job: &str) -> Option<CheckpointId> {
    let directory = below_job.split_once('/')?.0;
    directory.strip_prefix("chk-")?.parse().ok().map(CheckpointId)
}

pub(crate) fn epochs_directory(job: JobId) -> String {
    format!("{job}/epochs")
}

pub(crate) fn stops_directory(job: JobId) -> String {
    format!("{job}/stops")
}

pub(crate) fn completed_name(job: JobId) -> String {
    format!("{job}/completed")
}
