//! Savepoints: triggered, stopped with, drained, restored from.

use std::sync::atomic::Ordering;

use serde_json::json;
use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_engine::job::status::{JobState, SavepointOutcome};
use wasmill_engine::job::{RestoreFrom, Stop};
use wasmill_model::element::SavepointFormat;

use crate::support::{HeldStorage, Job, counts, storage, wait_for};

fn gated(records: u64, gate: u64) -> Job {
    let job = Job::checkpointed(records);
    job.world.gate.store(gate, Ordering::SeqCst);
    job
}

fn completed(outcome: SavepointOutcome) -> String {
    match outcome {
        SavepointOutcome::Completed { location, .. } => location,
        SavepointOutcome::Failed(reason) => panic!("{reason}"),
    }
}

#[test]
fn stop_with_savepoint_commits_what_was_read_and_a_new_job_goes_on_from_it() {
    let job = gated(8_000, 300);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.polled.load(Ordering::SeqCst) == 2_400
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let trigger = running.handle.trigger_savepoint(
        storage(&job),
        "sp/1".to_owned(),
        Some(Stop { drain: false }),
        SavepointFormat::Canonical,
    );
    let location = completed(running.outcome(trigger));
    assert!(location.ends_with("sp/1"), "{location}");
    assert_eq!(running.finish().state, JobState::Finished);
    assert_eq!(job.world.committed().len(), 2_400);
    running.handle.release();
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let next = Job {
        id: 2,
        parallelism: 3,
        world: job.world.clone(),
        storage: job.storage.clone(),
        ..gated(8_000, u64::MAX)
    };
    let status = next.start(next.path("sp/1")).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(status.checkpoints.restored, 1);
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn stop_with_drain_fires_the_timers_first() {
    drains(|_| ());
}

#[test]
fn stop_with_drain_waits_for_its_savepoint_where_there_are_no_other_checkpoints() {
    drains(|job| job.settings["checkpointing"] = json!(null));
}

fn drains(change: impl FnOnce(&mut Job)) {
    let mut job = Job {
        function: "timers",
        parallelism: 1,
        ..gated(800, 20)
    };
    change(&mut job);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.polled.load(Ordering::SeqCst) == 160
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let trigger = running.handle.trigger_savepoint(
        storage(&job),
        "sp".to_owned(),
        Some(Stop { drain: true }),
        SavepointFormat::Canonical,
    );
    completed(running.outcome(trigger));
    assert_eq!(running.finish().state, JobState::Finished);
    let committed = job.world.committed();
    assert_eq!(
        committed.iter().filter(|text| text.starts_with("fired")).count(),
        160
    );
    assert!(committed.contains(&"ended after 160".to_owned()));
}

#[test]
fn stop_without_drain_fires_nothing() {
    let job = Job {
        function: "timers",
        parallelism: 1,
        ..gated(800, 20)
    };
    let running = job.start(RestoreFrom::Fresh);
    running.until("it runs", |s| s.state == JobState::Running);
    let trigger = running.handle.trigger_savepoint(
        storage(&job),
        "sp".to_owned(),
        Some(Stop { drain: false }),
        SavepointFormat::Canonical,
    );
    completed(running.outcome(trigger));
    assert_eq!(running.finish().state, JobState::Finished);
    assert!(job.world.committed().is_empty());
    assert!(job.world.trace.lock().unwrap().is_empty());
}

#[test]
fn a_plain_savepoint_commits_nothing_and_the_job_goes_on() {
    let mut job = gated(8_000, 100);
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 800
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), None, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    assert!(job.world.committed().is_empty());
    let trigger = running.handle.trigger_checkpoint(false);
    completed(running.outcome(trigger));
    wait_for("the checkpoint commits", || job.world.committed().len() == 800);
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(running.finish().state, JobState::Finished);
    assert_eq!(job.world.committed(), counts(8_000, 10));
    assert!(
        job.storage.read("sp/_metadata", 0, 1).is_ok(),
        "a savepoint is the user's"
    );
}

