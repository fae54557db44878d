//! Job files: YAML or JSON text in, a validated logical graph out.
//!
//! Invariant: whatever is wrong with a job file is said as `file:line:column: what, and what to do`; the
//! text alone decides the outcome, beside the components that it names.
//!
//! | module | holds |
//! |---|---|
//! | [`mod@file`] | the types of a job file, from which its JSON Schema is made |
//! | [`units`] | durations and sizes with a unit |
//! | [`error`] | an error that points, and "did you mean" |
//! | [`span`] | where in the text each value stands |
//! | [`lower`] | from the file to the logical graph |
//! | [`secret`] | `{env: NAME}` and `{file: PATH}` |

pub mod error;
pub mod file;
pub mod lower;
pub mod secret;
pub mod span;
pub mod units;

use error::JobFileError;
use file::JobFile;
use span::Spans;

/// A job file that was read, with the places of its values.
#[derive(Debug)]
pub struct ParsedJob {
    /// What it says.
    pub file: JobFile,
    /// Where it says it.
    pub spans: Spans,
}

/// Bytes that a job file may have.
pub const JOB_FILE_BYTES_MAX: usize = 1024 * 1024;

/// Reads a job file. `name` is how errors call it.
pub fn parse(name: &str, text: &str) -> Result<ParsedJob, JobFileError> {
    if text.len() > JOB_FILE_BYTES_MAX {
        let message = format!("the job file is larger than {JOB_FILE_BYTES_MAX} bytes");
        return Err(JobFileError::at(name, None, message));
    }
    let options = || serde_saphyr::options! { with_snippet: false };
    let spans = serde_saphyr::from_str_with_options(text, options())
        .map_err(|e| JobFileError::from_yaml(name, &e))
        .map(|root| Spans::new(name, root))?;
    let file: JobFile = serde_saphyr::from_str_with_options(text, options())
        .map_err(|e| JobFileError::from_yaml(name, &e))?;
    if file.version != 1 {
        let message = format!(
            "version {} is unknown to this host, which reads `version: 1`",
            file.version
        );
        return Err(spans.error(&["version".into()], message));
    }
    Ok(ParsedJob { file, spans })
}

/// The published JSON Schema of job files.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(JobFile).to_value()
}
