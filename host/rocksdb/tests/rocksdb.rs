//! RocksDB against the contract of all backends, with write-back caches that hold all, little, and hardly anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmill_model::element::StateFormat;
use wasmill_model::function::{
    CleanupStrategies, CompactFilterCleanup, StateDeclaration, StateKind, StateTtl, StateVisibility,
    UpdateType,
};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;
use wasmill_rocksdb::{RocksHost, Settings};
use wasmill_state::backend::{KeyedStateBackend, Locator, StateError, StateId, Values, Write};
use wasmill_state::backends::{MemoryBackends, Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::memory::{MemoryBackend, SEGMENTS, SegmentRule};
use wasmill_state::native::{FilesWanted, NativeState};
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::{MAX_PARALLELISM, contract, declaration, migration, operations, state_key};
use wasmill_state::timers::TimerQueue;

fn settings(local: &Path, cache_bytes: usize) -> Settings {
    Settings {
        cache_bytes,
        memory_bytes: 8 << 20,
        ..Settings::new(local.to_owned())
    }
}

fn open(backends: &dyn StateBackends, subtask: u32, range: KeyGroupRange) -> Box<dyn KeyedStateBackend> {
    let operator = OperatorUid::new("count");
    let place = Place {
        operator: &operator,
        subtask,
        attempt: 1,
    };
    backends.open(place, range, MAX_PARALLELISM)
}

#[test]
fn rocksdb_keeps_the_contract() {
    for cache_bytes in [16 << 20, 100_000, 0] {
        eprintln!("a cache of {cache_bytes} bytes");
        let local = tempfile::tempdir().unwrap();
        let host = RocksHost::open(settings(local.path(), cache_bytes)).unwrap();
        let backends = host.backends_of("job".to_owned());
        contract::run(|range| open(&*backends, 0, range));
    }
}

#[test]
fn a_host_waits_for_its_databases_and_for_the_snapshots_that_read_them() {
    let local = tempfile::tempdir().unwrap();
    let host = RocksHost::open(settings(local.path(), 0)).unwrap();
    assert!(host.wait_until_closed(Duration::ZERO));
    let backends = host.backends_of("job".to_owned());
    let mut backend = open(&*backends, 0, MAX_PARALLELISM.range_of(0, 1));
    let id = backend
        .register(&declaration("count", StateKind::Value, 1))
        .unwrap();
    let key = state_key(b"bkey", b"", b"");
    let write = Write {
        key,
        value: Some(b"1"),
        locator: Locator::UNKNOWN,
    };
    backend.write_batch(id, &[write]).unwrap();
    assert!(!host.wait_until_closed(Duration::from_millis(1)));
    let snapshot = backend.snapshot().unwrap();
    drop(backend);
    assert!(
        !host.wait_until_closed(Duration::from_millis(1)),
        "a snapshot reads it"
    );
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(snapshot);
    });
    assert!(host.wait_until_closed(Duration::from_secs(60)));
    closing.join().unwrap();
}

#[test]
fn state_larger_than_its_memory_is_read_back_and_leaves_nothing_behind() {
    let local = tempfile::tempdir().unwrap();
    let host = RocksHost::open(settings(local.path(), 1 << 20)).unwrap();
    let backends = host.backends_of("job".to_owned());
    let mut backend = open(&*backends, 0, MAX_PARALLELISM.range_of(0, 1));
    let id = backend
        .register(&declaration("count", StateKind::Value, 1))
        .unwrap();
    let value = |number: u32| [&number.to_le_bytes()[..], &[7; 1_000]].concat();
    // 32 MB through 9 MiB.
    for number in 0..32_000u32 {
        let (key, value) = (number.to_be_bytes(), value(number));
        let write = Write {
            key: state_key(&key, b"", b""),
            locator: Locator::UNKNOWN,
            value: Some(&value),
        };
        backend.write_batch(id, &[write]).unwrap();
    }
    for number in (0..32_000u32).step_by(7) {
        let (key, mut values) = (number.to_be_bytes(), Values::default());
        backend
            .get_many(id, &[state_key(&key, b"", b"")], &mut values)
            .unwrap();
        assert_eq!(values.bytes, value(number));
    }
    assert!(backend.size().bytes < 4 << 20, "{:?}", backend.size());
    let frozen = keyed::freeze(&mut *backend, &TimerQueue::default(), CheckpointId(1)).unwrap();
    let file = operations::write(frozen).unwrap();
    assert_eq!(Contents::read(&mut file.as_slice()).unwrap().values.len(), 32_000);
    drop((backend, backends, host));
    assert_eq!(std::fs::read_dir(local.path()).unwrap().count(), 0);
}

fn contents(backend: &mut dyn KeyedStateBackend) -> Result<Contents, StateError> {
    let frozen = keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))?;
    let file = operations::write(frozen)?;
    Contents::read(&mut file.as_slice())
}

