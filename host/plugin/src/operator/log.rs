//! The job's log: what guests say, with where they said it.

use wasmill_engine::operator::RuntimeContext;

use crate::sandbox::log::{GuestLog, LogBuffer, LogLevel, LogLine};

/// Writes the lines of one subtask as structured events.
pub(crate) struct SubtaskLog {
    job: String,
    operator: String,
    subtask: u32,
}

impl SubtaskLog {
    pub(crate) fn new(runtime: &RuntimeContext) -> Self {
        Self {
            job: runtime.job_id.to_string(),
            operator: runtime.operator.as_str().to_owned(),
            subtask: runtime.subtask_index,
        }
    }

    /// Writes what calls said: all of it where they succeeded, of the last one errors alone where it failed.
    pub(crate) fn flush(&self, function: &str, log: &LogBuffer, succeeded: bool) {
        if log.is_silent() {
            return;
        }
        let (settled, later) = log.drain();
        let later = later
            .iter()
            .filter(|line| succeeded || line.level == LogLevel::Error);
        settled
            .iter()
            .chain(later)
            .for_each(|line| self.line(function, line));
    }
}

impl GuestLog for SubtaskLog {
    fn line(&self, function: &str, line: &LogLine) {
        let Self {
            job,
            operator,
            subtask,
        } = self;
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(target: "wasmill::guest", job, operator, subtask, function, "{}", line.text)
            };
        }
        match line.level {
            LogLevel::Trace => event!(trace),
            LogLevel::Debug => event!(debug),
            LogLevel::Info => event!(info),
            LogLevel::Warn => event!(warn),
            LogLevel::Error => event!(error),
        }
    }
}
