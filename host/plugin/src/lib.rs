//! Components: kept, compiled, confined, called. The only crate that names wasmtime.
//!
//! | module | holds |
//! |---|---|
//! | [`registry`] | components that were uploaded, by digest: checked, described, loaded |
//! | [`compile`] | machine code made in a child process with limits, and its cache on disk |
//! | [`engine`] | the one wasmtime engine and the ticker that interrupts endless loops |
//! | [`sandbox`] | an instance with all its limits and an empty WASI |
//! | [`failure`] | what went wrong inside a guest, as an error that names limit and place |
//! | [`frame`] | the bytes of a call in the frame family, out and back |
//! | [`operator`] | the engine's operators that call components, in either family |
//! | [`typed`] | the imports and exports of `wit/`: a record a call |
//! | [`journal`] | all effects of a call until it has succeeded, for both families |
//!
//! Everything that a guest controls (its bytes, its results, its names, its output) is bounded and
//! checked before it is believed; a guest's fault never is a panic of the host.

pub mod compile;
pub mod engine;
pub mod failure;
pub mod frame;
pub mod journal;
pub mod operator;
pub mod registry;
pub mod sandbox;
pub mod typed;
