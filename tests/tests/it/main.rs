//! Tests of the whole: the real binary, real components, real files.

mod asynchronous;
mod changed;
mod commands;
mod damage;
mod evolution;
mod examples;
mod full_disk;
mod hostile;
mod joins;
mod kill;
mod kinds;
mod languages;
mod lifecycle;
mod matrix;
mod nexmark;
mod operator_state;
mod oracle;
mod parallelism;
mod plugins;
mod refusals;
mod restarts;
mod state;
mod state_offline;
mod storage;
mod streams;
mod unaligned;
mod window_examples;
mod windows;

/// The components that hold every kind of function: by the SDK on the frame world, and by bare bindings on
/// the typed worlds.
const FAMILIES: [&str; 2] = ["conformance", "conformance_typed"];
