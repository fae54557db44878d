//! From a component's bytes to machine code that is ready to run.
//!
//! Compiling is the one place where a stranger's bytes meet megabytes of our own code, and a component can
//! be made to take hours or gigabytes of it; so it happens in a child process that may be killed. What
//! comes out is kept on disk and loaded in milliseconds from then on.
//!
//! Invariant: machine code is only ever loaded from a file that this engine's compiler wrote and that is
//! unchanged since (`cache`); no upload becomes machine code without being compiled.

mod cache;
mod child;
mod process;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::Component;

use crate::engine::PluginEngine;
use crate::registry::info::PluginDigest;
use crate::sandbox::limiter::LimitHit;
use crate::sandbox::limits::HostLimits;
use cache::Cache;

pub use child::{SUBCOMMAND, child_main};

/// Where components are compiled.
#[derive(Clone, Debug)]
pub enum CompileIn {
    /// In a child process of this program, which passes [`SUBCOMMAND`] on to [`child_main`].
    Child(PathBuf),
    /// In this very process, with no limit: for components that are trusted, as those of a test are.
    ThisProcess,
}

/// Why a component could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The component is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The component asks for too much.
    #[error("{message} (limit {limit})")]
    Limit {
        /// What it asked for.
        message: String,
        /// Which limit.
        limit: LimitHit,
    },
    /// The host could not do its part.
    #[error("{0}")]
    Host(String),
}

/// Compiles and loads components.
pub struct Compiler {
    engine: Arc<PluginEngine>,
    compile_in: CompileIn,
    limits: HostLimits,
    cache: Cache,
    /// One at a time: the memory limit holds for the host, not for each upload.
    compiling: Mutex<()>,
}

impl Compiler {
    /// One that keeps machine code below `cache_dir`.
    pub fn new(
        engine: Arc<PluginEngine>,
        compile_in: CompileIn,
        cache_dir: PathBuf,
        limits: HostLimits,
    ) -> Self {
        let cache = Cache::new(cache_dir, engine.engine());
        Self {
            engine,
            compile_in,
            limits,
            cache,
            compiling: Mutex::new(()),
        }
    }

    /// The engine that runs what this compiles.
    pub fn engine(&self) -> &Arc<PluginEngine> {
        &self.engine
    }

    /// The component whose bytes lie in `path`, from the cache or compiled now.
    pub fn load(&self, digest: PluginDigest, path: &Path) -> Result<Component, CompileError> {
        self.load_checked(digest, path, || Ok(()))
    }

    /// As [`Compiler::load`]; where the component must be compiled, `check` says first whether its bytes
    /// are still good.
    pub(crate) fn load_checked(
        &self,
        digest: PluginDigest,
        path: &Path,
        check: impl FnOnce() -> Result<(), String>,
    ) -> Result<Component, CompileError> {
        if let Some(component) = self.cache.load(digest, self.engine.engine()) {
            return Ok(component);
        }
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        // Someone else may have compiled it meanwhile.
        if let Some(component) = self.cache.load(digest, self.engine.engine()) {
            return Ok(component);
        }
        check().map_err(CompileError::Host)?;
        let temporary = self.cache.temporary(digest).map_err(CompileError::Host)?;
        match &self.compile_in {
            CompileIn::Child(program) => process::compile(program, path, temporary.path(), &self.limits)?,
            CompileIn::ThisProcess => child::compile(path, temporary.path(), &self.engine)?,
        }
        self.cache
            .keep(digest, temporary, self.engine.engine())
            .map_err(CompileError::Host)
    }

    /// Forgets the machine code of a component that was deleted.
    pub fn forget(&self, digest: PluginDigest) {
        self.cache.forget(digest);
    }
}
