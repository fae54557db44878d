//! The file source: splits of files, dealt to subtasks by a hash of their name.
//!
//! A split is a file, or a block of 16 MiB of one when the source is bounded: a line belongs to the
//! block in which it starts. State holds a position for each split that was begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::source::{Source, SourceReader, SourceStatus};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;
use wasmill_model::key;
use wasmill_model::time::Timestamp;

use super::listing::Listing;
use super::reader::{LineReader, Lines};
use crate::settings;
use crate::shard::RateLimit;

/// Large files are read in parallel by blocks of this size.
const BLOCK_BYTES: u64 = 16 << 20;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// A file, a directory (all files below it) or a pattern such as `logs/*.txt`.
    path: String,
    /// Watch for new files and new lines instead of ending.
    #[serde(default)]
    continuous: bool,
    /// Between two looks at the directory, ms.
    #[serde(default = "discovery_interval_ms")]
    discovery_interval_ms: u32,
    /// Longest line.
    #[serde(default = "record_bytes_max")]
    record_bytes_max: usize,
    /// Lines a second of the whole job; none: as fast as it goes.
    #[serde(default)]
    rate: Option<f64>,
}

fn discovery_interval_ms() -> u32 {
    1_000
}

fn record_bytes_max() -> usize {
    16 << 20
}

/// Makes the source.
pub fn source(config: &Value, _format: Format) -> Result<Arc<dyn Source>, String> {
    let settings: Settings = settings::read("files", config)?;
    if settings.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err("settings of `files`: `rate` must be above 0; leave it out for no limit".to_owned());
    }
    let listing = Listing::new(&settings.path).map_err(|e| format!("settings of `files`: {e}"))?;
    Ok(Arc::new(FileSource { settings, listing }))
}

struct FileSource {
    settings: Settings,
    listing: Listing,
}

impl Source for FileSource {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let mut positions = BTreeMap::new();
        for element in restored.into_iter().flatten() {
            let position: Position = serde_json::from_slice(&element)
                .map_err(|e| TaskError::host(format!("files: a restored position cannot be read: {e}")))?;
            positions.insert((position.file, position.block), (position.offset, position.done));
        }
        let mut reader = FileReader {
            settings: self.settings.clone(),
            listing: self.listing.clone(),
            limit: RateLimit::new(self.settings.rate, runtime),
            index: runtime.subtask_index,
            parallelism: runtime.parallelism.max(1),
            splits: BTreeMap::new(),
            current: None,
            next_listing: Timestamp::MIN,
        };
        reader.discover(&positions)?;
        Ok(Box::new(reader))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        !self.settings.continuous
    }
}

/// One element of the source's state.
#[derive(Serialize, Deserialize)]
struct Position {
    file: String,
    block: u64,
    offset: u64,
    done: bool,
}

/// Where splits were left, by file and block: offset, and whether they were read to their end.
type Positions = BTreeMap<(String, u64), (u64, bool)>;

/// A split of this subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    /// Where the next line starts.
    offset: u64,
    /// The file's length when it was last listed.
    length: u64,
    /// Whether this split is read to its end.
    done: bool,
}

struct FileReader {
    settings: Settings,
    listing: Listing,
    limit: RateLimit,
    index: u32,
    parallelism: u32,
    /// By file and block, in the order of reading.
    splits: BTreeMap<(String, u64), Split>,
    current: Option<((String, u64), LineReader)>,
    next_listing: Timestamp,
}

impl FileReader {
    /// Lists the files and adds the splits that are new. `restored` positions go with their splits.
    fn discover(&mut self, restored: &Positions) -> Result<(), TaskError> {
        let files = self.listing.list().map_err(|e| {
            TaskError::external(format!(
                "files: {} cannot be listed: {e}: is the path right?",
                self.listing.describe()
            ))
        })?;
        for (file, length) in files {
            let blocks = if self.settings.continuous {
                1
            } else {
                length.div_ceil(BLOCK_BYTES).max(1)
            };
            for block in 0..blocks {
                if !self.owns(&file, block) {
                    continue;
                }
                let id = (file.clone(), block);
                let (offset, done) = restored.get(&id).copied().unwrap_or((block * BLOCK_BYTES, false));
                let split = self.splits.entry(id).or_insert(Split {
                    offset,
                    length: offset,
                    done,
                });
                if self.settings.continuous && length > split.length {
                    (split.length, split.done) = (length, false);
                }
            }
        }
        self.check_vanished(restored)
    }

