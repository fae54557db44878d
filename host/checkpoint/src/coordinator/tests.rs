//! Each rule of C4, C5 and C7 by an example.

mod formats;
mod life;
mod savepoints;
mod shared;

use std::collections::BTreeMap;

use wasmill_model::element::{SavepointFormat, SnapshotKind, StateFormat};
use wasmill_model::id::{OperatorUid, VertexId};
use wasmill_model::key::KeyGroupRange;

use super::*;
use crate::handle::{Data, KeyedHandle, NativeState, OperatorState};
use crate::manifest::ManifestKind;
use crate::stats::CheckpointStatus;

pub(super) fn subtask(index: u32) -> SubtaskId {
    SubtaskId {
        vertex: VertexId(0),
        index,
    }
}

pub(super) fn subtasks(count: u32) -> BTreeSet<SubtaskId> {
    (0..count).map(subtask).collect()
}

/// State with one file, named after checkpoint and subtask.
pub(super) fn state(checkpoint: u64, index: u32) -> SubtaskState {
    let data = Data::File {
        name: file(checkpoint, index),
        length: 1,
        crc32c: 0,
    };
    let keyed = KeyedHandle {
        range: KeyGroupRange { start: 0, end: 128 },
        states: Vec::new(),
        data,
        native: None,
    };
    let operator = OperatorState {
        keyed: Some(keyed),
        ..OperatorState::default()
    };
    SubtaskState {
        operators: BTreeMap::from([(OperatorUid::new("count"), operator)]),
    }
}

pub(super) fn file(checkpoint: u64, index: u32) -> String {
    format!("{checkpoint}-{index}")
}

pub(super) fn ack(checkpoint: u64, index: u32) -> Event {
    Event::Ack {
        checkpoint: CheckpointId(checkpoint),
        subtask: subtask(index),
        state: state(checkpoint, index),
        report: SubtaskReport {
            size: 10,
            ..SubtaskReport::default()
        },
    }
}

fn decline(checkpoint: u64, index: u32) -> Event {
    Event::Decline {
        checkpoint: CheckpointId(checkpoint),
        subtask: subtask(index),
        reason: "disk full".to_owned(),
    }
}

fn written(checkpoint: u64) -> Event {
    Event::ManifestWritten {
        checkpoint: CheckpointId(checkpoint),
        location: format!("file:///chk-{checkpoint}"),
    }
}

fn manifest_failed(checkpoint: u64) -> Event {
    Event::ManifestFailed {
        checkpoint: CheckpointId(checkpoint),
        reason: "disk full".to_owned(),
    }
}

fn savepoint(trigger: u64, kind: SavepointKind) -> Event {
    Event::TriggerSavepoint {
        trigger: SavepointTrigger(trigger),
        kind,
        format: SavepointFormat::Canonical,
    }
}

fn wish(trigger: u64) -> Event {
    Event::TriggerCheckpoint {
        trigger: SavepointTrigger(trigger),
        full: false,
    }
}

fn stopped() -> Event {
    Event::TasksStopped {
        reason: "task failed".to_owned(),
    }
}

fn settings() -> CheckpointSettings {
    CheckpointSettings {
        interval_ms: 100,
        timeout_ms: 1_000,
        ..CheckpointSettings::default()
    }
}

fn running(settings: CheckpointSettings) -> Coordinator {
    let mut coordinator = Coordinator::new(settings, subtasks(2), CheckpointId(1));
    assert_eq!(coordinator.on(Event::TasksRunning, 0), []);
    coordinator
}

fn names(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Trigger { barrier, .. } => format!("trigger {}", barrier.checkpoint),
        Action::WriteManifest(done) => format!("write {}", done.checkpoint),
        Action::NotifyComplete { checkpoint } => format!("complete {checkpoint}"),
        Action::NotifyAborted { checkpoint } => format!("aborted {checkpoint}"),
        Action::DeleteCheckpoint { checkpoint, shared } if shared.is_empty() => {
            format!("delete {checkpoint}")
        }
        Action::DeleteCheckpoint { checkpoint, shared } => {
            format!("delete {checkpoint} with {}", shared.join(","))
        }
        Action::DeleteClaimed => "delete claimed".to_owned(),
        Action::DeleteShared { names } => format!("delete shared {}", names.join(",")),
        Action::DeleteFiles { names, .. } => format!("delete files {}", names.join(",")),
        Action::TriggerDone {
            trigger,
            outcome: SavepointOutcome::Completed { id, .. },
        } => {
            format!("done {} by {id}", trigger.0)
        }
        Action::TriggerDone { trigger, .. } => format!("refused {}", trigger.0),
        Action::FailJob { .. } => "fail job".to_owned(),
        Action::JobMayFinish => "may finish".to_owned(),
    };
    actions.iter().map(name).collect()
}

