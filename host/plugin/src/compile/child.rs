//! The compile process: reads one component, writes its machine code, and dies with its parent.
//!
//! It limits itself before it looks at the component. It tells its parent by exit code and by one
//! message on standard error.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::CompileError;
use crate::engine::PluginEngine;

/// The hidden subcommand of `wasmill` that leads to [`child_main`].
pub const SUBCOMMAND: &str = "compile-component";

/// Exit code where the component is wrong; the message says how.
pub(super) const EXIT_INVALID: u8 = 10;
/// Exit code where the process itself could not do its work.
pub(super) const EXIT_HOST: u8 = 11;

/// What the compile process does. Arguments after the subcommand: the component's path, the path to
/// write to, the address space in bytes, the processor time in seconds.
pub fn child_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let (code, message) = match run(&args.collect::<Vec<_>>()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(CompileError::Invalid(message)) => (EXIT_INVALID, message),
        Err(error) => (EXIT_HOST, error.to_string()),
    };
    eprint!("{message}");
    ExitCode::from(code)
}

fn run(args: &[OsString]) -> Result<(), CompileError> {
    let [input, output, memory_bytes, cpu_seconds] = args else {
        return Err(CompileError::Host(format!(
            "`{SUBCOMMAND}` is started by the host itself"
        )));
    };
    limit(memory_bytes, cpu_seconds)?;
    let engine = PluginEngine::shared().map_err(CompileError::Host)?;
    compile(Path::new(input), Path::new(output), &engine)
}

fn limit(memory_bytes: &OsString, cpu_seconds: &OsString) -> Result<(), CompileError> {
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    let failed = |e: rustix::io::Errno| CompileError::Host(format!("cannot limit the compile process: {e}"));
    let limits = [
        (Resource::As, number(memory_bytes)),
        (Resource::Cpu, number(cpu_seconds)),
        // A core file would hold the component and fill the disk.
        (Resource::Core, Some(0)),
    ];
    for (resource, limit) in limits {
        let limit = limit.ok_or_else(|| CompileError::Host("the limits are not numbers".to_owned()))?;
        let limit = Rlimit {
            current: Some(limit),
            // Above the other one, so that the signal tells processor time from a lack of memory.
            maximum: Some(limit.saturating_add(1)),
        };
        setrlimit(resource, limit).map_err(failed)?;
    }
    // Where the host is killed nobody waits for the result.
    #[cfg(target_os = "linux")]
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    Ok(())
}

/// Compiles the component in `input` to machine code in `output`.
pub(super) fn compile(input: &Path, output: &Path, engine: &PluginEngine) -> Result<(), CompileError> {
    let io = |path: &Path, e: std::io::Error| CompileError::Host(format!("{}: {e}", path.display()));
    let component = fs::read(input).map_err(|e| io(input, e))?;
    let code = engine
        .engine()
        .precompile_component(&component)
        .map_err(|e| CompileError::Invalid(format!("{e:#}")))?;
    fs::write(output, code).map_err(|e| io(output, e))
}
