//! The file sink: part files that become visible by a rename, exactly once.
//!
//! A part goes through three names, all in the sink's directory:
//!
//! | state | name |
//! |---|---|
//! | in progress | `.part-<tag>-<subtask>-<attempt>-<n>.inprogress` |
//! | pending: durable, waits for its checkpoint | `.part-<tag>-<subtask>-<checkpoint>-<n>.pending` |
//! | committed | `part-<tag>-<subtask>-<checkpoint>-<n>` |
//!
//! `tag` is a hash of job id and operator uid, so that jobs may share a directory and recovery removes
//! no other job's files. A checkpoint id is never used twice, so no committed name is either.
//!
//! Invariant: a reader that skips names that start with `.` never sees an uncommitted record.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill_checkpoint::handle::Committable;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter, lost};
use wasmill_model::batch::Batch;
use wasmill_model::function::Format;
use wasmill_model::id::{CheckpointId, JobId, OperatorUid};
use wasmill_model::key;

use crate::settings;

/// Version of the committable's bytes.
const VERSION: u32 = 1;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Directory of the part files; made where it is missing.
    path: String,
    /// A part that has grown so large is closed, also between checkpoints.
    #[serde(default = "part_bytes_max")]
    part_bytes_max: u64,
    /// Put at the end of a committed file's name, such as `.txt`.
    #[serde(default)]
    suffix: String,
}

fn part_bytes_max() -> u64 {
    128 << 20
}

/// Makes the sink.
pub fn sink(config: &Value, format: Format) -> Result<Arc<dyn Sink>, String> {
    let settings: Settings = settings::read("files", config)?;
    if settings.path.is_empty() {
        return Err("settings of `files`: `path` is empty: name the directory of the part files".to_owned());
    }
    if settings.suffix.contains('/') {
        return Err(format!(
            "settings of `files`: `suffix` {} contains a slash",
            settings.suffix
        ));
    }
    if settings.part_bytes_max == 0 {
        return Err("settings of `files`: `part-bytes-max` must be above 0".to_owned());
    }
    Ok(Arc::new(FileSink { settings, format }))
}

struct FileSink {
    settings: Settings,
    format: Format,
}

/// Distinguishes the sinks that share a directory.
fn tag(job: JobId, operator: &OperatorUid) -> String {
    format!("{:08x}", key::hash(format!("{job}/{operator}").as_bytes()) as u32)
}

impl Sink for FileSink {
    fn writer(&self, runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let directory = PathBuf::from(&self.settings.path);
        create_directory(&directory)?;
        Ok(Box::new(Writer {
            directory,
            settings: self.settings.clone(),
            format: self.format,
            prefix: format!(
                "part-{}-{}",
                tag(runtime.job_id, &runtime.operator),
                runtime.subtask_index
            ),
            attempt: runtime.attempt,
            opened: 0,
            open: None,
            closed: Vec::new(),
            buffer: Vec::new(),
        }))
    }

    fn recover(&self, context: &SinkRecovery) -> Result<(), TaskError> {
        let directory = PathBuf::from(&self.settings.path);
        create_directory(&directory)?;
        keep_directory(&directory)?;
        for committable in &context.committables {
            match commit(&directory, committable)? {
                Commit::Committed | Commit::Already => {}
                // Nothing is removed before all are committed: the part may be what could not be looked at.
                Commit::Retry(why) => return Err(TaskError::external(why)),
                Commit::Lost(why) => return Err(lost(committable, &why)),
            }
        }
        let own = format!(".part-{}-", tag(context.job_id, &context.operator));
        let fail = |e: io::Error| {
            TaskError::external(format!("files: {} cannot be cleaned: {e}", directory.display()))
        };
        for entry in fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&own))
            {
                fs::remove_file(entry.path()).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::TwoPhaseCommit
    }
}

fn create_directory(directory: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(directory).map_err(|e| {
        TaskError::external(format!(
            "files: directory {} cannot be made: {e}",
            directory.display()
        ))
    })
}

/// What is committed in the directory must not go with it, nor with one above it, when the power does. Also where it was
/// there: whoever made it may have died before its name was durable.
fn keep_directory(directory: &Path) -> Result<(), TaskError> {
    let made = directory.canonicalize();
    let made = made.map_err(|e| fail(directory, "cannot be looked at", &e))?;
    for above in made.ancestors().skip(1) {
        match File::open(above).and_then(|d| d.sync_all()) {
            // The host has not made anything in what it may not read, nor in what cannot be synced.
            Err(e) if is_beyond_us(&e) => break,
            synced => synced.map_err(|e| fail(above, "cannot be synced", &e))?,
        }
    }
    Ok(())
}

