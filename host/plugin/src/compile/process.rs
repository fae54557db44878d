//! Runs the compile process and says why it failed.
//!
//! Invariant: when this returns, the process is gone, however it ended.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::Signal;

use super::CompileError;
use super::child::{EXIT_INVALID, SUBCOMMAND};
use crate::sandbox::limiter::LimitHit;
use crate::sandbox::limits::HostLimits;

/// Threads of the compiler: each takes address space of its own.
const THREADS_MAX: usize = 8;
/// What is read of the process's message; the rest is let go.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024;

/// Compiles the component in `input` to machine code in `output`.
pub(super) fn compile(
    program: &Path,
    input: &Path,
    output: &Path,
    limits: &HostLimits,
) -> Result<(), CompileError> {
    let host = |e: std::io::Error| {
        CompileError::Host(format!(
            "cannot run the compile process {}: {e}",
            program.display()
        ))
    };
    let mut child = spawn(program, input, output, limits).map_err(host)?;
    let Some(message) = message_within(&mut child, Duration::from_millis(limits.compile_ms_max)) else {
        // Killing fails only where it has ended by itself.
        let _ = child.kill();
        child.wait().map_err(host)?;
        return Err(too_slow(limits));
    };
    let status = child.wait().map_err(host)?;
    judge(status, &message, limits)
}

fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, |n| n.get())
        .min(THREADS_MAX)
}

fn spawn(program: &Path, input: &Path, output: &Path, limits: &HostLimits) -> std::io::Result<Child> {
    Command::new(program)
        .arg(SUBCOMMAND)
        .args([input, output])
        .arg(limits.compile_memory_bytes_max.to_string())
        .arg(limits.compile_cpu_seconds_max.to_string())
        .env_clear()
        .env("RAYON_NUM_THREADS", threads().to_string())
        // Each arena of the allocator would reserve 64 MiB of the address space.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// What the process said until it ended; `None` where it did not end in time.
fn message_within(child: &mut Child, time: Duration) -> Option<String> {
    let mut stderr = child.stderr.take()?;
    let (sender, receiver) = sync_channel(1);
    // The end of the stream is the end of the process: waiting for it needs no polling.
    std::thread::spawn(move || {
        let mut message = Vec::new();
        let read = stderr.by_ref().take(MESSAGE_BYTES_MAX).read_to_end(&mut message);
        let rest = std::io::copy(&mut stderr, &mut std::io::sink());
        if let Err(e) = read.and(rest.map(|_| 0)) {
            tracing::debug!("reading from the compile process: {e}");
        }
        let _ = sender.send(String::from_utf8_lossy(&message).into_owned());
    });
    match receiver.recv_timeout(time) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(String::new()),
    }
}

fn too_slow(limits: &HostLimits) -> CompileError {
    let value = limits.compile_ms_max;
    too_much(&format!("did not end within {value} ms"), "compile-ms-max", value)
}

fn too_much(what: &str, name: &'static str, value: u64) -> CompileError {
    CompileError::Limit {
        message: format!(
            "compiling {what}: make the component smaller (an optimised build, fewer dependencies), or raise the host's `{name}`"
        ),
        limit: LimitHit { name, value },
    }
}

fn judge(status: ExitStatus, message: &str, limits: &HostLimits) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(EXIT_INVALID.into()) {
        return Err(CompileError::Invalid(message.to_owned()));
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        let value = limits.compile_cpu_seconds_max;
        let what = format!("needs more than {value} s of processor time");
        return Err(too_much(&what, "compile-cpu-seconds-max", value));
    }
    if status.signal() == Some(Signal::KILL.as_raw()) {
        return Err(CompileError::Host(
            "the compile process was killed from outside, most likely because the machine has no memory left: try again, or lower the host's `compile-memory-bytes-max`"
                .to_owned(),
        ));
    }
    // The allocator's own words, those of the standard library where no thread can be made, and mmap's.
    let no_memory = [
        "memory allocation of",
        "Cannot allocate memory",
        "Resource temporarily unavailable",
    ];
    if no_memory.iter().any(|words| message.contains(words)) {
        let value = limits.compile_memory_bytes_max;
        let what = format!("needs more than {value} bytes of memory");
        return Err(too_much(&what, "compile-memory-bytes-max", value));
    }
    Err(CompileError::Host(format!(
        "the compile process ended with {status}: {message}"
    )))
}
