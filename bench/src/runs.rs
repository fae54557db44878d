//! The benches by name.

mod checkpoint;
mod keyed_count;
mod map;
mod memory;
mod native;
mod serving;
mod state;
mod submit;
mod windows;

use anyhow::Result;

use crate::bench::Bench;

/// A bench: reports its figures as it goes.
pub type Runner = fn(&mut Bench) -> Result<()>;

/// All benches in the order in which they run.
pub const ALL: [(&str, Runner); 8] = [
    ("keyed-count", keyed_count::run),
    ("map", map::run),
    ("native", native::run),
    ("windows", windows::run),
    ("state", state::run),
    ("checkpoint", checkpoint::run),
    ("submit", submit::run),
    ("memory", memory::run),
];
