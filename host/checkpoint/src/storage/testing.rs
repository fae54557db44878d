//! Storage that fails on purpose: for tests and the simulator. Deterministic: what fails is decided by a
//! function of the number and kind of the write.

pub mod contract;
pub mod power;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::memory::failed;
use super::{CheckpointStorage, Content, MemoryStorage, StorageError, Written};

/// Which write it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// [`CheckpointStorage::write`].
    Write,
    /// [`CheckpointStorage::create`].
    Create,
    /// [`CheckpointStorage::delete`].
    Delete,
}

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds.
    None,
    /// It fails and leaves nothing.
    Fail,
    /// It fails and leaves a part under its name: of `write`; a `create` is atomic and leaves nothing.
    Tear,
    /// It succeeds and its answer is lost: an error is returned although all of it is there.
    LoseAnswer,
}

type Decide = dyn FnMut(u64, WriteKind, &str) -> Fault + Send;

/// Files in memory; writes fail as `decide` says.
pub struct FaultyStorage {
    inner: Arc<MemoryStorage>,
    state: Mutex<State>,
}

struct State {
    writes: u64,
    decide: Box<Decide>,
}

impl FaultyStorage {
    /// `decide` gets the number of the write, from 0, its kind and its file.
    pub fn new(
        inner: Arc<MemoryStorage>,
        decide: impl FnMut(u64, WriteKind, &str) -> Fault + Send + 'static,
    ) -> Self {
        Self {
            inner,
            state: Mutex::new(State {
                writes: 0,
                decide: Box::new(decide),
            }),
        }
    }

    /// Only the `n`-th write, from 0, meets the fault.
    pub fn nth(inner: Arc<MemoryStorage>, n: u64, fault: Fault) -> Self {
        Self::new(
            inner,
            move |number, _, _| if number == n { fault } else { Fault::None },
        )
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).writes
    }

    fn decide(&self, kind: WriteKind, name: &str) -> Fault {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.writes;
        state.writes += 1;
        (state.decide)(number, kind, name)
    }

    fn injected(&self, name: &str) -> StorageError {
        failed(self, name, io::Error::other("failure on purpose"))
    }
}

impl CheckpointStorage for FaultyStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        let fault = self.decide(WriteKind::Write, name);
        match fault {
            Fault::None => return self.inner.write(name, content),
            Fault::Fail => {}
            Fault::LoseAnswer => {
                self.inner.write(name, content)?;
            }
            Fault::Tear => {
                let mut bytes = Vec::new();
                content(&mut bytes).map_err(|source| failed(self, name, source))?;
                bytes.truncate(bytes.len() / 2);
                self.inner.leave(name, bytes);
            }
        }
        Err(self.injected(name))
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        match self.decide(WriteKind::Create, name) {
            Fault::None => return self.inner.create(name, content),
            Fault::LoseAnswer => self.inner.create(name, content)?,
            Fault::Fail | Fault::Tear => {}
        }
        Err(self.injected(name))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.read(name, offset, length)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.decide(WriteKind::Delete, name) {
            Fault::None => return self.inner.delete(name),
            Fault::LoseAnswer => self.inner.delete(name)?,
            Fault::Fail | Fault::Tear => {}
        }
        Err(self.injected(name))
    }

    fn withdraw(&self, name: &str) -> Result<(), StorageError> {
        match self.decide(WriteKind::Delete, name) {
            Fault::None => return self.inner.withdraw(name),
            Fault::LoseAnswer => self.inner.withdraw(name)?,
            Fault::Fail | Fault::Tear => {}
        }
        Err(self.injected(name))
    }

    fn url(&self) -> String {
        "memory:faulty".to_owned()
    }
}
