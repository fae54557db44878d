//! State of an older schema version, migrated: clauses of the contract, and a check of backends that hand over files.
//!
//! The model converts the plain maps of [`Contents`], so that it shares nothing with the conversion but the function.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::element::StateFormat;
use wasmill_model::function::{
    CleanupStrategies, StateDeclaration, StateKind, StateTtl, StateVisibility, UpdateType,
};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;

use super::contents::{Contents, Place as At};
use super::contract::Random;
use super::files::MemoryFiles;
use super::operations::{Make, write};
use super::{MAX_PARALLELISM, declaration, state_key};
use crate::backend::{KeyedStateBackend, Locator, StateError, StateId, Write};
use crate::backends::{Place, StateBackends};
use crate::keyed;
use crate::migration::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Migration, MigrationFailure, StoredEntry, register,
};
use crate::native::{FilesWanted, NativeState};
use crate::timers::TimerQueue;
use crate::ttl::STAMP_BYTES;

type Outcome<T = ()> = Result<T, StateError>;

/// The version that is stored, and the one that it becomes.
const VERSIONS: (u32, u32) = (2, 4);

/// What the migration of these tests makes of an entry; some go.
fn convert(map_key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let reversed: Vec<u8> = value.iter().rev().copied().collect();
    (value.len() % 7 != 3).then(|| [b"now:", map_key, &reversed].concat())
}

/// Converts, and holds that it is asked as it should be.
#[derive(Default)]
struct Converts {
    entries: usize,
}

