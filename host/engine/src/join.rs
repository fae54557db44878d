//! Joins of two keyed streams (G13).
//!
//! | module | holds |
//! |---|---|
//! | [`interval`] | the interval join: pairs of elements whose timestamps are near each other |
//! | [`buffer`] | the elements of one side, by timestamp, in keyed state |
//! | [`pair`] | a pair as a row, and the operator that emits pairs as JSON |
//! | [`window`] | what windows of two streams compute: the pairs of a window join, the sides of a co-group |
//!
//! A window join and a co-group are windows ([`crate::window`]) of a union whose elements know their side, as in Flink.
//!
//! Invariant: what makes something of an interval join's pairs is an operator of its own that is given them as rows,
//! many a call; the join decides which pairs there are and nothing else.

pub mod buffer;
pub mod interval;
pub mod pair;
pub mod window;
