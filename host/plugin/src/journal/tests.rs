//! The journal against a plain model: what a call reads is what the backend would give had its writes
//! been applied, and applying them makes it so.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_model::function::{
    CleanupStrategies, Description, FunctionDescription, StateTtl, StateVisibility, UpdateType,
};
use wasmill_model::key::{KeyGroup, MaxParallelism};
use wasmill_state::backend::KeyedStateBackend;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, TimerQueue};

use super::effects::TimerOp;
use super::keyed::bytes;
use super::keys::NONE;
use super::overlay::Address;
use super::scope::{CallScope, DeclaredState, ScopeLimits};

const GROUPS: MaxParallelism = MaxParallelism::DEFAULT;
const VALUE: u32 = 0;
const LIST: u32 = 1;
const MAP: u32 = 2;

fn description() -> FunctionDescription {
    let json = r#"{"version":1,"functions":[{"name":"f","kind":"process","state":[{"name":"value","kind":"value"},
        {"name":"list","kind":"list"},{"name":"map","kind":"map"}]}]}"#;
    Description::parse(json).unwrap().functions[0].clone()
}

fn scope() -> CallScope {
    scope_of(None)
}

/// All states live so long.
fn scope_of(ttl: Option<StateTtl>) -> CallScope {
    let mut backend = MemoryBackend::new(GROUPS.range_of(0, 1), GROUPS);
    let mut description = description();
    for state in &mut description.state {
        state.ttl = ttl;
    }
    let states = description
        .state
        .iter()
        .map(|declaration| DeclaredState {
            name: declaration.name.clone(),
            kind: declaration.kind,
            reduce: None,
            prefetched: false,
            of_key: false,
            ttl: declaration.ttl,
            id: backend.register(declaration).unwrap(),
        })
        .collect();
    let limits = ScopeLimits {
        output_bytes_max: 1 << 20,
        record_bytes_max: 1 << 20,
        journal_bytes_max: 1 << 20,
        operator_state_bytes_max: 1_000,
        host_calls_max: u64::MAX,
    };
    let mut scope = CallScope::new(Arc::new(description), states, "{}".into(), limits);
    scope.attach(Box::new(backend));
    begin(&mut scope);
    scope
}

/// A call about two keys.
fn begin(scope: &mut CallScope) {
    scope.begin_call();
    scope.keys.begin(2);
    for key in [&b"ba"[..], b"bb"] {
        let hash = wasmill_model::key::hash(key);
        scope
            .keys
            .key(hash as u32, KeyGroup(GROUPS.group_of(hash).0), key);
    }
}

fn at(slot: u32, key: u32) -> Address {
    Address {
        slot,
        key,
        namespace: NONE,
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u32, Option<Vec<u8>>),
    Append(u32, Vec<u8>),
    Replace(u32, Vec<Vec<u8>>),
    Put(u32, Vec<u8>, Option<Vec<u8>>),
    ClearMap(u32),
    /// The call succeeds; the next one begins.
    Apply,
    /// The call fails.
    Undo,
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..4);
    let map_key = || prop::collection::vec(0u8..4, 0..3);
    prop_oneof![
        2 => (0u32..2, prop::option::of(bytes())).prop_map(|(k, v)| Op::Set(k, v)),
        4 => (0u32..2, bytes()).prop_map(|(k, v)| Op::Append(k, v)),
        1 => (0u32..2, prop::collection::vec(bytes(), 0..4)).prop_map(|(k, v)| Op::Replace(k, v)),
        6 => (0u32..2, map_key(), prop::option::of(bytes())).prop_map(|(k, m, v)| Op::Put(k, m, v)),
        1 => (0u32..2).prop_map(Op::ClearMap),
        2 => Just(Op::Apply),
        1 => Just(Op::Undo),
    ]
}

#[derive(Clone, Default, Debug, PartialEq)]
struct Model {
    values: BTreeMap<u32, Vec<u8>>,
    lists: BTreeMap<u32, Vec<Vec<u8>>>,
    maps: BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Model {
    fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Set(key, Some(value)) => drop(self.values.insert(key, value)),
            Op::Set(key, None) => drop(self.values.remove(&key)),
            Op::Append(key, value) => self.lists.entry(key).or_default().push(value),
            Op::Replace(key, values) => drop(self.lists.insert(key, values)),
            Op::Put(key, map_key, Some(value)) => {
                drop(self.maps.entry(key).or_default().insert(map_key, value))
            }
            Op::Put(key, map_key, None) => drop(self.maps.entry(key).or_default().remove(&map_key)),
            Op::ClearMap(key) => drop(self.maps.remove(&key)),
            Op::Apply | Op::Undo => {}
        }
    }
}

