//! The checkpoint coordinator (C1, C4, C5): decides when a checkpoint is triggered, complete, given up,
//! superseded. Pure: takes events and returns actions; the same events give the same actions.
//!
//! Invariants:
//! - a manifest is asked for only when every subtask has acknowledged;
//! - manifests of checkpoints that commit (all but plain savepoints) are written one at a time, and
//!   completing one gives up all that are older: completions grow;
//! - files are deleted only of checkpoints that were given up or that a newer completed one replaces.

mod finish;
mod pending;
#[cfg(test)]
mod properties;
mod protocol;
mod schedule;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::graph::CheckpointSettings;
use wasmill_model::id::{CheckpointId, SubtaskId};
use wasmill_model::time::Timestamp;

use crate::handle::SubtaskState;
use crate::stats::{CheckpointStats, RestoredEntry, SavepointOutcome, SavepointTrigger, SubtaskReport};
use pending::{Pending, Phase, files_of, shared_of};
use shared::SharedFiles;

pub use protocol::{Acknowledged, Action, Destination, Event, JobEnd, SavepointKind};

/// Savepoints that may be under way at once.
pub const SAVEPOINTS_CONCURRENT_MAX: usize = 8;

/// Wishes for a checkpoint that may wait for one to be triggered.
pub const WISHES_MAX: usize = 64;

/// Checkpoints given up whose late results are still known and deleted; of older ones the sweep at the
/// next start takes care.
const GIVEN_UP_MAX: usize = 1_000;

/// Pause before a final checkpoint that failed is tried again, ms.
const FINAL_RETRY_MS: u64 = 1_000;

/// Decides about the checkpoints of one job; lives as long as the job in this host, across restarts of
/// its tasks.
#[derive(Debug)]
pub struct Coordinator {
    settings: CheckpointSettings,
    subtasks: BTreeSet<SubtaskId>,
    next_id: CheckpointId,
    pending: BTreeMap<CheckpointId, Pending>,
    /// Completed checkpoints of the job, oldest first.
    retained: Vec<CheckpointId>,
    /// What the job has taken over is there, older than all that is retained.
    claimed: bool,
    shared: SharedFiles,
    /// What subtasks of this attempt may build on.
    base: Option<CheckpointId>,
    given_up: BTreeMap<CheckpointId, Destination>,
    wishes: Vec<SavepointTrigger>,
    /// Whether one of them is for a checkpoint that builds on no other.
    wishes_full: bool,
    life: Life,
    /// The last checkpoint of the job is complete, also where its tasks were stopped meanwhile.
    ended: bool,
    /// The savepoint before a cancellation is complete: nothing is triggered any more, also after a restart.
    is_leaving: bool,
    /// When the next periodic checkpoint is due; `None`: off, or not running.
    due_at: Option<Timestamp>,
    /// No periodic checkpoint before it.
    pause_until: Timestamp,
    consecutive_failures: u32,
    stats: CheckpointStats,
}

/// Where the job is in its life, as far as checkpoints are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// No tasks: nothing is triggered.
    Stopped,
    /// Tasks run.
    Running,
    /// All input has ended: a final checkpoint is due from this time on.
    Ended { final_at: Timestamp },
    /// Failures have exceeded the tolerance: the master is told and stops the tasks.
    Failing,
    /// The final checkpoint or the stop-with-savepoint is complete; `told`: the job may finish.
    Finishing { told: bool },
    /// The job is over; whether its checkpoints go.
    Over { delete: bool },
}

impl Coordinator {
    /// For a job whose next checkpoint is `next_id`, which comes from [`crate::restore`], as what is retained does
    /// ([`Self::set_retained`]). Without checkpointing give
    /// `CheckpointSettings::default()`: only savepoints and the final checkpoint are taken. Nothing is
    /// triggered before [`Event::TasksRunning`].
    pub fn new(settings: CheckpointSettings, subtasks: BTreeSet<SubtaskId>, next_id: CheckpointId) -> Self {
        Self {
            settings,
            subtasks,
            next_id,
            pending: BTreeMap::new(),
            retained: Vec::new(),
            claimed: false,
            shared: SharedFiles::default(),
            base: None,
            given_up: BTreeMap::new(),
            wishes: Vec::new(),
            wishes_full: false,
            life: Life::Stopped,
            ended: false,
            is_leaving: false,
            due_at: None,
            pause_until: Timestamp::MIN,
            consecutive_failures: 0,
            stats: CheckpointStats::default(),
        }
    }

