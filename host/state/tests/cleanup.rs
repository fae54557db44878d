//! State whose time is over is cleaned up: on full snapshots, incrementally in memory, and by compactions of a store.
//!
//! The model is plain maps of stamps; whatever is done, nothing that lives may go, and what is over has to.

use std::sync::Arc;

use proptest::prelude::*;
use wasmill_model::element::StateFormat;
use wasmill_model::function::{
    CleanupStrategies, IncrementalCleanup, StateDeclaration, StateKind, StateTtl, StateVisibility, UpdateType,
};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_state::backend::{
    KeyedStateBackend, Locator, Page, StateError, StateId, StateKey, Values, Write,
};
use wasmill_state::backends::{Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::memory::{MemoryBackend, SEGMENTS, SegmentRule};
use wasmill_state::native::{FilesWanted, NativeState};
use wasmill_state::stored::StoredBackend;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::operations;
use wasmill_state::testing::plain_store::{PlainBackends, PlainSource, PlainStore};
use wasmill_state::testing::{MAX_PARALLELISM, declaration, state_key};
use wasmill_state::timers::TimerQueue;
use wasmill_state::ttl::TtlState;

type Outcome<T = ()> = Result<T, StateError>;

const LIVES_MS: i64 = 100;

/// Enough for a pass through everything.
const MANY_RECORDS: u64 = 1_000_000;

const KINDS: [StateKind; 3] = [StateKind::Value, StateKind::List, StateKind::Map];

fn ttl(cleanup: CleanupStrategies) -> StateTtl {
    StateTtl {
        time_to_live: LIVES_MS,
        update_type: UpdateType::OnCreateAndWrite,
        visibility: StateVisibility::ReturnExpiredIfNotCleanedUp,
        cleanup,
    }
}

fn for_every_record() -> CleanupStrategies {
    CleanupStrategies {
        cleanup_incrementally: Some(IncrementalCleanup {
            cleanup_size: 5,
            run_cleanup_for_every_record: true,
        }),
        ..CleanupStrategies::default()
    }
}

fn timed(kind: StateKind, ttl: StateTtl) -> StateDeclaration {
    StateDeclaration {
        ttl: Some(ttl),
        ..declaration(&format!("{kind:?}"), kind, 1)
    }
}

fn name(key: u16) -> Vec<u8> {
    [&b"b"[..], &key.to_be_bytes()].concat()
}

fn memory() -> Box<dyn KeyedStateBackend> {
    let backend = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    Box::new(backend.with_segments(SegmentRule::ALWAYS))
}

fn stored(store: &Arc<PlainStore>, cache_bytes: usize) -> Box<dyn KeyedStateBackend> {
    let store = Arc::clone(store);
    let source = Box::new(PlainSource { store, cache_bytes });
    Box::new(StoredBackend::new(
        MAX_PARALLELISM.range_of(0, 1),
        MAX_PARALLELISM,
        source,
    ))
}

/// What a snapshot holds, stamps included.
fn held(backend: &mut dyn KeyedStateBackend) -> Outcome<Contents> {
    let frozen = keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))?;
    Contents::read(&mut operations::write(frozen)?.as_slice())
}

/// A backend with a value, a list and a map state, and what they hold.
struct Timed {
    backend: Box<dyn KeyedStateBackend>,
    ids: [StateId; 3],
    ttl: StateTtl,
    now: i64,
    model: Contents,
}

/// One step: small numbers stand for keys and lengths.
#[derive(Clone, Debug)]
enum Step {
    Wait(u8),
    Put(u8, u8),
    Append(u8, u16),
    MapPut(u8, u8),
    Clear(u8, usize),
    Read(u8),
    /// Between two calls of the operator, as many times.
    CleanUp(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![20 => 0..60u16, 2 => 60..700u16, 1 => 2_000..9_000u16];
    prop_oneof![
        3 => (0..60u8).prop_map(Step::Wait),
        4 => (0..40u8, 0..200u8).prop_map(|(key, length)| Step::Put(key, length)),
        5 => (0..6u8, length()).prop_map(|(key, length)| Step::Append(key, length)),
        4 => (0..10u8, 0..10u8).prop_map(|(key, map_key)| Step::MapPut(key, map_key)),
        1 => (0..10u8, 0..KINDS.len()).prop_map(|(key, kind)| Step::Clear(key, kind)),
        1 => (0..40u8).prop_map(Step::Read),
        4 => (0..20u8).prop_map(Step::CleanUp),
    ]
}

impl Timed {
    fn new(mut backend: Box<dyn KeyedStateBackend>, cleanup: CleanupStrategies) -> Outcome<Self> {
        let ttl = ttl(cleanup);
        let [value, list, map] = KINDS.map(|kind| backend.register(&timed(kind, ttl)));
        Ok(Self {
            ids: [value?, list?, map?],
            backend,
            ttl,
            now: 0,
            model: Contents::default(),
        })
    }

