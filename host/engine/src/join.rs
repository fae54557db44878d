//! Joins of two keyed streams (G13).
//!
//! | module | holds |
//! |---|---|
//! | [`interval`] | the interval join: pairs of elements whose timestamps are near each other |
//! | [`buffer`] | the elements of one side, by timestamp, in keyed state |
//! | [`pair`] | a pair as a row, and the operator that emits pairs as JSON |
//!
//! Invariant: what makes something of pairs is an operator of its own that is given them as rows, many a call;
//! the join decides which pairs there are and nothing else.

pub mod buffer;
pub mod interval;
pub mod pair;