#[test]
fn a_savepoint_of_a_job_without_checkpoints_can_be_restored() {
    let job = Job {
        settings: json!({}),
        ..gated(4_000, 100)
    };
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 800
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), None, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    running.handle.cancel();
    assert_eq!(running.finish().state, JobState::Canceled);
    let next = Job {
        id: 2,
        world: job.world.clone(),
        storage: job.storage.clone(),
        settings: json!({}),
        ..gated(4_000, 0)
    };
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = next.start(next.path("sp")).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(
        job.world.committed(),
        counts(4_000, 10),
        "what the savepoint had pre-committed too"
    );
}

#[test]
fn a_savepoint_whose_operator_is_gone_is_refused_unless_dropping_is_allowed() {
    let job = gated(4_000, 100);
    let running = job.start(RestoreFrom::Fresh);
    running.until("it runs", |s| s.state == JobState::Running);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 800
    });
    let trigger = running.handle.trigger_savepoint(
        storage(&job),
        "sp".to_owned(),
        Some(Stop { drain: false }),
        SavepointFormat::Canonical,
    );
    completed(running.outcome(trigger));
    running.finish();
    // `timers` declares no state: that of `count` has no owner any more.
    let next = Job {
        id: 2,
        function: "timers",
        world: job.world.clone(),
        storage: job.storage.clone(),
        ..gated(4_000, 0)
    };
    let status = next.start(next.path("sp")).finish();
    assert_eq!(status.state, JobState::Failed, "{status:#?}");
    let messages: Vec<&str> = status.exceptions.iter().map(|e| e.message.as_str()).collect();
    assert!(
        messages.iter().any(|m| m.contains("allowNonRestoredState")),
        "{messages:?}"
    );
}

#[test]
fn state_of_another_version_fails_the_job_at_once_however_many_restarts_it_has() {
    let job = gated(4_000, 100);
    let running = job.start(RestoreFrom::Fresh);
    running.until("it runs", |s| s.state == JobState::Running);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 800
    });
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), stop, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    running.finish();
    let next = Job {
        id: 2,
        function: "count of another version",
        world: job.world.clone(),
        storage: job.storage.clone(),
        ..gated(4_000, 0)
    };
    let status = next.start(next.path("sp")).finish();
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Failed, 0),
        "{status:#?}"
    );
    let message = &status.exceptions[0].message;
    assert!(
        message.contains("schema version 1") && message.contains("schema version 2"),
        "{message}"
    );
}

#[test]
fn a_missing_savepoint_fails_the_job_at_once_and_is_named() {
    let job = gated(10, 10);
    let status = job.start(job.path("nowhere")).finish();
    assert_eq!(status.state, JobState::Failed);
    assert!(
        status.exceptions[0].message.contains("nowhere"),
        "{:?}",
        status.exceptions
    );
    assert_eq!(status.attempt, 0, "trying again would not help");
}

#[test]
fn a_savepoint_of_a_job_that_has_ended_is_refused() {
    let job = Job::new(10);
    let running = job.start(RestoreFrom::Fresh);
    running.finish();
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), None, SavepointFormat::Canonical);
    let outcome = running.outcome(trigger);
    assert!(
        matches!(&outcome, SavepointOutcome::Failed(reason) if reason.contains("ended")),
        "{outcome:?}"
    );
}

#[test]
fn a_stop_that_is_complete_is_not_cancelled_any_more() {
    let mut job = gated(8_000, 300);
    // No checkpoint commits before the stop does.
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 2_400
    });
    running.until("it runs", |s| s.state == JobState::Running);
    // Its commits take a while.
    job.world.commit_retries.store(5, Ordering::SeqCst);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), stop, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    running.handle.cancel();
    let status = running.finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed().len(), 2_400);
    assert_eq!(job.world.prepared(), 0);
}

