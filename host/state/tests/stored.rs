//! The backend over a store against the contract of all backends, and against plain maps; with caches that hold all,
//! little, and hardly anything.

mod drawn;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use wasmill_model::function::StateKind;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::KeyGroupRange;
use wasmill_state::backend::{
    KeyedStateBackend, Locator, Page, StateError, StateId, StateSnapshot, Values, Write,
};
use wasmill_state::keyed;
use wasmill_state::stored::StoredBackend;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::operations::{self, Run};
use wasmill_state::testing::plain_store::{PlainSource, PlainStore};
use wasmill_state::testing::{MAX_PARALLELISM, contract, declaration, state_key};
use wasmill_state::timers::TimerQueue;

const CACHES: [usize; 3] = [16 << 20, 100_000, 0];

fn over(store: &Arc<PlainStore>, range: KeyGroupRange, cache_bytes: usize) -> Box<dyn KeyedStateBackend> {
    let store = Arc::clone(store);
    let source = Box::new(PlainSource { store, cache_bytes });
    Box::new(StoredBackend::new(range, MAX_PARALLELISM, source))
}

fn make(cache_bytes: usize) -> impl Fn(KeyGroupRange) -> Box<dyn KeyedStateBackend> {
    move |range| over(&Arc::default(), range, cache_bytes)
}

/// A store, a backend of all groups over it, and a value state.
type WithValue = (Arc<PlainStore>, Box<dyn KeyedStateBackend>, StateId);

fn with_value(cache_bytes: usize) -> Result<WithValue, StateError> {
    let store = Arc::<PlainStore>::default();
    let mut backend = over(&store, MAX_PARALLELISM.range_of(0, 1), cache_bytes);
    let id = backend.register(&declaration("count", StateKind::Value, 1))?;
    Ok((store, backend, id))
}

fn name(number: u32) -> Vec<u8> {
    format!("bkey-{number}").into_bytes()
}

fn put(
    backend: &mut dyn KeyedStateBackend,
    id: StateId,
    number: u32,
    value: Option<&[u8]>,
) -> Result<(), StateError> {
    let name = name(number);
    let write = Write {
        key: state_key(&name, b"", b""),
        locator: Locator::UNKNOWN,
        value,
    };
    backend.write_batch(id, &[write])
}

fn get(backend: &mut dyn KeyedStateBackend, id: StateId, number: u32) -> Result<Option<Vec<u8>>, StateError> {
    let (name, mut values) = (name(number), Values::default());
    backend.get_many(id, &[state_key(&name, b"", b"")], &mut values)?;
    Ok(values.iter().next().flatten().map(<[u8]>::to_vec))
}

fn freeze(backend: &mut dyn KeyedStateBackend) -> Result<Box<dyn StateSnapshot>, StateError> {
    keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))
}

#[test]
fn the_backend_over_a_store_keeps_the_contract() {
    for cache_bytes in CACHES {
        eprintln!("a cache of {cache_bytes} bytes");
        contract::run(make(cache_bytes));
    }
}

#[test]
fn a_cache_that_holds_all_keys_never_asks_the_store() {
    let (store, mut backend, id) = with_value(16 << 20).unwrap();
    for round in 0..3u8 {
        for number in 0..10_000 {
            let before = get(&mut *backend, id, number).unwrap();
            assert_eq!(before, (round > 0).then(|| vec![round - 1; 8]));
            put(&mut *backend, id, number, Some(&[round; 8])).unwrap();
        }
        operations::write(freeze(&mut *backend).unwrap()).unwrap();
    }
    assert_eq!(store.reads.load(Ordering::Relaxed), 0);
}

#[test]
fn a_snapshot_writes_what_changed_and_nothing_else() {
    let (store, mut backend, id) = with_value(16 << 20).unwrap();
    for number in 0..10_000 {
        put(&mut *backend, id, number, Some(b"first")).unwrap();
    }
    operations::write(freeze(&mut *backend).unwrap()).unwrap();
    assert_eq!(store.writes.swap(0, Ordering::Relaxed), 10_000);
    // Changed, removed, come and gone, and written twice.
    for number in 0..100 {
        put(&mut *backend, id, number, Some(b"next")).unwrap();
        put(&mut *backend, id, number, Some(b"second")).unwrap();
        put(&mut *backend, id, 5_000 + number, None).unwrap();
        put(&mut *backend, id, 20_000 + number, Some(b"brief")).unwrap();
        put(&mut *backend, id, 20_000 + number, None).unwrap();
    }
    let contents = Contents::read(
        &mut operations::write(freeze(&mut *backend).unwrap())
            .unwrap()
            .as_slice(),
    )
    .unwrap();
    assert_eq!(store.writes.load(Ordering::Relaxed), 200);
    assert_eq!(contents.values.len(), 9_900);
    let second = contents.values.values().filter(|value| *value == b"second");
    assert_eq!(second.count(), 100);
}

#[test]
fn the_cache_stays_within_its_bytes_and_forgets_nothing() {
    let limit = 256 * 1024;
    let (store, mut backend, id) = with_value(limit).unwrap();
    for round in 0..2u32 {
        for number in 0..20_000u32 {
            put(&mut *backend, id, number, Some(&(number + round).to_le_bytes())).unwrap();
            assert!(
                backend.size().bytes as usize <= limit + 600_000,
                "{:?}",
                backend.size()
            );
        }
    }
    for number in (0..20_000u32).rev() {
        assert_eq!(
            get(&mut *backend, id, number).unwrap(),
            Some((number + 1).to_le_bytes().to_vec())
        );
    }
    assert!(store.reads.load(Ordering::Relaxed) > 10_000);
}

