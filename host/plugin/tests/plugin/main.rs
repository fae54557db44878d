//! Components through the whole of their way: uploaded, compiled in a process of their own, described,
//! instantiated, called. Each is a few lines of text, one for each behaviour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod components;
mod guests;
mod hostile;
mod migration;
mod registry;
mod wasi;

use std::path::{Path, PathBuf};

use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::sandbox::limits::HostLimits;

/// The compile process that tests run.
fn compile_in() -> CompileIn {
    CompileIn::Child(PathBuf::from(env!("CARGO_BIN_EXE_wasmill-compile")))
}

fn open(data: &Path) -> PluginRegistry {
    open_with(data, HostLimits::default())
}

fn open_with(data: &Path, limits: HostLimits) -> PluginRegistry {
    PluginRegistry::open(data, compile_in(), limits).unwrap()
}
