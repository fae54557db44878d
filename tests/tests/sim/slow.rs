//! Calls to the outside that take time: a slow blocking job runs on a thread of its own and stands still
//! before and after what it asks of storage, while the world goes on.
//!
//! Invariant: the world and all its slow jobs never run at once. A job runs only between the world's word to
//! go on and its own next word, so every interleaving is the seed's.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use wasmill_checkpoint::storage::{CheckpointStorage, Content, StorageError, Written};
use wasmill_engine::executor::Blocking;

use crate::random::Random;

/// Turns that one pause takes at most.
const PAUSE_TURNS_MAX: u64 = 40;

/// What a slow job tells the world.
enum Word {
    /// It stands still for so many turns.
    Pauses(u64),
    Done,
}

thread_local! {
    static PACER: RefCell<Option<Pacer>> = const { RefCell::new(None) };
}

/// The end of a slow job that is on its thread.
struct Pacer {
    random: Random,
    says: Sender<Word>,
    goes_on: Receiver<()>,
}

/// Stands still at times, where it is called within a slow job.
pub(crate) fn pause() {
    let crashed = PACER.with_borrow_mut(|pacer| {
        let Some(pacer) = pacer else { return false };
        if !pacer.random.once_in(2) {
            return false;
        }
        let turns = 1 + pacer.random.below(PAUSE_TURNS_MAX);
        pacer.says.send(Word::Pauses(turns)).is_err() || pacer.goes_on.recv().is_err()
    });
    if crashed {
        // The process is gone: nothing of the job happens any more, and nobody is to hear of a panic.
        resume_unwind(Box::new("crashed"));
    }
}

/// A blocking job that has begun.
pub(crate) struct SlowJob {
    turns_left: u64,
    says: Receiver<Word>,
    /// `None`: the process crashes.
    goes_on: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SlowJob {
    /// Runs the job to its first pause; `None`: it had none.
    pub(crate) fn start(work: Blocking, random: Random) -> Option<Self> {
        let (say, says) = channel();
        let (go_on, goes_on) = channel();
        let done = say.clone();
        let pacer = Pacer {
            random,
            says: say,
            goes_on,
        };
        let thread = thread::spawn(move || {
            PACER.set(Some(pacer));
            work();
            // A world that has crashed does not listen.
            let _ = done.send(Word::Done);
        });
        let mut job = Self {
            turns_left: 0,
            says,
            goes_on: Some(go_on),
            thread: Some(thread),
        };
        (!job.listen()).then_some(job)
    }

    /// Lets a turn pass; true where the job is done.
    pub(crate) fn turn(&mut self) -> bool {
        self.turns_left = self.turns_left.saturating_sub(1);
        if self.turns_left > 0 {
            return false;
        }
        self.goes_on.as_ref().unwrap().send(()).unwrap();
        self.listen()
    }

    /// Waits for the job's next word; true where it is done.
    fn listen(&mut self) -> bool {
        match self.says.recv() {
            Ok(Word::Pauses(turns)) => {
                self.turns_left = turns;
                false
            }
            Ok(Word::Done) | Err(_) => true,
        }
    }
}

impl Drop for SlowJob {
    fn drop(&mut self) {
        self.goes_on = None;
        if let Some(thread) = self.thread.take() {
            // Unwound on purpose where the process has crashed.
            let _ = thread.join();
        }
    }
}

/// Storage whose calls take time within a slow job.
pub(crate) struct SlowStorage(pub(crate) Arc<dyn CheckpointStorage>);

fn slowly<T>(call: impl FnOnce() -> T) -> T {
    pause();
    let answer = call();
    pause();
    answer
}

impl CheckpointStorage for SlowStorage {
    fn write(&self, name: &str, content: &mut Content<'_>) -> Result<Written, StorageError> {
        slowly(|| self.0.write(name, content))
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        slowly(|| self.0.create(name, content))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        slowly(|| self.0.read(name, offset, length))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        slowly(|| self.0.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        slowly(|| self.0.delete(name))
    }

    fn keep(&self, name: &str) -> Result<(), StorageError> {
        slowly(|| self.0.keep(name))
    }

    fn withdraw(&self, name: &str) -> Result<(), StorageError> {
        slowly(|| self.0.withdraw(name))
    }

    fn url(&self) -> String {
        self.0.url()
    }
}