fn is_beyond_us(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported)
}

/// What commits a part, relative to the sink's directory so that a savepoint can be moved.
#[derive(Serialize, Deserialize)]
struct Part {
    pending: String,
    committed: String,
    length: u64,
}

struct Open {
    path: PathBuf,
    file: File,
    length: u64,
}

struct Writer {
    directory: PathBuf,
    settings: Settings,
    format: Format,
    prefix: String,
    attempt: u32,
    opened: u64,
    open: Option<Open>,
    /// Parts that were full before the barrier, durable.
    closed: Vec<(PathBuf, u64)>,
    buffer: Vec<u8>,
}

impl Writer {
    fn open(&mut self) -> Result<&mut Open, TaskError> {
        if self.open.is_none() {
            let name = format!(".{}-{}-{}.inprogress", self.prefix, self.attempt, self.opened);
            let path = self.directory.join(name);
            let file = File::create(&path).map_err(|e| fail(&path, "cannot be made", &e))?;
            self.opened += 1;
            self.open = Some(Open {
                path,
                file,
                length: 0,
            });
        }
        self.open
            .as_mut()
            .ok_or_else(|| TaskError::host("files: no part is open"))
    }

    /// Of formats whose records are lines of a file: makes a record one, or refuses it.
    fn one_line(&self, record: &mut [u8]) -> Result<(), TaskError> {
        match self.format {
            // Between the tokens of JSON a line end is a space like others, and within them there is none.
            Format::Json => {
                while let Some(at) = memchr::memchr2(b'\n', b'\r', record) {
                    record[at] = b' ';
                }
            }
            Format::Lines if memchr::memchr(b'\n', record).is_some() => {
                let record: String = String::from_utf8_lossy(record).chars().take(200).collect();
                let message =
                    "files: a record of format `lines` contains a line end; use `raw` if that is meant";
                return Err(TaskError::user(format!("{message}; record {record:?}")));
            }
            Format::Lines | Format::Raw | Format::Csv => {}
        }
        Ok(())
    }

    /// Makes the open part durable.
    fn close(&mut self) -> Result<(), TaskError> {
        if let Some(open) = self.open.take() {
            open.file
                .sync_all()
                .map_err(|e| fail(&open.path, "cannot be synced: is the disk full?", &e))?;
            self.closed.push((open.path, open.length));
        }
        Ok(())
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for row in batch {
            let start = buffer.len();
            buffer.extend_from_slice(row.value());
            self.one_line(&mut buffer[start..])?;
            buffer.push(b'\n');
        }
        let open = self.open()?;
        open.file
            .write_all(&buffer)
            .map_err(|e| fail(&open.path, "cannot be written: is the disk full?", &e))?;
        open.length += buffer.len() as u64;
        let full = open.length >= self.settings.part_bytes_max;
        self.buffer = buffer;
        if full { self.close() } else { Ok(()) }
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        self.close()?;
        let mut committables = Vec::with_capacity(self.closed.len());
        for (number, (path, length)) in std::mem::take(&mut self.closed).into_iter().enumerate() {
            let pending = format!(".{}-{checkpoint}-{number}.pending", self.prefix);
            let target = self.directory.join(&pending);
            fs::rename(&path, &target).map_err(|e| fail(&path, "cannot be renamed", &e))?;
            let committed = format!("{}-{checkpoint}-{number}{}", self.prefix, self.settings.suffix);
            let bytes = serde_json::to_vec(&Part {
                pending,
                committed,
                length,
            });
            committables.push((
                VERSION,
                bytes.map_err(|e| TaskError::host(format!("files: committable: {e}")))?,
            ));
        }
        if !committables.is_empty() {
            sync_directory(&self.directory)?;
        }
        Ok(committables)
    }

    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError> {
        commit(&self.directory, committable)
    }
}

