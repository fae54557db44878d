//! The clauses of the contract that are not random.

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

pub(super) fn maps_are_paged(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("map", StateKind::Map, 1))?;
    let key = |map_key| state_key(b"bk", b"w", map_key);
    let map_keys: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0", b"b", &[255; 300]];
    for map_key in map_keys.iter().rev() {
        put(&mut *backend, id, key(map_key), map_key)?;
    }
    put(
        &mut *backend,
        id,
        state_key(b"bk", b"wz", b"a"),
        b"of another namespace",
    )?;
    put(
        &mut *backend,
        id,
        state_key(b"bk", b"", b"z"),
        b"of another namespace",
    )?;
    let mut page = Page::default();
    for bytes_max in [0, 1, 5, 10_000] {
        let (mut after, mut read) = (None, Vec::new());
        loop {
            backend.map_page(id, key(b"ignored"), after.as_deref(), bytes_max, &mut page)?;
            read.extend(page.entries.iter().map(|(map_key, _)| map_key.clone()));
            after = read.last().cloned();
            if page.done {
                break;
            }
            assert!(
                !page.entries.is_empty(),
                "a page without entries that is not the last"
            );
        }
        assert_eq!(read, map_keys);
    }
    // After a key that is not there, and after the last one.
    backend.map_page(id, key(b""), Some(b"a\0\0"), 10_000, &mut page)?;
    assert_eq!(page.entries.len(), 2);
    backend.map_page(id, key(b""), Some(&[255; 301]), 10_000, &mut page)?;
    assert_eq!((page.entries.len(), page.done), (0, true));
    Ok(())
}

pub(super) fn lists_are_paged(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let id = backend.register(&declaration("list", StateKind::List, 1))?;
    let key = state_key(b"bk", b"", b"ignored");
    let mut page = Page::default();
    backend.list_page(id, key, 0, 100, &mut page)?;
    assert_eq!(
        page,
        Page {
            entries: Vec::new(),
            done: true
        }
    );
    let element = |n: usize| n.to_string().repeat(n % 40).into_bytes();
    for n in 0..5000 {
        backend.append(id, key, &element(n))?;
    }
    backend.append(id, key, &vec![7; 50_000])?;
    backend.append(id, key, b"after the large one")?;
    backend.append(id, state_key(b"bk", b"w", b""), b"of another namespace")?;
    for start in [0, 1, 41, 2500, 4999] {
        backend.list_page(id, key, start as u64, 100, &mut page)?;
        assert!(!page.done && !page.entries.is_empty());
        for (n, (map_key, read)) in page.entries.iter().enumerate() {
            let expected = if start + n == 5000 {
                vec![7; 50_000]
            } else {
                element(start + n)
            };
            assert!(map_key.is_empty() && *read == expected);
        }
    }
    backend.list_page(id, key, 5000, 1, &mut page)?;
    assert_eq!((page.entries.len(), page.done), (1, false));
    backend.list_page(id, key, 5001, 1, &mut page)?;
    assert_eq!(
        (page.entries[0].1.as_slice(), page.done),
        (&b"after the large one"[..], true)
    );
    for beyond in [5002, u64::MAX] {
        backend.list_page(id, key, beyond, 100, &mut page)?;
        assert_eq!((page.entries.len(), page.done), (0, true));
    }
    Ok(())
}

