//! Random operations on a backend, each applied to a model of plain maps as well.
//!
//! Invariant: after every sequence the backend reads as the model, every snapshot reads as the model was
//! when it was frozen however late it is written, and so does a restore at any other parallelism.

mod checkpoints;

use std::sync::Arc;

use wasmill_model::function::StateKind;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::KeyGroupRange;

use self::checkpoints::Checkpoints;
pub use self::checkpoints::Pair;
use super::contents::{Contents, Place};
use super::{MAX_PARALLELISM, declaration, state_key};
use crate::backend::{
    KeyedStateBackend, Locator, NONE, Page, StateError, StateId, StateSnapshot, Values, Write,
};
use crate::backends::MemoryBackends;
use crate::keyed;
use crate::timers::{TimeDomain, Timer, TimerQueue, TimerRef};

/// Makes a backend for some groups of [`MAX_PARALLELISM`].
pub type Make<'a> = &'a dyn Fn(KeyGroupRange) -> Box<dyn KeyedStateBackend>;

/// One step. Small numbers stand for states, keys, namespaces and lengths: see [`Target`].
#[derive(Clone, Debug)]
pub enum Operation {
    /// Reads a batch and writes it with the locators that came back.
    ReadAndPut(Vec<(Target, u16)>),
    /// Writes without having read.
    Put(Target, u16),
    /// Removes an entry.
    Remove(Target),
    /// Appends to a list.
    Append(Target, u16),
    /// Clears a (key, namespace) of any state.
    Clear(Target),
    /// Registers (true) or deletes a timer.
    Timer(bool, Target, i8),
    /// Freezes; the snapshot is written later.
    Freeze,
    /// Writes the oldest frozen snapshot and compares.
    WriteOldest,
    /// Reads everything and compares.
    Check,
    /// Restores at this parallelism, compares, and goes on with all shares merged.
    Rescale(u8),
    /// Takes a checkpoint in files of the backend; it is written later.
    Checkpoint,
    /// Ends the oldest checkpoint that is under way.
    End(Fate),
    /// Restores all that were written at this parallelism, on the other backend or on the same, compares, and goes on
    /// from the newest.
    Restore(u8, bool),
}

/// What becomes of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is written and complete.
    Completed,
    /// It is written, and others were not in time.
    Aborted,
    /// It is not written.
    Lost,
}

/// Addresses an entry.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Selects one of the states that fit the operation.
    pub state: u8,
    /// Selects a key; keys are of many lengths.
    pub key: u8,
    /// Selects a namespace; every second number is the void one.
    pub namespace: u8,
    /// Selects a map key.
    pub map_key: u8,
}

const VALUES: [&str; 2] = ["value", "sum"];
const MAP: &str = "map";
const LIST: &str = "list";

impl Target {
    fn key(self) -> Vec<u8> {
        let mut key = vec![b'b', self.key];
        key.resize(2 + usize::from(self.key % 23), self.key);
        key
    }

    fn namespace(self) -> Vec<u8> {
        match self.namespace % 2 {
            0 => Vec::new(),
            _ => vec![self.namespace; usize::from(self.namespace % 19)],
        }
    }

    fn map_key(self) -> Vec<u8> {
        vec![self.map_key; usize::from(self.map_key % 5)]
    }

    fn place(self, state: &str) -> Place {
        (state.to_owned(), self.key(), self.namespace())
    }

    fn value_state(self) -> usize {
        usize::from(self.state) % VALUES.len()
    }
}

/// A backend beside its model.
pub struct Run<'a> {
    make: Make<'a>,
    backend: Box<dyn KeyedStateBackend>,
    /// Of `VALUES`, `MAP` and `LIST`.
    ids: Vec<StateId>,
    timers: TimerQueue,
    model: Contents,
    frozen: Vec<(Box<dyn StateSnapshot>, Contents)>,
    checkpoint: u64,
    checkpoints: Checkpoints,
    backends: Pair,
}

