//! Jobs with checkpoints: exactly once after failures, restore, rescaling, damage, the final checkpoint.

use std::sync::atomic::Ordering;

use serde_json::json;
use wasmill_checkpoint::fence::Fence;
use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_engine::job::RestoreFrom;
use wasmill_engine::job::status::JobState;
use wasmill_model::id::JobId;

use crate::support::{Job, counts, wait_for};

/// Records that a gated source gives before the gate is raised.
const GATE: u64 = 100;

#[test]
fn a_finished_job_has_committed_everything_by_its_final_checkpoint() {
    let job = Job::checkpointed(20_000);
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed(), counts(20_000, 10));
    assert_eq!(job.world.prepared(), 0);
    assert!(status.checkpoints.completed >= 1);
    assert_eq!(status.checkpoints.in_progress, 0);
}

#[test]
fn every_record_counts_once_although_tasks_fail_again_and_again() {
    for parallelism in [1, 2, 3] {
        let job = Job {
            parallelism,
            ..Job::checkpointed(20_000)
        };
        job.world.gate.store(0, Ordering::SeqCst);
        let running = job.start(RestoreFrom::Fresh);
        // Each gate lets one failure through, and the next opens once a checkpoint has completed after it.
        let fails = ["k1:50", "k2:700", "k3:1200", "k4:1900"];
        for (attempt, (fail, gate)) in (1..).zip(fails.into_iter().zip([500, 1_000, 2_000, u64::MAX])) {
            job.world.fail_at.lock().unwrap().insert(fail.to_owned());
            job.world.gate.store(gate, Ordering::SeqCst);
            let status = running.until("the job has restarted", |s| s.attempt == attempt);
            if gate != u64::MAX {
                running.completed(status.checkpoints.completed + 1);
            }
        }
        let status = running.finish();
        assert_eq!(status.state, JobState::Finished, "{status:#?}");
        assert_eq!(
            job.world.committed(),
            counts(20_000, 10),
            "parallelism {parallelism}"
        );
        assert_eq!(
            status.attempt, 4,
            "each of the four failures restarted the job once"
        );
        assert_eq!(job.world.prepared(), 0);
    }
}

#[test]
fn a_failure_before_the_first_checkpoint_starts_from_the_sources_start() {
    let mut job = Job::checkpointed(1_000);
    job.settings["checkpointing"]["interval-ms"] = json!(600_000);
    job.world.fail_at.lock().unwrap().insert("k1:50".to_owned());
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed(), counts(1_000, 10));
    assert_eq!((status.attempt, status.checkpoints.restored), (1, 0));
}

#[test]
fn a_suspended_job_goes_on_from_its_latest_checkpoint_at_another_parallelism() {
    let mut job = Job::checkpointed(20_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    for (parallelism, gate) in [(1, 300), (3, 900), (2, u64::MAX)] {
        job.parallelism = parallelism;
        let running = job.start(RestoreFrom::Latest);
        running.completed(2);
        running.handle.suspend();
        assert_eq!(running.handle.status().state, JobState::Suspended);
        job.world.gate.store(gate, Ordering::SeqCst);
    }
    job.parallelism = 2;
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed(), counts(20_000, 10));
}

#[test]
fn a_damaged_latest_checkpoint_is_passed_over_for_the_one_before() {
    let job = Job::checkpointed(8_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    running.completed(2);
    // Nothing is committed that only the damaged checkpoint knows of: the gate is closed.
    wait_for("all is committed", || {
        job.world.committed().len() as u64 == 8 * GATE
    });
    let before = running.handle.status().checkpoints.completed;
    running.completed(before + 2);
    running.handle.suspend();
    let mut manifests: Vec<String> = job
        .storage
        .list(&JobId(job.id).to_string())
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.ends_with("/_metadata"))
        .collect();
    assert!(manifests.len() >= 2, "{manifests:?}");
    manifests.sort_by_key(|name| {
        let number = name.rsplit("chk-").next().unwrap().split('/').next().unwrap();
        number.parse::<u64>().unwrap()
    });
    let newest = manifests.last().unwrap();
    job.storage
        .damage(newest, |bytes| bytes.truncate(bytes.len() / 2))
        .unwrap();
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(status.checkpoints.restored, 1);
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn a_commit_that_has_to_be_tried_again_is_done_before_the_job_finishes() {
    let job = Job::checkpointed(1_000);
    job.world.commit_retries.store(3, Ordering::SeqCst);
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed(), counts(1_000, 10));
    assert_eq!(job.world.commit_retries.load(Ordering::SeqCst), 0);
}

