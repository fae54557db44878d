//! Checkpoints: the pure coordinator, the manifest, storage, restore, retention.
//!
//! | module | holds |
//! |---|---|
//! | [`handle`] | what a subtask acknowledges: the state of its operators, by value or by file |
//! | [`in_flight`] | records that an unaligned barrier has overtaken, as a file |
//! | [`coordinator`] | when a checkpoint is triggered, complete, given up, superseded: pure |
//! | [`stats`] | what the API shows of it |
//! | [`manifest`] | the file that makes a checkpoint complete |
//! | [`storage`] | the seam: where checkpoint files are; by URL, in memory, failing on purpose |
//! | [`layout`] | names of files |
//! | [`fence`] | one host a job |
//! | [`retention`] | deleting what is no longer needed |
//! | [`restore`] | the latest good checkpoint, and who gets which part of it |

pub mod coordinator;
pub mod fence;
pub mod handle;
pub mod in_flight;
pub mod layout;
pub mod manifest;
pub mod restore;
pub mod retention;
pub mod stats;
pub mod storage;
