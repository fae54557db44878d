//! Jobs without checkpoints.

use serde_json::json;
use wasmill_engine::job::RestoreFrom;
use wasmill_engine::job::status::{JobState, TaskState};

use crate::support::{Job, counts, wait_for};
use std::sync::atomic::Ordering;

#[test]
fn a_bounded_job_without_checkpoints_commits_everything_at_its_end() {
    for parallelism in [1, 2, 3] {
        let job = Job {
            parallelism,
            ..Job::new(5_000)
        };
        let status = job.start(RestoreFrom::Fresh).finish();
        assert_eq!(status.state, JobState::Finished, "{status:#?}");
        assert_eq!(job.world.committed(), counts(5_000, 10));
        assert_eq!(job.world.prepared(), 0);
    }
}

#[test]
fn records_are_counted_per_subtask_and_vertex() {
    let job = Job::new(1_000);
    let status = job.start(RestoreFrom::Fresh).finish();
    let sum = |vertex: usize, what: fn(&wasmill_engine::job::status::SubtaskStatus) -> u64| -> u64 {
        status.vertices[vertex].subtasks.iter().map(what).sum()
    };
    assert_eq!(status.vertices.len(), 2, "the hash edge parts two chains");
    assert_eq!(sum(0, |s| s.records_out), 1_000);
    assert_eq!(sum(1, |s| s.records_in), 1_000);
    assert!(sum(1, |s| s.bytes_in) > 0);
    assert!(
        status
            .vertices
            .iter()
            .flat_map(|v| &v.subtasks)
            .all(|s| s.state == TaskState::Finished)
    );
}

#[test]
fn timers_fire_in_order_at_the_end_of_input_and_before_the_operators_last_words() {
    let job = Job {
        function: "timers",
        parallelism: 1,
        ..Job::new(100)
    };
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Finished);
    let trace = job.world.trace.lock().unwrap().clone();
    let mut expected: Vec<String> = (0..100).map(|n| format!("fired k{}@{n}", n % 10)).collect();
    expected.push("ended after 100".to_owned());
    assert_eq!(trace, expected);
    assert_eq!(job.world.committed().len(), 101);
}

#[test]
fn a_failure_without_checkpoints_fails_the_job_and_says_why() {
    let job = Job::new(1_000);
    job.world.fail_at.lock().unwrap().insert("k3:7".to_owned());
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Failed);
    let texts: Vec<&str> = status.exceptions.iter().map(|e| e.message.as_str()).collect();
    assert!(
        texts
            .iter()
            .any(|t| t.contains("operator `function`") && t.contains("told to fail at k3:7")),
        "{texts:?}"
    );
    assert!(
        texts.iter().any(|t| t.contains("restart strategy is none")),
        "{texts:?}"
    );
    assert!(job.world.committed().is_empty());
}

#[test]
fn a_panic_in_an_operator_fails_its_job_only() {
    let job = Job {
        function: "panic",
        ..Job::new(100)
    };
    let status = job.start(RestoreFrom::Fresh).finish();
    assert_eq!(status.state, JobState::Failed);
    assert!(
        status
            .exceptions
            .iter()
            .any(|e| e.message.contains("told to panic")),
        "{:?}",
        status.exceptions
    );
}

#[test]
fn a_job_that_needs_more_slots_than_are_free_is_refused() {
    let job = Job {
        parallelism: 4,
        slots: 3,
        ..Job::new(1)
    };
    let error = job.try_start(RestoreFrom::Fresh).err().unwrap().to_string();
    assert!(
        error.contains("needs 4 slots") && error.contains("3 are free"),
        "{error}"
    );
}

#[test]
fn a_connector_that_refuses_its_settings_is_named() {
    let job = Job {
        source: json!({}),
        ..Job::new(1)
    };
    let error = job.try_start(RestoreFrom::Fresh).err().unwrap().to_string();
    assert_eq!(error, "operator `source`: `records` is missing");
}

#[test]
fn an_unbounded_job_runs_until_it_is_cancelled() {
    let job = Job {
        source: json!({"records": 100, "bounded": false}),
        ..Job::new(0)
    };
    let running = job.start(RestoreFrom::Fresh);
    wait_for("all records are written", || {
        job.world.written.load(Ordering::SeqCst) == 100
    });
    running.until("it runs", |s| s.state == JobState::Running);
    running.handle.cancel();
    let status = running.finish();
    assert_eq!(status.state, JobState::Canceled);
    assert!(
        job.world.committed().is_empty(),
        "nothing is committed by a cancel"
    );
}

#[test]
fn a_slow_sink_bounds_what_the_sources_read() {
    let job = Job {
        source: json!({"records": 10_000_000, "bounded": false}),
        ..Job::new(0)
    };
    job.world.sink_blocked.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    running.until("the sources wait for credit", |status| {
        status.vertices[0]
            .subtasks
            .iter()
            .all(|s| s.backpressured_ms >= 20)
    });
    let polled = job.world.polled.load(Ordering::SeqCst);
    // Two sources to two sinks: 4 channels of 8 batches of 32 KiB and what is being built. A record is 40 bytes.
    assert!(polled < 4 * (8 + 3) * 32 * 1024 / 40, "{polled}");
    running.until("they still wait", |s| {
        s.vertices[0].subtasks.iter().all(|s| s.backpressured_ms >= 60)
    });
    assert_eq!(job.world.polled.load(Ordering::SeqCst), polled);
    job.world.sink_blocked.store(false, Ordering::SeqCst);
    wait_for("it goes on", || job.world.polled.load(Ordering::SeqCst) > polled);
    running.handle.cancel();
    assert_eq!(running.finish().state, JobState::Canceled);
}

#[test]
fn a_task_that_does_not_end_is_left_behind_when_the_job_is_cancelled_and_named() {
    let mut job = Job::new(1_000);
    job.settings["cancellation-timeout-ms"] = json!(50);
    job.world.sink_blocked.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    wait_for("the sources have read", || {
        job.world.polled.load(Ordering::SeqCst) > 0
    });
    wait_for("a sink stands still", || {
        job.world.standing.load(Ordering::SeqCst) > 0
    });
    running.handle.cancel();
    let status = running.finish();
    job.world.sink_blocked.store(false, Ordering::SeqCst);
    assert_eq!(status.state, JobState::Canceled, "{status:#?}");
    let left = &status.exceptions[0];
    assert_eq!(left.name, "CancellationTimeout");
    assert!(
        left.task.as_deref().is_some_and(|task| task.contains("sink")),
        "{left:?}"
    );
    assert!(
        left.message.contains("50 ms of `cancellation-timeout`"),
        "{left:?}"
    );
}

#[test]
fn a_job_does_not_restart_beside_a_task_that_does_not_end() {
    let mut job = Job::checkpointed(1_000);
    job.settings["cancellation-timeout-ms"] = json!(50);
    job.settings["checkpointing"]["timeout-ms"] = json!(20);
    job.world.sink_blocked.store(true, Ordering::SeqCst);
    let running = job.start(RestoreFrom::Fresh);
    let status = running.finish();
    job.world.sink_blocked.store(false, Ordering::SeqCst);
    assert_eq!(
        (status.state, status.attempt),
        (JobState::Failed, 0),
        "{status:#?}"
    );
    assert_eq!(status.exceptions[0].name, "CancellationTimeout");
}
