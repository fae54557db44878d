//! Time to live over a backend, against a model of it: two clauses of the contract.
//!
//! The model keeps (stamp, number) in plain maps and follows Flink's rules as they are told, so it shares nothing with
//! the layer but the settings.

mod model;

use std::collections::BTreeMap;

use wasmill_model::function::{
    CleanupStrategies, StateDeclaration, StateKind, StateTtl, StateVisibility, UpdateType,
};
use wasmill_model::id::CheckpointId;

use self::model::{LIVES_MS, Model};
use super::contract::Random;
use super::operations::{Make, write};
use super::{MAX_PARALLELISM, declaration, state_key};
use crate::backend::{KeyedStateBackend, Locator, NONE, Page, StateError, StateId, StateKey, Values, Write};
use crate::keyed;
use crate::timers::TimerQueue;
use crate::ttl::read::{PageBound, Stored};
use crate::ttl::{TimeToLive, TtlState};

type Outcome<T = ()> = Result<T, StateError>;

/// One state of one key, straight in a backend.
struct Direct<'a> {
    backend: &'a mut dyn KeyedStateBackend,
    state: StateId,
    key: StateKey<'a>,
}

impl Direct<'_> {
    fn put(&mut self, map_key: &[u8], value: Option<&[u8]>) -> Outcome {
        let write = Write {
            key: StateKey { map_key, ..self.key },
            locator: Locator::UNKNOWN,
            value,
        };
        self.backend.write_batch(self.state, &[write])
    }
}

impl Stored for Direct<'_> {
    type Error = StateError;

    fn get(&mut self, map_key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let mut values = Values::default();
        let key = StateKey { map_key, ..self.key };
        self.backend.get_many(self.state, &[key], &mut values)?;
        Ok((values.lengths != [NONE]).then_some(values.bytes))
    }

    fn set(&mut self, map_key: &[u8], value: Vec<u8>) -> Outcome {
        self.put(map_key, Some(&value))
    }

    fn remove(&mut self, map_key: &[u8]) -> Outcome {
        self.put(map_key, None)
    }

    fn map_page(&mut self, after: Option<&[u8]>, bytes_max: usize) -> Outcome<Page> {
        let mut page = Page::default();
        self.backend
            .map_page(self.state, self.key, after, bytes_max, &mut page)?;
        Ok(page)
    }

    fn list_page(&mut self, start: u64, bytes_max: usize) -> Outcome<Page> {
        let mut page = Page::default();
        self.backend
            .list_page(self.state, self.key, start, bytes_max, &mut page)?;
        Ok(page)
    }

    fn list_replace(&mut self, elements: Vec<Vec<u8>>) -> Outcome {
        self.backend.clear(self.state, self.key)?;
        for element in elements {
            self.backend.append(self.state, self.key, &element)?;
        }
        Ok(())
    }

    fn corrupt(&mut self, error: StateError) -> StateError {
        error
    }
}

fn timed(name: &str, kind: StateKind, ttl: StateTtl) -> StateDeclaration {
    StateDeclaration {
        ttl: Some(ttl),
        ..declaration(name, kind, 1)
    }
}

/// The backend under test, and the model that it must agree with.
struct Both {
    backend: Box<dyn KeyedStateBackend>,
    /// Value, list and map.
    states: [StateId; 3],
    model: Model,
}

const KINDS: [StateKind; 3] = [StateKind::Value, StateKind::List, StateKind::Map];

impl Both {
    fn new(make: Make<'_>, ttl: StateTtl) -> Outcome<Self> {
        let mut backend = make(MAX_PARALLELISM.range_of(0, 1));
        let states = register(&mut *backend, ttl)?;
        let model = Model {
            ttl,
            now: 0,
            values: BTreeMap::new(),
            lists: BTreeMap::new(),
            maps: BTreeMap::new(),
        };
        Ok(Self {
            backend,
            states,
            model,
        })
    }

    /// The backend's contents in a new one.
    fn restore(&mut self, make: Make<'_>) -> Outcome {
        let file = write(keyed::freeze(
            &mut *self.backend,
            &TimerQueue::default(),
            CheckpointId(1),
        )?)?;
        self.backend = make(MAX_PARALLELISM.range_of(0, 1));
        let range = self.backend.range();
        keyed::restore(
            &mut file.as_slice(),
            range,
            &mut *self.backend,
            &mut TimerQueue::default(),
        )?;
        self.states = register(&mut *self.backend, self.model.ttl)?;
        Ok(())
    }

    fn step(&mut self, random: &mut Random) -> Outcome {
        let key = random.below(3) as u8;
        let number = random.below(1 << 40) as i64;
        let name = [b'b', key];
        let at = state_key(&name, b"", b"");
        match random.below(20) {
            0..4 => {
                self.model.now += random.below(40) as i64;
                self.backend.clean_up(self.model.now, random.below(4))
            }
            4..9 => self.value(key, at, number, random),
            9..14 => self.list(key, at, number, random),
            _ => self.map(key, at, number, random),
        }
    }

