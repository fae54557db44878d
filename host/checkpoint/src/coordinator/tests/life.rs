//! What ends a job and what begins it anew.

use super::*;

#[test]
fn the_end_of_all_input_triggers_the_final_checkpoint_at_once_also_without_an_interval() {
    for settings in [settings(), CheckpointSettings::default()] {
        let mut c = running(settings);
        assert_eq!(at(&mut c, 5, [Event::AllInputsEnded]), ["trigger 1"]);
        let actions = c.on(ack(1, 0), 6);
        assert_eq!(actions, []);
        let actions = c.on(ack(1, 1), 6);
        assert!(matches!(&actions[0], Action::WriteManifest(done) if done.kind == ManifestKind::Final));
        assert_eq!(at(&mut c, 7, [written(1)]), ["complete 1", "may finish"]);
        assert_eq!(at(&mut c, 8, [Event::JobEnded(JobEnd::Finished)]), ["delete 1"]);
    }
}

#[test]
fn the_final_checkpoint_waits_for_room_and_is_tried_again_when_it_fails() {
    let mut c = running(CheckpointSettings {
        tolerable_failures: 5,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick]);
    assert_eq!(at(&mut c, 101, [Event::AllInputsEnded]), [""; 0]);
    let next = at(&mut c, 102, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(next, ["write 1", "complete 1", "trigger 2"]);
    assert_eq!(at(&mut c, 103, [decline(2, 0)]), ["aborted 2", "delete 2"]);
    assert_eq!(c.next_wake(), Some(1_103));
    assert_eq!(at(&mut c, 1_103, [Event::Tick]), ["trigger 3"]);
    assert_eq!(at(&mut c, 1_104, [wish(4)]), [""; 0]);
    let ended = at(&mut c, 1_105, [ack(3, 0), ack(3, 1), written(3)]);
    assert_eq!(
        ended,
        ["write 3", "complete 3", "done 4 by 3", "delete 1", "may finish"]
    );
}

#[test]
fn the_job_does_not_finish_before_a_savepoint_under_way_has_ended() {
    let mut c = running(settings());
    at(&mut c, 1, [savepoint(9, SavepointKind::Savepoint)]);
    let ended = at(
        &mut c,
        2,
        [Event::AllInputsEnded, ack(2, 0), ack(2, 1), written(2)],
    );
    assert_eq!(ended, ["trigger 2", "write 2", "complete 2"]);
    let ended = at(&mut c, 3, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(ended, ["write 1", "done 9 by 1", "may finish"]);
}

#[test]
fn a_restart_gives_up_what_is_under_way_and_numbers_go_on() {
    let mut c = running(CheckpointSettings {
        max_concurrent: 2,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick, wish(4)]);
    at(&mut c, 101, [ack(1, 0), ack(1, 1)]);
    let given_up = at(&mut c, 102, [stopped()]);
    assert_eq!(
        given_up,
        ["delete 2", "refused 4"],
        "there are no tasks to tell, and one is being written"
    );
    assert!(!c.is_settled());
    assert_eq!(at(&mut c, 103, [written(1)]), [""; 0]);
    assert!(c.is_settled());
    assert_eq!(c.retained(), [CheckpointId(1)]);
    at(&mut c, 200, [Event::TasksRunning]);
    assert_eq!(at(&mut c, 300, [Event::Tick]), ["trigger 3"]);
}

#[test]
fn failures_before_a_restart_do_not_count_after_it() {
    let mut c = running(CheckpointSettings {
        tolerable_failures: 1,
        ..settings()
    });
    at(
        &mut c,
        100,
        [Event::Tick, decline(1, 0), stopped(), Event::TasksRunning],
    );
    at(&mut c, 200, [Event::Tick]);
    assert_eq!(at(&mut c, 201, [decline(2, 0)]), ["aborted 2", "delete 2"]);
}

#[test]
fn restoring_an_older_checkpoint_forgets_the_newer_ones() {
    let mut c = Coordinator::new(
        CheckpointSettings {
            retained: 3,
            ..settings()
        },
        subtasks(1),
        CheckpointId(8),
    );
    c.set_retained((5..8).map(|id| (CheckpointId(id), BTreeSet::new())).collect());
    c.on_restored(RestoredEntry {
        id: CheckpointId(6),
        at: 0,
        is_savepoint: false,
        external_path: "file:///chk-6".to_owned(),
    });
    assert_eq!(c.retained(), [CheckpointId(5), CheckpointId(6)]);
    at(&mut c, 0, [Event::TasksRunning]);
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 8"]);
}

#[test]
fn a_checkpoint_that_was_given_up_and_found_all_the_same_is_the_jobs_again() {
    let mut c = running(settings());
    at(
        &mut c,
        100,
        [Event::Tick, ack(1, 0), ack(1, 1), manifest_failed(1), stopped()],
    );
    c.on_restored(RestoredEntry {
        id: CheckpointId(1),
        at: 200,
        is_savepoint: false,
        external_path: "file:///chk-1".to_owned(),
    });
    assert_eq!(c.retained(), [CheckpointId(1)]);
    assert_eq!(
        at(&mut c, 200, [Event::TasksRunning, ack(1, 1)]),
        [""; 0],
        "its files are kept"
    );
    at(&mut c, 300, [Event::Tick]);
    let ended = at(&mut c, 301, [ack(2, 0), ack(2, 1), written(2)]);
    assert_eq!(ended, ["write 2", "complete 2", "delete 1"]);
}

#[test]
fn checkpoints_go_with_the_job_or_stay_by_how_it_ended() {
    let ends = [
        (JobEnd::Finished, true, true),
        (JobEnd::Canceled, false, true),
        (JobEnd::Canceled, true, false),
        (JobEnd::Failed, false, false),
    ];
    for (end, retain_on_cancel, deleted) in ends {
        let mut c = running(CheckpointSettings {
            retain_on_cancel,
            ..settings()
        });
        at(&mut c, 100, [Event::Tick, ack(1, 0), ack(1, 1), written(1)]);
        let expected: &[&str] = if deleted { &["delete 1"] } else { &[] };
        assert_eq!(at(&mut c, 101, [Event::JobEnded(end)]), expected, "{end:?}");
    }
}

#[test]
fn a_manifest_that_appears_after_a_cancel_is_deleted_too() {
    let mut c = running(settings());
    at(&mut c, 100, [Event::Tick, ack(1, 0), ack(1, 1)]);
    assert_eq!(at(&mut c, 101, [Event::JobEnded(JobEnd::Canceled)]), [""; 0]);
    assert_eq!(at(&mut c, 102, [written(1)]), ["delete 1"]);
}

#[test]
fn a_stop_that_is_completed_after_the_tasks_were_stopped_ends_the_job_all_the_same() {
    let mut c = running(settings());
    let stop = SavepointKind::Stop { drain: false };
    at(&mut c, 10, [savepoint(1, stop), ack(1, 0), ack(1, 1)]);
    assert_eq!(at(&mut c, 11, [stopped()]), [""; 0]);
    assert!(!c.is_settled() && !c.has_ended());
    assert_eq!(at(&mut c, 12, [written(1)]), ["done 1 by 1"]);
    assert!(c.is_settled() && c.has_ended());
}

#[test]
fn a_plain_savepoint_or_a_stop_that_fails_ends_no_job() {
    let mut c = running(settings());
    let stop = SavepointKind::Stop { drain: false };
    at(
        &mut c,
        10,
        [
            savepoint(1, SavepointKind::Savepoint),
            ack(1, 0),
            ack(1, 1),
            written(1),
        ],
    );
    at(
        &mut c,
        11,
        [savepoint(2, stop), ack(2, 0), ack(2, 1), manifest_failed(2)],
    );
    assert!(!c.has_ended());
}
