//! Savepoints, stops and savepoints before a cancellation.

use super::*;

#[test]
fn a_savepoint_commits_nothing_replaces_nothing_and_runs_beside() {
    let mut c = running(settings());
    at(&mut c, 100, [Event::Tick]);
    let actions = c.on(savepoint(9, SavepointKind::Savepoint), 101);
    let Action::Trigger {
        barrier,
        destination,
        drain,
    } = &actions[0]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (barrier.checkpoint, barrier.kind, *drain),
        (CheckpointId(2), SnapshotKind::Savepoint, false)
    );
    assert_eq!(*destination, Destination::Savepoint(SavepointTrigger(9)));
    assert_eq!(at(&mut c, 102, [ack(2, 0), ack(2, 1)]), ["write 2"]);
    assert_eq!(at(&mut c, 103, [written(2)]), ["done 9 by 2"]);
    assert_eq!(c.retained(), []);
    assert_eq!(
        at(&mut c, 104, [ack(1, 0), ack(1, 1), written(1)]),
        ["write 1", "complete 1"]
    );
}

#[test]
fn barriers_that_overtake_wait_until_all_have_taken_a_savepoint() {
    let mut c = running(CheckpointSettings {
        unaligned: true,
        ..settings()
    });
    at(&mut c, 1, [savepoint(9, SavepointKind::Savepoint), ack(1, 0)]);
    assert_eq!(
        at(&mut c, 100, [Event::Tick]),
        [""; 0],
        "it would overtake the savepoint's"
    );
    assert!(
        c.next_wake().is_none_or(|at| at > 100),
        "nothing is to be done now"
    );
    assert_eq!(at(&mut c, 300, [ack(1, 1)]), ["write 1", "trigger 2"]);
    assert_eq!(at(&mut c, 301, [written(1)]), ["done 9 by 1"]);
}

#[test]
fn a_failed_savepoint_fails_no_job_and_loses_only_its_own_files() {
    let mut c = running(settings());
    at(&mut c, 1, [savepoint(9, SavepointKind::Savepoint), ack(1, 0)]);
    assert_eq!(
        at(&mut c, 2, [decline(1, 1)]),
        ["aborted 1", "delete files 1-0", "refused 9"]
    );
    at(
        &mut c,
        3,
        [savepoint(10, SavepointKind::Savepoint), ack(2, 0), ack(2, 1)],
    );
    assert_eq!(
        at(&mut c, 4, [manifest_failed(2)]),
        ["aborted 2", "delete files 2-0,2-1", "refused 10"]
    );
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 3"]);
}

#[test]
fn savepoints_under_way_are_limited() {
    let mut c = running(settings());
    let triggers = (0..SAVEPOINTS_CONCURRENT_MAX as u64).map(|n| savepoint(n, SavepointKind::Savepoint));
    assert!(
        at(&mut c, 1, triggers)
            .iter()
            .all(|name| name.starts_with("trigger"))
    );
    assert_eq!(
        at(&mut c, 2, [savepoint(99, SavepointKind::Savepoint)]),
        ["refused 99"]
    );
}

#[test]
fn a_stop_commits_and_lets_the_job_finish_and_nothing_is_triggered_after_it() {
    let mut c = running(settings());
    let actions = c.on(savepoint(9, SavepointKind::Stop { drain: true }), 1);
    assert!(matches!(&actions[0], Action::Trigger { drain: true, barrier, .. }
        if barrier.kind == SnapshotKind::StopWithSavepoint));
    assert_eq!(at(&mut c, 500, [Event::Tick, wish(3)]), ["refused 3"]);
    assert_eq!(
        at(&mut c, 501, [savepoint(10, SavepointKind::Stop { drain: false })]),
        ["refused 10"]
    );
    let ended = at(&mut c, 502, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(ended, ["write 1", "complete 1", "done 9 by 1", "may finish"]);
    assert_eq!(at(&mut c, 9_000, [Event::Tick, Event::AllInputsEnded]), [""; 0]);
    assert_eq!(c.next_wake(), None);
}

#[test]
fn nothing_is_triggered_after_the_savepoint_before_a_cancellation_also_after_a_restart() {
    let mut c = running(settings());
    assert_eq!(at(&mut c, 1, [savepoint(9, SavepointKind::Last)]), ["trigger 1"]);
    assert_eq!(at(&mut c, 500, [Event::Tick, wish(3)]), ["refused 3"]);
    let ended = at(&mut c, 502, [ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(ended, ["write 1", "done 9 by 1"], "it commits nothing");
    assert_eq!(at(&mut c, 900, [Event::Tick, wish(4)]), ["refused 4"]);
    assert_eq!(c.next_wake(), None);
    at(&mut c, 901, [stopped(), Event::TasksRunning]);
    assert_eq!(
        at(&mut c, 9_000, [Event::Tick, Event::AllInputsEnded, wish(5)]),
        ["refused 5"]
    );
    assert_eq!(c.next_wake(), None);
}

#[test]
fn a_savepoint_before_a_cancellation_that_fails_lets_the_job_go_on() {
    let mut c = running(settings());
    at(&mut c, 1, [savepoint(9, SavepointKind::Last)]);
    assert_eq!(at(&mut c, 2, [decline(1, 0)]), ["aborted 1", "refused 9"]);
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 2"]);
}

#[test]
fn a_stop_that_fails_lets_the_job_go_on_unless_it_was_drained() {
    let mut c = running(settings());
    at(&mut c, 1, [savepoint(9, SavepointKind::Stop { drain: false })]);
    assert_eq!(at(&mut c, 2, [decline(1, 0)]), ["aborted 1", "refused 9"]);
    assert_eq!(at(&mut c, 100, [Event::Tick]), ["trigger 2"]);
    at(&mut c, 101, [savepoint(10, SavepointKind::Stop { drain: true })]);
    assert_eq!(
        at(&mut c, 102, [decline(3, 0)]),
        ["aborted 3", "refused 10", "fail job"]
    );
}
