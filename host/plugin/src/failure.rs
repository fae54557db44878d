//! What went wrong inside a guest, as an error that names the limit, the place and the mend.
//!
//! Everything in it that a guest wrote (messages, function names, its last words, the record) is bounded
//! and printable: it goes to logs, to the API and to a terminal.

use wasmill_engine::error::{Fault, PluginFailure, TaskError};
use wasmtime::{FrameInfo, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::engine::STACK_BYTES_MAX;
use crate::sandbox::limiter::LimitHit;
use crate::sandbox::{CallBudget, Sandbox};

/// Frames of a guest's backtrace that are kept.
pub const BACKTRACE_FRAMES_MAX: usize = 32;
/// Bytes of a record that an error shows.
pub const RECORD_BYTES_SHOWN_MAX: usize = 256;
/// Bytes of one message or name of a guest that an error shows.
pub const MESSAGE_BYTES_SHOWN_MAX: usize = 1024;

/// A failure of a guest before it is known which function and record it concerns.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct GuestError {
    /// Whose fault: the plugin's, but for what the host itself could not do.
    pub fault: Fault,
    /// What happened and what to do.
    pub message: String,
    /// The limit that was exceeded.
    pub limit: Option<LimitHit>,
    /// The guest's backtrace, innermost first, at most [`BACKTRACE_FRAMES_MAX`].
    pub backtrace: Vec<String>,
    /// The guest said it itself and would say it again: no restart mends it.
    pub for_good: bool,
}

impl GuestError {
    /// A fault of the plugin that is no trap: a result that lies, say.
    pub fn plugin(message: impl Into<String>) -> Self {
        Self {
            fault: Fault::Plugin,
            message: message.into(),
            limit: None,
            backtrace: Vec::new(),
            for_good: false,
        }
    }

    /// A fault of the host.
    pub fn host(message: impl Into<String>) -> Self {
        Self {
            fault: Fault::Host,
            ..Self::plugin(message)
        }
    }

    /// A limit that the host itself found exceeded.
    pub fn limit(message: impl Into<String>, name: &'static str, value: u64) -> Self {
        Self {
            limit: Some(LimitHit { name, value }),
            ..Self::plugin(message)
        }
    }

    /// From what wasmtime says of a call that failed.
    pub(crate) fn of(error: &wasmtime::Error, sandbox: &Sandbox, budget: CallBudget) -> Self {
        let backtrace = error
            .downcast_ref::<WasmBacktrace>()
            .map(|trace| {
                trace
                    .frames()
                    .iter()
                    .take(BACKTRACE_FRAMES_MAX)
                    .map(frame)
                    .collect()
            })
            .unwrap_or_default();
        let (mut message, limit) = diagnose(error, sandbox, budget);
        let words = sandbox.log().last_words(MESSAGE_BYTES_SHOWN_MAX);
        if !words.is_empty() {
            let words = words.join("\n");
            message = format!(
                "{message}; its last words: {}",
                printable_text(&words, MESSAGE_BYTES_SHOWN_MAX)
            );
        }
        Self {
            fault: Fault::Plugin,
            message,
            limit,
            backtrace,
            for_good: false,
        }
    }

    /// The error of a task, with all that an operator knows more. `plugin` is name and digest, `record`
    /// the bytes of the record at hand.
    pub fn into_task_error(self, plugin: &str, function: &str, record: Option<&[u8]>) -> TaskError {
        let mut message = self.message;
        if let Some(limit) = self.limit.filter(|limit| limit.name != STACK_LIMIT) {
            message.push_str(&format!(", or raise the job's `limits.{}`", limit.name));
        }
        let mut error = TaskError::new(self.fault, message);
        error.plugin = Some(Box::new(PluginFailure {
            plugin: plugin.to_owned(),
            function: function.to_owned(),
            record: record.map(|bytes| printable(bytes, RECORD_BYTES_SHOWN_MAX)),
            limit: self.limit.map(|limit| limit.to_string()),
            backtrace: self.backtrace,
        }));
        error.for_good = self.for_good;
        error
    }
}

/// The one limit that is not the job's.
const STACK_LIMIT: &str = "stack-bytes-max";

