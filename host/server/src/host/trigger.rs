//! Savepoints and checkpoints that somebody asked for, and how they went.
//!
//! Invariant: at most [`TRIGGERS_MAX`] are remembered; a trigger id that the client chose is triggered once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use wasmill_checkpoint::layout::{self, manifest_name};
use wasmill_checkpoint::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestKind};
use wasmill_checkpoint::retention;
use wasmill_checkpoint::storage::{CheckpointStorage, StorageSettings};
use wasmill_engine::job::status::SavepointOutcome;
use wasmill_engine::job::{JobHandle, SavepointTrigger, Stop};
use wasmill_model::element::SavepointFormat;
use wasmill_model::id::JobId;

use super::job::Job;
use super::store::{JobRecord, SavepointRef};
use super::{Host, HostError, SubmitOptions, local_path, random_u128};
use crate::config::directory_url;

/// Triggers that are remembered, over all jobs.
pub const TRIGGERS_MAX: usize = 1_000;

/// Between two looks at whether a savepoint is complete.
const OUTCOME_POLL: Duration = Duration::from_millis(20);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A savepoint.
    Savepoint(SavepointFormat),
    /// A savepoint, and the job stops with it.
    Stop(Stop, SavepointFormat),
    /// A savepoint, and the job is cancelled after it.
    SavepointThenCancel(SavepointFormat),
    /// A checkpoint; a full one builds on no other.
    Checkpoint {
        /// Whether it is.
        full: bool,
    },
}

#[derive(Clone)]
struct Asked {
    job: JobId,
    what: What,
    handle: Arc<dyn JobHandle>,
    trigger: SavepointTrigger,
}

/// All that was asked for.
#[derive(Default)]
pub struct Triggers {
    asked: Mutex<Remembered>,
    /// Held while something is triggered: a client that asks again gets the same answer.
    triggering: Mutex<()>,
}

#[derive(Default)]
struct Remembered {
    /// By trigger id: the how manieth it was, and what.
    by_id: BTreeMap<u128, (u64, Asked)>,
    count: u64,
}

impl Triggers {
    fn locked(&self) -> MutexGuard<'_, Remembered> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: u128, asked: Asked) {
        let remembered = &mut *self.locked();
        remembered.count += 1;
        remembered.by_id.insert(id, (remembered.count, asked));
        let oldest = remembered.by_id.iter().min_by_key(|(_, (order, _))| *order);
        if let Some(oldest) = oldest
            .map(|(id, _)| *id)
            .filter(|_| remembered.by_id.len() > TRIGGERS_MAX)
        {
            remembered.by_id.remove(&oldest);
        }
    }

    fn find(&self, id: u128) -> Option<Asked> {
        self.locked().by_id.get(&id).map(|(_, asked)| asked.clone())
    }
}

impl Host {
    /// Triggers a savepoint or checkpoint and returns the trigger's id at once.
    pub fn trigger(
        self: &Arc<Self>,
        job: JobId,
        what: What,
        target: Option<&str>,
        chosen_id: Option<u128>,
    ) -> Result<u128, HostError> {
        let id = chosen_id.unwrap_or_else(random_u128);
        let triggering = self.triggers.triggering.lock();
        let _one_at_a_time = triggering.unwrap_or_else(PoisonError::into_inner);
        match self.triggers.find(id) {
            Some(asked) if asked.job == job => return Ok(id),
            Some(asked) => {
                return Err(HostError::Conflict(format!(
                    "the trigger id {id:032x} is that of a savepoint of job {}: choose another, or none",
                    asked.job
                )));
            }
            None => {}
        }
        let running = self.job(job)?;
        let handle = running.handle().ok_or_else(|| not_running(&running))?;
        let trigger = match what {
            What::Checkpoint { full } => handle.trigger_checkpoint(full),
            What::Savepoint(format) | What::Stop(_, format) | What::SavepointThenCancel(format) => {
                let (storage, url) = self.savepoint_storage(target)?;
                let name = format!(
                    "savepoint-{}-{:012x}",
                    &job.to_string()[..6],
                    random_u128() as u64 & 0xffff_ffff_ffff
                );
                tracing::info!(job = %job, "savepoint {name} into {url}");
                match what {
                    What::SavepointThenCancel(_) => {
                        return self.cancel_after(id, handle, job, (storage, name), format);
                    }
                    What::Stop(stop, _) => handle.trigger_savepoint(storage, name, Some(stop), format),
                    _ => handle.trigger_savepoint(storage, name, None, format),
                }
            }
        };
        let asked = Asked {
            job,
            what,
            handle,
            trigger,
        };
        self.triggers.remember(id, asked);
        Ok(id)
    }