    /// Whether a split is this subtask's: a rule that depends on nothing that changes.
    fn owns(&self, file: &str, block: u64) -> bool {
        let name = format!("{file}#{block}");
        key::hash(name.as_bytes()) % u64::from(self.parallelism) == u64::from(self.index)
    }

    /// A file that was read in part must still be there.
    fn check_vanished(&self, restored: &Positions) -> Result<(), TaskError> {
        let gone = restored.iter().find(|((file, block), (offset, done))| {
            let begun = *offset > block * BLOCK_BYTES && !done;
            begun && self.owns(file, *block) && !self.splits.contains_key(&(file.clone(), *block))
        });
        match gone {
            None => Ok(()),
            Some(((file, _), (offset, _))) => Err(TaskError::external(format!(
                "files: {} was read up to offset {offset} when the checkpoint was taken and is gone: put it back",
                self.listing.path(file).display()
            ))),
        }
    }

    /// Opens the next split that has something to read.
    fn open_next(&mut self) -> Result<bool, TaskError> {
        let next = self.splits.iter().find(|(_, split)| !split.done);
        let Some(((file, block), split)) = next.map(|(id, split)| (id.clone(), *split)) else {
            return Ok(false);
        };
        let end = if self.settings.continuous {
            u64::MAX
        } else {
            (block + 1) * BLOCK_BYTES
        };
        let start = block * BLOCK_BYTES;
        let lines = Lines {
            path: self.listing.path(&file),
            offset: split.offset,
            // A block that does not start the file starts after its first line end: the line before it
            // belongs to the block before.
            skip_first: start > 0 && split.offset == start,
            end,
            partial_last: !self.settings.continuous,
            record_bytes_max: self.settings.record_bytes_max,
        };
        self.current = Some(((file, block), LineReader::open(lines)?));
        Ok(true)
    }

    fn leave_current(&mut self, done: bool) {
        if let Some((id, reader)) = self.current.take()
            && let Some(split) = self.splits.get_mut(&id)
        {
            split.offset = reader.offset();
            split.done = done;
        }
    }
}

