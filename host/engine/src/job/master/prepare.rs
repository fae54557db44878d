//! The blocking part of a start: takes the job over, finds the checkpoint, recovers sinks.
//!
//! Invariant: the order of it. The fence before the search, so that no other host completes a checkpoint
//! after it; the sweep before the sinks, so that nothing is ever restored whose transactions were aborted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmill_checkpoint::fence::{Fence, FenceError};
use wasmill_checkpoint::manifest::ManifestKind;
use wasmill_checkpoint::restore::{self, Recovered, RestoreError, RestorePlan, Restored, StopNote, Target};
use wasmill_checkpoint::retention;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::MaxParallelism;

use super::connect::Connectors;
use crate::error::{Fault, TaskError};
use crate::job::{JobSpec, RestoreFrom};
use crate::sink::SinkRecovery;
use crate::task::snapshot::Location;

/// Checkpoints, each with the shared files that it names.
type Retained = BTreeMap<CheckpointId, BTreeSet<String>>;

/// What an attempt starts from.
pub(super) struct Prepared {
    pub(super) fence: Arc<Fence>,
    /// `None`: from the sources' start.
    pub(super) from: Option<From>,
    pub(super) plan: RestorePlan,
    /// The job's completed checkpoints that are kept, each with the shared files that it names.
    pub(super) retained: Retained,
    pub(super) next_id: CheckpointId,
    /// The job had come to its end and only had to commit: that is done.
    pub(super) complete: bool,
}

/// The checkpoint that an attempt goes on from.
pub(super) struct From {
    pub(super) location: Location,
    pub(super) checkpoint: CheckpointId,
    pub(super) is_savepoint: bool,
    pub(super) max_parallelism: MaxParallelism,
}

/// Why an attempt cannot start.
pub(super) struct PrepareError {
    pub(super) error: TaskError,
    /// Whether trying again may help.
    pub(super) retry: bool,
    /// Whether the job had come to its end and only has to commit; `None`: not known.
    pub(super) complete: Option<bool>,
}

impl PrepareError {
    /// The same, once it is known whether the job had come to its end.
    fn knowing(self, complete: bool) -> Self {
        Self {
            complete: Some(complete),
            ..self
        }
    }
}

/// What the blocking part needs.
pub(super) struct Preparation {
    pub(super) spec: Arc<JobSpec>,
    pub(super) connectors: Arc<Connectors>,
    /// From an earlier attempt.
    pub(super) fence: Option<Arc<Fence>>,
    pub(super) targets: Vec<Target>,
    /// No attempt of this host has been restored before.
    pub(super) is_first: bool,
}

/// A checkpoint chosen.
struct Chosen {
    restored: Restored,
    location: Location,
    /// It is the job's own.
    own: bool,
    complete: bool,
}

impl Preparation {
    /// Does it all; blocks.
    pub(super) fn run(self) -> Result<Prepared, PrepareError> {
        let spec = &self.spec;
        let fence = match &self.fence {
            Some(fence) => fence.clone(),
            None => Arc::new(Fence::acquire(spec.storage.clone(), spec.id)?),
        };
        let recovered = restore::latest(&*spec.storage, spec.id)?;
        for skipped in &recovered.skipped {
            let reason = &skipped.reason;
            tracing::warn!(job = %spec.id, directory = skipped.directory, reason, "a checkpoint is passed over");
        }
        let fresh = self.is_first && matches!(spec.restore, RestoreFrom::Fresh);
        let stopped = !fresh && recovered.stopped.is_some();
        let chosen = if fresh { Ok(None) } else { self.choose(&recovered) };
        let chosen = chosen.map_err(|error| error.knowing(stopped))?;
        let retained = if fresh {
            Retained::new()
        } else {
            recovered.retained
        };
        let complete = chosen.as_ref().is_some_and(|c| c.complete);
        let plan = self.start_from(chosen.as_ref(), &fence, &retained);
        let plan = plan.map_err(|error| error.knowing(complete))?;
        Ok(Prepared {
            fence,
            complete,
            from: chosen.map(From::from),
            plan,
            retained,
            next_id: recovered.next_id,
        })
    }

