//! A few threads for work that may block.
//!
//! Invariant: every job given before the pool is dropped runs; dropping waits for none of them that has
//! not started.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::Blocking;
use crate::lock::lock;

/// Threads of a pool: enough that a restore reads several files at once.
const THREADS: usize = 4;

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(String, Blocking)>,
    closed: bool,
}

/// The pool. The queue is bounded by what jobs may have under way: one write a subtask and checkpoint.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    pub(super) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        for number in 0..THREADS {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("blocking-{number}"))
                .spawn(move || work(&shared))?;
        }
        Ok(Self { shared })
    }

    pub(super) fn push(&self, name: String, job: Blocking) {
        lock(&self.shared.queue).jobs.push_back((name, job));
        self.shared.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
    }
}

fn work(shared: &Shared) {
    let mut queue = lock(&shared.queue);
    loop {
        if let Some((name, job)) = queue.jobs.pop_front() {
            drop(queue);
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(job = name, "blocking work panicked");
            }
            queue = lock(&shared.queue);
        } else if queue.closed {
            return;
        } else {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
