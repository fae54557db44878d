//! Counters of tasks and operators, read by the API while they run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Counters of one operator in one subtask.
#[derive(Default, Debug)]
pub struct OperatorMetrics {
    /// Records in.
    pub records_in: AtomicU64,
    /// Records out, all ports.
    pub records_out: AtomicU64,
    /// Late elements that a window dropped: Flink's `numLateRecordsDropped`.
    pub late_records_dropped: AtomicU64,
    /// Whether it is an operator that may drop late elements: others have no such metric.
    pub may_drop_late_records: AtomicBool,
    /// The user's own metrics by name.
    pub user: Mutex<BTreeMap<String, UserMetric>>,
}

/// A metric that a function made.
#[derive(Clone, Debug, PartialEq)]
pub enum UserMetric {
    /// A sum.
    Counter(f64),
    /// The last value.
    Gauge(f64),
    /// All observations so far.
    Histogram {
        /// How many.
        count: u64,
        /// Their sum.
        sum: f64,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
}

/// Counters of one subtask. Only its own task writes them.
#[derive(Default, Debug)]
pub struct SubtaskMetrics {
    /// Records from channels.
    pub records_in: AtomicU64,
    /// Bytes from channels.
    pub bytes_in: AtomicU64,
    /// Records to channels.
    pub records_out: AtomicU64,
    /// Bytes to channels.
    pub bytes_out: AtomicU64,
    /// Time at work, ns.
    pub busy_ns: AtomicU64,
    /// Time without input, ns.
    pub idle_ns: AtomicU64,
    /// Time in which no credit was there to send, ns.
    pub backpressured_ns: AtomicU64,
    /// Since when the task waits, by the clock's monotonic nanoseconds; 0: it does not. The sums above
    /// leave that wait out until it is over.
    pub waiting_since_ns: AtomicU64,
    /// Whether it waits for credit, not for input.
    pub waits_for_credit: AtomicBool,
    /// The event-time clock.
    pub watermark: AtomicI64,
}

impl SubtaskMetrics {
    /// Times at work, without input and without credit, ns, as of now.
    pub fn times_ns(&self, now_ns: u64) -> (u64, u64, u64) {
        let busy = self.busy_ns.load(Ordering::Relaxed);
        let mut idle = self.idle_ns.load(Ordering::Relaxed);
        let mut backpressured = self.backpressured_ns.load(Ordering::Relaxed);
        let since = self.waiting_since_ns.load(Ordering::Relaxed);
        if since > 0 {
            let waited = now_ns.saturating_sub(since);
            match self.waits_for_credit.load(Ordering::Relaxed) {
                true => backpressured += waited,
                false => idle += waited,
            }
        }
        (busy, idle, backpressured)
    }
}

/// Adds to a counter that has one writer: no read-modify-write needed.
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