    /// Deals state out, removes what nobody will go on from, and recovers sinks.
    fn start_from(
        &self,
        chosen: Option<&Chosen>,
        fence: &Fence,
        retained: &Retained,
    ) -> Result<RestorePlan, PrepareError> {
        let plan = self.deal_out(chosen)?;
        let own = chosen.filter(|c| c.own).map(|c| c.restored.manifest.checkpoint);
        if chosen.is_none_or(|c| !c.complete) {
            retention::sweep(fence, retained)?;
            fence.settle(own)?;
        }
        self.recover_sinks(&plan, chosen)?;
        Ok(plan)
    }

    fn choose(&self, recovered: &Recovered) -> Result<Option<Chosen>, PrepareError> {
        if let Some(note) = &recovered.stopped {
            return Ok(Some(self.stopped(note)?));
        }
        let path = match &self.spec.restore {
            RestoreFrom::Path {
                storage, directory, ..
            } => Some((storage, directory)),
            _ => None,
        };
        if let Some((storage, directory)) = path.filter(|_| self.is_first || recovered.latest.is_none()) {
            let location = Location {
                storage: storage.clone(),
                directory: directory.clone(),
            };
            let restored = restore::load(&**storage, directory)?;
            return Ok(Some(Chosen {
                restored,
                location,
                own: false,
                complete: false,
            }));
        }
        Ok(recovered.latest.clone().map(|restored| Chosen {
            location: Location {
                storage: self.spec.storage.clone(),
                directory: restored.directory.clone(),
            },
            own: true,
            complete: restored.manifest.kind == ManifestKind::Final,
            restored,
        }))
    }

    /// The job was stopped with a savepoint, and the host died before it had recorded that.
    fn stopped(&self, note: &StopNote) -> Result<Chosen, PrepareError> {
        let own = &self.spec.storage;
        let storage = match note.storage == own.url() {
            true => own.clone(),
            false => own.open_other(&note.storage).map_err(RestoreError::from)?,
        };
        let restored = restore::load(&*storage, &note.directory)?;
        note.check(&restored, self.spec.id, &storage.url())?;
        let location = Location {
            storage,
            directory: note.directory.clone(),
        };
        Ok(Chosen {
            restored,
            location,
            own: false,
            complete: true,
        })
    }

    fn deal_out(&self, chosen: Option<&Chosen>) -> Result<RestorePlan, PrepareError> {
        let Some(chosen) = chosen else {
            return Ok(RestorePlan::default());
        };
        let allowed = matches!(
            self.spec.restore,
            RestoreFrom::Path {
                allow_non_restored: true,
                ..
            }
        );
        Ok(restore::redistribute(
            &chosen.restored.manifest,
            &self.targets,
            self.spec.graph.max_parallelism,
            allowed || chosen.complete,
        )?)
    }

    fn recover_sinks(&self, plan: &RestorePlan, chosen: Option<&Chosen>) -> Result<(), PrepareError> {
        for (uid, sink) in &self.connectors.sinks {
            let restored = plan.operators.get(uid);
            let recovery = SinkRecovery {
                job_id: self.spec.id,
                operator: uid.clone(),
                committables: restored.map(|r| r.committables.clone()).unwrap_or_default(),
                restored: chosen.map(|c| c.restored.manifest.checkpoint),
            };
            sink.recover(&recovery).map_err(|mut error| {
                error.operator.get_or_insert_with(|| uid.clone());
                let retry = !error.for_good;
                PrepareError {
                    error,
                    retry,
                    complete: None,
                }
            })?;
        }
        Ok(())
    }
}

impl std::convert::From<Chosen> for From {
    fn from(chosen: Chosen) -> Self {
        let manifest = chosen.restored.manifest;
        Self {
            location: chosen.location,
            checkpoint: manifest.checkpoint,
            is_savepoint: matches!(
                manifest.kind,
                ManifestKind::Savepoint | ManifestKind::StopWithSavepoint
            ),
            max_parallelism: manifest.max_parallelism,
        }
    }
}

impl std::convert::From<RestoreError> for PrepareError {
    fn from(error: RestoreError) -> Self {
        let retry = matches!(error, RestoreError::Storage(_));
        let fault = if retry { Fault::External } else { Fault::User };
        Self {
            error: TaskError::new(fault, error.to_string()),
            retry,
            complete: None,
        }
    }
}

impl std::convert::From<FenceError> for PrepareError {
    fn from(error: FenceError) -> Self {
        let retry = matches!(error, FenceError::Storage(_));
        Self {
            error: TaskError::external(error.to_string()),
            retry,
            complete: None,
        }
    }
}
