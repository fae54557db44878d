//! Flink's calls, asked of a real running job, compared with what Flink 2.3 answered (`tests/fixtures/flink-rest`).
//!
//! Compared is the structure: every key that Flink sends is there, with a value of the same JSON type. Keys of our own
//! are not allowed where Flink's older client refuses them.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod rest {
    mod compare;
    mod flows;
    mod host;
    mod savepoints;
    mod shapes;
}
