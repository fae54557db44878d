//! The vocabulary of Wasmill: what every other crate speaks of, with no I/O, clock or async.
//!
//! | module | holds |
//! |---|---|
//! | [`row`] | a record or timer as bytes, and [`batch`]: many of them, as they travel |
//! | [`key`] | keys, their frozen hash, key groups and their ranges |
//! | [`element`] | what flows in a channel: batches, watermarks, barriers, end |
//! | [`id`] | newtypes for names and numbers |
//! | [`time`] | timestamps and durations |
//! | [`graph`] | the logical graph of a job and its validation |
//! | [`request`] | requests of async functions, and the answers to them, as bytes |
//! | [`function`] | what a function declares of itself: kind, state, side outputs |

pub mod batch;
pub mod element;
pub mod function;
pub mod graph;
pub mod id;
pub mod key;
pub mod request;
pub mod row;
pub mod time;