fn perform(scope: &mut CallScope, op: &Op) {
    match op.clone() {
        Op::Set(key, value) => scope.set_value(at(VALUE, key), value).unwrap(),
        Op::Append(key, value) => scope.list_append(at(LIST, key), value).unwrap(),
        Op::Replace(key, values) => scope.list_replace(at(LIST, key), values).unwrap(),
        Op::Put(key, map_key, value) => scope.map_put(at(MAP, key), map_key, value).unwrap(),
        Op::ClearMap(key) => scope.map_clear(at(MAP, key)).unwrap(),
        Op::Apply => {
            scope
                .apply(&mut TimerQueue::default(), &OperatorMetrics::default())
                .unwrap();
            begin(scope);
        }
        Op::Undo => {
            scope.undo();
            begin(scope);
        }
    }
}

/// All of a key's state, read in pages of `bytes_max`.
fn read(scope: &mut CallScope, key: u32, bytes_max: usize) -> Model {
    let mut model = Model::default();
    if let Some(value) = scope.value(at(VALUE, key)).unwrap() {
        model.values.insert(key, value);
    }
    let mut list = Vec::new();
    loop {
        let page = scope
            .list_page(at(LIST, key), list.len() as u64, bytes(bytes_max))
            .unwrap();
        assert!(
            page.done || !page.entries.is_empty(),
            "an empty page that is not the last"
        );
        list.extend(page.entries.into_iter().map(|(_, element)| element));
        if page.done {
            break;
        }
    }
    let mut map = BTreeMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scope
            .map_page(at(MAP, key), after.as_deref(), bytes(bytes_max))
            .unwrap();
        assert!(
            page.done || !page.entries.is_empty(),
            "an empty page that is not the last"
        );
        for (map_key, value) in page.entries {
            assert!(
                after.as_ref().is_none_or(|after| *after < map_key),
                "map keys out of order"
            );
            assert_eq!(
                scope.map_value(at(MAP, key), &map_key).unwrap().as_ref(),
                Some(&value)
            );
            after = Some(map_key.clone());
            map.insert(map_key, value);
        }
        if page.done {
            break;
        }
    }
    if !list.is_empty() {
        model.lists.insert(key, list);
    }
    if !map.is_empty() {
        model.maps.insert(key, map);
    }
    model
}

/// What of a model belongs to a key; empty collections are as none.
fn of_key(model: &Model, key: u32) -> Model {
    let mut of_key = Model::default();
    of_key
        .values
        .extend(model.values.get(&key).map(|value| (key, value.clone())));
    of_key.lists.extend(
        model
            .lists
            .get(&key)
            .filter(|list| !list.is_empty())
            .map(|list| (key, list.clone())),
    );
    of_key.maps.extend(
        model
            .maps
            .get(&key)
            .filter(|map| !map.is_empty())
            .map(|map| (key, map.clone())),
    );
    of_key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_call_reads_its_own_writes_and_a_failed_one_leaves_none(
        ops in prop::collection::vec(op(), 1..40),
        bytes_max in 1usize..12,
    ) {
        let mut scope = scope();
        let (mut committed, mut pending) = (Model::default(), Model::default());
        for op in &ops {
            perform(&mut scope, op);
            pending.apply(op);
            match op {
                Op::Apply => committed = pending.clone(),
                Op::Undo => pending = committed.clone(),
                _ => {}
            }
            for key in 0..2 {
                prop_assert_eq!(read(&mut scope, key, bytes_max), of_key(&pending, key));
            }
        }
    }

    #[test]
    fn a_page_far_behind_the_end_counts_what_lies_below(start in 0u64..12, stored in 0usize..6, pending in 0usize..6) {
        let mut scope = scope();
        for i in 0..stored {
            scope.list_append(at(LIST, 0), vec![i as u8]).unwrap();
        }
        perform(&mut scope, &Op::Apply);
        for i in 0..pending {
            scope.list_append(at(LIST, 0), vec![(stored + i) as u8]).unwrap();
        }
        let page = scope.list_page(at(LIST, 0), start, bytes(1000)).unwrap();
        let expected: Vec<_> = (start as usize..stored + pending).map(|i| vec![i as u8]).collect();
        prop_assert_eq!(page.entries.into_iter().map(|(_, e)| e).collect::<Vec<_>>(), expected);
        prop_assert!(page.done);
    }
}

/// How often something is done before it is refused, of at most 100,000 times.
fn until_refused(mut once: impl FnMut() -> Result<(), String>) -> (usize, String) {
    for count in 0..100_000 {
        if let Err(error) = once() {
            return (count, error);
        }
    }
    (100_000, String::new())
}

/// One write of a call.
type Write<'a> = dyn Fn(&mut CallScope) -> Result<(), String> + 'a;

