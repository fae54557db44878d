//! The dataflow: operators, sources and sinks as seams; tasks, channels and executors below them.
//!
//! | module | holds |
//! |---|---|
//! | [`operator`], [`source`], [`sink`], [`clock`] | the seams that connectors and plugins implement |
//! | [`builtin`] | operators that the host runs itself: key-by, rolling aggregations |
//! | [`asynchronous`] | async I/O: elements that wait for answers from outside |
//! | [`window`] | windows: assigners, triggers, evictors, merging, the operator |
//! | [`join`] | the interval join |
//! | [`broadcast`] | broadcast state |
//! | [`output`] | where an operator's results go |
//! | [`error`] | why a task failed: whose fault, where, what to do |
//! | [`registry`] | how a graph's names become operators |
//! | [`job`] | a running job: its master (restore, deploy, checkpoints, failures, end), handle and status |
//! | [`time`] | watermarks within a stream, and of several as one |
//! | `task` | one subtask: chain, alignment, timers, snapshots, sinks |
//! | `channel`, `exchange` | credit-based channels; who gets which record, and when a batch goes out |
//! | [`plan`] | chains, edges, slots and guarantees of a job: pure |
//! | [`restart`] | what happens after a failure: pure |
//! | [`executor`] | who runs tasks: threads, or the simulator's one loop |
//! | [`pause_points`] | steps at which a test stops the process to kill it |

pub mod asynchronous;
pub mod broadcast;
pub mod builtin;
mod channel;
pub mod clock;
pub mod error;
mod exchange;
pub mod executor;
pub mod job;
pub mod join;
mod lock;
pub mod metrics;
pub mod operator;
pub mod output;
pub mod pause_points;
pub mod plan;
pub mod registry;
pub mod restart;
pub mod sink;
pub mod source;
mod task;
pub mod time;
pub mod window;
