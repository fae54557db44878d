//! Runs every actor on a thread of its own.
//!
//! Invariant: a thread sleeps only while its actor is blocked and nobody has woken it, so an idle job
//! takes no processor time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use super::pool::Pool;
use super::{Actor, Blocking, Executor, Step, Wake, Waker};
use crate::clock::Clock;

/// Guests run on the threads of their subtasks: wasm stacks of 1 MiB and the host's own frames fit.
const STACK_BYTES: usize = 4 << 20;

/// One thread an actor, a small pool for blocking work.
pub struct ThreadExecutor {
    clock: Arc<dyn Clock>,
    pool: Pool,
    random: AtomicU64,
}

impl ThreadExecutor {
    /// Fails where the machine gives no threads.
    pub fn new(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let seed = clock.now_ms() as u64 ^ clock.monotonic_ns().rotate_left(32);
        Ok(Self {
            clock,
            pool: Pool::new()?,
            random: AtomicU64::new(seed),
        })
    }
}

impl Executor for ThreadExecutor {
    fn spawn(&self, name: String, waker: Arc<Waker>, actor: Box<dyn Actor>) -> io::Result<()> {
        let clock = self.clock.clone();
        // Linux shows 15 bytes of a thread's name and refuses a NUL in it.
        let short: String = name.chars().filter(|c| *c != '\0').take(15).collect();
        thread::Builder::new()
            .name(short)
            .stack_size(STACK_BYTES)
            .spawn(move || {
                waker.attach(Arc::new(Unpark(thread::current())));
                if catch_unwind(AssertUnwindSafe(|| run(actor, &waker, &*clock))).is_err() {
                    tracing::error!(actor = name, "an actor panicked");
                }
            })
            .map(drop)
    }

    fn blocking(&self, name: String, work: Blocking) {
        self.pool.push(name, work);
    }

    fn random(&self) -> u64 {
        // SplitMix64: well mixed, and good enough for jitter.
        let mut z = self
            .random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

fn run(mut actor: Box<dyn Actor>, waker: &Waker, clock: &dyn Clock) {
    loop {
        waker.take();
        match actor.step(clock.now_ms()) {
            Step::Progress => {}
            Step::Finished => return,
            Step::Blocked { until } => sleep(waker, until, clock),
        }
    }
}

fn sleep(waker: &Waker, until: Option<i64>, clock: &dyn Clock) {
    while !waker.is_notified() {
        match until {
            None => thread::park(),
            Some(until) => {
                let left = until.saturating_sub(clock.now_ms());
                if left <= 0 {
                    return;
                }
                thread::park_timeout(Duration::from_millis(left as u64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::SystemClock;
    use std::sync::mpsc;

    struct Waits {
        steps: u32,
        done: mpsc::Sender<u32>,
    }

    impl Actor for Waits {
        fn step(&mut self, _: i64) -> Step {
            self.steps += 1;
            if self.steps < 3 {
                return Step::Blocked { until: None };
            }
            self.done.send(self.steps).unwrap();
            Step::Finished
        }
    }

    #[test]
    fn a_blocked_actor_runs_again_whenever_it_is_woken() {
        let executor = ThreadExecutor::new(Arc::new(SystemClock::default())).unwrap();
        let (done, finished) = mpsc::channel();
        let waker = Waker::new();
        let actor = Waits { steps: 0, done };
        executor
            .spawn("waits".to_owned(), waker.clone(), Box::new(actor))
            .unwrap();
        let steps = loop {
            waker.wake();
            if let Ok(steps) = finished.recv_timeout(Duration::from_millis(1)) {
                break steps;
            }
        };
        assert_eq!(steps, 3);
    }

    #[test]
    fn an_actor_that_waits_for_a_time_is_stepped_without_a_wake() {
        struct Until(Option<i64>, mpsc::Sender<i64>);
        impl Actor for Until {
            fn step(&mut self, now: i64) -> Step {
                match self.0 {
                    None => self.0 = Some(now + 20),
                    Some(until) if now >= until => {
                        self.1.send(now - until).unwrap();
                        return Step::Finished;
                    }
                    Some(_) => {}
                }
                Step::Blocked { until: self.0 }
            }
        }
        let executor = ThreadExecutor::new(Arc::new(SystemClock::default())).unwrap();
        let (done, finished) = mpsc::channel();
        executor
            .spawn("until".to_owned(), Waker::new(), Box::new(Until(None, done)))
            .unwrap();
        assert!(finished.recv_timeout(Duration::from_secs(10)).unwrap() >= 0);
    }
}