    fn state(&mut self, kind: usize) -> TtlState<'_> {
        TtlState::new(&mut *self.backend, self.ids[kind], Some(self.ttl), self.now)
    }

    fn put(&mut self, kind: usize, key: StateKey<'_>, value: &[u8]) -> Outcome {
        let write = Write {
            key,
            locator: Locator::UNKNOWN,
            value: Some(value),
        };
        self.state(kind).write_batch(&[write])
    }

    fn stamped(&self, value: &[u8]) -> Vec<u8> {
        [&self.now.to_le_bytes()[..], value].concat()
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let place = |kind: usize, key: u8| (format!("{:?}", KINDS[kind]), name(key.into()), Vec::new());
        match *step {
            Step::Wait(ms) => self.now += i64::from(ms),
            Step::Put(key, length) => {
                let value = vec![key; length.into()];
                self.put(0, state_key(&name(key.into()), b"", b""), &value)?;
                self.model.values.insert(place(0, key), self.stamped(&value));
            }
            Step::Append(key, length) => {
                let element = vec![key; length.into()];
                self.state(1)
                    .append(state_key(&name(key.into()), b"", b""), &element)?;
                let stamped = self.stamped(&element);
                self.model.lists.entry(place(1, key)).or_default().push(stamped);
            }
            Step::MapPut(key, map_key) => {
                self.put(2, state_key(&name(key.into()), b"", &[map_key]), &[key])?;
                let (entry, stamped) = (vec![map_key], self.stamped(&[key]));
                self.model
                    .maps
                    .entry(place(2, key))
                    .or_default()
                    .insert(entry, stamped);
            }
            Step::Clear(key, kind) => {
                self.state(kind).clear(state_key(&name(key.into()), b"", b""))?;
                self.model.values.remove(&place(kind, key));
                self.model.lists.remove(&place(kind, key));
                self.model.maps.remove(&place(kind, key));
            }
            Step::Read(key) => {
                let (name, mut values) = (name(key.into()), Values::default());
                let address = state_key(&name, b"", b"");
                self.backend.get_many(self.ids[0], &[address], &mut values)?;
            }
            Step::CleanUp(records) => self.backend.clean_up(self.now, records.into())?,
        }
        Ok(())
    }

    fn is_over(&self, stored: &[u8]) -> bool {
        let stamp = stored.first_chunk().map(|stamp| i64::from_le_bytes(*stamp));
        stamp.is_some_and(|stamp| stamp + LIVES_MS <= self.now)
    }

    /// The living part of some contents.
    fn living(&self, of: &Contents) -> Contents {
        let mut living = of.clone();
        living.values.retain(|_, value| !self.is_over(value));
        for list in living.lists.values_mut() {
            list.retain(|element| !self.is_over(element));
        }
        living.lists.retain(|_, list| !list.is_empty());
        for map in living.maps.values_mut() {
            map.retain(|_, value| !self.is_over(value));
        }
        living.maps.retain(|_, map| !map.is_empty());
        living
    }

    /// Nothing that lives has gone, and nothing came back.
    fn check(&mut self) -> Outcome {
        let held = held(&mut *self.backend)?;
        assert_eq!(self.living(&held), self.living(&self.model));
        assert!(
            held.values
                .iter()
                .all(|(place, value)| self.model.values.get(place) == Some(value))
        );
        for (place, list) in &held.lists {
            // In their order.
            let mut known = self.model.lists[place].iter();
            assert!(list.iter().all(|element| known.any(|one| one == element)));
        }
        for (place, map) in &held.maps {
            let known = &self.model.maps[place];
            assert!(map.iter().all(|entry| known.get(entry.0) == Some(entry.1)));
        }
        Ok(())
    }