impl<'a> Run<'a> {
    /// An empty backend of all groups, its states registered.
    pub fn new(make: Make<'a>) -> Result<Self, StateError> {
        let mut backend = make(MAX_PARALLELISM.range_of(0, 1));
        let ids = register(&mut *backend)?;
        Ok(Self {
            make,
            backend,
            ids,
            timers: TimerQueue::default(),
            model: Contents::default(),
            frozen: Vec::new(),
            checkpoint: 0,
            checkpoints: Checkpoints::default(),
            backends: [Arc::default(), Arc::default()].map(|of: Arc<MemoryBackends>| of as _),
        })
    }

    /// The same of the first of these: the other one reads its files too.
    pub fn of_files(make: Make<'a>, backends: Pair) -> Result<Self, StateError> {
        Ok(Self {
            backends,
            ..Self::new(make)?
        })
    }

    /// Applies a sequence, then writes what is still frozen and compares once more.
    ///
    /// # Panics
    /// Where the backend and its model differ.
    pub fn all(mut self, operations: &[Operation]) -> Result<(), StateError> {
        self.each(operations)?;
        while !self.frozen.is_empty() {
            self.apply(&Operation::WriteOldest)?;
        }
        self.check()?;
        self.rescale(3)
    }

    /// Applies a sequence.
    ///
    /// # Panics
    /// Where the backend and its model differ.
    pub fn each(&mut self, operations: &[Operation]) -> Result<(), StateError> {
        operations.iter().try_for_each(|operation| self.apply(operation))
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), StateError> {
        match operation {
            Operation::ReadAndPut(batch) => self.read_and_put(batch),
            Operation::Put(target, length) if target.state % 4 == 3 => self.put_map(*target, *length),
            Operation::Put(target, length) => self.put_value(*target, *length, Locator::UNKNOWN),
            Operation::Remove(target) => self.remove(*target),
            Operation::Append(target, length) => self.append(*target, *length),
            Operation::Clear(target) => self.clear(*target),
            Operation::Timer(register, target, at) => {
                self.timer(*register, *target, *at);
                Ok(())
            }
            Operation::Freeze => {
                self.model.set_timers(&self.timers);
                self.checkpoint += 1;
                let id = CheckpointId(self.checkpoint);
                let snapshot = keyed::freeze(&mut *self.backend, &self.timers, id)?;
                self.frozen.push((snapshot, self.model.clone()));
                Ok(())
            }
            Operation::WriteOldest if self.frozen.is_empty() => Ok(()),
            Operation::WriteOldest => {
                let (snapshot, expected) = self.frozen.remove(0);
                assert_eq!(Contents::read(&mut write(snapshot)?.as_slice())?, expected);
                Ok(())
            }
            Operation::Check => self.check(),
            Operation::Rescale(parallelism) => self.rescale(u32::from(*parallelism).max(1)),
            Operation::Checkpoint => self.take_checkpoint(),
            Operation::End(fate) => self.end_checkpoint(*fate),
            Operation::Restore(parallelism, on_other) => {
                self.restore_checkpoints(u32::from(*parallelism).max(1), *on_other)
            }
        }
    }