    /// Takes an event at a time that never goes back, and says what is to be done, in order.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::TasksRunning => self.tasks_running(now),
            Event::TasksStopped { reason } => self.tasks_stopped(&reason, now, &mut actions),
            Event::TriggerCheckpoint { trigger, full } => self.wish_checkpoint(trigger, full, &mut actions),
            Event::TriggerSavepoint {
                trigger,
                kind,
                format,
            } => self.start_savepoint(trigger, kind, format, now, &mut actions),
            Event::Ack {
                checkpoint,
                subtask,
                state,
                report,
            } => {
                self.acknowledge(checkpoint, (subtask, report), state, now, &mut actions);
            }
            Event::Decline {
                checkpoint,
                subtask,
                reason,
            } => {
                if self
                    .pending
                    .get(&checkpoint)
                    .is_some_and(|p| p.waits_for(subtask))
                {
                    self.fail(
                        checkpoint,
                        &format!("subtask {subtask} declined: {reason}"),
                        now,
                        &mut actions,
                    );
                }
            }
            Event::AllInputsEnded => {
                if self.life == Life::Running {
                    self.life = Life::Ended { final_at: now };
                }
            }
            Event::ManifestWritten { checkpoint, location } => {
                if self.is_writing(checkpoint) {
                    self.complete(checkpoint, location, now, &mut actions);
                }
            }
            Event::ManifestFailed { checkpoint, reason } => {
                if self.is_writing(checkpoint) {
                    self.fail(
                        checkpoint,
                        &format!("its manifest was not written: {reason}"),
                        now,
                        &mut actions,
                    );
                }
            }
            Event::JobEnded(end) => self.job_ended(end, now, &mut actions),
        }
        self.expire(now, &mut actions);
        self.start_writing(&mut actions);
        self.trigger_due(now, &mut actions);
        self.let_finish(&mut actions);
        actions
    }

    /// When [`Event::Tick`] is to be sent; `None`: nothing waits for time.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let collecting = self.pending.values().filter(|p| p.phase == Phase::Collecting);
        let expiry = collecting.map(|p| self.expires_at(p)).min();
        let trigger = self.next_trigger_at().filter(|_| self.has_room());
        expiry.into_iter().chain(trigger).min()
    }

    /// Whether no manifest is being written. IMPORTANT: a job must not be restored before: a manifest that
    /// appears after the restore would name transactions that the restore has aborted.
    pub fn is_settled(&self) -> bool {
        self.pending.values().all(|p| p.phase != Phase::Writing)
    }

    /// Whether no checkpoint or savepoint is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the final checkpoint or the savepoint of a stop is complete: whatever happens to the tasks, the
    /// job has come to its end, and what that checkpoint holds is still to be committed where they have not.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// For the API.
    pub fn stats(&self) -> &CheckpointStats {
        &self.stats
    }

    /// The job's completed checkpoints that are kept, oldest first.
    pub fn retained(&self) -> &[CheckpointId] {
        &self.retained
    }

    /// Completed checkpoints that an attempt has found, each with the shared files that it names: all others are gone.
    /// To be called before [`Self::on_restored`].
    pub fn set_retained(&mut self, retained: BTreeMap<CheckpointId, BTreeSet<String>>) {
        self.retained = retained.keys().copied().collect();
        self.shared.restore(retained);
    }

    /// Notes that the job has taken over a checkpoint or savepoint of another one (claim mode): it counts as retained, and
    /// is deleted when a newer one takes its place. To be called once.
    pub fn set_claimed(&mut self) {
        self.claimed = true;
    }

    /// Notes what an attempt was restored from: checkpoints after it are no longer the job's, and it itself
    /// is, also where it was given up because the answer about its manifest was lost.
    pub fn on_restored(&mut self, restored: RestoredEntry) {
        if !restored.is_savepoint {
            self.retained.retain(|id| *id < restored.id);
            self.retained.push(restored.id);
            self.given_up.remove(&restored.id);
        }
        self.next_id = self.next_id.max(CheckpointId(restored.id.0 + 1));
        self.stats.restored += 1;
        self.stats.latest_restored = Some(restored);
    }

    fn tasks_running(&mut self, now: Timestamp) {
        if self.life != Life::Stopped {
            return;
        }
        self.life = Life::Running;
        self.ended = false;
        self.consecutive_failures = 0;
        self.due_at = self
            .interval()
            .map(|interval| now.saturating_add_unsigned(interval));
    }

    fn is_writing(&self, checkpoint: CheckpointId) -> bool {
        self.pending
            .get(&checkpoint)
            .is_some_and(|p| p.phase == Phase::Writing)
    }

    fn acknowledge(
        &mut self,
        checkpoint: CheckpointId,
        (subtask, report): (SubtaskId, SubtaskReport),
        state: SubtaskState,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.pending.get_mut(&checkpoint) else {
            self.discard_late(checkpoint, &state, actions);
            return;
        };
        let shared = shared_of(&state);
        if pending.acknowledge(subtask, state, report.size) {
            self.shared.acknowledged(checkpoint, shared.into_iter());
            self.stats.acknowledged(checkpoint, subtask, report, now);
        }
    }

    /// A part of a checkpoint that was given up: its files are nobody's. Of one that is complete, or was
    /// never triggered, nothing is touched.
    fn discard_late(&self, checkpoint: CheckpointId, state: &SubtaskState, actions: &mut Vec<Action>) {
        let Some(destination) = self.given_up.get(&checkpoint) else {
            return;
        };
        let names = files_of(state);
        if !names.is_empty() {
            actions.push(Action::DeleteFiles {
                checkpoint,
                destination: *destination,
                names,
            });
        }
        delete_shared(self.shared.unneeded(shared_of(state)), actions);
    }
}

/// Deletes shared files, where there are any.
fn delete_shared(names: Vec<String>, actions: &mut Vec<Action>) {
    if !names.is_empty() {
        actions.push(Action::DeleteShared { names });
    }
}

fn refused(trigger: SavepointTrigger, reason: impl Into<String>) -> Action {
    Action::TriggerDone {
        trigger,
        outcome: SavepointOutcome::Failed(reason.into()),
    }
}
