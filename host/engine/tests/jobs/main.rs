//! Whole jobs over threads, with small native sources, operators and sinks.

// All of this binary is a test; the lint's own exception covers `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkpoints;
mod native;
mod plain;
mod savepoints;
mod support;