    fn read_and_put(&mut self, batch: &[(Target, u16)]) -> Result<(), StateError> {
        let Some(state) = batch.first().map(|(target, _)| target.value_state()) else {
            return Ok(());
        };
        let keys: Vec<_> = batch
            .iter()
            .map(|(target, _)| (target.key(), target.namespace()))
            .collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, namespace)| state_key(key, namespace, b""))
            .collect();
        let mut values = Values::default();
        self.backend.get_many(self.ids[state], &keys, &mut values)?;
        let expected: Vec<_> = batch
            .iter()
            .map(|(target, _)| self.model.values.get(&target.place(VALUES[state])))
            .collect();
        assert_values(&values, &expected);
        for ((target, length), locator) in batch.iter().zip(&values.locators) {
            let target = Target {
                state: state as u8,
                ..*target
            };
            self.put_value(target, *length, *locator)?;
        }
        Ok(())
    }

    fn put_value(&mut self, target: Target, length: u16, locator: Locator) -> Result<(), StateError> {
        let (key, namespace, value) = (target.key(), target.namespace(), bytes(target, length));
        let write = Write {
            key: state_key(&key, &namespace, b""),
            locator,
            value: Some(&value),
        };
        let state = target.value_state();
        self.backend.write_batch(self.ids[state], &[write])?;
        self.model.values.insert(target.place(VALUES[state]), value);
        Ok(())
    }

    fn put_map(&mut self, target: Target, length: u16) -> Result<(), StateError> {
        let (key, namespace, map_key) = (target.key(), target.namespace(), target.map_key());
        let value = bytes(target, length % 64);
        let write = Write {
            key: state_key(&key, &namespace, &map_key),
            locator: Locator::UNKNOWN,
            value: Some(&value),
        };
        self.backend.write_batch(self.ids[2], &[write])?;
        self.model
            .maps
            .entry(target.place(MAP))
            .or_default()
            .insert(map_key, value);
        Ok(())
    }

    fn remove(&mut self, target: Target) -> Result<(), StateError> {
        let (key, namespace, map_key) = (target.key(), target.namespace(), target.map_key());
        let of_map = target.state % 4 == 3;
        let write = Write {
            key: state_key(&key, &namespace, if of_map { &map_key } else { b"" }),
            locator: Locator::UNKNOWN,
            value: None,
        };
        if !of_map {
            self.model
                .values
                .remove(&target.place(VALUES[target.value_state()]));
            return self.backend.write_batch(self.ids[target.value_state()], &[write]);
        }
        let place = target.place(MAP);
        if let Some(map) = self.model.maps.get_mut(&place) {
            map.remove(&map_key);
            if map.is_empty() {
                self.model.maps.remove(&place);
            }
        }
        self.backend.write_batch(self.ids[2], &[write])
    }

    fn append(&mut self, target: Target, length: u16) -> Result<(), StateError> {
        let (key, namespace, element) = (target.key(), target.namespace(), bytes(target, length));
        let list = self.model.lists.entry(target.place(LIST)).or_default();
        list.push(element.clone());
        let was_empty = list.len() == 1;
        let is_first = self
            .backend
            .append(self.ids[3], state_key(&key, &namespace, b""), &element)?;
        assert_eq!(is_first, was_empty);
        Ok(())
    }

    fn clear(&mut self, target: Target) -> Result<(), StateError> {
        let (key, namespace) = (target.key(), target.namespace());
        let state = usize::from(target.state) % self.ids.len();
        match state {
            2 => drop(self.model.maps.remove(&target.place(MAP))),
            3 => drop(self.model.lists.remove(&target.place(LIST))),
            _ => drop(self.model.values.remove(&target.place(VALUES[state]))),
        }
        self.backend
            .clear(self.ids[state], state_key(&key, &namespace, b"ignored"))
    }

    fn timer(&mut self, register: bool, target: Target, at: i8) {
        let key = target.key();
        let domain = if target.state.is_multiple_of(2) {
            TimeDomain::Event
        } else {
            TimeDomain::Processing
        };
        let timer = Timer {
            timestamp: i64::from(at),
            group: state_key(&key, b"", b"").group,
            key: key[..].into(),
            namespace: target.namespace()[..].into(),
        };
        let mut there = false;
        self.timers
            .for_each(domain, |present| there |= present == TimerRef::from(&timer));
        if register {
            assert_eq!(self.timers.register(domain, &timer), !there);
        } else {
            assert_eq!(self.timers.delete(domain, &timer), there);
        }
    }

    /// Reads through every call of the backend and compares with the model.
    fn check(&mut self) -> Result<(), StateError> {
        for (state, name) in VALUES.iter().enumerate() {
            let places: Vec<_> = self
                .model
                .values
                .iter()
                .filter(|((of, ..), _)| of == name)
                .collect();
            let keys: Vec<_> = places
                .iter()
                .map(|((_, key, ns), _)| state_key(key, ns, b""))
                .collect();
            let mut values = Values::default();
            self.backend.get_many(self.ids[state], &keys, &mut values)?;
            let expected: Vec<_> = places.iter().map(|(_, value)| Some(*value)).collect();
            assert_values(&values, &expected);
        }
        let mut page = Page::default();
        for ((_, key, namespace), map) in &self.model.maps {
            let (mut after, mut read) = (None::<Vec<u8>>, Vec::new());
            while !page.done || after.is_none() {
                let key = state_key(key, namespace, b"");
                self.backend
                    .map_page(self.ids[2], key, after.as_deref(), 40, &mut page)?;
                read.append(&mut page.entries);
                after = Some(read.last().map(|(key, _)| key.clone()).unwrap_or_default());
            }
            assert!(read.into_iter().eq(map.clone()), "map of key {key:?}");
        }
        for ((_, key, namespace), list) in &self.model.lists {
            let mut read = Vec::new();
            loop {
                let key = state_key(key, namespace, b"");
                self.backend
                    .list_page(self.ids[3], key, read.len() as u64, 500, &mut page)?;
                read.extend(page.entries.drain(..).map(|(_, element)| element));
                if page.done {
                    break;
                }
            }
            assert_eq!(&read, list, "list of key {key:?}");
        }
        let id = CheckpointId(self.checkpoint + 1);
        let file = write(keyed::freeze(&mut *self.backend, &TimerQueue::default(), id)?)?;
        let held = Contents::read(&mut file.as_slice())?;
        assert_eq!(held.entries(), self.model.entries());
        Ok(())
    }

    /// Restores at another parallelism, then back into one.
    fn rescale(&mut self, parallelism: u32) -> Result<(), StateError> {
        self.model.set_timers(&self.timers);
        let id = CheckpointId(self.checkpoint + 1);
        let file = write(keyed::freeze(&mut *self.backend, &self.timers, id)?)?;
        let mut merged = Contents::default();
        let mut shares = Vec::new();
        for index in 0..parallelism {
            let range = MAX_PARALLELISM.range_of(index, parallelism);
            let mut share = (self.make)(range);
            let mut timers = TimerQueue::default();
            keyed::restore(&mut file.as_slice(), range, &mut *share, &mut timers)?;
            register(&mut *share)?;
            let share = write(keyed::freeze(&mut *share, &timers, id)?)?;
            merged.merge(Contents::read(&mut share.as_slice())?);
            shares.push(share);
        }
        assert_eq!(merged, self.model);
        self.backend = (self.make)(MAX_PARALLELISM.range_of(0, 1));
        self.checkpoints = Checkpoints::default();
        self.ids = register(&mut *self.backend)?;
        self.timers = TimerQueue::default();
        for share in shares {
            let range = self.backend.range();
            keyed::restore(&mut share.as_slice(), range, &mut *self.backend, &mut self.timers)?;
        }
        self.check()
    }
}

