//! Clauses about maps and lists: their pages, and what clearing removes.

use super::*;

pub(in crate::testing) fn maps_are_paged(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn lists_are_paged(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn clearing_is_exact(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn lists_of_one_key_in_several_groups_are_apart(make: Make<'_>) -> Outcome {
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