/// Sends events at one time and gives the names of all actions.
fn at(coordinator: &mut Coordinator, now: Timestamp, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    events
        .into_iter()
        .flat_map(|event| names(&coordinator.on(event, now)))
        .collect()
}

#[test]
fn a_checkpoint_completes_when_all_have_acknowledged_and_its_manifest_is_written() {
    let mut c = running(settings());
    assert_eq!(c.next_wake(), Some(100));
    assert_eq!(at(&mut c, 99, [Event::Tick]), [""; 0]);
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 1"]);
    assert_eq!(at(&mut c, 101, [ack(1, 0)]), [""; 0]);
    assert_eq!(at(&mut c, 102, [ack(1, 1)]), ["write 1"]);
    assert!(!c.is_settled());
    assert_eq!(at(&mut c, 105, [written(1)]), ["complete 1"]);
    assert!(c.is_settled());
    let entry = &c.stats().history[0];
    assert_eq!(
        (entry.status, entry.size, entry.duration_ms),
        (CheckpointStatus::Completed, 20, 5)
    );
    assert_eq!((entry.acknowledged, entry.latest_ack_at), (2, 102));
    assert_eq!(entry.external_path.as_deref(), Some("file:///chk-1"));
    assert_eq!(c.next_wake(), Some(200));
}

