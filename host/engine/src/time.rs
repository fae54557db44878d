//! Event time within a stream (T1–T4): timestamps, watermark generators, idleness, and how the watermarks of
//! several splits, channels and inputs become one. Pure but for the generators and assigners of users.
//!
//! Invariant: what leaves an `emitter::Emitter` never goes back, and activity precedes the first watermark
//! after idleness.

pub(crate) mod alignment;
pub(crate) mod combined;
pub(crate) mod emitter;
pub mod generator;
pub(crate) mod source;
pub(crate) mod splits;
pub(crate) mod strategy;
pub mod timestamps;
pub(crate) mod valve;

pub use generator::{Punctuation, WatermarkGenerator};
pub use timestamps::TimestampAssigner;
