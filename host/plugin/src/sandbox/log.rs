//! What a guest prints and logs during a call, line by line, until the call's fate is known.
//!
//! Invariant: one call adds at most `log-bytes-max` bytes of text, whatever the guest does; what did not
//! fit is dropped, which one line says. Nothing here reaches the job's log before its owner drains it, and
//! nothing is forgotten before that: an owner that makes several calls looks at `LogBuffer::is_full` between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0.
    Trace,
    /// 1.
    Debug,
    /// 2; what a guest prints to its standard output.
    Info,
    /// 3.
    Warn,
    /// 4 and above; what a guest prints to its standard error. Kept even when the call fails.
    Error,
}

impl LogLevel {
    /// By the number that a guest gives.
    pub fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            _ => Self::Error,
        }
    }
}

/// One line of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// Without the line end; invalid UTF-8 replaced.
    pub text: String,
}

/// Where lines go once they count: the job's log.
pub trait GuestLog: Send + Sync {
    /// Takes a line of function `function`; must not block for long.
    fn line(&self, function: &str, line: &LogLine);
}

/// Lines of the call under way; clones share them.
#[derive(Clone)]
pub struct LogBuffer(Arc<Shared>);

struct Shared {
    /// Whether anything was written since the last call began: spares the hot path the lock.
    is_touched: AtomicBool,
    /// Whether anything was written since the last drain, for the same reason.
    is_loud: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    lines: Vec<LogLine>,
    partial: [Vec<u8>; 2],
    bytes_max: u64,
    bytes_left: u64,
    /// Cost of `lines`.
    bytes_held: u64,
    /// How many of `lines` are of calls that have succeeded.
    settled: usize,
    is_cut: bool,
}

/// Which stream of a guest a piece of text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    Stdout,
    Stderr,
}

impl OutputKind {
    fn level(self) -> LogLevel {
        match self {
            Self::Stdout => LogLevel::Info,
            Self::Stderr => LogLevel::Error,
        }
    }
}

/// Counted for each line beside its text, so that empty lines are bounded too.
const LINE_BYTES: u64 = 16;

impl LogBuffer {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Shared {
            is_touched: AtomicBool::new(false),
            is_loud: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                lines: Vec::new(),
                partial: [Vec::new(), Vec::new()],
                bytes_max,
                bytes_left: bytes_max,
                bytes_held: 0,
                settled: 0,
                is_cut: false,
            }),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the coming call a fresh allowance; lines not drained yet stay.
    pub(crate) fn begin_call(&self) {
        if self.0.is_touched.swap(false, Ordering::Relaxed) {
            let mut inner = self.inner();
            inner.bytes_left = inner.bytes_max;
            inner.is_cut = false;
        }
    }

    fn touch(&self) {
        self.0.is_touched.store(true, Ordering::Relaxed);
        self.0.is_loud.store(true, Ordering::Relaxed);
    }

    /// Adds what a guest logged by an import; it may hold several lines.
    pub fn push(&self, level: LogLevel, message: &str) {
        self.touch();
        let mut inner = self.inner();
        for line in message.lines() {
            inner.add(level, line.as_bytes());
        }
    }

    /// Adds what a guest printed; a line ends with its line end or with the call.
    pub(crate) fn print(&self, kind: OutputKind, bytes: &[u8]) {
        self.touch();
        let mut inner = self.inner();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            inner.extend_partial(kind, &rest[..end]);
            inner.end_line(kind);
            rest = &rest[end + 1..];
        }
        inner.extend_partial(kind, rest);
    }

    /// Takes all lines so far, the unfinished ones too: those of calls that have succeeded, and those after them.
    pub fn drain(&self) -> (Vec<LogLine>, Vec<LogLine>) {
        let mut inner = self.inner();
        self.0.is_loud.store(false, Ordering::Relaxed);
        inner.end_partial();
        inner.bytes_held = 0;
        let settled = std::mem::take(&mut inner.settled);
        let later = inner.lines.split_off(settled);
        (std::mem::take(&mut inner.lines), later)
    }

    /// The calls so far have succeeded, whatever becomes of those before the next drain.
    pub(crate) fn settle(&self) {
        if !self.is_silent() {
            let mut inner = self.inner();
            inner.end_partial();
            inner.settled = inner.lines.len();
        }
    }

    /// Whether there is nothing to drain, without a lock where the guest was silent.
    pub fn is_silent(&self) -> bool {
        !self.0.is_loud.load(Ordering::Relaxed)
    }

    /// Whether it holds as much as one call may write: it is to be drained before the next one.
    pub(crate) fn is_full(&self) -> bool {
        !self.is_silent() && {
            let inner = self.inner();
            inner.bytes_held >= inner.bytes_max
        }
    }

    /// The last lines of level error, oldest first, at most `bytes_max` of text: what a guest said
    /// before it died.
    pub(crate) fn last_words(&self, bytes_max: usize) -> Vec<String> {
        let inner = self.inner();
        let stderr = &inner.partial[OutputKind::Stderr as usize];
        let partial = (!stderr.is_empty()).then(|| String::from_utf8_lossy(stderr).into_owned());
        let said = inner
            .lines
            .iter()
            .rev()
            .filter(|line| line.level == LogLevel::Error);
        let mut left = bytes_max;
        let mut words: Vec<String> = partial
            .into_iter()
            .chain(said.map(|line| line.text.clone()))
            .map_while(|text| {
                left = left.checked_sub(text.len())?;
                Some(text)
            })
            .collect();
        words.reverse();
        words
    }
}