fn register(backend: &mut dyn KeyedStateBackend) -> Result<Vec<StateId>, StateError> {
    assert_eq!(backend.max_parallelism(), MAX_PARALLELISM);
    [
        declaration(VALUES[0], StateKind::Value, 1),
        declaration(VALUES[1], StateKind::Reducing, 1),
        declaration(MAP, StateKind::Map, 1),
        declaration(LIST, StateKind::List, 1),
    ]
    .iter()
    .map(|declaration| backend.register(declaration))
    .collect()
}

/// Writes a snapshot into memory.
pub fn write(snapshot: Box<dyn StateSnapshot>) -> Result<Vec<u8>, StateError> {
    let mut file = Vec::new();
    snapshot.write(&mut file)?;
    Ok(file)
}

/// Compares what `get_many` returned with what it should.
///
/// # Panics
/// Where they differ.
pub fn assert_values(values: &Values, expected: &[Option<&Vec<u8>>]) {
    let lengths: Vec<u32> = expected
        .iter()
        .map(|value| value.map_or(NONE, |value| value.len() as u32))
        .collect();
    let bytes: Vec<u8> = expected
        .iter()
        .flatten()
        .flat_map(|value| value.iter().copied())
        .collect();
    assert_eq!(values.lengths, lengths);
    assert!(values.bytes == bytes, "the values read differ from those written");
    assert_eq!(values.locators.len(), expected.len());
}

fn bytes(target: Target, length: u16) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31) ^ target.key ^ target.map_key)
        .collect()
}
