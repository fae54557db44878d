//! Local directories: `<local directory>/wasmill-rocksdb-<number>/<job>/<operator>-<subtask>-<attempt>`.
//!
//! A host holds a lock in a directory of its own for its life. Invariants: a directory goes with its database, whose
//! owner is the last to drop it; a sweep removes nothing but whole directories of hosts whose lock nobody holds.

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wasmill_state::backend::StateError;
use wasmill_state::backends::Place;

const PREFIX: &str = "wasmill-rocksdb-";
const LOCK: &str = "owner.lock";
/// The lock under the name that it has until it is held.
const NEW_LOCK: &str = "owner.lock.new";
/// Letters of an operator's uid in a path.
const UID_LETTERS: usize = 64;

/// The setting that an error names.
const SETTING: &str = "rocksdb-localdir";

/// The directory of one run of a host.
pub(crate) struct HostDirectory {
    path: PathBuf,
    _lock: File,
    next: AtomicU64,
}

impl HostDirectory {
    /// Sweeps, and makes a new one.
    pub(crate) fn open(local: &Path) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn Display| {
            format!(
                "local directory {}: {what}: {error}: name a directory with room that can be written as `{SETTING}`",
                local.display()
            )
        };
        let local_path = std::path::absolute(local).map_err(|error| failed("not a path", &error))?;
        fs::create_dir_all(&local_path).map_err(|error| failed("cannot create it", &error))?;
        sweep(&local_path).map_err(|error| failed("cannot remove what an earlier host left", &error))?;
        let (path, lock) = make(&local_path).map_err(|error| failed("cannot write in it", &error))?;
        Ok(Self {
            path,
            _lock: lock,
            next: AtomicU64::new(0),
        })
    }

    /// The directory of an operator's subtask: not made yet.
    pub(crate) fn of_task(&self, job: &str, place: Place<'_>) -> TaskDirectory {
        let letters = place.operator.0.chars().take(UID_LETTERS);
        let uid: String = letters
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '_'
                }
            })
            .collect();
        // The number tells operators apart whose uids are alike but for other letters.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{uid}-{}-{}-{number}", place.subtask, place.attempt);
        TaskDirectory(self.path.join(job).join(name))
    }
}

impl Drop for HostDirectory {
    fn drop(&mut self) {
        // What is left is swept by the next host.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// How often the directory of a database is made where the one above it goes meanwhile.
const CREATIONS_MAX: usize = 10;

/// Where a database is to lie.
pub(crate) struct TaskDirectory(PathBuf);

impl TaskDirectory {
    /// Makes it.
    pub(crate) fn create(&self) -> Result<OwnedDirectory, StateError> {
        // That of the job goes with the last database of the attempt before: perhaps between two steps of this.
        let made = (1..CREATIONS_MAX)
            .map(|_| fs::create_dir_all(&self.0))
            .find(|made| {
                !made
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            });
        let made = made.unwrap_or_else(|| fs::create_dir_all(&self.0));
        made.map(|()| OwnedDirectory(self.0.clone()))
            .map_err(|error| failed(&self.0, &error))
    }
}

/// An error of a database, with its directory and the setting.
pub(crate) fn failed(path: &Path, error: &dyn Display) -> StateError {
    StateError::Io(io::Error::other(format!(
        "RocksDB in {}: {error}: see that there is room and that it can be written, or name another directory as \
         `{SETTING}`",
        path.display()
    )))
}

/// A directory that goes with its owner.
pub(crate) struct OwnedDirectory(PathBuf);

impl OwnedDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The one beside it for the links of its n-th checkpoint: not made yet.
    pub(crate) fn beside(&self, number: u64) -> Self {
        let mut name = self.0.clone().into_os_string();
        name.push(format!("-files-{number}"));
        Self(name.into())
    }
}

impl Drop for OwnedDirectory {
    fn drop(&mut self) {
        // What is left is swept by the next host.
        let _ = fs::remove_dir_all(&self.0);
        // The job's own goes with its last database; it is not empty before.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// Makes a directory that no other host has, with its lock held before it is seen.
fn make(local: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = std::process::id();
    loop {
        let path = local.join(format!("{PREFIX}{number}"));
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                number = number.wrapping_add(1);
                continue;
            }
            Err(error) => return Err(error),
        }
        let lock = File::create(path.join(NEW_LOCK))?;
        lock.lock()?;
        fs::rename(path.join(NEW_LOCK), path.join(LOCK))?;
        return Ok((path, lock));
    }
}

/// Removes the directories of hosts that are gone.
fn sweep(local: &Path) -> io::Result<()> {
    for entry in fs::read_dir(local)? {
        let entry = entry?;
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if !is_ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let lock = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock,
            // Its host is about to make it, or it is none of ours.
            Err(_) => continue,
        };
        match lock.try_lock() {
            Ok(()) => fs::remove_dir_all(entry.path())?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill_model::id::OperatorUid;

    use super::*;

    #[test]
    fn a_sweep_removes_what_dead_hosts_left_and_nothing_else() {
        let local = tempfile::tempdir().unwrap();
        let living = HostDirectory::open(local.path()).unwrap();
        let dead = local.path().join("wasmill-rocksdb-dead");
        let foreign = local.path().join("wasmill-rocksdb-notes");
        for (directory, file) in [(&dead, LOCK), (&foreign, "notes.txt")] {
            fs::create_dir_all(directory.join("job/task")).unwrap();
            fs::write(directory.join(file), "").unwrap();
        }
        fs::write(local.path().join("wasmill-rocksdb-file"), "").unwrap();
        let next = HostDirectory::open(local.path()).unwrap();
        assert!(living.path.exists() && next.path.exists() && living.path != next.path);
        assert!(foreign.join("job/task").exists() && local.path().join("wasmill-rocksdb-file").exists());
        assert!(!dead.exists());
        drop(next);
        assert!(living.path.exists());
    }

    #[test]
    fn a_directory_goes_with_its_owner_and_the_jobs_with_the_last() {
        let local = tempfile::tempdir().unwrap();
        let host = HostDirectory::open(local.path()).unwrap();
        let operator = OperatorUid::new("count/../ä");
        let of = |subtask| {
            let place = Place {
                operator: &operator,
                subtask,
                attempt: 3,
            };
            host.of_task("job", place).create().unwrap()
        };
        let (first, second) = (of(0), of(1));
        assert!(first.path().starts_with(host.path.join("job")));
        assert!(first.path().ends_with("count_______0-3-0") || first.path().exists());
        drop(first);
        assert!(second.path().exists());
        drop(second);
        assert!(host.path.exists() && !host.path.join("job").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_its_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let local = file.path().join("below");
        let error = HostDirectory::open(&local).err().unwrap();
        assert!(
            error.contains(&*local.to_string_lossy()) && error.contains(SETTING),
            "{error}"
        );
    }
}
