//! The clauses of the contract that are not random.

pub(super) mod collections;
pub(super) mod declarations;

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroup, KeyGroupRange};

use super::contents::Contents;
use super::operations::{Make, assert_values, write};
use super::{MAX_PARALLELISM, declaration, state_key};
use crate::backend::{KeyedStateBackend, Locator, NONE, Page, StateError, StateId, StateKey, Values, Write};
use crate::keyed;
use crate::timers::TimerQueue;

type Outcome = Result<(), StateError>;

fn whole(make: Make<'_>) -> Box<dyn KeyedStateBackend> {
    make(MAX_PARALLELISM.range_of(0, 1))
}

fn put(backend: &mut dyn KeyedStateBackend, id: StateId, key: StateKey<'_>, value: &[u8]) -> Outcome {
    let locator = Locator::UNKNOWN;
    backend.write_batch(
        id,
        &[Write {
            key,
            locator,
            value: Some(value),
        }],
    )
}

fn get(
    backend: &mut dyn KeyedStateBackend,
    id: StateId,
    key: StateKey<'_>,
) -> Result<Option<Vec<u8>>, StateError> {
    let mut values = Values::default();
    backend.get_many(id, &[key], &mut values)?;
    Ok((values.lengths != [NONE]).then_some(values.bytes))
}

fn file(backend: &mut dyn KeyedStateBackend) -> Result<Vec<u8>, StateError> {
    write(keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))?)
}

fn restore(backend: &mut dyn KeyedStateBackend, file: &[u8]) -> Outcome {
    let range = backend.range();
    keyed::restore(&mut { file }, range, backend, &mut TimerQueue::default())
}

/// Entries that a snapshot holds: a backend's own count is an estimate.
fn entries(backend: &mut dyn KeyedStateBackend) -> Result<usize, StateError> {
    Ok(Contents::read(&mut file(backend)?.as_slice())?.entries())
}

pub(super) fn values_read_as_written(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let key = state_key(b"bkey", b"", b"");
    for kind in [StateKind::Value, StateKind::Reducing, StateKind::Aggregating] {
        let id = backend.register(&declaration(&format!("{kind:?}"), kind, 1))?;
        assert_eq!(get(&mut *backend, id, key)?, None);
        put(&mut *backend, id, key, b"one")?;
        assert_eq!(get(&mut *backend, id, key)?, Some(b"one".to_vec()));
        put(&mut *backend, id, key, b"")?;
        assert_eq!(get(&mut *backend, id, key)?, Some(Vec::new()));
        let locator = Locator::UNKNOWN;
        backend.write_batch(
            id,
            &[Write {
                key,
                locator,
                value: None,
            }],
        )?;
        assert_eq!(get(&mut *backend, id, key)?, None);
    }
    Ok(())
}

pub(super) fn batches_keep_order(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("count", StateKind::Value, 1))?;
    let names: Vec<Vec<u8>> = (0..500u32).map(|n| format!("bkey-{n}").into_bytes()).collect();
    let keys: Vec<_> = names.iter().map(|name| state_key(name, b"", b"")).collect();
    let writes: Vec<_> = keys
        .iter()
        .step_by(2)
        .map(|key| Write {
            key: *key,
            locator: Locator::UNKNOWN,
            value: Some(key.key),
        })
        .collect();
    backend.write_batch(id, &writes)?;
    let twice: Vec<_> = keys.iter().chain(keys.iter().rev()).copied().collect();
    let mut values = Values::default();
    backend.get_many(id, &twice[..300], &mut values)?;
    backend.get_many(id, &twice[300..], &mut values)?;
    let held = |n: usize| (n.is_multiple_of(2)).then(|| &names[n]);
    let expected: Vec<_> = (0..500).chain((0..500).rev()).map(held).collect();
    assert_values(&values, &expected);
    // The last write of a batch to one key wins.
    let both = [(&b"first"[..], 0), (b"second", 0)].map(|(value, n)| Write {
        key: keys[n],
        locator: values.locators[n],
        value: Some(value),
    });
    backend.write_batch(id, &both)?;
    assert_eq!(get(&mut *backend, id, keys[0])?, Some(b"second".to_vec()));
    Ok(())
}

