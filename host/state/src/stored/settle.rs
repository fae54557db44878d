//! What checkpoints have taken out of the cache and the store does not have yet.
//!
//! A snapshot only collects what is dirty; its own thread writes it to the store and takes a view or files, while the backend
//! goes on with what the cache holds. Whoever needs the store first, that thread or the backend, does it. Invariant:
//! changes of snapshots are written in the order of the snapshots, and what each wants of the store is taken behind its
//! own and before any later change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::StateError;
use crate::native::FrozenFiles;
use crate::store::{Changes, OrderedStore, StoreView};

/// A store, and what is on its way to it.
pub(super) struct Settling {
    store: Arc<dyn OrderedStore>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<Waiting>,
    taken: BTreeMap<u64, Taken>,
}

struct Waiting {
    ticket: u64,
    changes: Changes,
    /// `None`: nobody waits for it any more.
    wanted: Option<Wanted>,
}

/// What a snapshot takes of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its entries.
    View,
    /// Its files.
    Files,
}

/// The same, taken.
pub(super) enum Taken {
    View(Box<dyn StoreView>),
    Files(Box<dyn FrozenFiles>),
}

/// The right to what a snapshot takes.
pub(super) struct Ticket {
    settling: Arc<Settling>,
    ticket: u64,
}

impl Settling {
    pub(super) fn new(store: Arc<dyn OrderedStore>) -> Self {
        Self {
            store,
            queue: Mutex::default(),
        }
    }

    /// The store with all of it.
    pub(super) fn store(&self) -> Result<Arc<dyn OrderedStore>, StateError> {
        drop(self.settle()?);
        Ok(Arc::clone(&self.store))
    }

    pub(super) fn entries_estimate(&self) -> u64 {
        self.store.entries_estimate()
    }

    pub(super) fn files_format(&self) -> Option<&'static str> {
        self.store.files_format()
    }

    /// Takes the changes of a snapshot.
    pub(super) fn freeze(settling: &Arc<Self>, changes: Changes, wanted: Wanted) -> Ticket {
        let mut queue = settling.queue();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push_back(Waiting {
            ticket,
            changes,
            wanted: Some(wanted),
        });
        Ticket {
            settling: Arc::clone(settling),
            ticket,
        }
    }

    fn settle(&self) -> Result<MutexGuard<'_, Queue>, StateError> {
        let mut queue = self.queue();
        while let Some(first) = queue.waiting.front() {
            // After an error it waits on: the next who asks tries again, or fails as well.
            self.store.write(&first.changes)?;
            let (ticket, wanted) = (first.ticket, first.wanted);
            let taken = match wanted {
                Some(Wanted::View) => Some(Taken::View(self.store.view()?)),
                Some(Wanted::Files) => Some(Taken::Files(self.store.files()?)),
                None => None,
            };
            queue.taken.extend(taken.map(|taken| (ticket, taken)));
            queue.waiting.pop_front();
        }
        Ok(queue)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every step leaves the queue whole: a panic of the store elsewhere changes nothing of that.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// What was taken; none where it was handed out before.
    pub(super) fn take(&self) -> Result<Option<Taken>, StateError> {
        Ok(self.settling.settle()?.taken.remove(&self.ticket))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.settling.queue();
        queue.taken.remove(&self.ticket);
        let waiting = queue.waiting.iter_mut();
        waiting
            .filter(|waiting| waiting.ticket == self.ticket)
            .for_each(|waiting| waiting.wanted = None);
    }
}