    /// Triggers a savepoint, waits for it beside everything else, and cancels the job if it succeeded. The thread
    /// comes first: without it the job would stand there after its savepoint and do no checkpoint.
    fn cancel_after(
        self: &Arc<Self>,
        id: u128,
        handle: Arc<dyn JobHandle>,
        job: JobId,
        (storage, name): (Arc<dyn CheckpointStorage>, String),
        format: SavepointFormat,
    ) -> Result<u128, HostError> {
        let host = Arc::downgrade(self);
        let (tell, told) = std::sync::mpsc::sync_channel::<Asked>(1);
        std::thread::Builder::new()
            .name("cancel-after-savepoint".to_owned())
            .spawn(move || {
                if let Ok(asked) = told.recv() {
                    wait_and_cancel(&host, &asked);
                }
            })
            .map_err(|e| HostError::Host(format!("no thread could be started for the savepoint: {e}")))?;
        let trigger = handle.trigger_last_savepoint(storage, name, format);
        let asked = Asked {
            job,
            what: What::SavepointThenCancel(format),
            handle,
            trigger,
        };
        // It takes one without waiting, and the thread waits for it.
        let _ = tell.send(asked.clone());
        self.triggers.remember(id, asked);
        Ok(id)
    }

    /// How a trigger ended; `None` while it is under way.
    pub fn outcome(
        &self,
        job: JobId,
        id: u128,
        checkpoint: bool,
    ) -> Result<Option<SavepointOutcome>, HostError> {
        let asked = self.triggers.find(id);
        let asked = asked
            .filter(|asked| asked.job == job && matches!(asked.what, What::Checkpoint { .. }) == checkpoint);
        let Some(asked) = asked else {
            let what = if checkpoint { "checkpoint" } else { "savepoint" };
            let message = format!("There is no {what} operation with triggerId={id:032x} for job {job}.");
            return Err(HostError::NotFound(message));
        };
        Ok(asked.handle.trigger_outcome(asked.trigger))
    }

    /// Where savepoints go: as asked for, or `savepoints` in the data directory.
    fn savepoint_storage(
        &self,
        target: Option<&str>,
    ) -> Result<(Arc<dyn CheckpointStorage>, String), HostError> {
        let url = match target {
            Some(target) => as_url(target).map_err(HostError::Bad)?,
            None => {
                directory_url(&self.settings.data_dir.join("savepoints")).map_err(|e| HostError::Host(e.0))?
            }
        };
        if let Some(directory) = local_path(&url) {
            std::fs::create_dir_all(&directory)
                .map_err(|e| HostError::Bad(format!("savepoint directory {}: {e}", directory.display())))?;
        }
        let storage = wasmill_checkpoint::storage::open(&url, &self.settings.storage)
            .map_err(|e| HostError::Bad(e.to_string()))?;
        Ok((storage, url))
    }
}

impl Host {
    /// Deletes a savepoint, or a checkpoint that no job needs: what its manifest names, and nothing else.
    pub fn dispose(&self, path: &str) -> Result<(), HostError> {
        let (storage, directory) =
            open_savepoint(path, &self.settings.storage).map_err(HostError::NotFound)?;
        let manifest = self.unneeded(path, &*storage, &directory)?;
        let failed = |e: &dyn std::fmt::Display| HostError::Host(format!("savepoint {path}: {e}"));
        retention::delete_savepoint(&*storage, &directory, &manifest).map_err(|e| failed(&e))?;
        for job in retention::claims(&*storage, &directory).map_err(|e| failed(&e))? {
            retention::release(&*storage, &directory, job).map_err(|e| failed(&e))?;
        }
        storage.prune(&directory).map_err(|e| failed(&e))
    }
}

