//! Why a call failed, before it becomes the error of the task.

use wasmill_engine::error::{Fault, TaskError};

use super::blueprint::Blueprint;
use super::work::Work;
use crate::failure::{GuestError, MESSAGE_BYTES_SHOWN_MAX, printable_text};
use crate::frame::answer::RefusalKind;
use crate::typed::generated::wasmill::function::types::Error;

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The guest trapped, ran into a limit, or lied: another attempt row by row finds the record.
    Guest(GuestError),
    /// The guest said so itself.
    Refused(RefusalKind, String),
    /// Ours.
    Host(TaskError),
}

/// A call that failed; none of its effects remain.
#[derive(Debug)]
pub(crate) struct CallFailure {
    /// Which row of the work it was, where it is known.
    pub(crate) row: Option<u32>,
    /// How many rows the call was about, from the front of the work.
    pub(crate) rows: u32,
    pub(crate) cause: Cause,
}

impl CallFailure {
    /// Of the host, whatever the row.
    pub(crate) fn host(error: impl Into<TaskError>) -> Self {
        Self {
            row: None,
            rows: 0,
            cause: Cause::Host(error.into()),
        }
    }

    /// Whether the guest said that another attempt may succeed.
    pub(crate) fn asks_for_retry(&self) -> bool {
        matches!(self.cause, Cause::Refused(RefusalKind::Retry, _))
    }

    /// The error of the task, which names the record where it is known.
    pub(crate) fn into_task_error(self, blueprint: &Blueprint, work: &Work<'_>) -> TaskError {
        let record = self.row.and_then(|row| work.record(row));
        let error = match self.cause {
            Cause::Host(error) => return error,
            Cause::Guest(error) => error,
            Cause::Refused(kind, message) => refused(kind, &message),
        };
        error.into_task_error(blueprint.plugin(), blueprint.function(), record.as_deref())
    }
}

/// The error of a guest that refused a record or itself.
pub(crate) fn refused(kind: RefusalKind, message: &str) -> GuestError {
    let message = printable_text(message, MESSAGE_BYTES_SHOWN_MAX);
    let (fault, what, mend) = match kind {
        RefusalKind::BadRecord => (
            Fault::User,
            "refused a record",
            "mend the record, or make the function accept or drop it",
        ),
        RefusalKind::Retry => (
            Fault::External,
            "asks for another attempt",
            "give the job a `restart` strategy that waits for what it lacks",
        ),
        RefusalKind::Failed => (
            Fault::Plugin,
            "failed",
            "look at the component and at the operator's `config`",
        ),
    };
    let message = format!("the function {what}: {message}; {mend}");
    GuestError {
        fault,
        ..GuestError::plugin(message)
    }
}

/// The cases of the typed family.
pub(crate) fn refusal_of(error: Error) -> (RefusalKind, String) {
    match error {
        Error::BadRecord(message) => (RefusalKind::BadRecord, message),
        Error::Retry(message) => (RefusalKind::Retry, message),
        Error::Failed(message) => (RefusalKind::Failed, message),
    }
}
