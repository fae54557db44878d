//! Keyed state, timers, operator state and their snapshots.
//!
//! | module | holds |
//! |---|---|
//! | [`backend`] | the seam: what every state backend does, and what its snapshot promises |
//! | [`backends`] | where a job's backends come from: configuration alone chooses |
//! | [`memory`] | the backend in memory: snapshots by copy-on-write while it keeps serving, and of what changed alone |
//! | [`stored`] | the backend over any ordered store, behind a write-back cache |
//! | [`store`] | the seam below it: columns of entries in byte order |
//! | [`timers`] | timers in firing order, frozen by a clone |
//! | [`keyed`] | keyed state and timers as one file: freeze and restore |
//! | [`migration`] | state of an older schema version, converted when it is restored |
//! | [`native`] | files of a backend as part of a checkpoint |
//! | [`snapshot`] | the canonical file format that every backend writes and reads, and segments of changes |
//! | [`stored_key`] | the byte order of entries, the same in every backend |
//! | [`ttl`] | time to live: a layer over any backend |
//! | [`operator_state`] | operator state dealt out anew when the parallelism changes |
//! | `testing` | the contract of a backend as a test (feature `testing`) |
pub mod backend;
pub mod backends;
pub mod keyed;
pub mod memory;
pub mod migration;
pub mod native;
pub mod operator_state;
pub mod snapshot;
mod states;
pub mod store;
pub mod stored;
pub mod stored_key;
#[cfg(feature = "testing")]
pub mod testing;
pub mod timers;
pub mod ttl;
