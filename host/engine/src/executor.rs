//! Who runs tasks, the job master and blocking work: threads in a host, one seeded loop in the simulator.
//!
//! Invariant: an [`Actor`] never blocks and never reads a clock, starts a thread or draws a random number
//! by itself; all of that comes through the [`Executor`] that runs it, so that the simulator replaces
//! everything by replacing this trait and the clock.

mod pool;
mod system_clock;
mod thread;
mod waker;

use std::io;
use std::sync::Arc;

use wasmill_model::time::Timestamp;

pub use system_clock::SystemClock;
pub use thread::ThreadExecutor;
pub use waker::{Wake, Waker};

/// A state machine that an executor steps.
pub trait Actor: Send {
    /// Does a bounded piece of work. `now` is the only reading of processing time that the step sees.
    fn step(&mut self, now: Timestamp) -> Step;
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Step again: there may be more to do.
    Progress,
    /// Nothing can be done before the actor's [`Waker`] is woken or `until` has come (ms since the epoch).
    Blocked {
        /// When to step again at the latest.
        until: Option<Timestamp>,
    },
    /// The actor is done: drop it.
    Finished,
}

/// Work that may block: checkpoint files, recovery of sinks.
pub type Blocking = Box<dyn FnOnce() + Send>;

/// Runs actors and blocking work.
pub trait Executor: Send + Sync {
    /// Runs an actor until it is finished. The executor attaches itself to `waker`; a wake that came
    /// before counts. Fails where the machine has no more threads.
    fn spawn(&self, name: String, waker: Arc<Waker>, actor: Box<dyn Actor>) -> io::Result<()>;

    /// Runs work beside the actors, in any order. It must not panic.
    fn blocking(&self, name: String, work: Blocking);

    /// A random number: for jitter, never for a decision that must be repeatable.
    fn random(&self) -> u64;

    /// How many rows the next step of a task may take; `None`: as many as fit in 10 ms.
    fn rows_max(&self) -> Option<u32> {
        None
    }

    /// A bug to run with: only the simulator's own executor ever says anything but [`PlantedBug::None`].
    fn planted(&self) -> PlantedBug {
        PlantedBug::None
    }
}

/// Bugs that tests plant to show that the simulator would find them. Not reachable from a job or from
/// outside the process: only an [`Executor`] of a test returns one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlantedBug {
    /// No bug.
    #[default]
    None,
    /// Sinks are told to commit before the manifest is written.
    CommitBeforeManifest,
    /// Channels that delivered a barrier are read on while others have not.
    NoHoldingBack,
    /// Timers are left out of snapshots.
    TimersNotSnapshotted,
    /// A restore does not wait until the checkpoints that go are gone.
    RestoreBesideDeletion,
}
