//! Wakes an actor that said it is blocked.
//!
//! Invariant: a wake is never lost. It sets a flag that the executor takes before every step, so a wake
//! during a step, or before the actor was spawned at all, makes one more step happen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// How an executor makes an actor run again.
pub trait Wake: Send + Sync {
    /// Called from any thread, also from within a step of another actor. Must not block.
    fn wake(&self);
}

/// One actor's doorbell, shared by all who may have something for it.
#[derive(Default)]
pub struct Waker {
    notified: AtomicBool,
    target: OnceLock<Arc<dyn Wake>>,
}

impl Waker {
    /// A doorbell whose actor is yet to be spawned.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Makes the actor run again. Costs one atomic swap where it was notified already.
    pub fn wake(&self) {
        if !self.notified.swap(true, Ordering::AcqRel)
            && let Some(target) = self.target.get()
        {
            target.wake();
        }
    }

    /// For executors: whom to wake. Only the first call counts.
    pub fn attach(&self, target: Arc<dyn Wake>) {
        // A second target would mean a second actor with the same doorbell: the first one stays.
        let _ = self.target.set(target);
    }

    /// For executors: takes the notification; to be called before a step.
    pub fn take(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }

    /// For executors: whether a notification waits.
    pub fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Acquire)
    }
}
