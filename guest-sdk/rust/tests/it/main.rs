//! Functions as a user writes them, against the harness's model of the host.
#![allow(clippy::unwrap_used)] // The exemption of tests does not reach their helpers.

mod buffering;
mod errors;
mod outputs;
mod property;
mod state;
mod timers;
