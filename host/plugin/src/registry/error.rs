//! Why an upload, a look-up or a deletion failed: grouped by who must do something.

/// Why a component was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The name cannot be one.
    #[error(
        "`{0}` cannot be a plugin's name: use 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first"
    )]
    Name(String),
    /// It is too large.
    #[error(
        "the component has {size} bytes, and the limit upload-bytes-max is {limit}: strip debug information, or raise the host's limit"
    )]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// It is wrong or does wrong.
    #[error("{message}{}", backtrace.iter().map(|frame| format!("\n    at {frame}")).collect::<String>())]
    Refused {
        /// What is wrong and what to do.
        message: String,
        /// Of the guest, innermost first, where it trapped.
        backtrace: Vec<String>,
    },
    /// The host could not do its part.
    #[error("{0}")]
    Host(String),
}

impl UploadError {
    /// A refusal without a backtrace.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            backtrace: Vec::new(),
        }
    }
}

/// Why a component was not found, not loaded or not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none.
    #[error("there is no plugin `{reference}`; {}", known_names(known))]
    NotFound {
        /// As it was asked for.
        reference: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// Several would fit.
    #[error("`{reference}` does not say which version: give more digits of its digest, at least 6")]
    TooShort {
        /// As it was asked for.
        reference: String,
    },
    /// A job runs it.
    #[error("{reference} is in use by a job: cancel the job first")]
    InUse {
        /// Name and version.
        reference: String,
    },
    /// The host could not do its part.
    #[error("{0}")]
    Host(String),
}

fn known_names(known: &[String]) -> String {
    match known.is_empty() {
        true => "none was uploaded yet (wasmill plugin upload FILE)".to_owned(),
        false => format!("uploaded are {}", known.join(", ")),
    }
}
