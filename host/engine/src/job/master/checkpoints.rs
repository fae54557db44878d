//! Carries out what the checkpoint coordinator asks for.
//!
//! Invariant: actions are carried out in their order; what blocks runs beside the master and is answered by
//! an event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmill_checkpoint::coordinator::{Acknowledged, Action, Coordinator, Destination, Event};
use wasmill_checkpoint::fence::{Fence, FenceError};
use wasmill_checkpoint::layout::manifest_name;
use wasmill_checkpoint::manifest::{JobPart, Manifest, ManifestKind};
use wasmill_checkpoint::restore::{StopNote, Target};
use wasmill_checkpoint::retention;
use wasmill_checkpoint::stats::{RestoredEntry, SavepointOutcome};
use wasmill_model::id::CheckpointId;
use wasmill_model::time::Timestamp;

use super::prepare::{Preparation, PrepareError, Prepared};
use super::{Done, Master, Next, Phase};
use crate::error::TaskError;
use crate::executor::PlantedBug;
use crate::pause_points;
use crate::plan::JobPlan;
use crate::task::mailbox::Command;
use crate::task::snapshot::Location;

impl Master {
    /// Starts the blocking part of an attempt.
    pub(super) fn prepare(&mut self) {
        self.phase = Phase::Preparing;
        self.is_preparing = true;
        let targets = self.plan.parallelism().into_iter();
        let preparation = Preparation {
            spec: self.spec.clone(),
            connectors: self.connectors.clone(),
            fence: self.fence.clone(),
            targets: targets
                .map(|(uid, parallelism)| Target { uid, parallelism })
                .collect(),
            is_first: self.coordinator.is_none(),
        };
        let (done, attempt) = (self.done.clone(), self.attempt);
        let work = move || {
            let prepared = catch_unwind(AssertUnwindSafe(|| preparation.run()));
            let prepared = prepared.unwrap_or_else(|_| {
                let error = TaskError::host("restoring panicked: a fault of the host");
                Err(PrepareError {
                    error,
                    retry: true,
                    complete: None,
                })
            });
            done.send((attempt, Done::Prepared(prepared.map(Box::new))));
        };
        self.executor
            .blocking(format!("prepare {}", self.spec.id), Box::new(work));
    }

    /// The checkpoint is found and sinks are recovered: state is read next.
    pub(super) fn on_prepared(&mut self, prepared: Prepared, now: Timestamp) {
        let Prepared {
            fence,
            from,
            plan,
            retained,
            next_id,
            complete,
        } = prepared;
        self.shared.set_fence(fence.clone());
        self.fence = Some(fence);
        (self.told_to_commit, self.owes) = (false, false);
        if let Phase::Stopping { next } = self.phase {
            if complete && next == Next::Cancel {
                self.phase = Phase::Stopping { next: Next::Finish };
            }
            return;
        }
        if self.last_try && !complete {
            let message = "it was cancelled after its last checkpoint, which cannot be restored any more";
            return self.fail(TaskError::external(message), now);
        }
        self.restore = plan;
        if let Some(from) = &from
            && self.plan.max_parallelism != from.max_parallelism
        {
            // The job sets none: that of its first run stays.
            match JobPlan::new(&self.spec.graph, from.max_parallelism, self.spec.slots) {
                Ok(plan) => self.plan = Arc::new(plan),
                Err(error) => return self.fail(TaskError::user(error.to_string()), now),
            }
        }
        let subtasks = self.plan.subtasks().collect();
        let mut settings = self.spec.graph.settings.checkpointing.clone().unwrap_or_default();
        // Steps of an input that drives the job keep their place between the records.
        settings.unaligned &= !self.connectors.drive_clock();
        let claims = self.spec.claimed.is_some();
        let coordinator = self.coordinator.get_or_insert_with(|| {
            let mut coordinator = Coordinator::new(settings, subtasks, next_id);
            if claims {
                coordinator.set_claimed();
            }
            coordinator
        });
        coordinator.set_retained(retained);
        if let Some(from) = &from {
            coordinator.on_restored(RestoredEntry {
                id: from.checkpoint,
                at: now,
                is_savepoint: from.is_savepoint,
                external_path: from.location.url(),
            });
        }
        match from {
            _ if complete => self.phase = Phase::Stopping { next: Next::Finish },
            Some(from) => self.load(&from.location),
            None => self.phase = Phase::Loading { left: 0 },
        }
    }

