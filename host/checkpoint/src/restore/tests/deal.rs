//! Dealing a checkpoint out to the subtasks there are now.

use super::*;

/// An operator state, its raw state and committables at `parallelism`, from the elements of each subtask.
fn operator(parallelism: u32, mode: OperatorStateMode, elements: &[Vec<u8>]) -> Manifest {
    let subtasks = (0..parallelism).map(|index| {
        let own = elements.get(index as usize).cloned().unwrap_or_default();
        let state = OperatorState {
            keyed: Some(KeyedHandle {
                range: MaxParallelism(128).range_of(index, parallelism),
                states: Vec::new(),
                data: Data::Inline(vec![index as u8]),
                native: None,
            }),
            lists: vec![OperatorList {
                name: "list".to_owned(),
                mode,
                elements: own.iter().map(|e| Base64Bytes(vec![*e])).collect(),
            }],
            raw: vec![index as u8],
            committables: vec![Committable {
                sink: uid("op"),
                checkpoint: CheckpointId(1),
                version: 1,
                bytes: vec![index as u8],
            }],
            in_flight: None,
        };
        let subtask = SubtaskId {
            vertex: VertexId(0),
            index,
        };
        (
            subtask,
            SubtaskState {
                operators: [(uid("op"), state)].into(),
            },
        )
    });
    let done = Acknowledged {
        checkpoint: CheckpointId(1),
        kind: ManifestKind::Savepoint,
        destination: Destination::Job,
        triggered_at: 0,
        subtasks: subtasks.collect(),
        size: 0,
    };
    let job = JobPart {
        parallelism: [(uid("op"), parallelism)].into(),
        ..job_part(1)
    };
    Manifest::new(&job, done)
}

fn to(parallelism: u32) -> Vec<Target> {
    vec![Target {
        uid: uid("op"),
        parallelism,
    }]
}

fn elements(subtask: &SubtaskRestore) -> Vec<u8> {
    subtask.lists[0].elements.iter().map(|e| e.0[0]).collect()
}

#[test]
fn state_that_no_operator_claims_is_refused_or_dropped_by_wish() {
    let manifest = operator(2, OperatorStateMode::List, &[]);
    let others = [Target {
        uid: uid("other"),
        parallelism: 1,
    }];
    let error = redistribute(&manifest, &others, None, false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`op`") && error.contains("`allowNonRestoredState`"),
        "{error}"
    );
    let plan = redistribute(&manifest, &others, None, true).unwrap();
    assert_eq!((plan.dropped, plan.operators.len()), (vec![uid("op")], 0));
}

#[test]
fn an_operator_that_held_nothing_may_go_without_a_word() {
    let mut manifest = operator(1, OperatorStateMode::List, &[]);
    for state in manifest
        .operators
        .get_mut(&uid("op"))
        .unwrap()
        .subtasks
        .values_mut()
    {
        *state = OperatorState::default();
    }
    assert_eq!(redistribute(&manifest, &[], None, false).unwrap().dropped, []);
}

#[test]
fn another_number_of_key_groups_is_refused() {
    let manifest = operator(2, OperatorStateMode::List, &[]);
    let error = redistribute(&manifest, &to(2), Some(MaxParallelism(256)), false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("max parallelism 128, the job sets 256"), "{error}");
    assert!(redistribute(&manifest, &to(2), Some(MaxParallelism(128)), false).is_ok());
}

#[test]
fn raw_state_stays_with_its_subtask_and_is_lost_at_another_parallelism() {
    let manifest = operator(2, OperatorStateMode::List, &[]);
    let raw = |parallelism| {
        let plan = redistribute(&manifest, &to(parallelism), None, false).unwrap();
        plan.operators[&uid("op")]
            .subtasks
            .iter()
            .map(|s| s.raw.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(raw(2), [vec![0], vec![1]]);
    assert!(raw(3).iter().all(Vec::is_empty));
}

#[test]
fn records_in_flight_go_to_the_same_subtask_or_to_all_that_may_own_them() {
    let mut manifest = operator(3, OperatorStateMode::List, &[]);
    let stored = manifest.operators.get_mut(&uid("op")).unwrap();
    for (index, state) in &mut stored.subtasks {
        state.in_flight = (*index > 0).then(|| Data::Inline(vec![*index as u8]));
    }
    let sources = |parallelism| {
        let plan = redistribute(&manifest, &to(parallelism), None, false).unwrap();
        let subtasks = plan.operators[&uid("op")].subtasks.iter();
        let from = |subtask: &SubtaskRestore| subtask.in_flight.iter().map(|part| part.from).collect();
        subtasks.map(from).collect::<Vec<Vec<u32>>>()
    };
    assert_eq!(sources(3), [vec![], vec![1], vec![2]]);
    assert_eq!(sources(2), [vec![1, 2], vec![1, 2]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_key_group_list_element_and_committable_arrives_once(
        old in 1u32..9, new in 1u32..9, lists in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..9),
    ) {
        let manifest = operator(old, OperatorStateMode::List, &lists);
        let plan = redistribute(&manifest, &to(new), None, false).unwrap();
        let restore = &plan.operators[&uid("op")];
        prop_assert_eq!(restore.subtasks.len(), new as usize);
        let mut groups = BTreeSet::new();
        for (index, subtask) in (0..new).zip(&restore.subtasks) {
            for part in &subtask.keyed {
                let Data::Inline(from) = &part.data else { panic!("a file") };
                for group in part.range.iter() {
                    prop_assert!(groups.insert(group.0), "group {} twice", group.0);
                    prop_assert_eq!(MaxParallelism(128).subtask_of(KeyGroup(group.0), new), index);
                    prop_assert_eq!(MaxParallelism(128).subtask_of(KeyGroup(group.0), old), u32::from(from[0]));
                }
            }
        }
        prop_assert_eq!(groups.len(), 128);
        let mut dealt: Vec<u8> = restore.subtasks.iter().flat_map(elements).collect();
        let mut held: Vec<u8> = lists.iter().take(old as usize).flatten().copied().collect();
        dealt.sort_unstable();
        held.sort_unstable();
        prop_assert_eq!(dealt, held);
        prop_assert_eq!(restore.committables.len(), old as usize);
    }

    #[test]
    fn union_state_goes_whole_to_everyone(
        old in 1u32..5, new in 1u32..5, lists in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..5),
    ) {
        let manifest = operator(old, OperatorStateMode::Union, &lists);
        let plan = redistribute(&manifest, &to(new), None, false).unwrap();
        let all: Vec<u8> = lists.iter().take(old as usize).flatten().copied().collect();
        for subtask in &plan.operators[&uid("op")].subtasks {
            prop_assert_eq!(elements(subtask), all.clone());
        }
    }

    #[test]
    fn whatever_byte_is_damaged_a_whole_checkpoint_is_restored(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let (storage, _fence) = job_with(3);
        let names: Vec<_> = (1..=3).flat_map(|n| [data_file(n, 0), data_file(n, 1), manifest_file(n)]).collect();
        let name = &names[file.index(names.len())];
        storage.damage(name, |b| { let at = at.index(b.len()); b[at] ^= 1 << bit }).unwrap();
        let damaged = 1 + file.index(names.len()) as u64 / 3;
        // NOTE: the case of a letter in the checksum of a manifest's first line means nothing.
        let expected = if damaged == 3 { [2, 3] } else { [3, 3] };
        let found = latest_id(&*storage).unwrap();
        prop_assert!(expected.contains(&found), "{name} was damaged and {found} restored");
        if damaged == 3 && found == 3 {
            prop_assert!(name.ends_with("_metadata"));
        }
    }
}
