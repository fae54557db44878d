//! All effects of a guest call, until the call has succeeded.
//!
//! Invariant: a call that fails leaves no trace: state writes, rows, timers and metrics sit here with
//! read-your-writes, and are applied on success only. Both families share it.

pub mod answers;
pub mod at_hand;
pub mod broadcast;
pub mod effects;
mod fold;
pub mod keyed;
pub mod keys;
pub mod overlay;
pub mod scope;
mod stored;
#[cfg(test)]
mod tests;
