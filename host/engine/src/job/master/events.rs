//! What reaches the master: results of blocking work, reports of tasks, requests of people.
//!
//! Invariant: what an older attempt still sends changes nothing but the files that it leaves.

use wasmill_checkpoint::coordinator::Event;
use wasmill_checkpoint::stats::SavepointOutcome;
use wasmill_model::id::SubtaskId;
use wasmill_model::time::Timestamp;

use super::prepare::PrepareError;
use super::shared::Request;
use super::{Done, Master, Next, Phase};
use crate::job::SavepointTrigger;
use crate::job::status::{JobState, TaskState};
use crate::task::mailbox::{Command, TaskEvent, TaskReport};

impl Master {
    pub(super) fn on_done(&mut self, attempt: u32, done: Done, now: Timestamp) {
        match done {
            // Of whichever attempt: the coordinator knows its checkpoints by number.
            Done::Manifest { event, fenced } => {
                if let Some(error) = fenced {
                    self.on_fenced(&error, now);
                }
                self.coordinate(event, now);
            }
            Done::Deleted => self.deletions = self.deletions.saturating_sub(1),
            _ if attempt != self.attempt => {}
            Done::Prepared(prepared) => {
                self.is_preparing = false;
                self.was_complete = match &prepared {
                    Ok(prepared) => prepared.complete,
                    Err(error) => error.complete.unwrap_or(self.was_complete),
                };
                match prepared {
                    Ok(prepared) => self.on_prepared(*prepared, now),
                    Err(error) if matches!(self.phase, Phase::Stopping { .. }) => {
                        self.on_unprepared(error, now)
                    }
                    Err(PrepareError {
                        error, retry: true, ..
                    }) => self.on_failure(error, now, None),
                    Err(PrepareError { error, .. }) => self.fail(error, now),
                }
            }
            Done::Loaded(loaded) => {
                let Phase::Loading { left } = &mut self.phase else {
                    return;
                };
                *left -= 1;
                match loaded.state {
                    Ok((state, in_flight)) => {
                        self.loaded.insert((loaded.subtask, loaded.place), state);
                        self.in_flight
                            .entry(loaded.subtask)
                            .or_default()
                            .extend(in_flight);
                    }
                    Err(error) => self.on_failure(error, now, Some(loaded.subtask)),
                }
            }
        }
    }

    pub(super) fn on_report(&mut self, subtask: SubtaskId, event: TaskEvent, now: Timestamp) {
        let set = |master: &mut Self, state| {
            if let Some(task) = master.tasks.get_mut(&subtask) {
                task.enter(state, now);
            }
        };
        match event {
            TaskEvent::Running => {
                if self
                    .tasks
                    .get(&subtask)
                    .is_some_and(|t| t.state == TaskState::Deploying)
                {
                    set(self, TaskState::Running);
                }
            }
            TaskEvent::Ended => {
                if let Some(task) = self.tasks.get_mut(&subtask) {
                    task.ended = true;
                }
                self.on_all_ended(now);
            }
            TaskEvent::SourceWatermark(watermark) => self.align(subtask, watermark),
            TaskEvent::Acknowledged {
                checkpoint,
                state,
                report,
            } => {
                self.coordinate(
                    Event::Ack {
                        checkpoint,
                        subtask,
                        state,
                        report,
                    },
                    now,
                );
            }
            TaskEvent::Declined { checkpoint, reason } => {
                self.coordinate(
                    Event::Decline {
                        checkpoint,
                        subtask,
                        reason,
                    },
                    now,
                );
            }
            TaskEvent::Gone { settled } => {
                self.owes |= !settled;
                let finished = matches!(self.phase, Phase::Running { finishing: true, .. });
                set(
                    self,
                    if finished {
                        TaskState::Finished
                    } else {
                        TaskState::Canceled
                    },
                );
            }
            TaskEvent::Failed(error) => {
                self.owes |= self.told_to_commit;
                set(self, TaskState::Failed);
                self.on_failure(error, now, Some(subtask));
            }
        }
    }

    /// Tells the sources of a group whom they have to wait for.
    fn align(&mut self, subtask: SubtaskId, watermark: Timestamp) {
        for (told, until) in self.sources.report(subtask, watermark) {
            if let Some(task) = self.tasks.get(&told) {
                task.commands.send(Command::Align { until });
            }
        }
    }

    /// Files of an attempt that is gone are still to be deleted.
    pub(super) fn on_late_report(&mut self, report: TaskReport, now: Timestamp) {
        let TaskReport { subtask, event, .. } = report;
        if let TaskEvent::Acknowledged {
            checkpoint,
            state,
            report,
        } = event
        {
            self.coordinate(
                Event::Ack {
                    checkpoint,
                    subtask,
                    state,
                    report,
                },
                now,
            );
        }
    }

    pub(super) fn on_request(&mut self, request: Request, now: Timestamp) {
        match request {
            Request::Cancel => {
                self.stop_for(Next::Cancel, JobState::Cancelling, "the job was cancelled", now)
            }
            Request::Suspend => self.stop_for(Next::Suspend, JobState::Running, "the host goes down", now),
            Request::Savepoint {
                trigger,
                location,
                kind,
                format,
            } => {
                self.savepoints.insert(trigger, location);
                let event = Event::TriggerSavepoint {
                    trigger,
                    kind,
                    format,
                };
                self.wish(trigger, event, now);
            }
            Request::Checkpoint { trigger, full } => {
                self.wish(trigger, Event::TriggerCheckpoint { trigger, full }, now);
            }
        }
    }

    pub(super) fn wish(&mut self, trigger: SavepointTrigger, event: Event, now: Timestamp) {
        if self.coordinator.is_some() {
            self.coordinate(event, now);
        } else {
            let reason = "the job is not running yet: try again when it is".to_owned();
            self.savepoints.remove(&trigger);
            self.shared.set_outcome(trigger, SavepointOutcome::Failed(reason));
        }
    }
}
