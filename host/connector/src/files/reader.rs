//! Reads the lines of one split of a file.
//!
//! Invariant: `offset` is where the first line starts that was not given yet.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use wasmill_engine::error::TaskError;
use wasmill_model::batch::BatchBuilder;
use wasmill_model::row::RowHeader;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// A poll gives up the thread after so many bytes of rows.
const POLL_BYTES: usize = 64 * 1024;

/// What to read.
pub(super) struct Lines {
    /// The file.
    pub(super) path: PathBuf,
    /// Where to start.
    pub(super) offset: u64,
    /// Whether what comes before the first line end belongs to the split before.
    pub(super) skip_first: bool,
    /// Lines that start at or after this offset belong to the split after.
    pub(super) end: u64,
    /// Whether bytes after the last line end are a line.
    pub(super) partial_last: bool,
    /// Longest line.
    pub(super) record_bytes_max: usize,
}

/// A split being read.
pub(super) struct LineReader {
    lines: Lines,
    file: File,
    buffer: Vec<u8>,
    /// Of the first byte in `buffer` that was not given yet.
    start: usize,
    at_end: bool,
}

impl LineReader {
    pub(super) fn open(mut lines: Lines) -> Result<Self, TaskError> {
        // The byte before a block tells whether a line starts with it.
        if lines.skip_first {
            lines.offset -= 1;
        }
        let opened = File::open(&lines.path).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(lines.offset)).map(|_| (file, length))
        });
        let (file, length) = opened.map_err(|e| fail(&lines, &format!("cannot be opened: {e}")))?;
        if length < lines.offset {
            let message = format!(
                "is {length} bytes long but was read up to {}: it was cut or replaced",
                lines.offset
            );
            return Err(fail(&lines, &message));
        }
        Ok(Self {
            lines,
            file,
            buffer: Vec::new(),
            start: 0,
            at_end: false,
        })
    }

    /// Where the first line starts that was not given yet.
    pub(super) fn offset(&self) -> u64 {
        // A block whose first line was not yet skipped is at its own start.
        self.lines.offset + u64::from(self.lines.skip_first)
    }

    /// Gives at most `rows_max` lines; false at the end of the split.
    pub(super) fn read(&mut self, rows_max: u32, out: &mut BatchBuilder) -> Result<bool, TaskError> {
        let (first, bytes) = (out.rows(), out.len());
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.buffer[self.start..]) {
                if !self.take_line(end, 1, out) {
                    return Ok(false);
                }
                if out.rows() - first >= rows_max || out.len() - bytes >= POLL_BYTES {
                    return Ok(true);
                }
            }
            let rest = self.buffer.len() - self.start;
            if self.at_end {
                if rest > 0 && self.lines.partial_last {
                    self.take_line(rest, 0, out);
                }
                return Ok(false);
            }
            if rest > self.lines.record_bytes_max {
                let message = format!(
                    "has a line at offset {} that is longer than `record-bytes-max` = {}: raise it if such lines are meant",
                    self.lines.offset, self.lines.record_bytes_max
                );
                return Err(fail(&self.lines, &message));
            }
            self.fill()?;
        }
    }

    /// Gives the line of `length` bytes that is followed by `ending` bytes; false where it starts after
    /// the end of the split.
    fn take_line(&mut self, length: usize, ending: usize, out: &mut BatchBuilder) -> bool {
        if self.lines.offset >= self.lines.end {
            return false;
        }
        if self.lines.skip_first {
            self.lines.skip_first = false;
        } else {
            let line = &self.buffer[self.start..self.start + length];
            out.push(
                RowHeader::element(None),
                b"",
                line.strip_suffix(b"\r").unwrap_or(line),
                b"",
            );
        }
        self.start += length + ending;
        self.lines.offset += (length + ending) as u64;
        true
    }

    fn fill(&mut self) -> Result<(), TaskError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + READ_BYTES, 0);
        let read = self.file.read(&mut self.buffer[held..]);
        let read = read.map_err(|e| {
            fail(
                &self.lines,
                &format!("cannot be read at offset {}: {e}", self.lines.offset),
            )
        })?;
        self.buffer.truncate(held + read);
        self.at_end = read == 0;
        Ok(())
    }
}

fn fail(lines: &Lines, message: &str) -> TaskError {
    TaskError::external(format!("files: {} {message}", lines.path.display()))
}