impl Migration for Converts {
    fn migrate(
        &mut self,
        from: u32,
        to: u32,
        entries: &[StoredEntry<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, MigrationFailure> {
        assert_eq!((from, to), VERSIONS);
        let bytes = entries.iter().rev().skip(1).map(|entry| entry.value.len());
        assert!((1..=BATCH_ENTRIES_MAX).contains(&entries.len()) && bytes.sum::<usize>() < BATCH_BYTES_MAX);
        self.entries += entries.len();
        let converted = entries.iter().map(|entry| convert(entry.map_key, entry.value));
        Ok(converted.collect())
    }
}

/// Every kind of state, two of them with time to live.
fn declared(version: u32) -> Vec<StateDeclaration> {
    let ttl = StateTtl {
        time_to_live: 100,
        update_type: UpdateType::default(),
        visibility: StateVisibility::default(),
        cleanup: CleanupStrategies::default(),
    };
    let states = [
        ("value", StateKind::Value, None),
        ("reducing", StateKind::Reducing, None),
        ("aggregating", StateKind::Aggregating, None),
        ("list", StateKind::List, None),
        ("map", StateKind::Map, None),
        ("timed-value", StateKind::Value, Some(ttl)),
        ("timed-list", StateKind::List, Some(ttl)),
    ];
    let declare = |(name, kind, ttl)| StateDeclaration {
        ttl,
        ..declaration(name, kind, version)
    };
    states.into_iter().map(declare).collect()
}

/// The same as they are after it: their values are read in another way too.
fn declared_now() -> Vec<StateDeclaration> {
    let now = declared(VERSIONS.1).into_iter().map(|state| StateDeclaration {
        encoding: "utf8".to_owned(),
        migrates_from: Some(VERSIONS.0),
        ..state
    });
    now.collect()
}

fn put(
    backend: &mut dyn KeyedStateBackend,
    (id, state): (StateId, &StateDeclaration),
    [key, namespace, map_key]: [&[u8]; 3],
    value: &[u8],
) -> Outcome {
    let stamp = 77i64.to_le_bytes();
    let stored = match state.ttl {
        Some(_) => [&stamp, value].concat(),
        None => value.to_vec(),
    };
    let map_key = if state.kind == StateKind::Map {
        map_key
    } else {
        b""
    };
    let key = state_key(key, namespace, map_key);
    if state.kind == StateKind::List {
        return backend.append(id, key, &stored).map(drop);
    }
    let (locator, value) = (Locator::UNKNOWN, Some(&stored[..]));
    backend.write_batch(id, &[Write { key, locator, value }])
}

/// Fills a backend with states of the older version.
fn fill(backend: &mut dyn KeyedStateBackend, seed: u64) -> Outcome {
    let (mut random, states) = (Random(seed), declared(VERSIONS.0));
    let ids = states.iter().map(|state| backend.register(state));
    let ids = ids.collect::<Outcome<Vec<_>>>()?;
    for number in 0..4_000u32 {
        let state = random.below(states.len() as u64) as usize;
        let name = [b'b', random.below(40) as u8];
        let (namespace, map_key) = ([random.below(3) as u8], number.to_be_bytes());
        let namespace = if namespace == [0] { &[][..] } else { &namespace };
        // Elements of many lists come in turn, and those of one are many chunks.
        let key: &[u8] = if random.below(4) == 0 { b"bone" } else { &name };
        let value = vec![number as u8; [0, 3, 8, 9, 60, 200][random.below(6) as usize]];
        put(
            backend,
            (ids[state], &states[state]),
            [key, namespace, &map_key],
            &value,
        )?;
    }
    // More than a batch, by number and by size.
    for number in 0..3_000u32 {
        put(
            backend,
            (ids[3], &states[3]),
            [b"blong", b"", b""],
            &number.to_le_bytes(),
        )?;
        put(
            backend,
            (ids[4], &states[4]),
            [b"blong", b"", &number.to_be_bytes()],
            b"x",
        )?;
    }
    put(
        backend,
        (ids[0], &states[0]),
        [b"blarge", b"", b""],
        &vec![7; 3 * BATCH_BYTES_MAX / 2],
    )
}

/// What is to come of contents.
fn converted(before: &Contents) -> Contents {
    let of = |state: &str, map_key: &[u8], stored: &[u8]| match state.starts_with("timed") {
        false => convert(map_key, stored),
        true => {
            let (stamp, value) = stored.split_at(STAMP_BYTES);
            convert(map_key, value).map(|value| [stamp, &value].concat())
        }
    };
    let values = before.values.iter();
    let lists = before.lists.iter().map(|(at, list)| {
        let list = list.iter().filter_map(|element| of(&at.0, b"", element));
        (at.clone(), list.collect::<Vec<_>>())
    });
    let maps = before.maps.iter().map(|(at, map)| {
        let map = map.iter();
        let map = map.filter_map(|(key, value)| Some((key.clone(), of(&at.0, key, value)?)));
        (at.clone(), map.collect::<BTreeMap<_, _>>())
    });
    Contents {
        values: values
            .filter_map(|(at, value)| Some((at.clone(), of(&at.0, b"", value)?)))
            .collect::<BTreeMap<At, _>>(),
        lists: lists.filter(|(_, list)| !list.is_empty()).collect(),
        maps: maps.filter(|(_, map)| !map.is_empty()).collect(),
        timers: before.timers.clone(),
    }
}

/// Registers the states of now, and converts what was restored.
fn migrate(backend: &mut dyn KeyedStateBackend) -> Outcome<usize> {
    let mut converts = Converts::default();
    for state in declared_now() {
        register(backend, &state, Some(&mut converts))?;
    }
    assert_eq!(backend.declarations(), declared_now());
    assert!(backend.unclaimed().is_empty());
    Ok(converts.entries)
}

fn file(backend: &mut dyn KeyedStateBackend) -> Outcome<Vec<u8>> {
    write(keyed::freeze(backend, &TimerQueue::default(), CheckpointId(1))?)
}

fn contents(backend: &mut dyn KeyedStateBackend) -> Outcome<Contents> {
    Contents::read(&mut file(backend)?.as_slice())
}

fn restored(make: Make<'_>, range: KeyGroupRange, file: &[u8]) -> Outcome<Box<dyn KeyedStateBackend>> {
    let mut backend = make(range);
    keyed::restore(&mut { file }, range, &mut *backend, &mut TimerQueue::default())?;
    Ok(backend)
}

pub(super) fn agrees_with_the_model(make: Make<'_>) -> Outcome {
    for seed in 0..2 {
        let mut before = make(MAX_PARALLELISM.range_of(0, 1));
        fill(&mut *before, seed)?;
        let (stored, before) = (file(&mut *before)?, contents(&mut *before)?);
        let expected = converted(&before);
        let (mut merged, mut entries) = (Contents::default(), 0);
        for index in 0..2 {
            let mut share = restored(make, MAX_PARALLELISM.range_of(index, 2), &stored)?;
            entries += migrate(&mut *share)?;
            merged.merge(contents(&mut *share)?);
            // What comes after it finds nothing left to convert.
            let now = file(&mut *share)?;
            let mut again = restored(make, share.range(), &now)?;
            assert_eq!(migrate(&mut *again)?, 0);
            assert!(contents(&mut *again)? == contents(&mut *share)?);
        }
        assert_eq!(entries, before.entries(), "each entry is converted once");
        assert!(
            merged == expected,
            "seed {seed}: it is not what the model converts"
        );
    }
    Ok(())
}

fn refused<T>(outcome: Outcome<T>) -> StateError {
    match outcome {
        Err(error) => error,
        Ok(_) => panic!("it was not refused"),
    }
}

pub(super) fn what_does_not_migrate_is_refused(make: Make<'_>) -> Outcome {
    let map = |version, key: &str, migrates_from| StateDeclaration {
        schema: serde_json::json!({ "key": key }),
        migrates_from,
        ..declaration("m", StateKind::Map, version)
    };
    let (stored, whole) = (map(2, "utf8", None), MAX_PARALLELISM.range_of(0, 1));
    let mut backend = make(whole);
    backend.register(&stored)?;
    let file = file(&mut *backend)?;
    let ttl = declared(1).into_iter().find_map(|state| state.ttl);
    let list = declaration("m", StateKind::List, 4);
    let list = StateDeclaration {
        migrates_from: Some(1),
        ..list
    };
    let timed = StateDeclaration {
        ttl,
        ..map(4, "utf8", Some(1))
    };
    let cases = [
        (map(4, "utf8", None), "`migrates-from` in `describe`"),
        (map(4, "utf8", Some(3)), "`migrates-from` in `describe`"),
        (map(1, "utf8", None), "schema version 1: keep the old version"),
        (list, "schema version 4: keep the old version"),
        (timed, "without time to live"),
        (
            map(4, "u32-be", Some(1)),
            "map keys as `utf8`, the function declares `u32-be`",
        ),
        (
            map(2, "u32-be", None),
            "map keys as `utf8`, the function declares `u32-be`",
        ),
    ];
    for (now, words) in cases {
        let mut backend = restored(make, whole, &file)?;
        let registered = register(&mut *backend, &now, Some(&mut Converts::default()));
        let message = refused(registered).to_string();
        assert!(
            message.contains("state `m`") && message.contains(words),
            "{message}"
        );
    }
    // Without anything that converts, what a state says of itself is not enough.
    let mut backend = restored(make, whole, &file)?;
    let registered = register(&mut *backend, &map(4, "utf8", Some(1)), None);
    assert!(matches!(registered, Err(StateError::Incompatible { .. })));
    Ok(())
}

/// Answers whatever it is asked so.
struct Answers(Result<Vec<Option<Vec<u8>>>, MigrationFailure>);

impl Migration for Answers {
    fn migrate(
        &mut self,
        _: u32,
        _: u32,
        _: &[StoredEntry<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, MigrationFailure> {
        self.0.clone()
    }
}

pub(super) fn failures_name_their_place(make: Make<'_>) -> Outcome {
    let stored = declaration("count", StateKind::Value, VERSIONS.0);
    let whole = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = make(whole);
    let id = backend.register(&stored)?;
    put(&mut *backend, (id, &stored), [b"bwhale", b"", b""], b"7")?;
    let file = file(&mut *backend)?;
    let now = StateDeclaration {
        migrates_from: Some(1),
        ..declaration("count", StateKind::Value, VERSIONS.1)
    };
    let failed = |answer| {
        let mut backend = restored(make, whole, &file)?;
        let registered = register(&mut *backend, &now, Some(&mut Answers(answer)));
        Ok::<_, StateError>(refused(registered))
    };
    let reason = "too odd".to_owned();
    let named = failed(Err(MigrationFailure::Refused {
        entry: Some(0),
        reason,
    }))?;
    let group = state_key(b"bwhale", b"", b"").group.0;
    let words = format!(
        "state `count`: what key `whale` of key group {group} has cannot be migrated from schema version 2 to 4; mend"
    );
    let message = named.to_string();
    assert!(
        message.starts_with(&words) && message.ends_with(": too odd"),
        "{message}"
    );
    let short = failed(Ok(Vec::new()))?.to_string();
    assert!(short.contains("it answered 0 values for 1 entries"), "{short}");
    let host = failed(Err(MigrationFailure::Host("no room".to_owned())))?;
    assert!(matches!(host, StateError::Io(_)), "{host}");
    Ok(())
}

/// A checkpoint in files.
struct Taken {
    format: &'static str,
    numbers: Vec<StateId>,
    states: Vec<StateDeclaration>,
    files: MemoryFiles,
}

impl Taken {
    /// Takes one that may name the files of the one before.
    fn of(
        backend: &mut dyn KeyedStateBackend,
        (checkpoint, base): (u64, Option<u64>),
        before: &BTreeMap<String, Arc<Vec<u8>>>,
    ) -> Outcome<Self> {
        let wanted = FilesWanted {
            checkpoint: CheckpointId(checkpoint),
            format: StateFormat::Incremental {
                base: base.map(CheckpointId),
            },
            timers: &TimerQueue::default(),
        };
        let Some((native, _)) = keyed::freeze_files(backend, wanted)? else {
            panic!("the backend hands over no files");
        };
        let mut files = MemoryFiles::on(before);
        native.files.write(&mut files)?;
        let (numbers, states) = native.states.into_iter().unzip();
        Ok(Self {
            format: native.format,
            numbers,
            states,
            files,
        })
    }

    fn native(&mut self) -> NativeState<'_> {
        NativeState {
            format: self.format,
            range: MAX_PARALLELISM.range_of(0, 1),
            states: &self.states,
            numbers: &self.numbers,
            files: &mut self.files,
        }
    }

    fn adopted(
        &mut self,
        backends: &dyn StateBackends,
        place: Place<'_>,
    ) -> Outcome<Box<dyn KeyedStateBackend>> {
        let mut timers = TimerQueue::default();
        let adopted = backends.adopt(place, MAX_PARALLELISM, &mut self.native(), &mut timers)?;
        let Some(adopted) = adopted else {
            panic!("files of the backend's own are not taken over");
        };
        Ok(adopted)
    }
}

/// Checks that a checkpoint in files of `own` is migrated wherever it is restored to, and that the one after it is whole and
/// says the new version.
///
/// # Panics
/// Where it is not.
pub fn check_files(own: &dyn StateBackends, other: &dyn StateBackends) -> Result<(), StateError> {
    let (operator, mut attempt) = (OperatorUid::new("operator"), 0);
    let mut place = || {
        attempt += 1;
        Place {
            operator: &operator,
            subtask: 0,
            attempt,
        }
    };
    let mut backend = own.open(place(), MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    fill(&mut *backend, 5)?;
    let first = Taken::of(&mut *backend, (1, None), &BTreeMap::new())?;
    fill(&mut *backend, 6)?;
    let mut taken = Taken::of(&mut *backend, (2, Some(1)), &first.files.files)?;
    let expected = converted(&contents(&mut *backend)?);
    // Read by all, at another parallelism.
    for backends in [own, other] {
        let mut merged = Contents::default();
        for index in 0..3 {
            let range = MAX_PARALLELISM.range_of(index, 3);
            let mut share = backends.open(place(), range, MAX_PARALLELISM);
            let (native, mut timers) = (&mut taken.native(), TimerQueue::default());
            backends.read_native(place(), native, &mut *share, &mut timers)?;
            migrate(&mut *share)?;
            merged.merge(contents(&mut *share)?);
        }
        assert!(merged == expected, "read by others");
    }
    // Taken over as they are; the next one builds on nothing, and what is in it needs no migration.
    let mut adopted = taken.adopted(own, place())?;
    migrate(&mut *adopted)?;
    assert!(contents(&mut *adopted)? == expected, "taken over");
    let mut after = Taken::of(&mut *adopted, (3, None), &BTreeMap::new())?;
    assert_eq!(after.states, declared_now());
    let mut again = after.adopted(own, place())?;
    assert_eq!(migrate(&mut *again)?, 0);
    assert!(contents(&mut *again)? == expected, "a checkpoint after it");
    Ok(())
}
