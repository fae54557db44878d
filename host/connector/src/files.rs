//! Text files: lines in, part files out.

mod listing;
mod reader;
mod source;
mod writer;

pub use source::source;
pub use writer::sink;