#[test]
fn without_an_interval_nothing_is_triggered_but_by_wish() {
    let mut c = running(CheckpointSettings::default());
    assert_eq!(c.next_wake(), None);
    assert_eq!(at(&mut c, 1_000_000, [Event::Tick]), [""; 0]);
    assert_eq!(at(&mut c, 1_000_001, [wish(7)]), ["trigger 1"]);
    let ended = at(&mut c, 1_000_002, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(ended, ["write 1", "complete 1", "done 7 by 1"]);
}

#[test]
fn duplicate_foreign_and_unknown_acknowledgements_change_nothing() {
    let mut c = running(settings());
    at(&mut c, 100, [Event::Tick]);
    assert_eq!(
        at(&mut c, 101, [ack(1, 0), ack(1, 0), ack(1, 9), ack(5, 1)]),
        [""; 0]
    );
    assert_eq!(c.stats().history[0].acknowledged, 1);
    assert_eq!(
        at(&mut c, 102, [ack(1, 1), ack(1, 1), written(1)]),
        ["write 1", "complete 1"]
    );
    // IMPORTANT: these files are named by a manifest now; a repeated message must not delete them.
    assert_eq!(
        at(
            &mut c,
            103,
            [ack(1, 1), written(1), manifest_failed(1), decline(1, 0)]
        ),
        [""; 0]
    );
}

#[test]
fn one_is_given_up_at_its_timeout_and_its_late_files_are_deleted() {
    let mut c = running(CheckpointSettings {
        tolerable_failures: 1,
        interval_ms: 5_000,
        ..settings()
    });
    at(&mut c, 5_000, [Event::Tick]);
    at(&mut c, 5_001, [ack(1, 0)]);
    assert_eq!(c.next_wake(), Some(6_000));
    assert_eq!(at(&mut c, 6_000, [Event::Tick]), ["aborted 1", "delete 1"]);
    assert_eq!(at(&mut c, 6_001, [ack(1, 1)]), ["delete files 1-1"]);
    assert!(
        c.stats().history[0]
            .failure
            .as_deref()
            .is_some_and(|f| f.contains("1000 ms"))
    );
}

#[test]
fn the_first_failure_fails_the_job_by_default() {
    let mut c = running(settings());
    at(&mut c, 100, [Event::Tick]);
    assert_eq!(
        at(&mut c, 101, [decline(1, 0)]),
        ["aborted 1", "delete 1", "fail job"]
    );
    assert_eq!(at(&mut c, 500, [Event::Tick, wish(1)]), ["refused 1"]);
}

#[test]
fn failures_count_only_in_a_row() {
    let mut c = running(CheckpointSettings {
        tolerable_failures: 1,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick]);
    assert_eq!(
        at(&mut c, 101, [decline(1, 0), decline(1, 1)]),
        ["aborted 1", "delete 1"]
    );
    at(&mut c, 200, [Event::Tick]);
    at(&mut c, 201, [ack(2, 0), ack(2, 1), written(2)]);
    at(&mut c, 300, [Event::Tick]);
    at(&mut c, 301, [ack(3, 0), ack(3, 1)]);
    assert_eq!(at(&mut c, 302, [manifest_failed(3)]), ["aborted 3", "delete 3"]);
    at(&mut c, 400, [Event::Tick]);
    assert_eq!(
        at(&mut c, 401, [decline(4, 1)]),
        ["aborted 4", "delete 4", "fail job"]
    );
}

#[test]
fn the_newest_are_retained_and_older_ones_deleted_after_sinks_were_told() {
    let mut c = running(CheckpointSettings {
        retained: 2,
        ..settings()
    });
    for n in 1..=2u64 {
        at(&mut c, 100 * n as i64, [Event::Tick]);
        let id = n.to_string();
        let ended = at(&mut c, 100 * n as i64 + 1, [ack(n, 0), ack(n, 1), written(n)]);
        assert_eq!(ended, [format!("write {id}"), format!("complete {id}")]);
    }
    at(&mut c, 300, [Event::Tick]);
    let ended = at(&mut c, 301, [ack(3, 0), ack(3, 1), written(3)]);
    assert_eq!(ended, ["write 3", "complete 3", "delete 1"]);
    assert_eq!(c.retained(), [CheckpointId(2), CheckpointId(3)]);
    assert!(c.stats().history[2].discarded);
}

#[test]
fn a_pause_is_kept_from_the_end_of_one_to_the_trigger_of_the_next() {
    let mut c = running(CheckpointSettings {
        min_pause_ms: 500,
        max_concurrent: 4,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick]);
    assert_eq!(
        at(&mut c, 250, [Event::Tick]),
        [""; 0],
        "a pause implies one at a time"
    );
    at(&mut c, 300, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(c.next_wake(), Some(800));
    assert_eq!(at(&mut c, 799, [Event::Tick]), [""; 0]);
    assert_eq!(at(&mut c, 800, [Event::Tick]), ["trigger 2"]);
}

#[test]
fn at_most_the_allowed_number_is_under_way() {
    let mut c = running(CheckpointSettings {
        max_concurrent: 2,
        ..settings()
    });
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 1"]);
    assert_eq!(at(&mut c, 200, [Event::Tick]), ["trigger 2"]);
    assert_eq!(at(&mut c, 300, [Event::Tick]), [""; 0]);
    assert_eq!(
        c.next_wake(),
        Some(1_100),
        "only the timeout of the first is waited for"
    );
    let ended = at(&mut c, 301, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(
        ended,
        ["write 1", "complete 1", "trigger 3"],
        "one that is overdue is triggered when there is room"
    );
}

#[test]
fn completing_one_gives_up_the_older_ones_without_counting_them_as_failures() {
    let mut c = running(CheckpointSettings {
        max_concurrent: 2,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick]);
    at(&mut c, 200, [Event::Tick]);
    at(&mut c, 201, [ack(1, 0), ack(2, 0)]);
    assert_eq!(at(&mut c, 202, [ack(2, 1)]), ["write 2"]);
    assert_eq!(
        at(&mut c, 203, [ack(1, 1)]),
        [""; 0],
        "manifests are written one at a time"
    );
    assert_eq!(
        at(&mut c, 204, [written(2)]),
        ["aborted 1", "delete 1", "complete 2"]
    );
}

#[test]
fn the_history_is_bounded_and_the_counts_are_not() {
    let mut c = running(settings());
    for n in 1..=150u64 {
        at(
            &mut c,
            100 * n as i64,
            [Event::Tick, ack(n, 0), ack(n, 1), written(n)],
        );
    }
    let stats = c.stats();
    assert_eq!(
        (stats.history.len(), stats.completed, stats.in_progress),
        (100, 150, 0)
    );
    assert_eq!(stats.history[0].id, CheckpointId(150));
}

#[test]
fn the_latest_savepoint_and_the_latest_failure_stay_in_the_history() {
    let mut c = running(CheckpointSettings {
        tolerable_failures: 1_000,
        ..settings()
    });
    let saved = [
        savepoint(9, SavepointKind::Savepoint),
        ack(1, 0),
        ack(1, 1),
        written(1),
    ];
    at(&mut c, 1, saved);
    at(&mut c, 100, [Event::Tick, decline(2, 0)]);
    for n in 3..=200u64 {
        let done = [Event::Tick, ack(n, 0), ack(n, 1), written(n)];
        at(&mut c, 100 * n as i64, done);
    }
    let history = &c.stats().history;
    let ids: Vec<u64> = history.iter().map(|entry| entry.id.0).collect();
    assert_eq!((ids.len(), ids[0], &ids[98..]), (100, 200, &[2, 1][..]));
}
