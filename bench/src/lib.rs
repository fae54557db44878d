//! Figures of the real host: job files run by the release binary, Flink beside it on the same machine in the
//! same run.
//!
//! Invariant: nothing here reaches into the host. A figure comes from what a user can see as well: how long a
//! job file takes, what the REST API counts, how much memory the process holds. What is computed from that
//! ([`statistics`], [`figure`]) is pure.

pub mod bench;
pub mod figure;
pub mod flink;
pub mod job;
pub mod resident;
pub mod runs;
pub mod settings;
pub mod statistics;
