//! The jobs of a data directory: `jobs/<id>/job.json` says what the job is and never changes,
//! `jobs/<id>/state.json` says whether it is to run or how it ended.
//!
//! Invariant: each file is replaced as a whole (write aside, sync, rename, sync the directory), so that a power cut
//! leaves the old or the new one. A job exists once its `job.json` does.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasmill_engine::job::status::JobStatus;
use wasmill_model::graph::LogicalGraph;
use wasmill_model::id::JobId;
use wasmill_model::time::Timestamp;

/// Of both files.
pub const VERSION: u32 = 1;

/// What a job is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobRecord {
    /// Of this file.
    pub version: u32,
    /// Its id.
    pub id: JobId,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// Slots that it needs.
    pub slots: u32,
    /// Validated; plugins are digests, secrets are references.
    pub graph: LogicalGraph,
    /// Where it starts from as long as it has no checkpoint of its own.
    pub savepoint: Option<SavepointRef>,
}

/// A checkpoint or savepoint to start from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavepointRef {
    /// URL or path of the directory with the manifest.
    pub path: String,
    /// Whether state that no operator claims is dropped.
    pub allow_non_restored: bool,
    /// Whether it is this job's from now on.
    #[serde(default)]
    pub claim: bool,
}

impl JobRecord {
    /// Digests of the components that it runs.
    pub fn plugins(&self) -> Vec<String> {
        let operators = self.graph.operators.iter();
        operators
            .flat_map(|operator| operator.plugins())
            .map(str::to_owned)
            .collect()
    }
}

/// Whether a job is to run, or how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredState {
    /// Of this file.
    pub version: u32,
    /// Cancelling was asked for and is not finished.
    #[serde(default)]
    pub cancelling: bool,
    /// How it ended; `None`: it is to run.
    #[serde(default)]
    pub status: Option<JobStatus>,
}

impl StoredState {
    /// It is to run.
    pub fn running() -> Self {
        Self {
            version: VERSION,
            cancelling: false,
            status: None,
        }
    }

    /// It is being cancelled.
    pub fn cancelling() -> Self {
        Self {
            version: VERSION,
            cancelling: true,
            status: None,
        }
    }

    /// It has ended.
    pub fn ended(status: JobStatus) -> Self {
        Self {
            version: VERSION,
            cancelling: false,
            status: Some(status),
        }
    }
}

/// What a job is and whether it is to run; the error names the file that cannot be read.
pub type Stored = Result<(JobRecord, StoredState), String>;

/// The directory of jobs.
pub struct JobStore {
    directory: PathBuf,
    /// Held while a `state.json` is replaced: a client's cancel and the job's end come from two threads.
    replacing: Mutex<()>,
}

impl JobStore {
    /// Opens or creates it.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            replacing: Mutex::new(()),
        })
    }

    /// The directory of a job.
    pub fn directory(&self, id: JobId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Stores a new job, durable once this returns.
    pub fn create(&self, record: &JobRecord) -> io::Result<()> {
        let directory = self.directory(record.id);
        fs::create_dir(&directory)?;
        write(&directory, "state.json", &StoredState::running())?;
        write(&directory, "job.json", record)?;
        sync_directory(&self.directory)
    }

    /// Replaces a job's state.
    pub fn save(&self, id: JobId, state: &StoredState) -> io::Result<()> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        write(&self.directory(id), "state.json", state)
    }

    /// Notes that a job is to be cancelled, unless its end is already stored: then that status, and nothing changes.
    pub fn mark_cancelling(&self, id: JobId) -> io::Result<Option<JobStatus>> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = self.directory(id);
        let stored: StoredState = read(&directory.join("state.json")).map_err(io::Error::other)?;
        if stored.status.is_none() {
            write(&directory, "state.json", &StoredState::cancelling())?;
        }
        Ok(stored.status)
    }

    /// Deletes a job's files: `job.json` first, so that half a deletion leaves no job.
    pub fn delete(&self, id: JobId) -> io::Result<()> {
        let directory = self.directory(id);
        match fs::remove_file(directory.join("job.json")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => fs::remove_dir_all(directory),
        }
    }

    /// All jobs, in the order of their ids; a file that cannot be read is an error of that job alone.
    pub fn list(&self) -> Vec<(JobId, Stored)> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut ids: Vec<JobId> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        ids.sort_unstable();
        let present = ids
            .into_iter()
            .filter(|id| self.directory(*id).join("job.json").exists());
        present.map(|id| (id, self.read(id))).collect()
    }

    fn read(&self, id: JobId) -> Stored {
        let directory = self.directory(id);
        Ok((
            read(&directory.join("job.json"))?,
            read(&directory.join("state.json"))?,
        ))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let parsed = |e: serde_json::Error| format!("{}: {e}", path.display());
    let Version { version } = serde_json::from_slice(&text).map_err(parsed)?;
    if version != VERSION {
        return Err(format!(
            "{}: version {version} is newer than this host, which reads {VERSION}",
            path.display()
        ));
    }
    serde_json::from_slice(&text).map_err(parsed)
}

