//! Files that several checkpoints name.

use super::*;

/// What a subtask holds that names shared files.
fn sharing(checkpoint: u64, index: u32, names: &str) -> Event {
    let mut state = state(checkpoint, index);
    let shared = |name: &str| Data::Shared {
        name: name.to_owned(),
        length: 1,
        crc32c: 0,
    };
    let files = names.split(' ').map(|name| (name.to_owned(), shared(name)));
    for operator in state.operators.values_mut() {
        if let Some(keyed) = &mut operator.keyed {
            keyed.native = Some(NativeState {
                format: "files-1".to_owned(),
                numbers: Vec::new(),
                files: files.clone().collect(),
            });
        }
    }
    Event::Ack {
        checkpoint: CheckpointId(checkpoint),
        subtask: subtask(index),
        state,
        report: SubtaskReport {
            size: 10,
            ..SubtaskReport::default()
        },
    }
}

#[test]
fn a_shared_file_is_deleted_with_the_last_checkpoint_that_names_it() {
    let mut c = running(CheckpointSettings {
        incremental: true,
        max_concurrent: 2,
        ..settings()
    });
    let base = |actions: &[Action]| match &actions[0] {
        Action::Trigger { barrier, .. } => barrier.format,
        other => panic!("{other:?}"),
    };
    let incremental = |base: Option<u64>| StateFormat::Incremental {
        base: base.map(CheckpointId),
    };
    assert_eq!(base(&c.on(Event::Tick, 100)), incremental(None));
    at(
        &mut c,
        110,
        [sharing(1, 0, "a b"), sharing(1, 1, "x"), written(1)],
    );
    assert_eq!(base(&c.on(Event::Tick, 200)), incremental(Some(1)));
    // The third may still name what the first held when the second replaces it.
    assert_eq!(base(&c.on(Event::Tick, 300)), incremental(Some(1)));
    let second = [sharing(2, 0, "b c"), sharing(2, 1, "x"), written(2)];
    assert_eq!(at(&mut c, 310, second), ["write 2", "complete 2", "delete 1"]);
    assert_eq!(
        at(&mut c, 320, [sharing(3, 0, "b d"), decline(3, 1)])[..2],
        ["aborted 3", "delete 3 with a,d"]
    );
    let late = at(&mut c, 330, [sharing(3, 1, "x late")]);
    assert_eq!(late, ["delete files 3-1", "delete shared late"]);
}

#[test]
fn tasks_of_a_new_attempt_build_on_nothing() {
    let mut c = running(CheckpointSettings {
        incremental: true,
        ..settings()
    });
    c.on(Event::Tick, 100);
    at(
        &mut c,
        110,
        [sharing(1, 0, "a"), sharing(1, 1, "x"), written(1), stopped()],
    );
    c.set_retained([(CheckpointId(1), BTreeSet::from(["a".to_owned(), "x".to_owned()]))].into());
    at(&mut c, 120, [Event::TasksRunning]);
    let Action::Trigger { barrier, .. } = &c.on(Event::Tick, 220)[0] else {
        panic!("nothing is triggered");
    };
    assert_eq!(barrier.format, StateFormat::Incremental { base: None });
    let second = [sharing(2, 0, "c"), sharing(2, 1, "x"), written(2)];
    assert_eq!(
        at(&mut c, 230, second),
        ["write 2", "complete 2", "delete 1 with a"]
    );
}