pub(super) fn clearing_is_exact(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let value = backend.register(&declaration("value", StateKind::Value, 1))?;
    let map = backend.register(&declaration("map", StateKind::Map, 1))?;
    let list = backend.register(&declaration("list", StateKind::List, 1))?;
    for namespace in [&b""[..], b"w"] {
        put(&mut *backend, value, state_key(b"bk", namespace, b""), b"v")?;
        for map_key in [&b"1"[..], b"2", b"3"] {
            put(&mut *backend, map, state_key(b"bk", namespace, map_key), b"v")?;
            backend.append(list, state_key(b"bk", namespace, b""), &vec![1; 3000])?;
        }
    }
    assert_eq!(entries(&mut *backend)?, 14);
    for (state, left) in [(value, 13), (map, 10), (list, 7)] {
        for _ in 0..2 {
            backend.clear(state, state_key(b"bk", b"w", b"ignored"))?;
            assert_eq!(entries(&mut *backend)?, left);
        }
    }
    // A list begins anew at index 0.
    backend.append(list, state_key(b"bk", b"w", b""), b"first")?;
    let mut page = Page::default();
    backend.list_page(list, state_key(b"bk", b"w", b""), 0, 100, &mut page)?;
    assert_eq!((page.entries[0].1.as_slice(), page.done), (&b"first"[..], true));
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

pub(super) fn registering_is_checked(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let first = declaration("count", StateKind::Value, 1);
    let id = backend.register(&first)?;
    assert_eq!(backend.register(&first)?, id);
    let other = backend.register(&declaration("other", StateKind::Value, 1))?;
    assert_ne!(other, id);
    assert_eq!(
        backend.declarations(),
        [first, declaration("other", StateKind::Value, 1)]
    );
    let refused = backend.register(&declaration("count", StateKind::Map, 1));
    assert!(matches!(refused, Err(StateError::Register { name, .. }) if name == "count"));
    Ok(())
}

pub(super) fn incompatible_states_are_refused(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    backend.register(&declaration("count", StateKind::Value, 1))?;
    let file = file(&mut *backend)?;
    for (kind, version) in [
        (StateKind::Value, 2),
        (StateKind::Reducing, 1),
        (StateKind::Map, 1),
    ] {
        let now = declaration("count", kind, version);
        let mut before = whole(make);
        before.register(&now)?;
        let mut after = whole(make);
        restore(&mut *after, &file)?;
        for refused in [restore(&mut *before, &file), after.register(&now).map(drop)] {
            let Err(StateError::Incompatible {
                name,
                kind: was,
                declared_kind,
                stored,
                declared,
            }) = refused
            else {
                panic!("{kind:?} of version {version} was not refused");
            };
            assert_eq!(
                (name.as_str(), was, declared_kind),
                ("count", StateKind::Value, kind)
            );
            assert_eq!((stored, declared), (1, version));
        }
    }
    Ok(())
}

pub(super) fn another_encoding_is_refused(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    backend.register(&declaration("count", StateKind::Value, 1))?;
    let file = file(&mut *backend)?;
    let now = StateDeclaration {
        encoding: "u64-le".to_owned(),
        ..declaration("count", StateKind::Value, 1)
    };
    let mut before = whole(make);
    before.register(&now)?;
    let mut after = whole(make);
    restore(&mut *after, &file)?;
    for refused in [restore(&mut *before, &file), after.register(&now).map(drop)] {
        let Err(error @ StateError::Encoding { .. }) = refused else {
            panic!("another encoding was not refused");
        };
        let message = error.to_string();
        for part in ["state `count`", "encoding `raw`", "declares `u64-le`", "rename"] {
            assert!(message.contains(part), "{message}");
        }
    }
    Ok(())
}

pub(super) fn unclaimed_states_are_kept(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let key = state_key(b"bk", b"", b"");
    for name in ["old", "kept"] {
        let id = backend.register(&declaration(name, StateKind::Value, 1))?;
        put(&mut *backend, id, key, name.as_bytes())?;
    }
    let written = file(&mut *backend)?;
    let mut restored = whole(make);
    restore(&mut *restored, &written)?;
    let kept = restored.register(&declaration("kept", StateKind::Value, 1))?;
    assert_eq!(restored.unclaimed(), ["old"]);
    assert_eq!(
        Contents::read(&mut file(&mut *restored)?.as_slice())?,
        Contents::read(&mut written.as_slice())?
    );
    restored.drop_unclaimed();
    assert_eq!(restored.unclaimed(), Vec::<String>::new());
    assert_eq!(
        restored.declarations(),
        [declaration("kept", StateKind::Value, 1)]
    );
    assert_eq!(
        Contents::read(&mut file(&mut *restored)?.as_slice())?
            .values
            .len(),
        1
    );
    assert_eq!(get(&mut *restored, kept, key)?, Some(b"kept".to_vec()));
    // The name is free again, for any kind, and begins empty.
    let anew = restored.register(&declaration("old", StateKind::Aggregating, 9))?;
    assert_eq!(get(&mut *restored, anew, key)?, None);
    put(&mut *restored, anew, key, b"new")?;
    assert_eq!(get(&mut *restored, anew, key)?, Some(b"new".to_vec()));
    Ok(())
}

pub(super) fn snapshots_keep_what_is_dropped_after_them(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    let key = state_key(b"bk", b"", b"");
    let old = backend.register(&declaration("old", StateKind::Value, 1))?;
    put(&mut *backend, old, key, b"old")?;
    let written = file(&mut *backend)?;
    let mut restored = whole(make);
    restore(&mut *restored, &written)?;
    let frozen = keyed::freeze(&mut *restored, &TimerQueue::default(), CheckpointId(1))?;
    restored.drop_unclaimed();
    let anew = restored.register(&declaration("old", StateKind::Map, 1))?;
    put(&mut *restored, anew, state_key(b"bk", b"", b"m"), b"new")?;
    assert_eq!(entries(&mut *restored)?, 1);
    assert_eq!(
        Contents::read(&mut write(frozen)?.as_slice())?,
        Contents::read(&mut written.as_slice())?
    );
    Ok(())
}

pub(super) fn keys_are_gone_through_beside_dropped_states(make: Make<'_>) -> Outcome {
    let mut backend = whole(make);
    for name in ["old", "kept", "other"] {
        let id = backend.register(&declaration(name, StateKind::Value, 1))?;
        put(&mut *backend, id, state_key(name.as_bytes(), b"", b""), b"x")?;
    }
    let written = file(&mut *backend)?;
    let mut restored = whole(make);
    restore(&mut *restored, &written)?;
    let mut keys_of = |name: &str| {
        let id = restored.register(&declaration(name, StateKind::Value, 1))?;
        if name == "other" {
            restored.drop_unclaimed();
        }
        let mut keys = Vec::new();
        keyed::for_each_key(&mut *restored, id, &mut |_, _, key| {
            keys.push(key.to_vec());
            Ok(())
        })?;
        Ok::<_, StateError>(keys)
    };
    assert_eq!(keys_of("kept")?, [b"kept".to_vec()]);
    // From here on `old` is no longer there.
    assert_eq!(keys_of("other")?, [b"other".to_vec()]);
    assert_eq!(keys_of("kept")?, [b"kept".to_vec()]);
    let unknown = keyed::for_each_key(&mut *restored, StateId(0), &mut |_, _, _| Ok(()));
    assert!(matches!(unknown, Err(StateError::Usage { .. })), "{unknown:?}");
    Ok(())
}

pub(super) fn lists_of_one_key_in_several_groups_are_apart(make: Make<'_>) -> Outcome {
    let mut backend = make(MAX_PARALLELISM.range_of(0, 1));
    let list = backend.register(&declaration("list", StateKind::List, 1))?;
    let of = |group: u16| StateKey {
        group: KeyGroup(group),
        ..state_key(b"", b"window", b"")
    };
    for group in [3, 100, 7] {
        backend.append(list, of(group), &group.to_le_bytes())?;
    }
    let elements = |backend: &mut dyn KeyedStateBackend, group: u16| {
        let mut page = Page::default();
        backend.list_page(list, of(group), 0, 1_000, &mut page)?;
        Ok::<_, StateError>(
            page.entries
                .into_iter()
                .map(|(_, element)| element)
                .collect::<Vec<_>>(),
        )
    };
    backend.clear(list, of(7))?;
    let mut restored = restored(make, &mut *backend)?;
    for backend in [&mut *backend, &mut *restored] {
        backend.register(&declaration("list", StateKind::List, 1))?;
        for (group, expected) in [(3, 1), (100, 1), (7, 0), (8, 0)] {
            assert_eq!(
                elements(backend, group)?,
                vec![group.to_le_bytes().to_vec(); expected]
            );
        }
    }
    Ok(())
}

/// A backend of the same groups with what another has.
fn restored(
    make: Make<'_>,
    backend: &mut dyn KeyedStateBackend,
) -> Result<Box<dyn KeyedStateBackend>, StateError> {
    let file = write(keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))?)?;
    let mut restored = make(backend.range());
    let range = restored.range();
    keyed::restore(
        &mut file.as_slice(),
        range,
        &mut *restored,
        &mut TimerQueue::default(),
    )?;
    Ok(restored)
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