/// Makes a part visible. Renaming is atomic, so a reader sees all of it or nothing.
fn commit(directory: &Path, committable: &Committable) -> Result<Commit, TaskError> {
    if committable.version != VERSION {
        return Err(TaskError::host(format!(
            "files: a committable has version {}, this host knows {VERSION}: use the host that wrote it or a newer one",
            committable.version
        ))
        .for_good());
    }
    let part: Part = serde_json::from_slice(&committable.bytes)
        .map_err(|e| TaskError::host(format!("files: a committable cannot be read: {e}")).for_good())?;
    if [&part.pending, &part.committed]
        .iter()
        .any(|name| name.contains('/') || name.is_empty())
    {
        return Err(
            TaskError::host("files: a committable names a file outside the sink's directory").for_good(),
        );
    }
    let (pending, committed) = (directory.join(&part.pending), directory.join(&part.committed));
    let retry = |path: &Path, e: io::Error| {
        Ok(Commit::Retry(format!(
            "files: {} cannot be looked at: {e}",
            path.display()
        )))
    };
    match fs::metadata(&pending) {
        Ok(metadata) if metadata.len() != part.length => Ok(Commit::Lost(format!(
            "files: {} has {} bytes but {} were pre-committed: it was changed or damaged since",
            pending.display(),
            metadata.len(),
            part.length
        ))),
        Ok(_) => {
            fs::rename(&pending, &committed).map_err(|e| fail(&pending, "cannot be committed", &e))?;
            sync_directory(directory)?;
            Ok(Commit::Committed)
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => retry(&pending, e),
        Err(_) => match committed.try_exists() {
            Ok(true) => {
                // The crash that made this a second time may have come before the directory was durable.
                sync_directory(directory)?;
                Ok(Commit::Already)
            }
            Ok(false) => Ok(Commit::Lost(format!(
                "files: neither {} nor {} exists: the results of checkpoint {} that they held were removed by someone else",
                pending.display(),
                committed.display(),
                committable.checkpoint
            ))),
            Err(e) => retry(&committed, e),
        },
    }
}

fn sync_directory(directory: &Path) -> Result<(), TaskError> {
    let synced = File::open(directory).and_then(|d| d.sync_all());
    synced.map_err(|e| fail(directory, "cannot be synced", &e))
}

fn fail(path: &Path, what: &str, error: &io::Error) -> TaskError {
    TaskError::external(format!("files: {} {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::row::RowHeader;

    use super::*;
    use crate::shard::tests::runtime;

    fn batch(values: &[&str]) -> Batch {
        let mut builder = BatchBuilder::default();
        for value in values {
            builder.push(RowHeader::element(None), b"", value.as_bytes(), b"");
        }
        builder.finish()
    }

    fn visible(directory: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                lines.extend(
                    fs::read_to_string(entry.path())
                        .unwrap()
                        .lines()
                        .map(str::to_owned),
                );
            }
        }
        lines.sort();
        lines
    }

    fn hidden(directory: &Path) -> usize {
        let names = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().starts_with('.')).count()
    }

    fn committable((version, bytes): (u32, Vec<u8>), checkpoint: u64) -> Committable {
        Committable {
            sink: OperatorUid::new("op"),
            checkpoint: CheckpointId(checkpoint),
            version,
            bytes,
        }
    }

    fn recovery(committables: Vec<Committable>) -> SinkRecovery {
        SinkRecovery {
            job_id: JobId(7),
            operator: OperatorUid::new("op"),
            committables,
            restored: None,
        }
    }

    #[test]
    fn records_are_seen_only_after_their_commit() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string(), "part-bytes-max": 4});
        let sink = sink(&config, Format::Lines).unwrap();
        let mut writer = sink.writer(&runtime(0, 1)).unwrap();
        writer.write(&batch(&["one"])).unwrap();
        writer.write(&batch(&["two", "three"])).unwrap();
        assert!(visible(directory.path()).is_empty());
        let prepared = writer.prepare_commit(CheckpointId(1)).unwrap();
        assert_eq!(prepared.len(), 2);
        assert!(visible(directory.path()).is_empty());
        for part in prepared {
            assert_eq!(
                writer.commit(&committable(part.clone(), 1)).unwrap(),
                Commit::Committed
            );
            assert_eq!(writer.commit(&committable(part, 1)).unwrap(), Commit::Already);
        }
        assert_eq!(visible(directory.path()), ["one", "three", "two"]);
        assert_eq!(hidden(directory.path()), 0);
    }

    #[test]
    fn a_record_of_json_becomes_one_line_whatever_it_looks_like() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        let sink = sink(&config, Format::Json).unwrap();
        let mut writer = sink.writer(&runtime(0, 1)).unwrap();
        writer
            .write(&batch(&["{\n  \"a\": \"x\\ny\",\r\n  \"b\": 1\n}", "2"]))
            .unwrap();
        let prepared = writer.prepare_commit(CheckpointId(1)).unwrap().remove(0);
        writer.commit(&committable(prepared, 1)).unwrap();
        let lines = visible(directory.path());
        let records: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            records,
            [serde_json::json!(2), serde_json::json!({"a": "x\ny", "b": 1})]
        );
    }

    #[test]
    fn recovery_commits_what_the_checkpoint_holds_and_removes_the_rest_of_this_sink_alone() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        let sink = sink(&config, Format::Lines).unwrap();
        let mut writer = sink.writer(&runtime(0, 1)).unwrap();
        writer.write(&batch(&["kept"])).unwrap();
        let kept = writer.prepare_commit(CheckpointId(1)).unwrap().remove(0);
        writer
            .write(&batch(&["pending of a checkpoint that failed"]))
            .unwrap();
        writer.prepare_commit(CheckpointId(2)).unwrap();
        writer.write(&batch(&["in progress"])).unwrap();
        fs::write(
            directory.path().join(".part-00000000-0-0-0.inprogress"),
            "another job's",
        )
        .unwrap();
        sink.recover(&recovery(vec![committable(kept.clone(), 1)]))
            .unwrap();
        assert_eq!(visible(directory.path()), ["kept"]);
        assert_eq!(hidden(directory.path()), 1);
        sink.recover(&recovery(vec![committable(kept, 1)])).unwrap();
        assert_eq!(visible(directory.path()), ["kept"]);
    }

    #[test]
    fn a_part_that_vanished_or_changed_is_reported_as_lost() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        let sink = sink(&config, Format::Lines).unwrap();
        let mut writer = sink.writer(&runtime(0, 1)).unwrap();
        writer.write(&batch(&["x"])).unwrap();
        let part = writer.prepare_commit(CheckpointId(3)).unwrap().remove(0);
        let pending = fs::read_dir(directory.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::write(&pending, "longer than before").unwrap();
        assert!(
            matches!(writer.commit(&committable(part.clone(), 3)).unwrap(), Commit::Lost(why) if why.contains("2 were"))
        );
        fs::remove_file(pending).unwrap();
        let error = sink
            .recover(&recovery(vec![committable(part, 3)]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("checkpoint 3") && error.contains("removed"),
            "{error}"
        );
    }

    #[test]
    fn recovery_fails_and_keeps_a_part_that_cannot_be_looked_at_now() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        let sink = sink(&config, Format::Lines).unwrap();
        let mut writer = sink.writer(&runtime(0, 1)).unwrap();
        writer.write(&batch(&["x"])).unwrap();
        let part = writer.prepare_commit(CheckpointId(1)).unwrap().remove(0);
        let names: Part = serde_json::from_slice(&part.1).unwrap();
        let pending = directory.path().join(&names.pending);
        let aside = directory.path().join("aside");
        // A link to itself: neither there nor missing, as on a disk that does not answer.
        fs::rename(&pending, &aside).unwrap();
        std::os::unix::fs::symlink(&pending, &pending).unwrap();
        let error = sink
            .recover(&recovery(vec![committable(part.clone(), 1)]))
            .unwrap_err();
        assert!(!error.for_good, "it is tried again: {error}");
        assert!(pending.is_symlink(), "the part of a committable was removed");
        fs::rename(&aside, &pending).unwrap();
        sink.recover(&recovery(vec![committable(part.clone(), 1)]))
            .unwrap();
        assert_eq!(visible(directory.path()), ["x"]);
        // What may have been committed is not called lost because it cannot be looked at.
        let committed = directory.path().join(&names.committed);
        fs::remove_file(&committed).unwrap();
        std::os::unix::fs::symlink(&committed, &committed).unwrap();
        let looked = writer.commit(&committable(part, 1)).unwrap();
        assert!(matches!(looked, Commit::Retry(_)), "{looked:?}");
    }

    #[test]
    fn a_line_end_within_a_line_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"path": directory.path().display().to_string()});
        let mut writer = sink(&config, Format::Lines)
            .unwrap()
            .writer(&runtime(0, 1))
            .unwrap();
        let error = writer.write(&batch(&["a\nb"])).unwrap_err().to_string();
        assert!(error.contains("contains a line end"), "{error}");
    }
}
