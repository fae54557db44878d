//! Answers on their way to the task.
//!
//! Invariant: an answer that was given wakes the task. What is in here is bounded by the requests under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::queue::EntryId;
use super::{Answer, Response};
use crate::executor::Waker;
use crate::lock::lock;

/// An answer and the request that it answers.
pub(super) struct Completion {
    pub(super) entry: EntryId,
    /// Which round of the entry's requests: answers to an older one are void.
    pub(super) round: u32,
    /// Which request of the round.
    pub(super) place: usize,
    pub(super) response: Response,
}

/// A queue that other threads fill.
pub(super) struct Completions {
    items: Mutex<VecDeque<Completion>>,
    /// Spares the task the lock of an empty queue. Written under the lock.
    some: AtomicBool,
    waker: Arc<Waker>,
}

impl Completions {
    pub(super) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self {
            items: Mutex::default(),
            some: AtomicBool::new(false),
            waker,
        })
    }

    /// What takes the answer to a request.
    pub(super) fn answer(self: &Arc<Self>, entry: EntryId, round: u32, place: usize) -> Answer {
        let completions = self.clone();
        Box::new(move |response| {
            let mut items = lock(&completions.items);
            items.push_back(Completion {
                entry,
                round,
                place,
                response,
            });
            completions.some.store(true, Ordering::Release);
            drop(items);
            completions.waker.wake();
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.some.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) -> Option<Completion> {
        if self.is_empty() {
            return None;
        }
        let mut items = lock(&self.items);
        let item = items.pop_front();
        self.some.store(!items.is_empty(), Ordering::Release);
        item
    }
}
