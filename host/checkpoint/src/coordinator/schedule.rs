//! When something is triggered: by the clock, by a wish, at the end of all input.

use std::sync::Arc;

use wasmill_model::element::{Barrier, SavepointFormat, StateFormat};
use wasmill_model::id::CheckpointId;
use wasmill_model::time::Timestamp;

use super::pending::{Pending, Phase, commits, is_checkpoint};
use super::protocol::{Action, Destination, SavepointKind};
use super::{Coordinator, Life, SAVEPOINTS_CONCURRENT_MAX, WISHES_MAX, refused};
use crate::manifest::ManifestKind;
use crate::stats::SavepointTrigger;

/// A checkpoint or savepoint that is to be triggered.
struct Wanted {
    kind: ManifestKind,
    destination: Destination,
    /// Who wished for it.
    triggers: Vec<SavepointTrigger>,
    drain: bool,
    /// Of a savepoint; the settings decide about the job's own.
    format: SavepointFormat,
}

impl Coordinator {
    pub(super) fn wish_checkpoint(
        &mut self,
        trigger: SavepointTrigger,
        full: bool,
        actions: &mut Vec<Action>,
    ) {
        if let Err(reason) = self.may_wish() {
            actions.push(refused(trigger, reason));
            return;
        }
        let last = self.pending.values_mut().find(|p| p.kind == ManifestKind::Final);
        match last {
            Some(last) => last.triggers.push(trigger),
            None if self.wishes.len() < WISHES_MAX => {
                self.wishes.push(trigger);
                self.wishes_full |= full;
            }
            None => {
                let reason =
                    format!("{WISHES_MAX} wishes for a checkpoint are waiting already: wait for one to end");
                actions.push(refused(trigger, reason));
            }
        }
    }

    pub(super) fn start_savepoint(
        &mut self,
        trigger: SavepointTrigger,
        kind: SavepointKind,
        format: SavepointFormat,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let under_way = self.pending.values().filter(|p| !is_checkpoint(p.kind)).count();
        let refusal = match self.may_wish() {
            Err(reason) => Some(reason),
            Ok(()) if under_way >= SAVEPOINTS_CONCURRENT_MAX => Some(format!(
                "{under_way} savepoints are under way: wait for one to end"
            )),
            Ok(()) if matches!(self.life, Life::Ended { .. }) && kind != SavepointKind::Savepoint => {
                Some("the job's input has ended: it finishes by itself with its final checkpoint".to_owned())
            }
            Ok(()) => None,
        };
        if let Some(reason) = refusal {
            actions.push(refused(trigger, reason));
            return;
        }
        let is_last = kind == SavepointKind::Last;
        let (kind, drain) = match kind {
            SavepointKind::Savepoint | SavepointKind::Last => (ManifestKind::Savepoint, false),
            SavepointKind::Stop { drain } => (ManifestKind::StopWithSavepoint, drain),
        };
        self.trigger(
            Wanted {
                kind,
                destination: Destination::Savepoint(trigger),
                triggers: vec![trigger],
                drain,
                format,
            },
            now,
            actions,
        );
        if let Some((_, pending)) = self.pending.iter_mut().next_back() {
            pending.is_last = is_last;
        }
    }

    fn may_wish(&self) -> Result<(), String> {
        match self.life {
            Life::Stopped | Life::Failing => {
                Err("the job's tasks are not running: try again when they are".to_owned())
            }
            Life::Finishing { .. } | Life::Over { .. } => Err("the job has ended".to_owned()),
            Life::Running | Life::Ended { .. } if self.is_leaving => {
                Err("the job is being cancelled after a savepoint".to_owned())
            }
            Life::Running | Life::Ended { .. } if self.is_stopping() => {
                Err("the job is stopping with a savepoint".to_owned())
            }
            Life::Running | Life::Ended { .. } => Ok(()),
        }
    }

    /// Whether what is under way, if it succeeds, is the last that the job does.
    fn is_stopping(&self) -> bool {
        self.pending
            .values()
            .any(|p| (p.kind == ManifestKind::StopWithSavepoint || p.is_last) && !p.orphaned)
    }

    pub(super) fn interval(&self) -> Option<u64> {
        Some(self.settings.interval_ms).filter(|interval| *interval > 0)
    }

    pub(super) fn expires_at(&self, pending: &Pending) -> Timestamp {
        pending
            .triggered_at
            .saturating_add_unsigned(self.settings.timeout_ms)
    }

