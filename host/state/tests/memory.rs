//! The memory backend against the contract of all backends, and against plain maps.

mod drawn;

use proptest::prelude::*;
use wasmill_model::function::StateKind;
use wasmill_model::key::KeyGroupRange;
use wasmill_state::backend::{KeyedStateBackend, Locator, Write};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::testing::operations::Run;
use wasmill_state::testing::{MAX_PARALLELISM, contract, state_key};

fn make(range: KeyGroupRange) -> Box<dyn KeyedStateBackend> {
    Box::new(MemoryBackend::new(range, MAX_PARALLELISM))
}

#[test]
fn the_memory_backend_keeps_the_contract() {
    contract::run(make);
}

#[test]
fn its_size_counts_values_map_entries_and_list_elements() {
    let mut backend = make(MAX_PARALLELISM.range_of(0, 1));
    let kinds = [StateKind::Value, StateKind::Map, StateKind::List];
    let [value, map, list] = kinds.map(|kind| {
        let declaration = wasmill_state::testing::declaration(&format!("{kind:?}"), kind, 1);
        backend.register(&declaration).unwrap()
    });
    for map_key in [b"1", b"2"] {
        let (key, locator, value_bytes) = (state_key(b"bk", b"", map_key), Locator::UNKNOWN, Some(&b"v"[..]));
        let write = |key| Write {
            key,
            locator,
            value: value_bytes,
        };
        backend.write_batch(map, &[write(key)]).unwrap();
        backend
            .write_batch(value, &[write(state_key(b"bk", b"", b""))])
            .unwrap();
        backend.append(list, state_key(b"bk", b"", b""), b"e").unwrap();
    }
    assert_eq!(backend.size().entries, 5);
    backend.clear(map, state_key(b"bk", b"", b"")).unwrap();
    backend.clear(list, state_key(b"bk", b"", b"")).unwrap();
    assert_eq!(backend.size().entries, 1);
}

#[test]
fn each_key_of_a_state_is_visited_once_and_may_be_written() {
    let whole = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = make(whole);
    let mut register = |name: &str, kind| {
        let declaration = wasmill_state::testing::declaration(name, kind, 1);
        backend.register(&declaration).unwrap()
    };
    let (value, list) = (
        register("value", StateKind::Value),
        register("list", StateKind::List),
    );
    let keys: Vec<String> = (0..50).map(|n| format!("b{n}")).collect();
    for key in &keys {
        for namespace in [&b""[..], b"window"] {
            let key = state_key(key.as_bytes(), namespace, b"");
            let write = Write {
                key,
                locator: Locator::UNKNOWN,
                value: Some(b"x"),
            };
            backend.write_batch(value, &[write]).unwrap();
        }
    }
    backend
        .append(list, state_key(b"bother", b"", b""), b"y")
        .unwrap();
    let mut seen = Vec::new();
    keyed::for_each_key(&mut *backend, value, &mut |backend, group, key| {
        assert_eq!(state_key(key, b"", b"").group, group);
        backend.clear(value, state_key(key, b"", b""))?;
        backend.clear(value, state_key(key, b"window", b""))?;
        seen.push(String::from_utf8(key.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    seen.sort();
    let mut expected = keys.clone();
    expected.sort();
    assert_eq!(seen, expected);
    let mut left = 0;
    let mut count = |_: &mut dyn KeyedStateBackend, _, _: &[u8]| {
        left += 1;
        Ok(())
    };
    keyed::for_each_key(&mut *backend, value, &mut count).unwrap();
    keyed::for_each_key(&mut *backend, list, &mut count).unwrap();
    assert_eq!(left, 1, "the list's alone");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_and_late_snapshots_agrees_with_plain_maps(
        operations in prop::collection::vec(drawn::operation(), 0..150),
    ) {
        Run::new(&make).unwrap().all(&operations).unwrap();
    }
}