#[test]
fn files_of_a_database_are_taken_over_or_read_by_any_backend() {
    let local = tempfile::tempdir().unwrap();
    let host = RocksHost::open(settings(local.path(), 50_000)).unwrap();
    let backends = host.backends_of("job".to_owned());
    let whole = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = open(&*backends, 0, whole);
    let count = backend
        .register(&declaration("count", StateKind::Value, 1))
        .unwrap();
    let list = backend
        .register(&declaration("list", StateKind::List, 1))
        .unwrap();
    let put = |backend: &mut dyn KeyedStateBackend, from: u32, to: u32| {
        for number in from..to {
            let key = number.to_be_bytes();
            let write = Write {
                key: state_key(&key, b"", b""),
                locator: Locator::UNKNOWN,
                value: Some(&[number as u8; 100]),
            };
            backend.write_batch(count, &[write]).unwrap();
            backend.append(list, state_key(&key, b"w", b""), &key).unwrap();
        }
    };
    let freeze = |backend: &mut dyn KeyedStateBackend, base: BTreeMap<String, Arc<Vec<u8>>>| {
        let wanted = FilesWanted {
            checkpoint: CheckpointId(1),
            format: StateFormat::Incremental { base: None },
            timers: &TimerQueue::default(),
        };
        let (native, _) = keyed::freeze_files(backend, wanted).unwrap().unwrap();
        let mut files = MemoryFiles::on(&base);
        let states = native.states;
        native.files.write(&mut files).unwrap();
        (states, files)
    };
    put(&mut *backend, 0, 5_000);
    let (_, first) = freeze(&mut *backend, BTreeMap::new());
    assert!(first.reused.is_empty());
    put(&mut *backend, 4_990, 5_010);
    let (states, mut second) = freeze(&mut *backend, first.files);
    assert!(!second.reused.is_empty());
    let expected = contents(&mut *backend).unwrap();
    // What comes after is in neither.
    put(&mut *backend, 6_000, 6_100);

    let (numbers, declarations): (Vec<StateId>, Vec<_>) = states.into_iter().unzip();
    let operator = OperatorUid::new("count");
    let place = Place {
        operator: &operator,
        subtask: 0,
        attempt: 2,
    };
    let mut timers = TimerQueue::default();
    let mut native = NativeState {
        format: "rocksdb-1",
        range: whole,
        states: &declarations,
        numbers: &numbers,
        files: &mut second,
    };
    let mut adopted = backends
        .adopt(place, MAX_PARALLELISM, &mut native, &mut timers)
        .unwrap()
        .unwrap();
    assert_eq!(contents(&mut *adopted).unwrap(), expected);
    put(&mut *adopted, 0, 10);
    let half = MAX_PARALLELISM.range_of(1, 2);
    for mut other in [
        open(&*backends, 1, half),
        MemoryBackends::default().open(place, half, MAX_PARALLELISM),
    ] {
        backends
            .read_native(place, &mut native, &mut *other, &mut timers)
            .unwrap();
        let read = contents(&mut *other).unwrap();
        let own = expected
            .values
            .iter()
            .filter(|(key, _)| half.contains(MAX_PARALLELISM.group_of(wasmill_model::key::hash(&key.1))));
        assert_eq!(read.values.len(), own.count());
    }
    native.format = "rocksdb-9";
    let error = backends
        .read_native(place, &mut native, &mut *open(&*backends, 2, half), &mut timers)
        .unwrap_err();
    assert!(error.to_string().contains("`rocksdb-9`"), "{error}");
}

