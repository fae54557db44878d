//! RocksDB against the contract of all backends, with write-back caches that hold all, little, and hardly anything.

use std::path::Path;

use wasmill_model::function::StateKind;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;
use wasmill_rocksdb::{RocksHost, Settings};
use wasmill_state::backend::{KeyedStateBackend, Locator, Values, Write};
use wasmill_state::backends::{Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::{MAX_PARALLELISM, contract, declaration, operations, state_key};
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
