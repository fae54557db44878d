//! The coordinator's invariants under random sequences of events, against an observer that knows
//! nothing of its inside.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_model::element::SavepointFormat;

use super::pending::is_checkpoint;
use super::tests::{ack, file, subtask, subtasks};
use super::*;
use crate::manifest::ManifestKind;

const SUBTASKS: u32 = 3;

/// A step of the world; numbers are reduced to what there is.
#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Ack(u64, u32),
    AckAll,
    Decline(u64, u32),
    Written(bool),
    Wish,
    Savepoint(SavepointKind),
    Stop,
    Start,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0i64..400).prop_map(Step::Wait),
        8 => (0u64..6, 0..SUBTASKS + 1).prop_map(|(back, index)| Step::Ack(back, index)),
        4 => Just(Step::AckAll),
        2 => (0u64..6, 0..SUBTASKS + 1).prop_map(|(back, index)| Step::Decline(back, index)),
        8 => prop::bool::weighted(0.8).prop_map(Step::Written),
        2 => Just(Step::Wish),
        2 => Just(Step::Savepoint(SavepointKind::Savepoint)),
        1 => Just(Step::Savepoint(SavepointKind::Last)),
        1 => prop::bool::ANY.prop_map(|drain| Step::Savepoint(SavepointKind::Stop { drain })),
        1 => Just(Step::Stop),
        3 => Just(Step::Start),
        1 => Just(Step::End),
    ]
}

fn some_settings() -> impl Strategy<Value = CheckpointSettings> {
    (0u64..300, 50u64..800, 0u64..200, 0u32..4, 0u32..3, 0u32..4).prop_map(
        |(interval_ms, timeout_ms, min_pause_ms, max_concurrent, tolerable_failures, retained)| {
            CheckpointSettings {
                interval_ms,
                timeout_ms,
                min_pause_ms: min_pause_ms.saturating_sub(100),
                max_concurrent,
                tolerable_failures,
                retain_on_cancel: false,
                retained,
                ..CheckpointSettings::default()
            }
        },
    )
}

/// What the world knows: the storage, the tasks, the wishes.
#[derive(Default)]
struct World {
    acknowledged: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    writing: Vec<(CheckpointId, ManifestKind)>,
    /// Manifests in the job's directory.
    stored: BTreeSet<CheckpointId>,
    /// Manifests of savepoints.
    savepoints: BTreeSet<CheckpointId>,
    deleted: BTreeSet<CheckpointId>,
    told_complete: Option<CheckpointId>,
    open_wishes: BTreeSet<u64>,
    last_id: u64,
    may_finish: bool,
}