impl Host {
    /// What a job is to start from: refused where it may not, or may not have it for its own as it wants.
    pub(super) fn savepoint_of(&self, options: &SubmitOptions) -> Result<Option<SavepointRef>, HostError> {
        let Some(path) = options.savepoint_path.as_deref() else {
            return Ok(None);
        };
        let (storage, directory) = open_savepoint(path, &self.settings.storage).map_err(HostError::Bad)?;
        if options.claim {
            self.unneeded(path, &*storage, &directory)?;
        }
        Ok(Some(SavepointRef {
            // A relative path would be another one for a host that is started elsewhere.
            path: as_url(path).map_err(HostError::Bad)?,
            allow_non_restored: options.allow_non_restored,
            claim: options.claim,
        }))
    }

    /// Notes beside what a job claims that it is the job's own.
    pub(super) fn claim(&self, record: &JobRecord) -> Result<(), HostError> {
        let Some(savepoint) = record.savepoint.as_ref().filter(|savepoint| savepoint.claim) else {
            return Ok(());
        };
        let (storage, directory) =
            open_savepoint(&savepoint.path, &self.settings.storage).map_err(HostError::Bad)?;
        retention::claim(&*storage, &directory, record.id).map_err(|e| {
            HostError::Conflict(format!(
                "`{}` cannot be claimed: {e}: make its directory writable, or start from it without claiming it",
                savepoint.path
            ))
        })
    }

    /// Takes that back where the job was not accepted after all.
    pub(super) fn release(&self, record: &JobRecord) {
        let Some(savepoint) = record.savepoint.as_ref().filter(|savepoint| savepoint.claim) else {
            return;
        };
        if let Ok((storage, directory)) = open_savepoint(&savepoint.path, &self.settings.storage)
            && let Err(error) = retention::release(&*storage, &directory, record.id)
        {
            tracing::warn!(directory, %error, "the note of a claim could not be deleted");
        }
    }

    /// Refuses to start a job again whose checkpoint another one has claimed, and will delete.
    pub(super) fn check_unclaimed(&self, id: JobId) -> Result<(), HostError> {
        let own = format!("/{}/", layout::job_directory(id));
        let has_claimed = |job: &Job| {
            let savepoint = job.record().savepoint.as_ref();
            savepoint.is_some_and(|savepoint| savepoint.claim && savepoint.path.contains(&own))
        };
        let other = self
            .jobs()
            .into_iter()
            .find(|job| !job.is_ended() && has_claimed(job));
        match other {
            Some(other) => Err(HostError::Conflict(format!(
                "job {id} cannot be started again: its checkpoint is that of job {} now, which claimed it: cancel that job \
                 first",
                other.id()
            ))),
            None => Ok(()),
        }
    }

    /// The manifest of a savepoint, or of a checkpoint that its job needs no more.
    fn unneeded(
        &self,
        path: &str,
        storage: &dyn CheckpointStorage,
        directory: &str,
    ) -> Result<Manifest, HostError> {
        let manifest_file = manifest_name(directory);
        let content = storage
            .read(&manifest_file, 0, MANIFEST_BYTES_MAX + 1)
            .map_err(|e| HostError::NotFound(format!("savepoint {path}: {e}")))?;
        let manifest = Manifest::decode(&content).map_err(|e| {
            HostError::Bad(format!(
                "`{path}` is no savepoint of this program, so nothing was done: {manifest_file}: {e}"
            ))
        })?;
        let claims = retention::claims(storage, directory)
            .map_err(|e| HostError::Host(format!("savepoint {path}: {e}")))?;
        let mut claims = claims.into_iter().filter_map(|job| self.job(job).ok());
        if let Some(owner) = claims.find(|job| !job.is_ended()) {
            return Err(HostError::Conflict(format!(
                "`{path}` is claimed by job {}, which has not ended and deletes it by itself: cancel that job first",
                owner.id()
            )));
        }
        let is_checkpoint = matches!(manifest.kind, ManifestKind::Checkpoint | ManifestKind::Final);
        let owner = self.job(manifest.job_id).ok();
        match owner.filter(|job| is_checkpoint && !job.is_ended()) {
            Some(owner) => Err(HostError::Conflict(format!(
                "`{path}` is a checkpoint of job {}, which has not ended and may go on from it: cancel the job first",
                owner.id()
            ))),
            None => Ok(manifest),
        }
    }
}

