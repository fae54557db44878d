//! Joins against plain models, driven through the operator itself.

// All of this binary is a test; the lint's own exception covers `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod drive;
mod interval;
mod window;
