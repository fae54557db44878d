//! Processing time: read from one place, so that tests and the simulator drive it.

use wasmill_model::time::Timestamp;

/// A clock. Tasks read it once a step.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch. Never goes back, also when the machine's clock does.
    fn now_ms(&self) -> Timestamp;

    /// Nanoseconds from an arbitrary start, for measuring work.
    fn monotonic_ns(&self) -> u64;
}
