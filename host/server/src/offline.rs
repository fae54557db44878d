//! State without a job (S9): listed, written out as JSON lines or Parquet, read back, compared and edited.
//!
//! | module | holds |
//! |---|---|
//! | `document` | what a savepoint says of its job and its operators |
//! | `identity` | which entry it is, and the order of entries |
//! | `typed` | bytes as JSON, by what the state declares |
//! | `line` | an entry as a line and back |
//! | `sort` | putting entries in order in bounded memory |
//! | `read`, `write`, `export` | savepoints |
//! | `native` | entries in files of a backend |
//! | `parquet` | a directory of Parquet files, with a row for each line |
//! | `change`, `diff` | `import` and `edit`; `diff` |
//!
//! Invariant: nothing here holds more than one entry, one block of a file and one run of the sort at once, and what
//! the manifest holds (and, to count them, one subtask's records in flight); a savepoint is never changed, only a new
//! one is written.

pub mod change;
pub mod diff;
pub mod document;
mod export;
mod identity;
mod line;
mod native;
pub mod parquet;
pub mod read;
mod sort;
mod typed;
pub mod write;

use std::fmt;

/// Why state could not be read or written: what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineError(pub String);

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OfflineError {}
