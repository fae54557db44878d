//! Which databases are open: a process must not end before they are closed, for their threads use what goes first then.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts them.
#[derive(Default)]
pub(crate) struct OpenDatabases {
    count: Mutex<usize>,
    closed: Condvar,
}

/// Counts one, until it is dropped.
pub(crate) struct OpenDatabase(Arc<OpenDatabases>);

impl OpenDatabases {
    pub(crate) fn one_more(self: &Arc<Self>) -> OpenDatabase {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        OpenDatabase(Arc::clone(self))
    }

    /// Waits until none is open; false where some is after that time.
    pub(crate) fn wait_for_none(&self, limit: Duration) -> bool {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.closed.wait_timeout_while(count, limit, |count| *count > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for OpenDatabase {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.closed.notify_all();
    }
}