    /// After a cleanup of everything: what is over has gone, but for some elements of lists.
    fn check_cleaned(&mut self, check_list: fn(&Self, &[Vec<u8>])) -> Outcome {
        self.check()?;
        let held = held(&mut *self.backend)?;
        let living = self.living(&held);
        assert_eq!(held.values, living.values);
        assert_eq!(held.maps, living.maps);
        for list in held.lists.values() {
            check_list(self, list);
        }
        Ok(())
    }

    fn bytes_over(&self, list: &[Vec<u8>]) -> usize {
        let over = list.iter().filter(|element| self.is_over(element));
        over.map(Vec::len).sum()
    }

    /// In memory: a list in one chunk has none, others so many at most.
    fn check_list_in_memory(&self, list: &[Vec<u8>]) {
        let (over, bytes) = (self.bytes_over(list), list.iter().map(Vec::len).sum::<usize>());
        if bytes < 1_500 {
            assert_eq!(over, 0, "of {bytes} bytes");
        }
        // Large elements have chunks of their own, so that half of the chunks may be most of the bytes.
        if list.iter().all(|element| element.len() < 720) {
            assert!(over <= bytes * 3 / 5 + 3 * 2_048, "{over} of {bytes} bytes");
        }
    }

    fn check_list_in_store(&self, list: &[Vec<u8>]) {
        let over = list.iter().filter(|element| self.is_over(element)).count();
        assert!(2 * over < list.len(), "{over} of {} elements", list.len());
    }
}

/// Ends the pass that is under way, and makes a whole one.
fn clean_everything(timed: &mut Timed) -> Outcome {
    (0..2).try_for_each(|_| timed.backend.clean_up(timed.now, MANY_RECORDS))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn incremental_cleanup_removes_what_is_over_and_nothing_that_lives(
        steps in prop::collection::vec(step(), 0..300),
        later in 0..250i64,
    ) {
        let mut timed = Timed::new(memory(), for_every_record()).unwrap();
        for step in &steps {
            timed.step(step).unwrap();
        }
        timed.check().unwrap();
        clean_everything(&mut timed).unwrap();
        timed.check_cleaned(Timed::check_list_in_memory).unwrap();
        timed.now += later;
        clean_everything(&mut timed).unwrap();
        timed.check_cleaned(Timed::check_list_in_memory).unwrap();
        timed.now += LIVES_MS;
        clean_everything(&mut timed).unwrap();
        prop_assert_eq!(timed.backend.size().entries, 0);
    }

    #[test]
    fn what_an_incremental_cleanup_has_removed_stays_removed_in_incremental_checkpoints(
        parts in prop::collection::vec(prop::collection::vec(step(), 0..60), 1..5),
    ) {
        let mut timed = Timed::new(memory(), for_every_record()).unwrap();
        let mut files = MemoryFiles::default();
        let mut states = Vec::new();
        for (checkpoint, steps) in (1u64..).zip(&parts) {
            for step in steps {
                timed.step(step).unwrap();
            }
            clean_everything(&mut timed).unwrap();
            let wanted = FilesWanted {
                checkpoint: CheckpointId(checkpoint),
                format: StateFormat::Incremental {
                    base: (checkpoint > 1).then(|| CheckpointId(checkpoint - 1)),
                },
                timers: &TimerQueue::default(),
            };
            let (native, _) = keyed::freeze_files(&mut *timed.backend, wanted).unwrap().unwrap();
            states = native.states;
            let mut out = MemoryFiles::on(&files.files);
            native.files.write(&mut out).unwrap();
            files = out;
        }
        let (numbers, declarations): (Vec<_>, Vec<_>) = states.into_iter().unzip();
        let native = NativeState {
            format: SEGMENTS,
            range: MAX_PARALLELISM.range_of(0, 1),
            states: &declarations,
            numbers: &numbers,
            files: &mut files,
        };
        let mut timers = TimerQueue::default();
        let restored = MemoryBackend::of_segments(MAX_PARALLELISM, &native, &mut timers).unwrap();
        let before = held(&mut *timed.backend).unwrap();
        prop_assert_eq!(&held(&mut { restored }).unwrap(), &before);
    }

    #[test]
    fn a_compaction_removes_what_is_over_and_nothing_that_lives_whatever_the_cache_holds(
        parts in prop::collection::vec(prop::collection::vec(step(), 0..60), 1..6),
        cache_bytes in prop_oneof![Just(0), Just(60_000), Just(16 << 20)],
    ) {
        let store = Arc::default();
        let mut timed = Timed::new(stored(&store, cache_bytes), CleanupStrategies::default()).unwrap();
        for steps in &parts {
            for step in steps {
                timed.step(step).unwrap();
            }
            timed.backend.clean_up(timed.now, 0).unwrap();
            store.compact();
            timed.check().unwrap();
        }
        // What is in the cache alone reaches the store with a snapshot; a list that was written anew does, too.
        for _ in 0..20 {
            timed.check().unwrap();
            store.compact();
            timed.backend.clean_up(timed.now, 0).unwrap();
        }
        timed.check().unwrap();
        store.compact();
        timed.check_cleaned(Timed::check_list_in_store).unwrap();
        timed.now += LIVES_MS;
        for _ in 0..20 {
            timed.backend.clean_up(timed.now, 0).unwrap();
            timed.check().unwrap();
            store.compact();
        }
        prop_assert_eq!(held(&mut *timed.backend).unwrap(), Contents::default());
    }
}

