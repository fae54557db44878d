//! What checkpoints have taken out of the cache and the store does not have yet.
//!
//! A snapshot only collects what is dirty; its own thread writes it to the store and takes the view, while the backend
//! goes on with what the cache holds. Whoever needs the store first, that thread or the backend, does it. Invariant:
//! changes of snapshots are written in the order of the snapshots, and the view of each is taken behind its own and
//! before any later change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::StateError;
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
    views: BTreeMap<u64, Box<dyn StoreView>>,
}

struct Waiting {
    ticket: u64,
    changes: Changes,
    is_wanted: bool,
}

/// The right to one view.
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

    /// Takes the changes of a snapshot.
    pub(super) fn freeze(settling: &Arc<Self>, changes: Changes) -> Ticket {
        let mut queue = settling.queue();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push_back(Waiting {
            ticket,
            changes,
            is_wanted: true,
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
            let (ticket, is_wanted) = (first.ticket, first.is_wanted);
            if is_wanted {
                let view = self.store.view()?;
                queue.views.insert(ticket, view);
            }
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
    /// The view; none where it was taken before.
    pub(super) fn view(&self) -> Result<Option<Box<dyn StoreView>>, StateError> {
        Ok(self.settling.settle()?.views.remove(&self.ticket))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.settling.queue();
        queue.views.remove(&self.ticket);
        let waiting = queue.waiting.iter_mut();
        waiting
            .filter(|waiting| waiting.ticket == self.ticket)
            .for_each(|waiting| waiting.is_wanted = false);
    }
}