impl Inner {
    fn extend_partial(&mut self, kind: OutputKind, bytes: &[u8]) {
        let partial = &mut self.partial[kind as usize];
        let room = usize::try_from(self.bytes_max).unwrap_or(usize::MAX) - partial.len();
        partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, kind: OutputKind) {
        let line = std::mem::take(&mut self.partial[kind as usize]);
        self.add(kind.level(), &line);
    }

    fn end_partial(&mut self) {
        for kind in [OutputKind::Stdout, OutputKind::Stderr] {
            if !self.partial[kind as usize].is_empty() {
                self.end_line(kind);
            }
        }
    }

    fn add(&mut self, level: LogLevel, text: &[u8]) {
        if self.is_cut {
            return;
        }
        let text = String::from_utf8_lossy(text);
        let cost = text.len() as u64 + LINE_BYTES;
        if let Some(left) = self.bytes_left.checked_sub(cost) {
            self.bytes_left = left;
            self.bytes_held += cost;
            self.lines.push(LogLine {
                level,
                text: text.trim_end_matches('\r').to_owned(),
            });
            return;
        }
        self.is_cut = true;
        self.bytes_held = self.bytes_held.saturating_add(self.bytes_left.max(LINE_BYTES));
        let limit = self.bytes_max;
        self.lines.push(LogLine {
            level: LogLevel::Warn,
            text: format!("(the rest of this call's output is dropped: limit log-bytes-max = {limit})"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn printed_pieces_become_lines_of_their_stream() {
        let log = LogBuffer::new(1000);
        log.print(OutputKind::Stdout, b"one ");
        log.print(OutputKind::Stderr, b"bad\r\n");
        log.print(OutputKind::Stdout, b"line\nand");
        log.push(LogLevel::Debug, "two\nlines");
        let (_, lines) = log.drain();
        assert_eq!(texts(&lines), ["bad", "one line", "two", "lines", "and"]);
        assert_eq!(lines[0].level, LogLevel::Error);
        assert_eq!(lines[1].level, LogLevel::Info);
        assert_eq!(lines[2].level, LogLevel::Debug);
        assert!(log.drain().1.is_empty());
    }

    #[test]
    fn a_call_cannot_log_more_than_its_limit() {
        let log = LogBuffer::new(100);
        for _ in 0..1000 {
            log.push(LogLevel::Info, "twenty bytes of text");
            log.print(OutputKind::Stdout, b"no line end");
            log.print(OutputKind::Stderr, b"\n");
        }
        let (_, lines) = log.drain();
        assert!(lines.len() <= 8, "{lines:?}");
        let cut = "(the rest of this call's output is dropped: limit log-bytes-max = 100)";
        assert_eq!(texts(&lines).iter().filter(|text| **text == cut).count(), 1);
        log.begin_call();
        log.push(LogLevel::Info, "heard again");
        assert_eq!(texts(&log.drain().1), ["heard again"]);
    }

    #[test]
    fn lines_of_earlier_calls_are_kept_until_they_are_drained() {
        let log = LogBuffer::new(1000);
        log.begin_call();
        log.push(LogLevel::Info, "one");
        log.settle();
        log.begin_call();
        assert!(!log.is_silent(), "the second call says nothing");
        log.begin_call();
        log.push(LogLevel::Info, "three");
        let (settled, later) = log.drain();
        assert_eq!((texts(&settled), texts(&later)), (vec!["one"], vec!["three"]));
        assert!(log.is_silent());
    }

    #[test]
    fn calls_that_are_not_drained_fill_the_buffer_which_says_so() {
        let log = LogBuffer::new(100);
        for _ in 0..2 {
            log.begin_call();
            log.push(LogLevel::Info, "twenty bytes of text");
            assert!(!log.is_full());
        }
        log.begin_call();
        log.push(LogLevel::Info, "twenty bytes of text");
        assert!(log.is_full());
        log.drain();
        assert!(!log.is_full());
    }

    #[test]
    fn last_words_are_the_latest_errors_in_their_order() {
        let log = LogBuffer::new(1000);
        log.print(OutputKind::Stderr, b"first\nsecond\n");
        log.push(LogLevel::Info, "not this");
        log.print(OutputKind::Stderr, b"third");
        assert_eq!(log.last_words(100), ["first", "second", "third"]);
        assert_eq!(log.last_words(12), ["second", "third"]);
    }
}