#[test]
fn the_writes_and_timers_of_one_call_are_limited_also_empty_and_overwritten_ones() {
    let mut scope = scope();
    let timer = TimerOp {
        register: true,
        domain: TimeDomain::Event,
        key: 0,
        namespace: NONE,
        timestamp: 1,
    };
    let flood: [&Write<'_>; 6] = [
        &|scope| scope.set_value(at(VALUE, 0), Some(vec![0; 1000])),
        &|scope| scope.list_append(at(LIST, 0), Vec::new()),
        &|scope| scope.list_replace(at(LIST, 0), vec![Vec::new(); 10]),
        &|scope| scope.map_put(at(MAP, 0), b"same".to_vec(), None),
        &|scope| scope.map_clear(at(MAP, 0)),
        &|scope| scope.timer(timer),
    ];
    for write in flood {
        begin(&mut scope);
        let (count, error) = until_refused(|| write(&mut scope));
        assert!((500..20_000).contains(&count), "{count}");
        assert!(error.contains("journal-bytes-max"), "{error}");
        assert_eq!(scope.limit_hit().map(|hit| hit.name), Some("journal-bytes-max"));
        scope.undo();
    }
    begin(&mut scope);
    scope.list_append(at(LIST, 0), Vec::new()).unwrap();
}

#[test]
fn a_functions_own_state_is_limited_and_what_was_cleared_counts_no_more() {
    let mut scope = scope();
    scope.operator_lists = vec![Vec::new()];
    for _ in 0..3 {
        let (count, error) = until_refused(|| scope.operator_list_add(0, Vec::new()));
        assert_eq!(count, 15);
        assert!(error.contains("operator-state-bytes-max"), "{error}");
        scope.operator_lists[0].clear();
    }
}

#[test]
fn a_page_is_bounded_where_its_entries_are_empty() {
    let mut scope = scope();
    for stored in [false, true] {
        for n in 0..5_000_u32 {
            scope.list_append(at(LIST, 0), Vec::new()).unwrap();
            scope
                .map_put(at(MAP, 0), n.to_be_bytes().to_vec(), Some(Vec::new()))
                .unwrap();
            if n % 1_000 == 0 && stored {
                perform(&mut scope, &Op::Apply);
            }
        }
        let list = scope.list_page(at(LIST, 0), 0, bytes(10_000)).unwrap();
        let map = scope.map_page(at(MAP, 0), None, bytes(10_000)).unwrap();
        assert!(list.entries.len() < 400 && !list.done, "{}", list.entries.len());
        assert!(map.entries.len() < 400 && !map.done, "{}", map.entries.len());
        perform(&mut scope, &Op::Apply);
    }
}

#[test]
fn a_call_that_fails_has_read_nothing_of_a_state_with_time_to_live() {
    for update_type in [UpdateType::OnCreateAndWrite, UpdateType::OnReadAndWrite] {
        let mut scope = scope_of(Some(StateTtl {
            time_to_live: 100,
            update_type,
            visibility: StateVisibility::ReturnExpiredIfNotCleanedUp,
            cleanup: CleanupStrategies::default(),
        }));
        scope.set_value(at(VALUE, 0), Some(b"value".to_vec())).unwrap();
        scope.list_append(at(LIST, 0), b"element".to_vec()).unwrap();
        let entry = (b"key".to_vec(), b"entry".to_vec());
        scope
            .map_put(at(MAP, 0), entry.0.clone(), Some(entry.1.clone()))
            .unwrap();
        perform(&mut scope, &Op::Apply);
        scope.clocks.processing_time = 100;
        let all = |scope: &mut CallScope| {
            let value = scope.read(at(VALUE, 0)).unwrap();
            let list = scope.list_page(at(LIST, 0), 0, bytes(1_000)).unwrap().entries;
            let map = scope.map_page(at(MAP, 0), None, bytes(1_000)).unwrap().entries;
            (value.value, list, map)
        };
        let list = vec![(Vec::new(), b"element".to_vec())];
        let once = (Some(b"value".to_vec()), list, vec![entry]);
        for end in [Op::Undo, Op::Apply] {
            assert!(!scope.map_is_empty(at(MAP, 0)).unwrap());
            assert_eq!(all(&mut scope), once);
            assert_eq!(all(&mut scope), (None, Vec::new(), Vec::new()));
            assert!(scope.map_is_empty(at(MAP, 0)).unwrap());
            perform(&mut scope, &end);
        }
        assert_eq!(all(&mut scope), (None, Vec::new(), Vec::new()));
    }
}

#[test]
fn without_a_record_there_is_no_keyed_state() {
    let mut scope = scope();
    scope.detach();
    let error = scope.value(at(VALUE, 0)).unwrap_err();
    assert_eq!(
        error,
        "keyed state exists only while a record or a timer is processed"
    );
    assert!(scope.list_append(at(LIST, 0), Vec::new()).is_err());
}