    /// The job was cancelled, or the host goes down, while the blocking part ran, which has failed.
    pub(super) fn on_unprepared(&mut self, error: PrepareError, now: Timestamp) {
        let message = error.error.to_string();
        tracing::warn!(job = %self.spec.id, error = message, "restoring failed while the job was stopped");
        if !matches!(self.phase, Phase::Stopping { next: Next::Cancel }) {
            return;
        }
        match error.complete {
            // There is only its end to commit: not to do so would lose it without a word.
            Some(true) => {
                self.last_try = true;
                self.phase = Phase::Preparing;
                self.on_failure(error.error, now, None);
            }
            Some(false) => {}
            None => {
                let last = format!(
                    "{message}\nthe job was cancelled before its checkpoints could be read: they are kept; where it \
                     had been stopped with a savepoint, go on from that"
                );
                self.record.exception("RestoreFailure", &last, now, None);
            }
        }
    }

    /// Gives the coordinator an event and carries out what it asks for.
    pub(super) fn coordinate(&mut self, event: Event, now: Timestamp) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        for action in coordinator.on(event, now) {
            self.carry_out(action, now);
        }
    }

    fn carry_out(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::Trigger {
                barrier,
                destination,
                drain,
            } => {
                if let Destination::Savepoint(trigger) = destination
                    && let Some(location) = self.savepoints.get(&trigger)
                {
                    self.files.set_savepoint(barrier.checkpoint, location.clone());
                }
                self.tell(&Command::Trigger { barrier, drain });
            }
            Action::WriteManifest(done) => self.write_manifest(*done),
            Action::NotifyComplete { checkpoint } => {
                self.told_to_commit = true;
                self.tell(&Command::Complete(checkpoint));
            }
            Action::NotifyAborted { checkpoint } => self.tell(&Command::Abort(checkpoint)),
            Action::DeleteCheckpoint { checkpoint, shared } => self.delete_checkpoint(checkpoint, shared),
            Action::DeleteShared { names } => self.delete_shared(names),
            Action::DeleteClaimed => {
                if let Some(claimed) = self.spec.claimed.clone() {
                    self.delete("delete claimed".to_owned(), move || claimed.delete());
                }
            }
            Action::DeleteFiles {
                checkpoint, names, ..
            } => {
                let Location { storage, directory } = self.files.location(checkpoint);
                let Some(fence) = self.fence.clone() else { return };
                self.delete(format!("delete files {checkpoint}"), move || {
                    // A host that has taken over may have seen what names them.
                    let deleted = fence
                        .check()
                        .and_then(|()| Ok(retention::delete_files(&*storage, &directory, &names)?));
                    if let Err(error) = deleted {
                        tracing::warn!(%checkpoint, %error, "files of a checkpoint could not be deleted");
                    }
                });
            }
            Action::TriggerDone { trigger, outcome } => {
                self.savepoints.remove(&trigger);
                if let SavepointOutcome::Failed(reason) = &outcome {
                    tracing::warn!(job = %self.spec.id, reason, "a savepoint or checkpoint failed");
                }
                self.shared.set_outcome(trigger, outcome);
            }
            Action::FailJob { reason } => self.on_failure(TaskError::external(reason), now, None),
            Action::JobMayFinish => self.finish(false),
        }
    }

    fn write_manifest(&mut self, done: Acknowledged) {
        let checkpoint = done.checkpoint;
        if self.executor.planted() == PlantedBug::CommitBeforeManifest {
            self.tell(&Command::Complete(checkpoint));
        }
        let Some(fence) = self.fence.clone() else { return };
        let location = self.files.location(checkpoint);
        let part = self.job_part(&fence);
        let (answers, attempt) = (self.done.clone(), self.attempt);
        let work = move || {
            let written = catch_unwind(AssertUnwindSafe(|| write(&fence, &location, &part, done)));
            let failed = |reason| Event::ManifestFailed { checkpoint, reason };
            let (event, fenced) = match written {
                Ok(Ok(())) => {
                    let location = location.url();
                    (Event::ManifestWritten { checkpoint, location }, None)
                }
                Ok(Err(error)) => {
                    let is_fenced = matches!(error, FenceError::Fenced { .. });
                    (failed(error.to_string()), Some(error).filter(|_| is_fenced))
                }
                Err(_) => (failed("it panicked: a fault of the host".to_owned()), None),
            };
            answers.send((attempt, Done::Manifest { event, fenced }));
        };
        self.executor
            .blocking(format!("manifest {checkpoint}"), Box::new(work));
    }

    fn job_part(&self, fence: &Fence) -> JobPart {
        let operators = self.spec.graph.operators.iter();
        let functions = operators.filter_map(|o| Some((o.uid.clone(), o.plugins().first()?.to_string())));
        JobPart {
            job_id: self.spec.id,
            job_name: self.spec.graph.name.clone(),
            epoch: fence.epoch(),
            max_parallelism: self.plan.max_parallelism,
            parallelism: self.plan.parallelism(),
            plugins: functions.collect(),
        }
    }

    fn delete_checkpoint(&mut self, checkpoint: CheckpointId, shared: Vec<String>) {
        let Some(fence) = self.fence.clone() else { return };
        let job = self.spec.id;
        self.delete(format!("delete {checkpoint}"), move || {
            pause_points::hit("before-delete");
            if let Err(error) = retention::delete_checkpoint(&fence, checkpoint, &shared) {
                tracing::warn!(%job, %checkpoint, %error, "a checkpoint could not be deleted");
            }
        });
    }

    fn delete_shared(&mut self, names: Vec<String>) {
        let Some(fence) = self.fence.clone() else { return };
        let job = self.spec.id;
        self.delete(format!("delete files {job}"), move || {
            if let Err(error) = retention::delete_shared(&fence, &names) {
                tracing::warn!(%job, %error, "shared files of checkpoints could not be deleted");
            }
        });
    }

    /// Deletes beside the master, which restores nothing before it is done.
    fn delete(&mut self, name: String, work: impl FnOnce() + Send + 'static) {
        self.deletions += 1;
        let (done, attempt) = (self.done.clone(), self.attempt);
        let work = move || {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("deleting files of a checkpoint panicked: a fault of the host");
            }
            done.send((attempt, Done::Deleted));
        };
        self.executor.blocking(name, Box::new(work));
    }
}

