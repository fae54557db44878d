//! How an attempt ends before its time: failures, cancellation, suspension (C9).
//!
//! Invariant: one failure ends one attempt, however many tasks fail with it, and the restart strategy is
//! asked once.

use wasmill_checkpoint::coordinator::Event;
use wasmill_checkpoint::fence::FenceError;
use wasmill_model::id::SubtaskId;
use wasmill_model::time::Timestamp;

use super::{Master, Next, Phase};
use crate::error::{Fault, TaskError};
use crate::job::status::{JobState, TaskState};
use crate::restart::Restart;
use crate::task::mailbox::Command;

impl Master {
    /// The user or the host ends the job, whatever it is doing.
    pub(super) fn stop_for(&mut self, next: Next, state: JobState, reason: &str, now: Timestamp) {
        let is_ending = match self.phase {
            Phase::Over => true,
            // A cancellation goes on, and a job that has failed for good is not cancelled any more.
            Phase::Stopping { next } => !matches!(next, Next::Restart { .. }),
            _ => false,
        };
        if is_ending {
            return;
        }
        if next == Next::Cancel && self.has_ended() {
            return self.hurry(now);
        }
        if state == JobState::Cancelling {
            self.record.enter(state, now);
        }
        self.stop_tasks(next, reason, now);
    }

    /// A cancellation of a job that has come to its end. IMPORTANT: sinks may have committed already what came
    /// before that end; whoever went on from an older checkpoint would commit it again.
    fn hurry(&mut self, now: Timestamp) {
        tracing::info!(job = %self.spec.id, "the job has come to its end: it is not cancelled but finishes");
        self.last_try = true;
        self.stop_by = self.stop_by.or(self.deadline(now));
        match &mut self.phase {
            Phase::Pausing { until } => *until = now,
            Phase::Stopping {
                next: Next::Restart { at },
            } => *at = now,
            _ => {}
        }
    }

    pub(super) fn stop_tasks(&mut self, next: Next, reason: &str, now: Timestamp) {
        let settle = matches!(next, Next::Cancel | Next::Suspend);
        self.cancel_tasks(settle);
        for task in self.tasks.values_mut().filter(|t| !t.is_gone()) {
            task.enter(TaskState::Canceling, now);
        }
        self.loaded.clear();
        self.in_flight.clear();
        self.stop_by = self.deadline(now);
        self.phase = Phase::Stopping { next };
        self.coordinate(
            Event::TasksStopped {
                reason: reason.to_owned(),
            },
            now,
        );
    }

    /// Something does not end: the job does without it. No thread can be ended from outside, so it stays until
    /// what it waits for answers; then it finds that it is cancelled. IMPORTANT: therefore no other attempt
    /// starts, and a checkpoint that may yet be completed is not deleted.
    pub(super) fn leave_behind(&mut self, now: Timestamp) {
        let left: Vec<_> = self.tasks.iter().filter(|(_, task)| !task.is_gone()).collect();
        let names: Vec<_> = left.iter().filter_map(|(id, _)| self.task_name(**id)).collect();
        let only_tasks = !names.is_empty() && self.is_settled() && !self.is_preparing;
        let what = match (names.is_empty(), self.is_preparing) {
            (false, _) => format!("task {}", names.join(", ")),
            (true, true) => "the recovery of its sinks".to_owned(),
            (true, false) => "the completion of a checkpoint".to_owned(),
        };
        let message = format!(
            "{what} did not end within the {} ms of `cancellation-timeout`: a call to a source, a sink or storage does \
             not return; the job ends without it, and its thread stays until the call returns or the host restarts",
            self.spec.graph.settings.cancellation_timeout_ms
        );
        tracing::error!(job = %self.spec.id, message, "a cancellation takes too long");
        let next = match self.phase {
            Phase::Stopping { next } => next,
            _ => Next::Fail,
        };
        self.record
            .exception("CancellationTimeout", &message, now, names.into_iter().next());
        for task in self.tasks.values_mut().filter(|task| !task.is_gone()) {
            self.owes |= self.told_to_commit;
            task.enter(TaskState::Failed, now);
        }
        match next {
            Next::Cancel if only_tasks => {
                self.keep_what_is_owed(now);
                self.end(JobState::Canceled, now);
            }
            Next::Suspend => self.end(JobState::Suspended, now),
            _ => self.end(JobState::Failed, now),
        }
    }

