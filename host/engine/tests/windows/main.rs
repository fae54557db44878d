//! The window operator against real Flink: the kept cases of `tests/oracle`, driven through the operator itself.

// All of this binary is a test; the lint's own exception covers `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod build;
mod case;
mod drive;
mod functions;
mod oracle;
mod slices;
mod triggers;
