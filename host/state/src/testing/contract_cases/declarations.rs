//! Clauses about what a state is declared as: registering it, refusing it, keeping what nobody claims.

use super::*;

pub(in crate::testing) fn registering_is_checked(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn incompatible_states_are_refused(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn another_encoding_is_refused(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn unclaimed_states_are_kept(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn snapshots_keep_what_is_dropped_after_them(make: Make<'_>) -> Outcome {
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

pub(in crate::testing) fn keys_are_gone_through_beside_dropped_states(make: Make<'_>) -> Outcome {
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