#[test]
fn snapshots_written_late_and_in_any_order_are_what_was_frozen() {
    for cache_bytes in CACHES {
        let (_, mut backend, id) = with_value(cache_bytes).unwrap();
        let mut frozen = Vec::new();
        for round in 0..4u8 {
            for number in 0..500 {
                let value = [round; 8];
                let value = (number % 5 != u32::from(round)).then_some(&value[..]);
                put(&mut *backend, id, number, value).unwrap();
            }
            frozen.push((round, freeze(&mut *backend).unwrap()));
        }
        // One is never written: those behind it are whole all the same.
        drop(frozen.remove(1));
        for (round, snapshot) in frozen.into_iter().rev() {
            let file = operations::write(snapshot).unwrap();
            let contents = Contents::read(&mut file.as_slice()).unwrap();
            assert_eq!(contents.values.len(), 400);
            assert!(contents.values.values().all(|value| *value == [round; 8]));
        }
    }
}

#[test]
fn a_store_that_is_full_fails_the_snapshot_and_loses_nothing() {
    let (store, mut backend, id) = with_value(16 << 20).unwrap();
    put(&mut *backend, id, 1, Some(b"one")).unwrap();
    store.is_full.store(true, Ordering::Relaxed);
    let failed = operations::write(freeze(&mut *backend).unwrap());
    assert!(matches!(failed, Err(StateError::Io(_))), "{failed:?}");
    put(&mut *backend, id, 2, Some(b"two")).unwrap();
    store.is_full.store(false, Ordering::Relaxed);
    let contents = Contents::read(
        &mut operations::write(freeze(&mut *backend).unwrap())
            .unwrap()
            .as_slice(),
    )
    .unwrap();
    assert_eq!(contents.values.len(), 2);
}

#[test]
fn values_larger_than_a_slot_and_keys_too_come_back() {
    for cache_bytes in CACHES {
        let (_, mut backend, id) = with_value(cache_bytes).unwrap();
        for length in [10, 5_000, 10, 100_000, 0] {
            put(&mut *backend, id, 1, Some(&vec![7; length])).unwrap();
            assert_eq!(get(&mut *backend, id, 1).unwrap(), Some(vec![7; length]));
        }
        let long = vec![b'b'; 30_000];
        let list = backend
            .register(&declaration("list", StateKind::List, 1))
            .unwrap();
        for number in 0..300u32 {
            let first = backend.append(list, state_key(&long, b"w", b""), &number.to_le_bytes());
            assert_eq!(first.unwrap(), number == 0);
        }
        let mut values = Values::default();
        backend
            .list(list, state_key(&long, b"w", b""), &mut values)
            .unwrap();
        let expected: Vec<Vec<u8>> = (0..300u32).map(|number| number.to_le_bytes().to_vec()).collect();
        assert!(values.iter().flatten().eq(expected.iter().map(Vec::as_slice)));
        backend.clear(list, state_key(&long, b"w", b"")).unwrap();
        let key = state_key(&long, b"w", b"");
        assert!(backend.append(list, key, b"anew").unwrap());
    }
}

#[test]
fn the_cache_stays_within_its_bytes_where_lists_are_only_read() {
    let limit = 256 * 1024;
    let (store, mut backend, _) = with_value(limit).unwrap();
    let list = backend
        .register(&declaration("list", StateKind::List, 1))
        .unwrap();
    for number in 0..2_000 {
        let name = name(number);
        backend
            .append(list, state_key(&name, b"", b""), &[7; 1_000])
            .unwrap();
    }
    store.reads.store(0, Ordering::Relaxed);
    for number in 0..2_000 {
        let (name, mut page, mut all) = (name(number), Page::default(), Values::default());
        let key = state_key(&name, b"", b"");
        match number % 2 {
            0 => backend.list_page(list, key, 0, 10_000, &mut page).unwrap(),
            _ => backend.list(list, key, &mut all).unwrap(),
        }
        assert_eq!(page.entries.len() + all.lengths.len(), 1);
        let bytes = backend.size().bytes as usize;
        assert!(bytes <= limit + 600_000, "{bytes} after {number}");
    }
    assert!(store.reads.load(Ordering::Relaxed) > 1_000);
}

#[test]
fn room_is_made_also_where_pages_strand_much_of_themselves() {
    let limit = 1 << 20;
    let (_, mut backend, id) = with_value(limit).unwrap();
    // Three slots of a quarter of a page, then a small one: the next large one goes to another page.
    for number in 0..1_600 {
        let length = if number % 4 == 3 { 1 } else { 4_070 };
        put(&mut *backend, id, number, Some(&vec![7; length])).unwrap();
    }
    assert!(backend.size().bytes as usize <= limit + 600_000);
    assert_eq!(get(&mut *backend, id, 0).unwrap(), Some(vec![7; 4_070]));
}

#[test]
fn few_changes_wait_to_be_written_together_also_after_many() {
    let (store, mut backend, id) = with_value(16 << 20).unwrap();
    // Too large for the cache, each: they go to the store.
    for number in 0..10 {
        put(&mut *backend, id, number, Some(&[7; 100_000])).unwrap();
    }
    assert!(store.batches.swap(0, Ordering::Relaxed) > 0);
    for number in 0..10 {
        put(&mut *backend, id, number, Some(&[8; 5_000])).unwrap();
    }
    assert!(store.batches.load(Ordering::Relaxed) <= 1);
    for number in 0..10 {
        assert_eq!(get(&mut *backend, id, number).unwrap(), Some(vec![8; 5_000]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_plain_maps_whatever_the_cache_holds(
        operations in prop::collection::vec(drawn::operation(), 0..150),
        cache in 0..CACHES.len(),
    ) {
        Run::new(&make(CACHES[cache])).unwrap().all(&operations).unwrap();
    }
}