/// What happened and what to look for, and the limit that it was.
fn diagnose(error: &wasmtime::Error, sandbox: &Sandbox, budget: CallBudget) -> (String, Option<LimitHit>) {
    let limits = sandbox.limits();
    let hit = |name, value| Some(LimitHit { name, value });
    let root = error.root_cause().to_string();
    let shown = printable_text(&root, MESSAGE_BYTES_SHOWN_MAX);
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let message = format!(
            "the component ended itself with exit code {}: return an error instead",
            exit.0
        );
        return (message, None);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let (name, value) = budget.limit(limits);
            let message = format!("the component did not return within {value} ms: look for an endless loop");
            return (message, hit(name, value));
        }
        Some(Trap::StackOverflow) => {
            let message = "the component's call stack is exhausted: look for endless recursion";
            return (message.to_owned(), hit(STACK_LIMIT, STACK_BYTES_MAX as u64));
        }
        _ => {}
    }
    // wasmtime keeps the type of this error to itself.
    if root.contains("fuel allocated for hostcalls") {
        let message = "the component handed too much to the host at once: emit in smaller pieces";
        return (
            message.to_owned(),
            hit("output-bytes-max", limits.output_bytes_max),
        );
    }
    if let Some(limit) = sandbox.limiter().hit() {
        return (format!("{shown}: look for a leak"), Some(limit));
    }
    if let Some(limit) = count_limit(&root, sandbox) {
        return (format!("{shown}: make the component of fewer parts"), Some(limit));
    }
    (format!("the component trapped: {shown}"), None)
}

/// wasmtime counts instances, memories and tables itself and tells only by its message.
fn count_limit(message: &str, sandbox: &Sandbox) -> Option<LimitHit> {
    let limits = sandbox.limits();
    let counts = [
        ("instance", "instances-max", limits.instances_max),
        ("memory", "memories-max", limits.memories_max),
        ("table", "tables-max", limits.tables_max),
    ];
    counts
        .into_iter()
        .find(|(what, ..)| message.starts_with(&format!("resource limit exceeded: {what} count")))
        .map(|(_, name, value)| LimitHit {
            name,
            value: value.into(),
        })
}

/// One frame: the function as its author wrote it, and the place where debug information tells it.
fn frame(frame: &FrameInfo) -> String {
    let symbol = frame.symbols().first();
    let name = symbol.and_then(|symbol| symbol.name()).or(frame.func_name());
    let name = match name {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    let mut text = printable_text(&name, MESSAGE_BYTES_SHOWN_MAX / 4);
    if let Some((file, line)) = symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?))) {
        text = format!(
            "{text} ({}:{line})",
            printable_text(file, MESSAGE_BYTES_SHOWN_MAX / 4)
        );
    } else if let Some(module) = frame.module().name() {
        text = format!(
            "{text} (module {})",
            printable_text(module, MESSAGE_BYTES_SHOWN_MAX / 4)
        );
    }
    text
}

/// Bytes for an error message: text in quotes where they are text, hexadecimal where not, with the whole
/// length where they were cut to `bytes_max`.
pub fn printable(bytes: &[u8], bytes_max: usize) -> String {
    let shown = &bytes[..bytes.len().min(bytes_max)];
    let is_cut = shown.len() < bytes.len();
    // A cut may fall into a character: what is before it counts.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(e) if is_cut && e.error_len().is_none() => std::str::from_utf8(&shown[..e.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let mut printed = match text {
        Some(text) => format!("\"{}\"", text.escape_debug()),
        None => shown.iter().fold("0x".to_owned(), |mut hex, byte| {
            hex.push_str(&format!("{byte:02x}"));
            hex
        }),
    };
    if is_cut {
        printed.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    printed
}

/// A guest's text for an error message: control characters escaped but for line ends, cut to `bytes_max`.
pub fn printable_text(text: &str, bytes_max: usize) -> String {
    let mut printed = String::new();
    for character in text.chars() {
        if printed.len() >= bytes_max {
            printed.push('…');
            break;
        }
        match character {
            '\n' => printed.push('\n'),
            '"' | '\'' | '\\' => printed.push(character),
            _ => printed.extend(character.escape_debug()),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_shown_as_text_or_hex_and_cut() {
        assert_eq!(printable(b"plain", 10), "\"plain\"");
        assert_eq!(printable(b"a\x1b[31m\n", 10), "\"a\\u{1b}[31m\\n\"");
        assert_eq!(printable(&[0xff, 0x00], 10), "0xff00");
        assert_eq!(printable(b"0123456789abc", 4), "\"0123\"… (13 bytes)");
        assert_eq!(printable("aää".as_bytes(), 2), "\"a\"… (5 bytes)");
        assert_eq!(printable(b"", 4), "\"\"");
    }

    #[test]
    fn text_of_a_guest_cannot_move_the_cursor_or_fill_the_log() {
        assert_eq!(printable_text("a\x1b[2J\nb", 100), "a\\u{1b}[2J\nb");
        assert_eq!(printable_text(&"x".repeat(1000), 10), "xxxxxxxxxx…");
    }

    #[test]
    fn a_task_error_names_plugin_function_record_and_limit() {
        let error = GuestError::limit("an output of 20 bytes: emit less", "output-bytes-max", 10);
        let error = error.into_task_error("count@sha256:ab", "count", Some(b"a record"));
        assert_eq!(error.fault, Fault::Plugin);
        assert_eq!(
            error.to_string(),
            "an output of 20 bytes: emit less, or raise the job's `limits.output-bytes-max` [plugin count@sha256:ab, function `count`, limit output-bytes-max = 10, record \"a record\"]"
        );
    }
}