pub(super) fn locators_are_checked(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("count", StateKind::Value, 1))?;
    let other = backend.register(&declaration("other", StateKind::Value, 1))?;
    let names: Vec<Vec<u8>> = (0..300u32).map(|n| format!("bkey-{n:05}").into_bytes()).collect();
    let keys: Vec<_> = names.iter().map(|name| state_key(name, b"", b"")).collect();
    for key in &keys {
        put(&mut *backend, id, *key, b"12345678")?;
        put(&mut *backend, other, *key, b"other")?;
    }
    let mut values = Values::default();
    backend.get_many(id, &keys, &mut values)?;
    let stale = values.locators;
    // Most entries go, so that slots are reused and tables built anew; then every locator is wrong in some way.
    for key in &keys[20..] {
        backend.clear(id, *key)?;
    }
    let writes: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| Write {
            key: *key,
            locator: stale[(n * 7 + 3) % stale.len()],
            value: Some(key.key),
        })
        .collect();
    backend.write_batch(id, &writes)?;
    let forged: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| Write {
            key: *key,
            locator: Locator(n as u64 * 0x1_0000_0007),
            value: Some(b"new"),
        })
        .collect();
    backend.write_batch(other, &forged[..150])?;
    let mut values = Values::default();
    backend.get_many(id, &keys, &mut values)?;
    assert_values(&values, &names.iter().map(Some).collect::<Vec<_>>());
    for (n, key) in keys.iter().enumerate() {
        let expected = if n < 150 { &b"new"[..] } else { b"other" };
        assert_eq!(get(&mut *backend, other, *key)?.as_deref(), Some(expected));
    }
    Ok(())
}

pub(super) fn entries_are_apart(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let states = [
        backend.register(&declaration("a", StateKind::Value, 1))?,
        backend.register(&declaration("b", StateKind::Aggregating, 1))?,
        backend.register(&declaration("c", StateKind::Map, 1))?,
    ];
    // Parts that run together to the same bytes.
    let places = [
        (&b"bab"[..], &b"c"[..]),
        (b"ba", b"bc"),
        (b"babc", b""),
        (b"b", b"abc"),
        (b"b", b""),
    ];
    let all = || {
        states
            .iter()
            .flat_map(|state| places.iter().map(move |place| (*state, *place)))
    };
    for (number, (state, (key, namespace))) in all().enumerate() {
        put(
            &mut *backend,
            state,
            state_key(key, namespace, b""),
            &[number as u8],
        )?;
    }
    for (number, (state, (key, namespace))) in all().enumerate() {
        let value = get(&mut *backend, state, state_key(key, namespace, b""))?;
        assert_eq!(value, Some(vec![number as u8]));
    }
    assert_eq!(entries(&mut *backend)?, 15);
    Ok(())
}

pub(super) fn values_change_size(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("text", StateKind::Value, 1))?;
    let long = vec![b'b'; 20_000];
    for key in [&b"bshort"[..], &long] {
        let key = state_key(key, b"window", b"");
        for length in [
            0,
            1,
            9,
            100,
            4070,
            4090,
            16_384,
            1 << 20,
            700_000,
            1000,
            3,
            2_000_000,
            0,
        ] {
            let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            put(&mut *backend, id, key, &value)?;
            assert!(
                get(&mut *backend, id, key)? == Some(value),
                "a value of {length} bytes"
            );
        }
        let mut restored = whole(make);
        restore(&mut *restored, &file(&mut *backend)?)?;
        let id = restored.register(&declaration("text", StateKind::Value, 1))?;
        assert_eq!(get(&mut *restored, id, key)?, Some(Vec::new()));
    }
    Ok(())
}