    fn layer(&mut self, kind: usize) -> TtlState<'_> {
        TtlState::new(
            &mut *self.backend,
            self.states[kind],
            Some(self.model.ttl),
            self.model.now,
        )
    }

    fn direct<'a>(&'a mut self, kind: usize, key: StateKey<'a>) -> (TimeToLive, Direct<'a>) {
        let direct = Direct {
            backend: &mut *self.backend,
            state: self.states[kind],
            key,
        };
        (TimeToLive::new(self.model.ttl, self.model.now), direct)
    }

    fn put(&mut self, kind: usize, key: StateKey<'_>, number: Option<i64>) -> Outcome {
        let number = number.map(i64::to_le_bytes);
        self.layer(kind).write_batch(&[Write {
            key,
            locator: Locator::UNKNOWN,
            value: number.as_ref().map(|bytes| &bytes[..]),
        }])
    }

    fn value(&mut self, key: u8, at: StateKey<'_>, number: i64, random: &mut Random) -> Outcome {
        match random.below(6) {
            0 => {
                self.model.values.insert(key, (self.model.now, number));
                self.put(0, at, Some(number))
            }
            1 => {
                self.model.values.remove(&key);
                self.put(0, at, None)
            }
            // As reducing and aggregating states add.
            2 => {
                let before = self.read_in_a_batch(at)?;
                assert_eq!(before, self.model.value(key), "before an element is added");
                let sum = before.unwrap_or(0).wrapping_add(number);
                self.model.values.insert(key, (self.model.now, sum));
                self.put(0, at, Some(sum))
            }
            3 => {
                assert_eq!(
                    self.read_in_a_batch(at)?,
                    self.model.value(key),
                    "a value in a batch"
                );
                Ok(())
            }
            _ => {
                let (ttl, mut direct) = self.direct(0, at);
                let reading = ttl.read(&mut direct, &[])?;
                let value = reading.value.as_deref().map(number_of);
                assert_eq!(value, self.model.value(key), "a value");
                assert_eq!(
                    reading.is_removed && value.is_some(),
                    value.is_some() && !self.model.values.contains_key(&key)
                );
                Ok(())
            }
        }
    }

    /// Reads, and writes afterwards what the read changes.
    fn read_in_a_batch(&mut self, key: StateKey<'_>) -> Outcome<Option<i64>> {
        let mut layer = self.layer(0);
        let mut values = Values::default();
        layer.get_many(&[key], &mut values)?;
        let value = values.iter().next().flatten();
        if let Some(left) = layer.after_read(value, values.is_expired(0)) {
            layer.write_batch(&[Write {
                key,
                locator: values.locators[0],
                value: left,
            }])?;
        }
        Ok(value.map(number_of))
    }

    fn list(&mut self, key: u8, at: StateKey<'_>, number: i64, random: &mut Random) -> Outcome {
        let held = (self.model.now, number);
        match random.below(5) {
            0..3 => {
                self.model.lists.entry(key).or_default().push(held);
                self.layer(1).append(at, &number.to_le_bytes())
            }
            3 if random.below(3) == 0 => {
                self.model.lists.remove(&key);
                self.layer(1).clear(at)
            }
            _ => {
                let bound = bound(random);
                let (ttl, mut direct) = self.direct(1, at);
                let (mut got, mut reading) = (Vec::new(), None);
                loop {
                    let page = ttl.list_page(&mut direct, &mut reading, got.len() as u64, bound)?;
                    assert!(page.entries.len() <= bound.entries_max);
                    got.extend(page.entries.iter().map(|(_, element)| number_of(element)));
                    if page.done {
                        break;
                    }
                }
                assert_eq!(got, self.model.list(key), "a list in pages of {bound:?}");
                Ok(())
            }
        }
    }

    fn map(&mut self, key: u8, at: StateKey<'_>, number: i64, random: &mut Random) -> Outcome {
        let map_key = random.below(5) as u8;
        let entry = [map_key];
        let at_entry = StateKey {
            map_key: &entry,
            ..at
        };
        match random.below(8) {
            0..3 => {
                let held = (self.model.now, number);
                self.model.maps.entry(key).or_default().insert(map_key, held);
                self.put(2, at_entry, Some(number))
            }
            3 => {
                self.model.maps.entry(key).or_default().remove(&map_key);
                self.put(2, at_entry, None)
            }
            4 | 5 => {
                let (ttl, mut direct) = self.direct(2, at);
                let value = ttl.read(&mut direct, &entry)?.value;
                let value = value.as_deref().map(number_of);
                assert_eq!(value, self.model.map_value(key, map_key), "a map's value");
                Ok(())
            }
            6 => {
                let (_, mut direct) = self.direct(2, at);
                let is_empty = direct.map_page(None, 1)?.entries.is_empty();
                let is_cleaned = !self.model.ttl.cleanup.disable_cleanup_in_background;
                let expected = match is_cleaned && is_empty {
                    true => self.model.map_is_over(key),
                    false => self.model.map_is_empty(key),
                };
                assert_eq!(is_empty, expected, "whether a map is empty");
                Ok(())
            }
            _ => self.entries(key, at, bound(random)),
        }
    }

    fn entries(&mut self, key: u8, at: StateKey<'_>, bound: PageBound) -> Outcome {
        let (ttl, mut direct) = self.direct(2, at);
        let (mut got, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let page = ttl.map_page(&mut direct, after.as_deref(), bound)?;
            assert!(page.entries.len() <= bound.entries_max);
            after = page.entries.last().map(|(map_key, _)| map_key.clone()).or(after);
            got.extend(
                page.entries
                    .iter()
                    .map(|(map_key, value)| (map_key[0], number_of(value))),
            );
            if page.done {
                break;
            }
        }
        assert_eq!(got, self.model.map(key), "a map in pages of {bound:?}");
        Ok(())
    }
}

