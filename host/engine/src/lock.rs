//! Locks whose holder may have panicked.
//!
//! Invariant: what the engine guards by a mutex is consistent between any two statements (queues and
//! plain values), so a poisoned lock is as good as another; the panic itself is reported by whoever ran
//! the actor.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