    pub(super) fn cancel_tasks(&self, settle: bool) {
        self.tell(&Command::Cancel { settle });
    }

    /// Something failed: the restart strategy has the word.
    pub(super) fn on_failure(&mut self, error: TaskError, now: Timestamp, subtask: Option<SubtaskId>) {
        if matches!(
            self.phase,
            Phase::Stopping { .. } | Phase::Pausing { .. } | Phase::Over
        ) {
            return;
        }
        let task = subtask.and_then(|subtask| self.task_name(subtask));
        let message = error.to_string();
        tracing::warn!(job = %self.spec.id, task = task.as_deref(), error = message, "a task failed");
        let next = match self.decide(&error, now) {
            Restart::After { delay_ms } => {
                self.record.exception(kind_of(&error), &message, now, task);
                self.record.enter(JobState::Restarting, now);
                Next::Restart {
                    at: now.saturating_add_unsigned(delay_ms),
                }
            }
            Restart::Fail { reason } => {
                // One error that says all: what happened, and why the job does not go on.
                let last = format!("{message}\nthe job is not restarted: {reason}");
                self.record.exception(kind_of(&error), &last, now, task);
                self.record.enter(JobState::Failing, now);
                Next::Fail
            }
        };
        self.stop_tasks(next, &message, now);
    }

    /// What comes after a failure.
    fn decide(&mut self, error: &TaskError, now: Timestamp) -> Restart {
        let random = (self.executor.random() >> 11) as f64 / (1u64 << 53) as f64;
        if error.for_good {
            let reason = "a restart would meet the same again".to_owned();
            Restart::Fail { reason }
        } else if self.last_try {
            let reason = "it was cancelled. It had come to its end before, and not all of that end is committed: \
                          resume the job, or start one from its last savepoint or checkpoint";
            let reason = reason.to_owned();
            Restart::Fail { reason }
        } else {
            self.decider.on_failure(now, random)
        }
    }

    /// The job is cancelled: where sinks have not committed all that was complete, its checkpoints stay whatever
    /// its settings say, for nothing else holds those results.
    pub(super) fn keep_what_is_owed(&mut self, now: Timestamp) {
        if !self.owes {
            return;
        }
        self.shared.keep_checkpoints();
        let latest = self
            .coordinator
            .as_ref()
            .and_then(|c| c.retained().last().copied());
        let latest = latest.map_or_else(String::new, |id| format!(" {}", self.files.location(id).url()));
        let message = format!(
            "the job was cancelled before all results of its latest checkpoint{latest} could be committed: it is kept; \
             start a job from it and they are committed first, or delete it"
        );
        tracing::warn!(job = %self.spec.id, message, "results are not committed");
        self.record.exception("UncommittedResults", &message, now, None);
    }

    /// Fails the job whatever the restart strategy says.
    pub(super) fn fail(&mut self, error: TaskError, now: Timestamp) {
        let message = error.to_string();
        tracing::warn!(job = %self.spec.id, error = message, "the job cannot go on");
        self.record.exception(kind_of(&error), &message, now, None);
        self.record.enter(JobState::Failing, now);
        self.stop_tasks(Next::Fail, &message, now);
    }

    /// Another host has taken the job over: whatever failures its settings bear, it ends here.
    pub(super) fn on_fenced(&mut self, error: &FenceError, now: Timestamp) {
        let goes_on = match self.phase {
            Phase::Over => false,
            Phase::Stopping { next } => matches!(next, Next::Restart { .. }),
            _ => true,
        };
        if goes_on {
            self.fail(TaskError::external(error.to_string()), now);
        }
    }
}

/// The name of an exception in the API.
fn kind_of(error: &TaskError) -> &'static str {
    match error.fault {
        Fault::Host => "HostFailure",
        Fault::User => "JobFailure",
        Fault::Plugin => "PluginFailure",
        Fault::External => "ExternalFailure",
    }
}