#[test]
fn a_job_whose_restarts_are_used_up_fails_and_keeps_its_checkpoints() {
    let mut job = Job::checkpointed(8_000);
    job.settings["restart"] = json!({"type": "fixed-delay", "attempts": 1, "delay_ms": 1});
    job.world.gate.store(GATE, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    running.completed(1);
    job.world
        .fail_at
        .lock()
        .unwrap()
        .extend(["k1:200".to_owned(), "k2:300".to_owned()]);
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = running.finish();
    assert_eq!(status.state, JobState::Failed, "{status:#?}");
    assert!(
        status.exceptions[0].message.contains("allows 1 restarts"),
        "{:?}",
        status.exceptions
    );
    running.handle.release();
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(status.state, JobState::Finished);
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn a_job_that_another_host_has_taken_over_ends_however_many_failures_it_bears() {
    let mut job = Job::checkpointed(8_000);
    job.settings["checkpointing"]["tolerable-failures"] = json!(1_000_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    running.completed(1);
    Fence::acquire(job.storage.clone(), JobId(job.id)).unwrap();
    let status = running.finish();
    assert_eq!(status.state, JobState::Failed, "{status:#?}");
    let [error] = &status.exceptions[..] else {
        panic!("one error: {:?}", status.exceptions)
    };
    assert!(error.message.contains("taken over by another host"), "{error:?}");
    // Here stands the other host: it finds all that was completed before.
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(status.checkpoints.restored, 1);
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn releasing_a_finished_job_deletes_what_it_left() {
    let job = Job::checkpointed(1_000);
    let running = job.start(RestoreFrom::Fresh);
    assert_eq!(running.finish().state, JobState::Finished);
    assert!(
        !job.storage.list("").unwrap().is_empty(),
        "a host that dies now must find it"
    );
    running.handle.release();
    wait_for("the storage is empty", || {
        job.storage.list("").unwrap().is_empty()
    });
}

#[test]
fn a_host_that_dies_before_it_records_the_end_finds_nothing_left_to_do() {
    let job = Job::checkpointed(1_000);
    assert_eq!(job.start(RestoreFrom::Fresh).finish().state, JobState::Finished);
    let again = job.start(RestoreFrom::Latest).finish();
    assert_eq!(again.state, JobState::Finished);
    assert_eq!(job.world.committed(), counts(1_000, 10));
}

#[test]
fn several_checkpoints_may_be_under_way_at_once() {
    for mode in ["exactly-once", "at-least-once"] {
        let mut job = Job::checkpointed(40_000);
        job.settings["checkpointing"]["max-concurrent"] = json!(3);
        job.settings["checkpointing"]["interval-ms"] = json!(1);
        job.settings["checkpointing"]["mode"] = json!(mode);
        let status = job.start(RestoreFrom::Fresh).finish();
        assert_eq!(status.state, JobState::Finished, "{status:#?}");
        assert_eq!(job.world.committed(), counts(40_000, 10), "{mode}");
    }
}

#[test]
fn timers_are_part_of_a_checkpoint() {
    let mut job = Job {
        function: "timers",
        ..Job::checkpointed(800)
    };
    job.world.gate.store(50, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("half is read", || job.world.polled.load(Ordering::SeqCst) == 400);
    let before = running.handle.status().checkpoints.completed;
    running.completed(before + 2);
    running.handle.suspend();
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    job.parallelism = 3;
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    let fired = job
        .world
        .committed()
        .into_iter()
        .filter(|text| text.starts_with("fired"))
        .count();
    assert_eq!(fired, 800);
    assert_eq!(
        job.world.polled.load(Ordering::SeqCst),
        800,
        "nothing was read twice"
    );
}

/// A job whose latest checkpoint holds what is not committed yet.
fn with_commits_that_wait() -> Job {
    let job = Job::checkpointed(8_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    job.world.commit_retries.store(u64::MAX, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("all is written", || {
        job.world.written.load(Ordering::SeqCst) == 8 * GATE
    });
    let before = running.handle.status().checkpoints.completed;
    running.completed(before + 2);
    running.handle.suspend();
    job
}

#[test]
fn what_is_lost_before_recovery_could_commit_it_fails_the_job_once_and_for_good() {
    let job = with_commits_that_wait();
    job.world.loses.store(true, Ordering::SeqCst);
    let before = job.world.recoveries.load(Ordering::SeqCst);
    let status = job.start(RestoreFrom::Latest).finish();
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Failed, 0),
        "{status:#?}"
    );
    assert_eq!(job.world.recoveries.load(Ordering::SeqCst), before + 1);
    assert_eq!(status.exceptions.len(), 1);
    let message = &status.exceptions[0].message;
    assert!(
        message.contains("operator `sink`") && message.contains("is lost") && message.contains("was removed"),
        "{message}"
    );
}

#[test]
fn what_is_lost_before_its_commit_fails_the_job_once_and_for_good() {
    let job = Job::checkpointed(8_000);
    job.world.loses.store(true, Ordering::SeqCst);
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Failed, 0),
        "{status:#?}"
    );
    assert!(
        status.exceptions[0].message.contains("is lost"),
        "{:?}",
        status.exceptions
    );
}

#[test]
fn a_commit_that_waits_is_tried_once_more_when_the_job_is_cancelled() {
    let job = Job::checkpointed(8_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("all is committed", || {
        job.world.committed().len() as u64 == 8 * GATE
    });
    // Of so many attempts in a row each waits longer than the one before.
    job.world.commit_retries.store(12, Ordering::SeqCst);
    job.world.gate.store(2 * GATE, Ordering::SeqCst);
    wait_for("commits wait", || {
        job.world.commit_retries.load(Ordering::SeqCst) < 4
    });
    job.world.commit_retries.store(0, Ordering::SeqCst);
    running.handle.cancel();
    let status = running.finish();
    assert_eq!(status.state, JobState::Canceled);
    assert_eq!(job.world.prepared(), 0, "{status:#?}");
    assert!(status.exceptions.is_empty(), "{:?}", status.exceptions);
    running.handle.release();
    wait_for("its checkpoints are deleted", || {
        job.storage.list(&JobId(job.id).to_string()).unwrap().is_empty()
    });
}

#[test]
fn what_a_cancelled_job_could_not_commit_stays_in_its_checkpoint_and_is_committed_from_there() {
    let job = Job::checkpointed(8_000);
    job.world.gate.store(GATE, Ordering::SeqCst);
    job.world.commit_retries.store(u64::MAX, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("all is written", || {
        job.world.written.load(Ordering::SeqCst) == 8 * GATE
    });
    let before = running.handle.status().checkpoints.completed;
    running.completed(before + 2);
    running.handle.cancel();
    let status = running.finish();
    assert_eq!(status.state, JobState::Canceled);
    let left = &status.exceptions[0];
    assert_eq!(left.name, "UncommittedResults");
    assert!(job.world.committed().is_empty());
    running.handle.release();
    job.world.commit_retries.store(0, Ordering::SeqCst);
    let latest = left.message.split("memory:/").nth(1).unwrap();
    let next = Job {
        id: 2,
        world: job.world.clone(),
        storage: job.storage.clone(),
        ..Job::checkpointed(8_000)
    };
    job.world.gate.store(u64::MAX, Ordering::SeqCst);
    let status = next.start(next.path(latest.split(' ').next().unwrap())).finish();
    assert_eq!(status.state, JobState::Finished, "{status:#?}");
    assert_eq!(job.world.committed(), counts(8_000, 10));
}

#[test]
fn a_job_that_is_cancelled_while_its_sinks_recover_ends_after_they_have() {
    let job = with_commits_that_wait();
    job.world.commit_retries.store(0, Ordering::SeqCst);
    job.world.recovery_held.store(true, Ordering::SeqCst);
    let before = job.world.recoveries.load(Ordering::SeqCst);
    let running = job.start(RestoreFrom::Latest);
    wait_for("a sink recovers", || {
        job.world.recoveries.load(Ordering::SeqCst) > before
    });
    running.handle.cancel();
    running.until("it is being cancelled", |s| s.state == JobState::Cancelling);
    job.world.recovery_held.store(false, Ordering::SeqCst);
    assert_eq!(running.finish().state, JobState::Canceled);
    assert_eq!(job.world.committed().len() as u64, 8 * GATE);
}
