//! One module a reader.

pub(crate) mod answer;
pub(crate) mod describe;
pub(crate) mod import;
pub(crate) mod in_flight;
pub(crate) mod job_file;
pub(crate) mod key;
pub(crate) mod manifest;
pub(crate) mod rows;
pub(crate) mod segments;
pub(crate) mod snapshot;
pub(crate) mod stored;