impl World {
    fn apply(&mut self, settings: &CheckpointSettings, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Trigger { barrier, .. } => {
                    prop_assert!(!self.may_finish, "nothing is triggered at the end");
                    prop_assert_eq!(barrier.checkpoint.0, self.last_id + 1, "numbers grow by one");
                    self.last_id = barrier.checkpoint.0;
                }
                Action::WriteManifest(done) => self.write(done)?,
                Action::NotifyComplete { checkpoint } => {
                    prop_assert!(self.stored.contains(checkpoint) || self.savepoints.contains(checkpoint));
                    prop_assert!(self.told_complete < Some(*checkpoint), "completions grow");
                    self.told_complete = Some(*checkpoint);
                }
                Action::NotifyAborted { checkpoint } => {
                    prop_assert!(
                        !self.stored.contains(checkpoint),
                        "what is complete is not given up"
                    );
                }
                Action::DeleteCheckpoint { checkpoint, .. } => self.delete(*checkpoint, settings)?,
                Action::DeleteShared { .. } | Action::DeleteClaimed => {}
                Action::DeleteFiles {
                    checkpoint, names, ..
                } => {
                    prop_assert!(!self.stored.contains(checkpoint) && !self.savepoints.contains(checkpoint));
                    let own = |name: &String| (0..SUBTASKS + 1).any(|i| *name == file(checkpoint.0, i));
                    prop_assert!(names.iter().all(own));
                }
                Action::TriggerDone { trigger, outcome } => {
                    prop_assert!(self.open_wishes.remove(&trigger.0), "a wish is answered once");
                    if let SavepointOutcome::Completed { id, .. } = outcome {
                        prop_assert!(self.stored.contains(id) || self.savepoints.contains(id));
                    }
                }
                Action::FailJob { .. } => {}
                Action::JobMayFinish => {
                    prop_assert!(self.writing.is_empty());
                    self.may_finish = true;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, done: &Acknowledged) -> Result<(), TestCaseError> {
        let acknowledged = self
            .acknowledged
            .get(&done.checkpoint)
            .cloned()
            .unwrap_or_default();
        prop_assert_eq!(
            &acknowledged,
            &subtasks(SUBTASKS),
            "a manifest needs all acknowledgements"
        );
        prop_assert_eq!(done.subtasks.len(), SUBTASKS as usize);
        prop_assert!(!self.deleted.contains(&done.checkpoint));
        if done.kind != ManifestKind::Savepoint {
            let busy = self
                .writing
                .iter()
                .any(|(_, kind)| *kind != ManifestKind::Savepoint);
            prop_assert!(!busy, "manifests that commit are written one at a time");
        }
        self.writing.push((done.checkpoint, done.kind));
        Ok(())
    }

    fn delete(
        &mut self,
        checkpoint: CheckpointId,
        settings: &CheckpointSettings,
    ) -> Result<(), TestCaseError> {
        if self.stored.remove(&checkpoint) {
            let newer = self.stored.iter().filter(|id| **id > checkpoint).count();
            prop_assert_eq!(
                newer,
                settings.retained.max(1) as usize,
                "only what newer ones replace goes"
            );
            prop_assert!(
                self.stored.iter().all(|id| *id > checkpoint),
                "the oldest goes first"
            );
        }
        self.deleted.insert(checkpoint);
        Ok(())
    }
}

/// One step: the event it makes, if any.
fn event(world: &mut World, step: &Step, next_wish: &mut u64) -> Vec<Event> {
    let id = |back: u64| CheckpointId(world.last_id.saturating_sub(back).max(1));
    match step {
        Step::Wait(_) => vec![Event::Tick],
        Step::Ack(back, index) => vec![ack(id(*back).0, *index)],
        Step::AckAll => (0..SUBTASKS).map(|index| ack(id(0).0, index)).collect(),
        Step::Decline(back, index) => {
            vec![Event::Decline {
                checkpoint: id(*back),
                subtask: subtask(*index),
                reason: "no".to_owned(),
            }]
        }
        Step::Written(good) => {
            let Some((checkpoint, kind)) = world.writing.pop() else {
                return Vec::new();
            };
            if !good {
                return vec![Event::ManifestFailed {
                    checkpoint,
                    reason: "no".to_owned(),
                }];
            }
            let own = matches!(kind, ManifestKind::Checkpoint | ManifestKind::Final);
            if own {
                world.stored.insert(checkpoint)
            } else {
                world.savepoints.insert(checkpoint)
            };
            vec![Event::ManifestWritten {
                checkpoint,
                location: "x".to_owned(),
            }]
        }
        Step::Wish | Step::Savepoint(_) => {
            *next_wish += 1;
            world.open_wishes.insert(*next_wish);
            let trigger = SavepointTrigger(*next_wish);
            vec![match step {
                Step::Savepoint(kind) => Event::TriggerSavepoint {
                    trigger,
                    kind: *kind,
                    format: SavepointFormat::Native,
                },
                _ => Event::TriggerCheckpoint { trigger, full: false },
            }]
        }
        Step::Stop => {
            // A task may fail while it commits what the final checkpoint holds: the job comes back.
            world.may_finish = false;
            vec![Event::TasksStopped {
                reason: "failed".to_owned(),
            }]
        }
        Step::Start => vec![Event::TasksRunning],
        Step::End => vec![Event::AllInputsEnded],
    }
}

fn run(settings: &CheckpointSettings, steps: &[Step]) -> Result<Vec<Vec<Action>>, TestCaseError> {
    let mut c = Coordinator::new(settings.clone(), subtasks(SUBTASKS), CheckpointId(1));
    let (mut world, mut now, mut next_wish, mut trace) = (World::default(), 0, 0, Vec::new());
    for step in std::iter::once(&Step::Start).chain(steps) {
        if let Step::Wait(ms) = step {
            now += ms;
        }
        if matches!(step, Step::Start) && !c.is_settled() {
            continue;
        }
        for event in event(&mut world, step, &mut next_wish) {
            if let Event::Ack {
                checkpoint, subtask, ..
            } = &event
                && subtasks(SUBTASKS).contains(subtask)
            {
                world
                    .acknowledged
                    .entry(*checkpoint)
                    .or_default()
                    .insert(*subtask);
            }
            let actions = c.on(event, now);
            world.apply(settings, &actions)?;
            trace.push(actions);
            check(&c, &world, settings, now)?;
        }
    }
    Ok(trace)
}

/// What holds after every event.
fn check(
    c: &Coordinator,
    world: &World,
    settings: &CheckpointSettings,
    now: i64,
) -> Result<(), TestCaseError> {
    prop_assert!(
        c.next_wake().is_none_or(|at| at > now),
        "a tick would do something that was not done now"
    );
    prop_assert_eq!(c.retained(), world.stored.iter().copied().collect::<Vec<_>>());
    prop_assert!(world.stored.len() <= settings.retained.max(1) as usize);
    prop_assert_eq!(c.is_settled(), world.writing.is_empty());
    let stats = c.stats();
    prop_assert_eq!(
        stats.triggered,
        stats.in_progress + stats.completed + stats.failed
    );
    prop_assert_eq!(stats.triggered, world.last_id);
    let own = c.pending.values().filter(|p| is_checkpoint(p.kind)).count();
    let limit = if settings.min_pause_ms > 0 {
        1
    } else {
        settings.max_concurrent.max(1)
    };
    prop_assert!(own <= limit as usize);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_breaks_the_invariants(
        settings in some_settings(), steps in prop::collection::vec(step(), 1..120),
    ) {
        let first = run(&settings, &steps)?;
        prop_assert_eq!(first, run(&settings, &steps)?, "the same events give the same actions");
    }

    #[test]
    fn the_job_fails_exactly_with_one_more_failure_in_a_row_than_is_borne(
        tolerable in 0u32..4, outcomes in prop::collection::vec(prop::bool::ANY, 1..30),
    ) {
        let settings = CheckpointSettings { interval_ms: 10, tolerable_failures: tolerable, ..CheckpointSettings::default() };
        let mut c = Coordinator::new(settings, subtasks(1), CheckpointId(1));
        c.on(Event::TasksRunning, 0);
        let mut in_a_row = 0;
        for (n, good) in (1u64..).zip(outcomes) {
            c.on(Event::Tick, 10 * n as i64);
            let actions = if good {
                c.on(ack(n, 0), 10 * n as i64);
                c.on(Event::ManifestWritten { checkpoint: CheckpointId(n), location: "x".to_owned() }, 10 * n as i64)
            } else {
                c.on(Event::Decline { checkpoint: CheckpointId(n), subtask: subtask(0), reason: "no".to_owned() }, 10 * n as i64)
            };
            in_a_row = if good { 0 } else { in_a_row + 1 };
            let failed = actions.iter().any(|a| matches!(a, Action::FailJob { .. }));
            prop_assert_eq!(failed, in_a_row > tolerable);
            if failed {
                break;
            }
        }
    }
}
