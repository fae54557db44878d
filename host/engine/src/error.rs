//! Why a task failed: whose fault, where, and what to do.

use std::fmt;

use wasmill_model::id::OperatorUid;
use wasmill_state::backend::StateError;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host's: a bug or a resource of ours.
    Host,
    /// The job's: its configuration or its input.
    User,
    /// The component's.
    Plugin,
    /// An external system's: a disk, a broker.
    External,
}

/// A failure of one operator in one subtask.
#[derive(Clone, Debug)]
pub struct TaskError {
    /// Whose.
    pub fault: Fault,
    /// The operator; filled in by the task where the operator does not know.
    pub operator: Option<OperatorUid>,
    /// The subtask; filled in by the task.
    pub subtask: Option<u32>,
    /// What happened, to what, what to do.
    pub message: String,
    /// The component, where one was at work.
    pub plugin: Option<Box<PluginFailure>>,
    /// No restart mends it: the job fails with it whatever its restart strategy says.
    pub for_good: bool,
}

/// What is known of a failure inside a component.
#[derive(Clone, Debug, Default)]
pub struct PluginFailure {
    /// Its digest.
    pub plugin: String,
    /// The function.
    pub function: String,
    /// The record that caused it: bounded and printable.
    pub record: Option<String>,
    /// The limit that was exceeded, by name and value.
    pub limit: Option<String>,
    /// The guest's backtrace, innermost first.
    pub backtrace: Vec<String>,
}

impl TaskError {
    /// A failure of the given kind.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            operator: None,
            subtask: None,
            message: message.into(),
            plugin: None,
            for_good: false,
        }
    }

    /// The same, and no restart mends it (C9).
    pub fn for_good(self) -> Self {
        Self {
            for_good: true,
            ..self
        }
    }

    /// The host's fault.
    pub fn host(message: impl Into<String>) -> Self {
        Self::new(Fault::Host, message)
    }

    /// The job's fault.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Fault::User, message)
    }

    /// An external system's fault.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(Fault::External, message)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operator) = &self.operator {
            write!(f, "operator `{operator}`")?;
            if let Some(subtask) = self.subtask {
                write!(f, " subtask {subtask}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        let Some(plugin) = &self.plugin else { return Ok(()) };
        write!(f, " [plugin {}, function `{}`", plugin.plugin, plugin.function)?;
        if let Some(limit) = &plugin.limit {
            write!(f, ", limit {limit}")?;
        }
        if let Some(record) = &plugin.record {
            write!(f, ", record {record}")?;
        }
        write!(f, "]")?;
        plugin
            .backtrace
            .iter()
            .try_for_each(|frame| write!(f, "\n    at {frame}"))
    }
}

impl std::error::Error for TaskError {}

impl From<StateError> for TaskError {
    fn from(error: StateError) -> Self {
        let message = error.to_string();
        match error {
            // What the job or its function says does not fit, and will not the next time.
            StateError::Register { .. }
            | StateError::Incompatible { .. }
            | StateError::Encoding { .. }
            | StateError::MapKeys { .. }
            | StateError::TimeToLive { .. }
            | StateError::Unsupported(_) => Self::user(message).for_good(),
            // The same bytes are given to the same function the next time.
            StateError::Migration { .. } => Self::new(Fault::Plugin, message).for_good(),
            StateError::Corrupt(_) | StateError::Usage { .. } | StateError::Io(_) => Self::host(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_fails_for_good_and_what_is_broken_does_not() {
        let register = StateError::Register {
            name: "s".to_owned(),
            message: "taken".to_owned(),
        };
        for error in [register, StateError::Unsupported("kind `heap`".to_owned())] {
            let error = TaskError::from(error);
            assert_eq!((error.fault, error.for_good), (Fault::User, true), "{error}");
        }
        for error in [
            StateError::Corrupt("cut short".to_owned()),
            StateError::Io(std::io::Error::other("gone")),
        ] {
            assert!(!TaskError::from(error).for_good);
        }
    }
}
