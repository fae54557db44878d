//! How keyed state is written, and who owns what a job starts from.

use super::*;

fn format_of(actions: &[Action]) -> StateFormat {
    let trigger = actions.iter().find_map(|action| match action {
        Action::Trigger { barrier, .. } => Some(barrier.format),
        _ => None,
    });
    trigger.expect("nothing was triggered")
}

fn wish(trigger: u64, full: bool) -> Event {
    Event::TriggerCheckpoint {
        trigger: SavepointTrigger(trigger),
        full,
    }
}

#[test]
fn a_full_checkpoint_builds_on_no_other_and_the_next_builds_on_it() {
    let mut c = running(CheckpointSettings {
        incremental: true,
        ..settings()
    });
    let base = |id| StateFormat::Incremental {
        base: Some(CheckpointId(id)),
    };
    at(&mut c, 100, [Event::Tick, ack(1, 0), ack(1, 1), written(1)]);
    assert_eq!(format_of(&c.on(wish(1, false), 101)), base(1));
    at(&mut c, 102, [ack(2, 0), ack(2, 1), written(2)]);
    let full = StateFormat::Incremental { base: None };
    assert_eq!(format_of(&c.on(wish(2, true), 103)), full);
    at(&mut c, 104, [ack(3, 0), ack(3, 1), written(3)]);
    assert_eq!(format_of(&c.on(wish(3, false), 105)), base(3));
}

#[test]
fn a_savepoint_is_in_the_format_that_was_asked_for_and_names_nothing_of_others() {
    let mut c = running(CheckpointSettings {
        incremental: true,
        ..settings()
    });
    at(&mut c, 100, [Event::Tick, ack(1, 0), ack(1, 1), written(1)]);
    for (trigger, format, expected) in [
        (1, SavepointFormat::Canonical, StateFormat::Canonical),
        (2, SavepointFormat::Native, StateFormat::Native),
    ] {
        let event = Event::TriggerSavepoint {
            trigger: SavepointTrigger(trigger),
            kind: SavepointKind::Savepoint,
            format,
        };
        assert_eq!(format_of(&c.on(event, 101)), expected);
        assert_eq!(c.stats().history[0].format, Some(format));
    }
}

#[test]
fn what_is_claimed_is_deleted_as_if_it_were_the_oldest_checkpoint() {
    for (retained, deletes_at) in [(1, 1), (3, 3)] {
        let mut c = Coordinator::new(
            CheckpointSettings {
                retained,
                ..settings()
            },
            subtasks(2),
            CheckpointId(1),
        );
        c.set_claimed();
        c.on(Event::TasksRunning, 0);
        for id in 1..6 {
            let actions = at(
                &mut c,
                id as i64 * 100,
                [Event::Tick, ack(id, 0), ack(id, 1), written(id)],
            );
            let deletes = actions
                .iter()
                .filter(|action| *action == "delete claimed")
                .count();
            assert_eq!(deletes, usize::from(id == deletes_at), "{id}: {actions:?}");
        }
    }
}