fn wait_and_cancel(host: &Weak<Host>, asked: &Asked) {
    loop {
        match asked.handle.trigger_outcome(asked.trigger) {
            Some(SavepointOutcome::Completed { .. }) => break,
            Some(SavepointOutcome::Failed(_)) => return,
            None => std::thread::sleep(OUTCOME_POLL),
        }
    }
    // Stored first, so that a host that dies now does not start the job again; one that cannot store it cancels
    // the job all the same.
    let stored = match host.upgrade() {
        Some(host) => host.cancel(asked.job).map_err(|error| error.to_string()),
        None => Err("the host goes down".to_owned()),
    };
    if let Err(error) = stored {
        tracing::warn!(job = %asked.job, "after its savepoint: {error}");
        asked.handle.cancel();
    }
}

fn not_running(job: &Job) -> HostError {
    let state = job.status().state;
    HostError::Conflict(format!(
        "job {} is {state:?}, so it cannot be snapshotted: it must be running",
        job.id()
    ))
}

/// A URL as it is; a path as the `file:` URL of the absolute one.
pub fn as_url(target: &str) -> Result<String, String> {
    match target.split_once(':') {
        // A scheme has at least two letters, so that `C:\…` is a path. Flink writes `file:/x` and `file:///x`.
        Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            url::Url::parse(target)
                .map(|url| url.to_string())
                .map_err(|e| format!("`{target}` is not a URL: {e}"))
        }
        _ => directory_url(std::path::Path::new(target)).map_err(|e| e.0),
    }
}

/// The URL of the directory above, and the name in it, which storages take as it is: in a URL it is escaped.
pub fn parent_and_name(url: &str) -> Option<(String, String)> {
    let (parent, name) = url.trim_end_matches('/').rsplit_once('/')?;
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    (!name.is_empty() && !name.contains('/')).then(|| (format!("{parent}/"), name.into_owned()))
}

/// The storage and directory of a checkpoint or savepoint that somebody names; checks that its manifest is there.
pub fn open_savepoint(
    path: &str,
    settings: &StorageSettings,
) -> Result<(Arc<dyn CheckpointStorage>, String), String> {
    let url = as_url(path)?;
    let trimmed = url.trim_end_matches('/').trim_end_matches("/_metadata");
    let Some((parent, directory)) = parent_and_name(trimmed) else {
        return Err(format!(
            "`{path}` names no savepoint: give the directory that holds its `_metadata`"
        ));
    };
    // Opening local storage creates its directory: of a path that somebody only asks about nothing is made.
    if let Some(local) = local_path(trimmed).filter(|local| !local.is_dir()) {
        return Err(format!(
            "`{path}` is no savepoint or checkpoint: there is no directory {}",
            local.display()
        ));
    }
    let storage =
        wasmill_checkpoint::storage::open(&parent, settings).map_err(|e| format!("savepoint {path}: {e}"))?;
    let manifest = manifest_name(&directory);
    match storage.read(&manifest, 0, 1) {
        Ok(_) => Ok((storage, directory)),
        Err(e) => Err(format!(
            "`{path}` is no savepoint or checkpoint: {e}: give the directory that holds its `_metadata`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_of_savepoints_are_told_apart() {
        assert_eq!(as_url("s3://bucket/sp").unwrap(), "s3://bucket/sp");
        assert_eq!(as_url("file:/sp").unwrap(), "file:///sp");
        assert_eq!(as_url("/sp").unwrap(), "file:///sp/");
        assert!(as_url("sp").unwrap().ends_with("/sp/"));
    }

    #[test]
    fn a_directory_without_manifest_is_no_savepoint() {
        let directory = tempfile::tempdir().unwrap();
        let error = open_savepoint(directory.path().to_str().unwrap(), &StorageSettings::default())
            .err()
            .unwrap();
        assert!(
            error.contains("is no savepoint or checkpoint") && error.contains("_metadata"),
            "{error}"
        );
    }

    #[test]
    fn looking_for_a_savepoint_creates_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("a/b/sp");
        let error = open_savepoint(nowhere.to_str().unwrap(), &StorageSettings::default())
            .err()
            .unwrap();
        assert!(error.contains("is no savepoint or checkpoint"), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
