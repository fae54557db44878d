//! Why a function could not process a record.
//!
//! The host undoes every effect of the call, whichever kind of error it is.

use std::fmt::{self, Display};

/// What a function returns: nothing or something, else an [`Error`].
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a function failed, by what the host is to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// This record cannot be processed, now or later: the job's policy for bad records applies.
    BadRecord(String),
    /// A passing fault: the job's restart strategy applies.
    Retry(String),
    /// The function cannot go on: the job's restart strategy applies.
    Failed(String),
}

impl Error {
    /// This record cannot be processed, now or later.
    pub fn bad_record(message: impl Display) -> Self {
        Self::BadRecord(message.to_string())
    }

    /// A passing fault: the same call may succeed later.
    pub fn retry(message: impl Display) -> Self {
        Self::Retry(message.to_string())
    }

    /// The function cannot go on.
    pub fn failed(message: impl Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// The text alone.
    pub fn message(&self) -> &str {
        match self {
            Self::BadRecord(message) | Self::Retry(message) | Self::Failed(message) => message,
        }
    }

    /// The code in an answer's ERROR section.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::BadRecord(_) => 1,
            Self::Retry(_) => 2,
            Self::Failed(_) => 3,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::BadRecord(_) => "bad record",
            Self::Retry(_) => "retry",
            Self::Failed(_) => "failed",
        };
        write!(f, "{kind}: {}", self.message())
    }
}

impl std::error::Error for Error {}

/// Errors of parsing a record: another attempt would fail in the same way.
macro_rules! bad_record_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::bad_record(error)
            }
        }
    )*};
}

bad_record_from!(
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::str::Utf8Error,
    std::fmt::Error,
    serde_json::Error
);
