//! Windows (W1–W8): which panes an element belongs to, when a pane fires, what it keeps and what comes out.
//!
//! | module | holds |
//! |---|---|
//! | [`bounds`] | a window and its bytes as a namespace of state |
//! | [`assigner`] | which windows an element belongs to |
//! | [`trigger`] | when a window fires or is purged: the trait and the built-in ones |
//! | [`evictor`] | which elements a firing leaves out |
//! | [`merging`] | sessions: windows that merge, and where the state of a merged one lies |
//! | [`function`] | the seam to what is computed, many panes a call; [`native`] are the host's own |
//! | [`operator`] | the operator: plans a batch, then runs all of it in one call of the function |
//! | [`slices`] | the operator of windows that are made of slices: an element touches one |
//!
//! Semantics are Flink's `WindowOperator` and `EvictingWindowOperator`, call for call, with two differences. A
//! new session window that equals the merged one does not lose its contents, and where Flink's sums of times
//! wrap at the ends of `i64`, ours stay at the end.
//!
//! Invariant: everything lives in keyed state and timers, so that snapshot, restore and rescaling need nothing
//! of the operator; and no result depends on where a batch is cut.

pub mod assigner;
pub mod bounds;
mod build;
pub mod element;
pub mod emitter;
pub mod evictor;
pub mod function;
pub mod merging;
pub mod native;
pub mod operator;
pub mod panes;
pub mod slices;
pub mod trigger;