pub(super) fn snapshots_are_frozen(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let value = backend.register(&declaration("value", StateKind::Value, 1))?;
    let list = backend.register(&declaration("list", StateKind::List, 1))?;
    let names: Vec<Vec<u8>> = (0..2000u32).map(|n| format!("bkey-{n}").into_bytes()).collect();
    let mut frozen = Vec::new();
    for round in 0..4u8 {
        for (n, name) in names.iter().enumerate() {
            let key = state_key(name, b"", b"");
            if n % 5 == usize::from(round) {
                backend.clear(value, key)?;
            } else {
                put(&mut *backend, value, key, &[round; 8])?;
            }
            if n % 100 == 0 {
                backend.append(list, key, &[round])?;
            }
        }
        frozen.push(keyed::freeze(
            &mut *backend,
            &TimerQueue::default(),
            CheckpointId(1),
        )?);
    }
    for (round, snapshot) in frozen.into_iter().enumerate() {
        let contents = Contents::read(&mut write(snapshot)?.as_slice())?;
        assert_eq!(contents.values.len(), 1600);
        assert!(contents.values.values().all(|value| *value == [round as u8; 8]));
        let expected: Vec<Vec<u8>> = (0..=round as u8).map(|round| vec![round]).collect();
        assert!(contents.lists.len() == 20 && contents.lists.values().all(|list| *list == expected));
    }
    Ok(())
}

pub(super) fn restores_take_their_range(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("value", StateKind::Value, 1))?;
    let names: Vec<Vec<u8>> = (0..1000u32).map(|n| format!("bkey-{n}").into_bytes()).collect();
    for name in &names {
        put(&mut *backend, id, state_key(name, b"", b""), name)?;
    }
    let file = file(&mut *backend)?;
    for (range, asked) in [((10, 20), (0, 128)), ((0, 128), (10, 20)), ((5, 5), (0, 128))] {
        let range = KeyGroupRange {
            start: range.0,
            end: range.1,
        };
        let asked = KeyGroupRange {
            start: asked.0,
            end: asked.1,
        };
        let mut restored = make(range);
        keyed::restore(
            &mut file.as_slice(),
            asked,
            &mut *restored,
            &mut TimerQueue::default(),
        )?;
        let both = range.intersect(asked);
        let expected = names
            .iter()
            .filter(|name| both.contains(state_key(name, b"", b"").group))
            .count();
        assert_eq!(entries(&mut *restored)?, expected);
    }
    Ok(())
}

pub(super) fn misuse_is_an_error(make: Make<'_>) -> Outcome {
    let range = KeyGroupRange { start: 0, end: 1 };
    let mut backend = make(range);
    let value = backend.register(&declaration("value", StateKind::Value, 1))?;
    let map = backend.register(&declaration("map", StateKind::Map, 1))?;
    let list = backend.register(&declaration("list", StateKind::List, 1))?;
    let key = StateKey {
        group: KeyGroup(0),
        ..state_key(b"bk", b"", b"")
    };
    let foreign = StateKey {
        group: KeyGroup(77),
        ..key
    };
    let (mut values, mut page) = (Values::default(), Page::default());
    for state in [value, map] {
        assert_usage(backend.append(state, key, b"x"));
        assert_usage(backend.list_page(state, key, 0, 9, &mut page));
        assert_usage(put(&mut *backend, state, foreign, b"x"));
        assert_usage(backend.get_many(state, &[foreign], &mut values));
    }
    assert_usage(put(&mut *backend, list, key, b"x"));
    assert_usage(backend.get_many(list, &[key], &mut values));
    assert_usage(backend.append(list, foreign, b"x"));
    assert_usage(backend.map_page(list, key, None, 9, &mut page));
    assert_usage(backend.map_page(value, key, None, 9, &mut page));
    for state in [value, map, list] {
        assert_usage(backend.clear(state, foreign));
    }
    assert_usage(backend.clear(StateId(99), key));
    assert_eq!(entries(&mut *backend)?, 0);
    Ok(())
}

fn assert_usage<T: std::fmt::Debug>(outcome: Result<T, StateError>) {
    assert!(
        matches!(outcome, Err(StateError::Usage { .. })),
        "{outcome:?} instead of a usage error"
    );
}