#[test]
fn a_stop_that_becomes_complete_while_the_job_is_cancelled_wins_and_is_committed() {
    let mut job = gated(8_000, 300);
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    let held = HeldStorage::new(&job);
    held.held.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 2_400
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(held.clone(), "sp".to_owned(), stop, SavepointFormat::Canonical);
    wait_for("the savepoint is being completed", || {
        held.awaited.load(Ordering::SeqCst)
    });
    running.handle.cancel();
    running.until("it is being cancelled", |s| s.state == JobState::Cancelling);
    assert!(job.world.committed().is_empty());
    held.held.store(false, Ordering::SeqCst);
    completed(running.outcome(trigger));
    let status = running.finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed().len(), 2_400);
}

#[test]
fn a_stop_that_fails_while_the_job_is_cancelled_lets_it_be_cancelled() {
    let mut job = gated(8_000, 300);
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    let held = HeldStorage::new(&job);
    held.held.store(true, Ordering::SeqCst);
    held.broken.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    running.until("it runs", |s| s.state == JobState::Running);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(held.clone(), "sp".to_owned(), stop, SavepointFormat::Canonical);
    wait_for("the savepoint is being completed", || {
        held.awaited.load(Ordering::SeqCst)
    });
    running.handle.cancel();
    running.until("it is being cancelled", |s| s.state == JobState::Cancelling);
    held.held.store(false, Ordering::SeqCst);
    assert!(matches!(running.outcome(trigger), SavepointOutcome::Failed(_)));
    assert_eq!(running.finish().state, JobState::Canceled);
    assert!(job.world.committed().is_empty());
}

#[test]
fn a_host_that_died_after_a_stop_was_complete_commits_it_and_reads_nothing_more() {
    let mut job = gated(8_000, 300);
    // No checkpoint commits before the stop does.
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 2_400
    });
    running.until("it runs", |s| s.state == JobState::Running);
    job.world.commit_retries.store(u64::MAX, Ordering::SeqCst);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), stop, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    running.handle.suspend();
    assert_eq!(running.handle.status().state, JobState::Suspended);
    job.world.commit_retries.store(0, Ordering::SeqCst);
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Finished, 0),
        "{status:#?}"
    );
    let restored = status.checkpoints.latest_restored.unwrap();
    assert!(
        restored.is_savepoint && restored.external_path.ends_with("sp"),
        "{restored:?}"
    );
    assert_eq!(job.world.committed().len(), 2_400);
    assert_eq!(job.world.polled.load(Ordering::SeqCst), 2_400);
}

#[test]
fn a_job_that_sets_no_max_parallelism_keeps_that_of_its_first_run() {
    let job = Job {
        max_parallelism: Some(24),
        ..gated(8_000, 300)
    };
    let running = job.start(RestoreFrom::Fresh);
    running.until("it runs", |s| s.state == JobState::Running);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(storage(&job), "sp".to_owned(), stop, SavepointFormat::Canonical);
    completed(running.outcome(trigger));
    assert_eq!(running.finish().max_parallelism, 24);
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let next = Job {
        id: 2,
        parallelism: 3,
        world: job.world.clone(),
        storage: job.storage.clone(),
        ..gated(8_000, u64::MAX)
    };
    let status = next.start(next.path("sp")).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(status.max_parallelism, 24);
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn a_job_goes_on_when_the_savepoint_of_its_stop_fails() {
    let job = gated(8_000, 300);
    let broken = HeldStorage::new(&job);
    broken.broken.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the gate is reached", || {
        job.world.written.load(Ordering::SeqCst) == 2_400
    });
    running.until("it runs", |s| s.state == JobState::Running);
    let stop = Some(Stop { drain: false });
    let trigger =
        running
            .handle
            .trigger_savepoint(broken.clone(), "sp".to_owned(), stop, SavepointFormat::Canonical);
    let outcome = running.outcome(trigger);
    assert!(
        matches!(&outcome, SavepointOutcome::Failed(reason) if reason.contains("broken on purpose")),
        "{outcome:?}"
    );
    let before = running.handle.status();
    assert_eq!((before.state, before.attempt), (JobState::Running, 0));
    running.completed(before.checkpoints.completed + 1);
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = running.finish();
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Finished, 0),
        "{status:#?}"
    );
    assert_eq!(job.world.committed(), counts(8_000, 10));
}
