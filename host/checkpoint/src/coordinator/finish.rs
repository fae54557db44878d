//! How a checkpoint ends, and a job: completion, giving up, retention, the tolerance of failures.

use wasmill_model::id::CheckpointId;
use wasmill_model::time::Timestamp;

use super::pending::{Pending, Phase, commits, is_checkpoint};
use super::protocol::{Action, Destination, JobEnd};
use super::{Coordinator, FINAL_RETRY_MS, GIVEN_UP_MAX, Life, delete_shared};
use crate::manifest::ManifestKind;
use crate::stats::SavepointOutcome;

impl Coordinator {
    /// Its manifest is there: it is the job's latest, whatever happens from now on.
    pub(super) fn complete(
        &mut self,
        id: CheckpointId,
        location: String,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        self.stats.completed(id, pending.size(), &location, now);
        if commits(pending.kind) {
            self.give_up_older(id, now, actions);
            if !pending.orphaned {
                actions.push(Action::NotifyComplete { checkpoint: id });
            }
        }
        for trigger in &pending.triggers {
            let outcome = SavepointOutcome::Completed {
                id,
                location: location.clone(),
            };
            actions.push(Action::TriggerDone {
                trigger: *trigger,
                outcome,
            });
        }
        let is_own = is_checkpoint(pending.kind);
        delete_shared(self.shared.complete(id, is_own), actions);
        if is_own {
            // The tasks that wrote it know what they wrote.
            self.base = Some(id).filter(|_| !pending.orphaned);
            self.consecutive_failures = 0;
            self.pause_until = now.saturating_add_unsigned(self.settings.min_pause_ms);
            self.retain(id, actions);
        }
        self.is_leaving |= pending.is_last;
        let last = matches!(
            pending.kind,
            ManifestKind::Final | ManifestKind::StopWithSavepoint
        );
        self.ended |= last;
        if last && !pending.orphaned && !matches!(self.life, Life::Over { .. }) {
            self.life = Life::Finishing { told: false };
        }
    }

    /// Completing one implies all before it: those under way are of no more use.
    fn give_up_older(&mut self, id: CheckpointId, now: Timestamp, actions: &mut Vec<Action>) {
        let older: Vec<_> = self
            .pending
            .range(..id)
            .filter(|(_, p)| commits(p.kind))
            .map(|(older, _)| *older)
            .collect();
        for older in older {
            self.give_up(
                older,
                &format!("checkpoint {id} completed before it"),
                now,
                actions,
            );
        }
    }

    fn retain(&mut self, id: CheckpointId, actions: &mut Vec<Action>) {
        self.retained.push(id);
        let kept = match self.life {
            Life::Over { delete: true } => 0,
            _ => self.settings.retained.max(1) as usize,
        };
        if self.claimed && self.retained.len() >= kept {
            self.claimed = false;
            actions.push(Action::DeleteClaimed);
        }
        let surplus = self.retained.len().saturating_sub(kept);
        for old in self.retained.drain(..surplus) {
            self.stats.discarded(old);
            let shared = self.shared.delete(old);
            actions.push(Action::DeleteCheckpoint {
                checkpoint: old,
                shared,
            });
        }
    }

    /// A checkpoint failed by itself: it counts against the tolerance; a savepoint does not.
    pub(super) fn fail(&mut self, id: CheckpointId, reason: &str, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(pending) = self.give_up(id, reason, now, actions) else {
            return;
        };
        if !matches!(self.life, Life::Running | Life::Ended { .. }) || pending.orphaned {
            return;
        }
        if is_checkpoint(pending.kind) {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            if self.consecutive_failures > self.settings.tolerable_failures {
                self.fail_job(
                    format!(
                        "checkpoint {id} failed: {reason}; {} in a row failed and `tolerable-failures` is {}",
                        self.consecutive_failures, self.settings.tolerable_failures
                    ),
                    actions,
                );
            }
        }
        // NOTE: after the watermark +∞ the sources have nothing more to say: only a restart helps.
        if pending.drained {
            self.fail_job(
                format!("the stop with savepoint {id} failed after draining: {reason}"),
                actions,
            );
        }
    }

    fn fail_job(&mut self, reason: String, actions: &mut Vec<Action>) {
        self.life = Life::Failing;
        actions.push(Action::FailJob { reason });
    }

    /// Ends a checkpoint without success.
    fn give_up(
        &mut self,
        id: CheckpointId,
        reason: &str,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.stats.failed(id, reason, now);
        self.given_up.insert(id, pending.destination);
        while self.given_up.len() > GIVEN_UP_MAX {
            self.given_up.pop_first();
        }
        if !pending.orphaned {
            actions.push(Action::NotifyAborted { checkpoint: id });
        }
        let shared = self.shared.give_up(id);
        match pending.destination {
            Destination::Job => actions.push(Action::DeleteCheckpoint {
                checkpoint: id,
                shared,
            }),
            // The directory is the user's: only what is known to be ours goes.
            Destination::Savepoint(_) => {
                delete_shared(shared, actions);
                let names = pending.files();
                if !names.is_empty() {
                    actions.push(Action::DeleteFiles {
                        checkpoint: id,
                        destination: pending.destination,
                        names,
                    });
                }
            }
        }
        for trigger in &pending.triggers {
            actions.push(super::refused(*trigger, reason));
        }
        if is_checkpoint(pending.kind) {
            self.pause_until = now.saturating_add_unsigned(self.settings.min_pause_ms);
        }
        if let Life::Ended { final_at } = &mut self.life
            && pending.kind == ManifestKind::Final
        {
            *final_at = now.saturating_add_unsigned(FINAL_RETRY_MS);
        }
        Some(pending)
    }

    pub(super) fn tasks_stopped(&mut self, reason: &str, now: Timestamp, actions: &mut Vec<Action>) {
        if !matches!(self.life, Life::Over { .. }) {
            self.life = Life::Stopped;
        }
        self.due_at = None;
        // The tasks of the next attempt know nothing of what these wrote.
        self.base = None;
        self.abandon(reason, now, actions);
    }

    pub(super) fn job_ended(&mut self, end: JobEnd, now: Timestamp, actions: &mut Vec<Action>) {
        let delete = match end {
            JobEnd::Finished => true,
            JobEnd::Canceled => !self.settings.retain_on_cancel,
            JobEnd::Failed => false,
        };
        self.life = Life::Over { delete };
        self.abandon("the job has ended", now, actions);
        if delete {
            for checkpoint in self.retained.drain(..) {
                self.stats.discarded(checkpoint);
                let shared = self.shared.delete(checkpoint);
                actions.push(Action::DeleteCheckpoint { checkpoint, shared });
            }
        }
    }

    /// Gives up all that can be, and lets what is being written end without telling the tasks.
    fn abandon(&mut self, reason: &str, now: Timestamp, actions: &mut Vec<Action>) {
        for pending in self.pending.values_mut() {
            pending.orphaned = true;
        }
        let under_way: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, p)| p.phase != Phase::Writing)
            .map(|(id, _)| *id)
            .collect();
        for id in under_way {
            self.give_up(id, reason, now, actions);
        }
        let wishes = std::mem::take(&mut self.wishes);
        self.wishes_full = false;
        actions.extend(wishes.into_iter().map(|trigger| super::refused(trigger, reason)));
    }

    /// Once the last checkpoint is complete the job may end, but not before savepoints under way have.
    pub(super) fn let_finish(&mut self, actions: &mut Vec<Action>) {
        if self.life == (Life::Finishing { told: false }) && self.pending.is_empty() {
            self.life = Life::Finishing { told: true };
            actions.push(Action::JobMayFinish);
        }
    }
}