    pub(super) fn expire(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let expired: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, p)| p.phase == Phase::Collecting && self.expires_at(p) <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            let reason = format!(
                "it took longer than the timeout of {} ms",
                self.settings.timeout_ms
            );
            self.fail(id, &reason, now, actions);
        }
    }

    /// Asks for manifests: of plain savepoints at once, of those that commit one at a time, oldest first.
    pub(super) fn start_writing(&mut self, actions: &mut Vec<Action>) {
        let mut busy = self
            .pending
            .values()
            .any(|p| commits(p.kind) && p.phase == Phase::Writing);
        for (id, pending) in self.pending.iter_mut().filter(|(_, p)| p.phase == Phase::Queued) {
            if commits(pending.kind) {
                if busy {
                    continue;
                }
                busy = true;
            }
            actions.push(Action::WriteManifest(Box::new(pending.start_writing(*id))));
        }
    }

    /// Whether one more checkpoint may be under way.
    pub(super) fn has_room(&self) -> bool {
        let under_way = self.pending.values().filter(|p| is_checkpoint(p.kind)).count();
        let limit = if self.settings.min_pause_ms > 0 {
            1
        } else {
            self.settings.max_concurrent.max(1)
        };
        // Barriers of unaligned checkpoints would overtake those of a savepoint, which nobody could complete then.
        let is_overtaken = |p: &Pending| !is_checkpoint(p.kind) && p.phase == Phase::Collecting;
        let overtakes = self.settings.unaligned && self.pending.values().any(is_overtaken);
        under_way < limit as usize && !overtakes
    }

    /// When the next checkpoint may be triggered, room provided.
    pub(super) fn next_trigger_at(&self) -> Option<Timestamp> {
        let last_is_under_way = self.pending.values().any(|p| p.kind == ManifestKind::Final);
        match self.life {
            _ if self.is_leaving || self.is_stopping() => None,
            Life::Ended { final_at } if !last_is_under_way => Some(final_at),
            Life::Running if !self.wishes.is_empty() => Some(Timestamp::MIN),
            Life::Running => self.due_at.map(|due| due.max(self.pause_until)),
            _ => None,
        }
    }

    pub(super) fn trigger_due(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if !self.has_room() || self.next_trigger_at().is_none_or(|at| at > now) {
            return;
        }
        let kind = match self.life {
            Life::Ended { .. } => ManifestKind::Final,
            _ => ManifestKind::Checkpoint,
        };
        let wishes = std::mem::take(&mut self.wishes);
        self.due_at = self
            .interval()
            .map(|interval| now.saturating_add_unsigned(interval));
        let wanted = Wanted {
            kind,
            destination: Destination::Job,
            triggers: wishes,
            drain: false,
            format: SavepointFormat::Canonical,
        };
        self.trigger(wanted, now, actions);
    }

    fn trigger(&mut self, wanted: Wanted, now: Timestamp, actions: &mut Vec<Action>) {
        let Wanted {
            kind,
            destination,
            triggers,
            drain,
            format,
        } = wanted;
        let id = self.next_id;
        self.next_id = CheckpointId(id.0 + 1);
        let mut pending = Pending::new(kind, destination, self.subtasks.clone(), now);
        pending.triggers = triggers;
        pending.drained = drain;
        self.stats
            .triggered(id, kind, format, self.subtasks.len() as u32, now);
        let full = is_checkpoint(kind) && std::mem::take(&mut self.wishes_full);
        let base = self.base.filter(|_| self.settings.incremental && !full);
        let (format, base) = match is_checkpoint(kind) {
            true if self.settings.incremental => (StateFormat::Incremental { base }, base),
            true => (StateFormat::Canonical, None),
            false => (format.into(), None),
        };
        self.shared.triggered(id, base);
        let barrier = Arc::new(Barrier {
            checkpoint: id,
            kind: pending.snapshot_kind(),
            triggered_at: now,
            // A savepoint holds no records, and after the final one nothing is processed any more.
            overtakes_at: (self.settings.unaligned && kind == ManifestKind::Checkpoint).then(|| {
                match self.settings.aligned_timeout_ms {
                    0 => Timestamp::MIN,
                    timeout => now.saturating_add_unsigned(timeout),
                }
            }),
            format,
        });
        self.pending.insert(id, pending);
        actions.push(Action::Trigger {
            barrier,
            destination,
            drain,
        });
    }
}