#[test]
fn an_access_looks_at_so_many_entries_as_its_strategy_says_and_none_where_there_is_none() {
    let off = CleanupStrategies {
        disable_cleanup_in_background: true,
        ..CleanupStrategies::default()
    };
    for (cleanup, gone_max, gone_min) in [
        (CleanupStrategies::default(), 5_000, 4_800),
        (off, 0, 0),
        (
            CleanupStrategies {
                cleanup_incrementally: Some(IncrementalCleanup {
                    cleanup_size: 1,
                    run_cleanup_for_every_record: false,
                }),
                ..off
            },
            1_000,
            800,
        ),
    ] {
        let mut timed = Timed::new(memory(), cleanup).unwrap();
        for key in 0..10_000u16 {
            timed.put(0, state_key(&name(key), b"", b""), b"value").unwrap();
        }
        timed.backend.clean_up(0, 10_000).unwrap();
        assert_eq!(timed.backend.size().entries, 10_000);
        timed.now = LIVES_MS - 1;
        for ms in [LIVES_MS - 1, LIVES_MS] {
            let before = timed.backend.size().entries;
            for _ in 0..1_000 {
                timed.step(&Step::Read(1)).unwrap();
                timed.backend.clean_up(ms, 1).unwrap();
            }
            let gone = before - timed.backend.size().entries;
            match ms < LIVES_MS {
                true => assert_eq!(gone, 0),
                false => assert!((gone_min..=gone_max).contains(&gone), "{gone}"),
            }
        }
    }
}

#[test]
fn memory_of_what_was_cleaned_up_comes_back() {
    for kind in 0..KINDS.len() {
        let mut timed = Timed::new(memory(), for_every_record()).unwrap();
        let empty = timed.backend.size().bytes;
        for key in 0..20_000u16 {
            let name = name(key);
            match kind {
                1 => {
                    let key = state_key(&name, b"", b"");
                    timed.state(1).append(key, &[7; 50]).unwrap();
                }
                _ => timed.put(kind, state_key(&name, b"", b"m"), &[7; 50]).unwrap(),
            }
        }
        let full = timed.backend.size().bytes;
        assert!(full > empty + 1_000_000, "{full}");
        timed.now = LIVES_MS;
        clean_everything(&mut timed).unwrap();
        let left = timed.backend.size();
        assert_eq!(left.entries, 0);
        assert!(left.bytes < empty + full / 20, "{left:?} of {full}");
    }
}