impl SourceReader for FileReader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        let allowed = match self.limit.allowance(now, rows_max) {
            Ok(allowed) => allowed,
            Err(again) => return Ok(SourceStatus::WaitUntil(again)),
        };
        if self.current.is_none() && !self.open_next()? {
            if !self.settings.continuous {
                return Ok(SourceStatus::Finished);
            }
            if now < self.next_listing {
                return Ok(SourceStatus::WaitUntil(self.next_listing));
            }
            self.next_listing = now + Timestamp::from(self.settings.discovery_interval_ms.max(1));
            self.discover(&BTreeMap::new())?;
            return Ok(SourceStatus::More);
        }
        if let Some((_, reader)) = &mut self.current {
            let before = out.rows();
            let more = reader.read(allowed, out)?;
            self.limit.take(u64::from(out.rows() - before));
            if !more {
                self.leave_current(true);
            }
        }
        Ok(SourceStatus::More)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        if let Some((id, reader)) = &self.current
            && let Some(split) = self.splits.get_mut(id)
        {
            split.offset = reader.offset();
        }
        let mut elements = Vec::with_capacity(self.splits.len());
        for ((file, block), split) in &self.splits {
            let position = Position {
                file: file.clone(),
                block: *block,
                offset: split.offset,
                done: split.done,
            };
            let bytes = serde_json::to_vec(&position);
            elements.push(
                bytes.map_err(|e| TaskError::host(format!("files: a position cannot be written: {e}")))?,
            );
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::runtime;

    fn drain(reader: &mut dyn SourceReader, rows_max: u32, polls: usize) -> Vec<String> {
        let mut out = BatchBuilder::default();
        for _ in 0..polls {
            if reader.poll(0, rows_max, &mut out).unwrap() == SourceStatus::Finished {
                break;
            }
        }
        out.finish()
            .iter()
            .map(|r| String::from_utf8(r.value().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn every_line_comes_once_whatever_is_restored_where() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for file in 0..5 {
            let lines: Vec<String> = (0..200).map(|line| format!("{file}-{line}")).collect();
            let end = if file % 2 == 0 { "\n" } else { "" };
            std::fs::write(
                directory.path().join(format!("{file}.txt")),
                lines.join("\n") + end,
            )
            .unwrap();
            expected.extend(lines);
        }
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        for (before, after, polls) in [(1, 2, 7), (3, 1, 4), (2, 5, 0), (1, 1, 1_000)] {
            let source = source(&config, Format::Lines).unwrap();
            let (mut seen, mut state) = (Vec::new(), Vec::new());
            for index in 0..before {
                let mut reader = source.reader(&runtime(index, before), None).unwrap();
                seen.extend(drain(&mut *reader, 13, polls));
                state.extend(reader.snapshot(CheckpointId(1)).unwrap());
            }
            for index in 0..after {
                let mut reader = source
                    .reader(&runtime(index, after), Some(state.clone()))
                    .unwrap();
                seen.extend(drain(&mut *reader, 17, usize::MAX));
            }
            seen.sort();
            let mut expected = expected.clone();
            expected.sort();
            assert_eq!(seen, expected, "{before} -> {after}");
        }
    }

    #[test]
    fn blocks_of_a_large_file_share_its_lines_exactly() {
        let directory = tempfile::tempdir().unwrap();
        let line = "x".repeat(1_000_003);
        let text: String = (0..40).map(|i| format!("{i}{line}\n")).collect();
        let path = directory.path().join("large");
        std::fs::write(&path, text).unwrap();
        let source = source(
            &serde_json::json!({"path": path.display().to_string()}),
            Format::Lines,
        )
        .unwrap();
        let mut seen = Vec::new();
        for index in 0..2 {
            let mut reader = source.reader(&runtime(index, 2), None).unwrap();
            seen.extend(
                drain(&mut *reader, 10, usize::MAX)
                    .into_iter()
                    .map(|l| l.replace('x', "").parse::<u32>().unwrap()),
            );
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_continuous_source_sees_new_lines_and_files_and_keeps_partial_lines_back() {
        use std::io::Write as _;
        let directory = tempfile::tempdir().unwrap();
        let first = directory.path().join("a");
        std::fs::write(&first, "one\ntw").unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string(), "continuous": true});
        let mut reader = source(&config, Format::Lines)
            .unwrap()
            .reader(&runtime(0, 1), None)
            .unwrap();
        assert_eq!(drain(&mut *reader, 10, 5), ["one"]);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&first)
            .unwrap()
            .write_all(b"o\n")
            .unwrap();
        std::fs::write(directory.path().join("b"), "three\n").unwrap();
        let mut out = BatchBuilder::default();
        for now in 0..10 {
            reader.poll(now * 1_000, 10, &mut out).unwrap();
        }
        let lines: Vec<_> = out.finish().iter().map(|r| r.value().to_vec()).collect();
        assert_eq!(lines, [b"two".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn a_missing_directory_and_a_line_that_is_too_long_are_named() {
        let missing = source(&serde_json::json!({"path": "/no/such/*.txt"}), Format::Lines).unwrap();
        let error = missing.reader(&runtime(0, 1), None).err().unwrap().to_string();
        assert!(
            error.contains("/no/such") && error.contains("cannot be listed"),
            "{error}"
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        std::fs::write(&path, "abc\n".to_owned() + &"x".repeat(100)).unwrap();
        let config = serde_json::json!({"path": path.display().to_string(), "record-bytes-max": 50});
        let mut reader = source(&config, Format::Lines)
            .unwrap()
            .reader(&runtime(0, 1), None)
            .unwrap();
        let mut out = BatchBuilder::default();
        let error = (0..4)
            .find_map(|_| reader.poll(0, 10, &mut out).err())
            .unwrap()
            .to_string();
        assert!(
            error.contains("offset 4") && error.contains("record-bytes-max"),
            "{error}"
        );
    }
}