fn register(backend: &mut dyn KeyedStateBackend, ttl: StateTtl) -> Outcome<[StateId; 3]> {
    let [value, list, map] = KINDS.map(|kind| backend.register(&timed(&format!("{kind:?}"), kind, ttl)));
    Ok([value?, list?, map?])
}

fn bound(random: &mut Random) -> PageBound {
    PageBound {
        entries_max: 1 + random.below(4) as usize,
        bytes_max: random.below(400) as usize,
    }
}

fn number_of(bytes: &[u8]) -> i64 {
    let Some(number) = bytes.as_array() else {
        panic!("a number of {} bytes", bytes.len());
    };
    i64::from_le_bytes(*number)
}

pub(super) fn agrees_with_the_model(make: Make<'_>) -> Outcome {
    for update_type in [UpdateType::OnCreateAndWrite, UpdateType::OnReadAndWrite] {
        // What is returned while it is there depends on when it is cleaned up.
        for (visibility, disable_cleanup_in_background) in [
            (StateVisibility::NeverReturnExpired, true),
            (StateVisibility::NeverReturnExpired, false),
            (StateVisibility::ReturnExpiredIfNotCleanedUp, true),
        ] {
            let cleanup = CleanupStrategies {
                disable_cleanup_in_background,
                ..CleanupStrategies::default()
            };
            let ttl = StateTtl {
                time_to_live: LIVES_MS,
                update_type,
                visibility,
                cleanup,
            };
            for seed in 0..3 {
                let (mut both, mut random) = (Both::new(make, ttl)?, Random(seed));
                for step in 0..1_500 {
                    both.step(&mut random)?;
                    if step % 300 == 299 {
                        both.restore(make)?;
                    }
                }
            }
        }
    }
    Ok(())
}

pub(super) fn gaining_or_losing_it_is_refused(make: Make<'_>) -> Outcome {
    let ttl = StateTtl {
        time_to_live: LIVES_MS,
        update_type: UpdateType::default(),
        visibility: StateVisibility::default(),
        cleanup: CleanupStrategies::default(),
    };
    let longer = StateTtl {
        time_to_live: 2 * LIVES_MS,
        update_type: UpdateType::OnReadAndWrite,
        ..ttl
    };
    let without = declaration("seen", StateKind::Value, 1);
    let with = timed("seen", StateKind::Value, ttl);
    let whole = || make(MAX_PARALLELISM.range_of(0, 1));
    let file_of = |declaration: &StateDeclaration| {
        let mut backend = whole();
        backend.register(declaration)?;
        write(keyed::freeze(
            &mut *backend,
            &TimerQueue::default(),
            CheckpointId(1),
        )?)
    };
    let restored = |file: &[u8], mut backend: Box<dyn KeyedStateBackend>| {
        let range = backend.range();
        keyed::restore(&mut { file }, range, &mut *backend, &mut TimerQueue::default()).map(|()| backend)
    };
    for (stored, declared, words) in [
        (&without, &with, ["holds it without", "declares it with one"]),
        (&with, &without, ["holds it with ", "declares it without one"]),
    ] {
        let file = file_of(stored)?;
        let mut before = whole();
        before.register(declared)?;
        let after = restored(&file, whole())?.register(declared).map(drop);
        for refused in [restored(&file, before).map(drop), after] {
            let Err(error @ StateError::TimeToLive { .. }) = refused else {
                panic!("another time to live was not refused");
            };
            let message = error.to_string();
            for part in words.into_iter().chain(["state `seen`", "rename"]) {
                assert!(message.contains(part), "{message}");
            }
        }
    }
    // How long, and what updates it, may change.
    let file = file_of(&with)?;
    restored(&file, whole())?.register(&timed("seen", StateKind::Value, longer))?;
    Ok(())
}
