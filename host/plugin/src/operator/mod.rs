//! Operators that call components, in either family.
//!
//! | module | holds |
//! |---|---|
//! | [`provider`] | from a job's function to an operator |
//! | [`function`] | the operator: attempts, isolation of the failing record, recycling |
//! | [`asynchronous`] | the same for async functions, one element a call |
//! | `aside` | functions that are part of another operator or of an edge |
//! | [`blueprint`], `instance` | what all instances of a function share; one instance and its life |
//! | `frame`, `typed` | one call of each family, applied on success |
//! | `states`, `migration` | the declared states at their backend; the component's `migrate` for one of an older version |
//! | [`pace`] | how many rows go into one call |
//! | `failure`, `work`, `log` | why a call failed; rows, timers or panes; the job's log |
//! | `window` | components as parts of windows |
//!
//! Invariant: rows that `process` says are consumed have all their effects in state, timers and output;
//! of the others there is none.

mod aside;
pub mod asynchronous;
pub mod blueprint;
mod failure;
mod frame;
pub mod function;
mod instance;
mod log;
mod migration;
pub mod pace;
pub mod provider;
mod states;
mod typed;
pub(crate) mod window;
mod work;