fn write<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    let aside = directory.join(format!(".{name}.tmp"));
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    let mut file = File::create(&aside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&aside, directory.join(name))?;
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Takes the lock of a data directory; it ends with the process, however that ends.
pub fn lock(data: &Path) -> Result<File, String> {
    let path = data.join("lock");
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = opened.map_err(|e| format!("{}: {e}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "data directory {}: another host uses it: stop that one, or give this one another `data-dir`",
            data.display()
        )),
        Err(TryLockError::Error(e)) => Err(format!("{}: cannot be locked: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_engine::job::status::JobState;
    use wasmill_model::graph::JobSettings;

    fn record(id: u128) -> JobRecord {
        let graph = LogicalGraph {
            name: "j".to_owned(),
            operators: Vec::new(),
            max_parallelism: None,
            settings: JobSettings::default(),
        };
        JobRecord {
            version: VERSION,
            id: JobId(id),
            submitted_at: 7,
            slots: 1,
            graph,
            savepoint: None,
        }
    }

    #[test]
    fn a_job_is_listed_once_it_is_created_and_not_after_half_a_deletion() {
        let data = tempfile::tempdir().unwrap();
        let store = JobStore::open(data.path()).unwrap();
        store.create(&record(2)).unwrap();
        store.create(&record(1)).unwrap();
        store.save(JobId(1), &StoredState::cancelling()).unwrap();
        let listed = store.list();
        assert_eq!(listed.len(), 2);
        let (first, state) = listed[0].1.as_ref().unwrap();
        assert!(first.id == JobId(1) && state.cancelling && state.status.is_none());
        fs::remove_file(store.directory(JobId(1)).join("job.json")).unwrap();
        assert_eq!(store.list().len(), 1);
        store.delete(JobId(2)).unwrap();
        assert!(store.list().is_empty());
    }

    #[test]
    fn a_cancel_and_an_end_at_once_never_undo_the_end() {
        let data = tempfile::tempdir().unwrap();
        let store = JobStore::open(data.path()).unwrap();
        let job = crate::host::job::Job::new(record(1), crate::host::job::Phase::Starting);
        let finished = job.planned_status(JobState::Finished, None);
        for id in 1..=20 {
            let id = JobId(id);
            store.create(&record(id.0)).unwrap();
            std::thread::scope(|threads| {
                let cancel = threads.spawn(|| store.mark_cancelling(id));
                store.save(id, &StoredState::ended(finished.clone())).unwrap();
                cancel.join().unwrap().unwrap();
            });
            let stored = store.read(id).unwrap().1;
            assert!(stored.status.is_some(), "the end of {id} was undone");
            assert!(store.mark_cancelling(id).unwrap().is_some());
        }
    }

    #[test]
    fn a_torn_or_newer_file_is_an_error_of_its_job_alone() {
        let data = tempfile::tempdir().unwrap();
        let store = JobStore::open(data.path()).unwrap();
        for id in [1, 2, 3] {
            store.create(&record(id)).unwrap();
        }
        fs::write(
            store.directory(JobId(1)).join("state.json"),
            "{\"version\": 1, \"canc",
        )
        .unwrap();
        fs::write(store.directory(JobId(2)).join("job.json"), "{\"version\": 2}").unwrap();
        let listed = store.list();
        assert!(listed[0].1.as_ref().unwrap_err().contains("state.json"));
        assert!(
            listed[1]
                .1
                .as_ref()
                .unwrap_err()
                .contains("version 2 is newer than this host")
        );
        assert!(listed[2].1.is_ok());
    }

    #[test]
    fn two_hosts_cannot_share_a_data_directory() {
        let data = tempfile::tempdir().unwrap();
        let first = lock(data.path()).unwrap();
        let error = lock(data.path()).unwrap_err();
        assert!(error.contains("another host uses it: stop that one"), "{error}");
        drop(first);
        assert!(lock(data.path()).is_ok());
    }
}