#[test]
fn a_full_snapshot_leaves_out_what_is_over_where_that_is_asked_for_and_local_state_stays() {
    let cleanup = CleanupStrategies {
        disable_cleanup_in_background: true,
        ..CleanupStrategies::default()
    };
    for cleanup_full_snapshot in [false, true] {
        let cleanup = CleanupStrategies {
            cleanup_full_snapshot,
            ..cleanup
        };
        for backend in [
            memory(),
            stored(&Arc::default(), 0),
            stored(&Arc::default(), 16 << 20),
        ] {
            let mut timed = Timed::new(backend, cleanup).unwrap();
            for round in 0..2 {
                for key in 0..20 {
                    timed.step(&Step::Put(key + 10 * round, 5)).unwrap();
                    timed.step(&Step::MapPut(key, round)).unwrap();
                    timed.step(&Step::Append(key % 5, 700)).unwrap();
                }
                timed.now += LIVES_MS / 2;
            }
            let frozen = keyed::freeze_cleaned(
                &mut *timed.backend,
                &TimerQueue::default(),
                CheckpointId(1),
                timed.now,
            );
            let file = operations::write(frozen.unwrap()).unwrap();
            let written = Contents::read(&mut file.as_slice()).unwrap();
            let expected = match cleanup_full_snapshot {
                true => timed.living(&timed.model),
                false => timed.model.clone(),
            };
            assert_eq!(written, expected);
            assert_eq!(
                held(&mut *timed.backend).unwrap(),
                timed.model,
                "nothing that is held has gone"
            );
            assert_ne!(timed.living(&timed.model), timed.model);
        }
    }
}

#[test]
fn a_state_that_gives_up_its_cleanup_with_a_restore_is_not_cleaned_up_and_the_other_way_round() {
    let off = CleanupStrategies {
        disable_cleanup_in_background: true,
        ..CleanupStrategies::default()
    };
    for (before, after, left) in [
        (off, CleanupStrategies::default(), 0),
        (CleanupStrategies::default(), off, 50),
    ] {
        let (backends, operator) = (PlainBackends { cache_bytes: 0 }, OperatorUid::new("count"));
        let place = Place {
            operator: &operator,
            subtask: 0,
            attempt: 1,
        };
        let range = MAX_PARALLELISM.range_of(0, 1);
        let mut timed = Timed::new(backends.open(place, range, MAX_PARALLELISM), before).unwrap();
        for key in 0..50 {
            timed.step(&Step::Put(key, 5)).unwrap();
        }
        let wanted = FilesWanted {
            checkpoint: CheckpointId(1),
            format: StateFormat::Native,
            timers: &TimerQueue::default(),
        };
        let (native, _) = keyed::freeze_files(&mut *timed.backend, wanted).unwrap().unwrap();
        let mut files = MemoryFiles::default();
        let (numbers, declarations): (Vec<_>, Vec<_>) = native.states.into_iter().unzip();
        native.files.write(&mut files).unwrap();
        let mut native = NativeState {
            format: "plain-1",
            range,
            states: &declarations,
            numbers: &numbers,
            files: &mut files,
        };
        let (store, adopted) = backends
            .adopt_with_store(MAX_PARALLELISM, &mut native)
            .unwrap()
            .unwrap();
        let mut restored = Timed::new(adopted, after).unwrap();
        restored.backend.clean_up(LIVES_MS, 1).unwrap();
        store.compact();
        assert_eq!(held(&mut *restored.backend).unwrap().values.len(), left);
    }
}

#[test]
fn a_list_of_many_chunks_is_written_anew_once_half_of_it_is_over() {
    let store = Arc::default();
    for backend in [memory(), stored(&store, 0), stored(&store, 16 << 20)] {
        let mut timed = Timed::new(backend, for_every_record()).unwrap();
        for number in 0..1_000 {
            timed.step(&Step::Append(1, 100)).unwrap();
            timed.now = number / 5;
        }
        // From the first of which more than half is over.
        timed.now = LIVES_MS + 120;
        for _ in 0..3 {
            clean_everything(&mut timed).unwrap();
            held(&mut *timed.backend).unwrap();
            store.compact();
        }
        let list = held(&mut *timed.backend)
            .unwrap()
            .lists
            .into_values()
            .next()
            .unwrap();
        assert!((350..=420).contains(&list.len()), "{}", list.len());
        let mut page = Page::default();
        let key = name(1);
        timed
            .backend
            .list_page(timed.ids[1], state_key(&key, b"", b""), 0, usize::MAX, &mut page)
            .unwrap();
        assert!(page.entries.iter().map(|(_, element)| element).eq(list.iter()));
        timed.check().unwrap();
    }
}