/// Completes a checkpoint. Once the manifest is there it counts; the note of a stop is written before
/// anything is committed, and its failure is one of the savepoint.
fn write(fence: &Fence, location: &Location, part: &JobPart, done: Acknowledged) -> Result<(), FenceError> {
    let (kind, checkpoint, destination) = (done.kind, done.checkpoint, done.destination);
    let manifest = Manifest::new(part, done);
    pause_points::hit("before-manifest");
    fence.write_manifest(&*location.storage, &location.directory, &manifest)?;
    pause_points::hit("manifest-written");
    match (kind, destination) {
        (ManifestKind::StopWithSavepoint, _) => {
            let note = StopNote {
                checkpoint,
                storage: location.storage.url(),
                directory: location.directory.clone(),
            };
            let noted = fence.note_stop(&note);
            // Its files are deleted next: the manifest goes first, or it would name what is gone.
            if noted.is_err()
                && let Err(error) = location.storage.delete(&manifest_name(&location.directory))
            {
                tracing::warn!(%checkpoint, %error, "the manifest of a failed savepoint could not be deleted");
            }
            noted?;
            // As below: the note stays, for a host that took over meanwhile may have seen it.
            fence.check()
        }
        (_, Destination::Job) => {
            // A host that took over meanwhile may have gone on from one before: then nothing of this one is committed.
            // It stays all the same, for the other may have seen it.
            fence.check()?;
            // The checkpoint is complete: a note that fails is written again with the next one. Taking
            // the manifest back instead could leave a note that says more than there is.
            if let Err(error) = fence.note_completed() {
                tracing::warn!(%checkpoint, %error, "the note that a checkpoint has completed was not written");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wasmill_checkpoint::layout;
    use wasmill_checkpoint::stats::SavepointTrigger;
    use wasmill_checkpoint::storage::testing::{Fault, FaultyStorage};
    use wasmill_checkpoint::storage::{CheckpointStorage, MemoryStorage, StorageError};
    use wasmill_model::id::JobId;
    use wasmill_model::key::MaxParallelism;

    use super::*;

    const JOB: JobId = JobId(7);

    fn part(fence: &Fence) -> JobPart {
        JobPart {
            job_id: JOB,
            job_name: "job".to_owned(),
            epoch: fence.epoch(),
            max_parallelism: MaxParallelism(128),
            parallelism: BTreeMap::new(),
            plugins: BTreeMap::new(),
        }
    }

    fn done(kind: ManifestKind, destination: Destination) -> Acknowledged {
        Acknowledged {
            checkpoint: CheckpointId(4),
            kind,
            destination,
            triggered_at: 0,
            subtasks: BTreeMap::new(),
            size: 0,
        }
    }

    #[test]
    fn a_host_that_is_fenced_while_it_writes_its_manifest_commits_nothing_and_deletes_nothing() {
        let disk = Arc::new(MemoryStorage::new());
        let other: Arc<dyn CheckpointStorage> = disk.clone();
        let storage: Arc<dyn CheckpointStorage> = Arc::new(FaultyStorage::new(disk, move |_, _, name| {
            if name.ends_with("_metadata") {
                drop(Fence::acquire(other.clone(), JOB));
            }
            Fault::None
        }));
        let written = |kind, destination, directory: String| {
            let fence = Fence::acquire(storage.clone(), JOB).unwrap();
            let location = Location {
                storage: storage.clone(),
                directory,
            };
            let result = write(&fence, &location, &part(&fence), done(kind, destination));
            let deleted = retention::delete_checkpoint(&fence, CheckpointId(4), &[]);
            assert!(matches!(deleted, Err(FenceError::Fenced { .. })), "{deleted:?}");
            storage.read(&manifest_name(&location.directory), 0, 1).unwrap();
            result
        };
        let own = layout::checkpoint_directory(JOB, CheckpointId(4));
        let refused = written(ManifestKind::Checkpoint, Destination::Job, own);
        assert!(matches!(refused, Err(FenceError::Fenced { .. })), "{refused:?}");
        // For a savepoint nothing is committed: it is whole, and good.
        let savepoint = Destination::Savepoint(SavepointTrigger(1));
        written(ManifestKind::Savepoint, savepoint, "savepoint".to_owned()).unwrap();
    }

    #[test]
    fn a_host_that_is_fenced_while_it_notes_a_stop_commits_nothing_and_leaves_all() {
        let disk = Arc::new(MemoryStorage::new());
        let other: Arc<dyn CheckpointStorage> = disk.clone();
        let storage: Arc<dyn CheckpointStorage> = Arc::new(FaultyStorage::new(disk, move |_, _, name| {
            if name.contains("/stops/") {
                drop(Fence::acquire(other.clone(), JOB));
            }
            Fault::None
        }));
        let fence = Fence::acquire(storage.clone(), JOB).unwrap();
        let location = Location {
            storage: storage.clone(),
            directory: "stop".to_owned(),
        };
        let stop = done(ManifestKind::StopWithSavepoint, Destination::Job);
        let stopped = write(&fence, &location, &part(&fence), stop);
        assert!(matches!(stopped, Err(FenceError::Fenced { .. })), "{stopped:?}");
        storage.read(&manifest_name("stop"), 0, 1).unwrap();
        storage
            .read(&format!("{JOB}/stops/{}", CheckpointId(4)), 0, 1)
            .unwrap();
    }

    #[test]
    fn a_stop_that_could_not_be_noted_leaves_no_manifest() {
        let storage: Arc<dyn CheckpointStorage> = Arc::new(MemoryStorage::new());
        let fence = Fence::acquire(storage.clone(), JOB).unwrap();
        let note = format!("{JOB}/stops/{}", CheckpointId(4));
        storage.create(&note, b"somebody else's").unwrap();
        let location = Location {
            storage: storage.clone(),
            directory: "savepoint".to_owned(),
        };
        let stop = done(ManifestKind::StopWithSavepoint, Destination::Job);
        write(&fence, &location, &part(&fence), stop).unwrap_err();
        let manifest = storage.read(&manifest_name("savepoint"), 0, 1);
        assert!(
            matches!(manifest, Err(StorageError::NotFound { .. })),
            "the savepoint failed and its files are deleted, but it looks complete: {manifest:?}"
        );
    }
}