#[test]
fn compactions_leave_out_what_is_over_and_nothing_that_lives() {
    const LIVES_MS: i64 = 1_000;
    let local = tempfile::tempdir().unwrap();
    // The smallest write buffers there are, so that it compacts by itself.
    let settings = Settings {
        write_buffer_bytes: 64 << 10,
        ..settings(local.path(), 0)
    };
    let host = RocksHost::open(settings).unwrap();
    let backends = host.backends_of("job".to_owned());
    let whole = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = open(&*backends, 0, whole);
    let ttl = |cleanup: CleanupStrategies| StateTtl {
        time_to_live: LIVES_MS,
        update_type: UpdateType::default(),
        visibility: StateVisibility::default(),
        cleanup,
    };
    let cleanup = CleanupStrategies {
        cleanup_in_rocksdb_compact_filter: Some(CompactFilterCleanup {
            query_time_after_num_entries: 10,
            periodic_compaction_time: 60_000,
        }),
        ..CleanupStrategies::default()
    };
    let off = CleanupStrategies {
        disable_cleanup_in_background: true,
        ..CleanupStrategies::default()
    };
    let mut register = |name: &str, kind, ttl| {
        let declared = StateDeclaration {
            ttl,
            ..declaration(name, kind, 1)
        };
        backend.register(&declared).unwrap()
    };
    let value = register("value", StateKind::Value, Some(ttl(cleanup)));
    let list = register("list", StateKind::List, Some(ttl(cleanup)));
    let kept = register("kept", StateKind::Value, Some(ttl(off)));
    let forever = register("forever", StateKind::Value, None);
    let put = |backend: &mut dyn KeyedStateBackend, id, key: u32, stamp: i64| {
        let (name, stored) = (key.to_be_bytes(), [&stamp.to_le_bytes()[..], &[7; 100]].concat());
        let write = Write {
            key: state_key(&name, b"", b""),
            locator: Locator::UNKNOWN,
            value: Some(&stored),
        };
        backend.write_batch(id, &[write]).unwrap();
    };
    for key in 0..1_000u32 {
        for id in [value, kept, forever] {
            put(&mut *backend, id, key, 0);
        }
        // Ten lists of many chunks.
        let (name, stored) = ((key % 10).to_be_bytes(), [0; 200]);
        backend.append(list, state_key(&name, b"", b""), &stored).unwrap();
    }
    // Those that live are what makes it compact.
    let (mut now, mut last) = (LIVES_MS, 10_000u32);
    let started = std::time::Instant::now();
    loop {
        backend.clean_up(now, 0).unwrap();
        for key in last..last + 2_000 {
            for id in [value, kept, forever] {
                put(&mut *backend, id, key, now);
            }
            let (name, stored) = (key.to_be_bytes(), [&now.to_le_bytes()[..], &[7; 100]].concat());
            backend.append(list, state_key(&name, b"", b""), &stored).unwrap();
        }
        (last, now) = (last + 2_000, now + 1);
        let held = contents(&mut *backend).unwrap();
        let count = |state: &str, is_old: bool| {
            let of = held.values.iter().filter(|(place, _)| place.0 == state);
            of.filter(|(_, value)| value.starts_with(&[0; 8]) == is_old)
                .count()
        };
        let lists = held.lists.values();
        let old = lists
            .clone()
            .flatten()
            .filter(|element| element.starts_with(&[0; 8]));
        let living = (last - 10_000) as usize;
        assert_eq!(count("kept", true), 1_000, "its cleanup is off");
        assert_eq!(count("forever", true), 1_000, "it lives for ever");
        for state in ["value", "kept", "forever"] {
            assert_eq!(count(state, false), living);
        }
        assert_eq!(lists.flatten().count() - old.clone().count(), living);
        if count("value", true) == 0 && old.count() == 0 {
            break;
        }
        assert!(
            started.elapsed().as_secs() < 60,
            "{} values and {} elements are over and there still",
            count("value", true),
            held.lists
                .values()
                .flatten()
                .filter(|element| element.starts_with(&[0; 8]))
                .count()
        );
    }
}

#[test]
fn segments_of_state_in_memory_are_read_into_a_database() {
    let local = tempfile::tempdir().unwrap();
    let host = RocksHost::open(settings(local.path(), 50_000)).unwrap();
    let backends = host.backends_of("job".to_owned());
    let whole = MAX_PARALLELISM.range_of(0, 1);
    let mut memory = MemoryBackend::new(whole, MAX_PARALLELISM).with_segments(SegmentRule::ALWAYS);
    let declared = [
        declaration("count", StateKind::Value, 1),
        declaration("list", StateKind::List, 1),
    ];
    let states = declared.each_ref().map(|state| memory.register(state).unwrap());
    let mut files = MemoryFiles::default();
    for checkpoint in 1..4u64 {
        for number in 0..300u32 {
            let (key, value) = (number.to_be_bytes(), [checkpoint as u8; 50]);
            let write = Write {
                key: state_key(&key, b"", b""),
                locator: Locator::UNKNOWN,
                value: (u64::from(number) % 4 != checkpoint).then_some(&value),
            };
            memory.write_batch(states[0], &[write]).unwrap();
            memory
                .append(states[1], state_key(&key, b"w", b""), &value)
                .unwrap();
        }
        let wanted = FilesWanted {
            checkpoint: CheckpointId(checkpoint),
            format: StateFormat::Incremental {
                base: (checkpoint > 1).then(|| CheckpointId(checkpoint - 1)),
            },
            timers: &TimerQueue::default(),
        };
        let (native, _) = keyed::freeze_files(&mut memory, wanted).unwrap().unwrap();
        let mut out = MemoryFiles::on(&files.files);
        native.files.write(&mut out).unwrap();
        files = out;
    }
    assert_eq!(files.reused.len(), 2);
    let operator = OperatorUid::new("count");
    let place = Place {
        operator: &operator,
        subtask: 0,
        attempt: 2,
    };
    let mut native = NativeState {
        format: SEGMENTS,
        range: whole,
        states: &declared,
        numbers: &states,
        files: &mut files,
    };
    let (mut read, mut timers) = (Contents::default(), TimerQueue::default());
    for index in 0..2 {
        let mut part = open(&*backends, index, MAX_PARALLELISM.range_of(index, 2));
        backends
            .read_native(place, &mut native, &mut *part, &mut timers)
            .unwrap();
        read.merge(contents(&mut *part).unwrap());
    }
    assert!(read == contents(&mut memory).unwrap());
}

#[test]
fn files_of_a_database_of_an_older_version_are_migrated_wherever_they_are_restored_to() {
    let local = tempfile::tempdir().unwrap();
    let host = RocksHost::open(settings(local.path(), 50_000)).unwrap();
    let rocksdb = host.backends_of("job".to_owned());
    let memory = MemoryBackends::reading(rocksdb.clone());
    migration::check_files(&*rocksdb, &memory).unwrap();
}
