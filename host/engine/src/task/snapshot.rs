//! Writes a subtask's part of a checkpoint, beside the running task, and reports it (C1).
//!
//! Invariant: the task hands over frozen views only; whatever happens to the write, the coordinator gets
//! one acknowledgement or one decline.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use wasmill_checkpoint::handle::{
    Data, INLINE_BYTES_MAX, KeyedHandle, NativeState, OperatorState, SubtaskState,
};
use wasmill_checkpoint::in_flight::{self, InFlight};
use wasmill_checkpoint::layout;
use wasmill_checkpoint::stats::SubtaskReport;
use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_model::element::StateFormat;
use wasmill_model::function::StateDeclaration;
use wasmill_model::id::{CheckpointId, JobId, OperatorUid, SubtaskId};
use wasmill_model::key::KeyGroupRange;
use wasmill_state::backend::StateSnapshot;
use wasmill_state::native::NativeSnapshot;

use super::files::{NativeFiles, StoredFiles};
use super::mailbox::{Reporter, TaskEvent};
use crate::clock::Clock;
use crate::executor::Executor;
use crate::lock::lock;
use crate::pause_points;

/// State that is probably smaller is written to memory first: it may fit into the manifest.
pub(crate) const BUFFERED_BYTES_MAX: u64 = 256 * 1024;

/// Savepoints whose directories are known: more than can be under way, for late results.
const SAVEPOINTS_KNOWN_MAX: usize = 64;

/// Where the files of each checkpoint go.
pub(crate) struct CheckpointFiles {
    job: JobId,
    storage: Arc<dyn CheckpointStorage>,
    savepoints: Mutex<BTreeMap<CheckpointId, Location>>,
}

/// A checkpoint's directory.
#[derive(Clone)]
pub(crate) struct Location {
    pub(crate) storage: Arc<dyn CheckpointStorage>,
    pub(crate) directory: String,
}

impl Location {
    /// For people.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.storage.url().trim_end_matches('/'), self.directory)
    }
}

impl CheckpointFiles {
    pub(crate) fn new(job: JobId, storage: Arc<dyn CheckpointStorage>) -> Self {
        Self {
            job,
            storage,
            savepoints: Mutex::default(),
        }
    }

    /// Before a savepoint is triggered: where it goes.
    pub(crate) fn set_savepoint(&self, checkpoint: CheckpointId, location: Location) {
        let mut savepoints = lock(&self.savepoints);
        savepoints.insert(checkpoint, location);
        while savepoints.len() > SAVEPOINTS_KNOWN_MAX {
            savepoints.pop_first();
        }
    }

    /// The directory of a checkpoint or savepoint.
    pub(crate) fn location(&self, checkpoint: CheckpointId) -> Location {
        let savepoint = lock(&self.savepoints).get(&checkpoint).cloned();
        savepoint.unwrap_or_else(|| Location {
            storage: self.storage.clone(),
            directory: layout::checkpoint_directory(self.job, checkpoint),
        })
    }
}

/// What one operator adds to a snapshot.
pub(crate) struct Part {
    pub(crate) uid: OperatorUid,
    /// Its place in the chain.
    pub(crate) place: usize,
    pub(crate) state: OperatorState,
    pub(crate) keyed: Option<FrozenKeyed>,
    /// Before and behind it.
    pub(crate) in_flight: Vec<InFlight>,
}

/// What is known of a subtask's snapshot when it is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// From the trigger to the first barrier.
    pub(crate) start_delay_ms: u64,
    /// From the first barrier to the last.
    pub(crate) alignment_ms: u64,
    /// Read meanwhile.
    pub(crate) processed_bytes: u64,
    /// In which the task did nothing else.
    pub(crate) sync_ms: u64,
    /// Whether the barrier overtook records.
    pub(crate) unaligned: bool,
}

/// Keyed state and timers of one operator, frozen.
pub(crate) struct FrozenKeyed {
    pub(crate) range: KeyGroupRange,
    pub(crate) states: Vec<StateDeclaration>,
    pub(crate) snapshot: Box<dyn StateSnapshot>,
    /// Bytes that it will probably take.
    pub(crate) bytes_estimate: u64,
    /// Entries as files of their backend; then `snapshot` holds timers alone.
    pub(crate) native: Option<FrozenNative>,
}

/// Files of a backend, frozen.
pub(crate) struct FrozenNative {
    pub(crate) files: NativeSnapshot,
    /// Whether other checkpoints may name them, and of which one files may be named again.
    pub(crate) format: StateFormat,
}

/// Writes the snapshots of one subtask.
pub(crate) struct SnapshotWriter {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) files: Arc<CheckpointFiles>,
    pub(crate) reporter: Reporter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) epoch: u64,
    pub(crate) stored: Arc<StoredFiles>,
}

impl SnapshotWriter {
    /// Reports at once where nothing is to be written, else after a blocking job.
    pub(crate) fn start(&self, checkpoint: CheckpointId, parts: Vec<Part>, taken: Taken) {
        let writer = layout::Writer {
            epoch: self.epoch,
            attempt: self.reporter.attempt,
        };
        let subtask = self.reporter.subtask;
        let (files, stored) = (self.files.clone(), self.stored.clone());
        let reporter = self.reporter.clone();
        let is_quick = parts
            .iter()
            .all(|part| part.keyed.is_none() && part.in_flight.is_empty());
        let (clock, started) = (self.clock.clone(), self.clock.monotonic_ns());
        let work = move || {
            let written = catch_unwind(AssertUnwindSafe(|| {
                let one = One {
                    location: files.location(checkpoint),
                    checkpoint,
                    writer,
                    subtask,
                    stored: &stored,
                };
                one.write(parts)
            }));
            pause_points::hit("snapshot-written");
            reporter.send(match written {
                Ok(Ok((state, bytes))) => TaskEvent::Acknowledged {
                    checkpoint,
                    report: SubtaskReport {
                        size: bytes.written,
                        state_size: state.bytes(),
                        start_delay_ms: taken.start_delay_ms,
                        alignment_ms: taken.alignment_ms,
                        sync_ms: taken.sync_ms,
                        async_ms: clock.monotonic_ns().saturating_sub(started) / 1_000_000,
                        processed_bytes: taken.processed_bytes,
                        persisted_bytes: bytes.in_flight,
                        unaligned: taken.unaligned,
                    },
                    state,
                },
                Ok(Err(reason)) => TaskEvent::Declined { checkpoint, reason },
                Err(_) => TaskEvent::Declined {
                    checkpoint,
                    reason: "writing the snapshot panicked: a fault of the host".to_owned(),
                },
            });
        };
        if is_quick {
            work();
        } else {
            self.executor
                .blocking(format!("snapshot {checkpoint} {subtask}"), Box::new(work));
        }
    }
}

/// What a part of a checkpoint took.
#[derive(Default)]
struct Bytes {
    written: u64,
    /// Of these, records in flight.
    in_flight: u64,
}

/// One checkpoint of one subtask.
struct One<'a> {
    location: Location,
    checkpoint: CheckpointId,
    writer: layout::Writer,
    subtask: SubtaskId,
    stored: &'a StoredFiles,
}

impl One<'_> {
    fn write(&self, parts: Vec<Part>) -> Result<(SubtaskState, Bytes), String> {
        let (location, writer, subtask) = (&self.location, self.writer, self.subtask);
        let mut subtask_state = SubtaskState::default();
        let mut bytes = Bytes::default();
        for part in parts {
            let mut state = part.state;
            bytes.written += state.small_bytes();
            if !part.in_flight.is_empty() {
                let file = layout::in_flight_file_name(writer, subtask, part.place);
                let (data, length) = write_in_flight(location, file, &part.in_flight)
                    .map_err(|reason| format!("records in flight at `{}`: {reason}", part.uid))?;
                bytes.written += length;
                bytes.in_flight += length;
                state.in_flight = Some(data);
            }
            if let Some(keyed) = part.keyed {
                let (keyed, length) = self
                    .write_keyed(part.place, keyed)
                    .map_err(|reason| format!("operator `{}`: {reason}", part.uid))?;
                bytes.written += length;
                state.keyed = Some(keyed);
            }
            if state != OperatorState::default() {
                subtask_state.operators.insert(part.uid, state);
            }
        }
        Ok((subtask_state, bytes))
    }

    fn write_keyed(&self, place: usize, keyed: FrozenKeyed) -> Result<(KeyedHandle, u64), String> {
        let file = layout::data_file_name(self.writer, self.subtask, place);
        let (data, mut length) = write_keyed(&self.location, file, keyed.snapshot, keyed.bytes_estimate)?;
        let mut handle = KeyedHandle {
            range: keyed.range,
            states: keyed.states,
            data,
            native: None,
        };
        if let Some(FrozenNative { files, format }) = keyed.native {
            let base = match format {
                StateFormat::Incremental { base } => Some(base),
                StateFormat::Canonical | StateFormat::Native => None,
            };
            let NativeSnapshot {
                format,
                states,
                files,
                ..
            } = files;
            let known = base.map(|base| self.stored.of(place, base));
            let mut sink = NativeFiles::new(&self.location, known, |number| {
                layout::shared_file_name(self.writer, self.subtask, place, self.checkpoint, number)
            });
            files.write(&mut sink).map_err(|error| error.to_string())?;
            length += sink.bytes();
            let files = sink.finish();
            if let Some(base) = base {
                self.stored.keep(place, self.checkpoint, base, files.clone());
            }
            let (numbers, declarations) = states.into_iter().map(|(id, state)| (id.0, state)).unzip();
            handle.states = declarations;
            handle.native = Some(NativeState {
                format: format.to_owned(),
                numbers,
                files,
            });
        }
        Ok((handle, length))
    }
}

fn write_in_flight(location: &Location, file: String, all: &[InFlight]) -> Result<(Data, u64), String> {
    let bytes = in_flight::encode(all);
    let length = bytes.len() as u64;
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok((Data::Inline(bytes), length));
    }
    let path = format!("{}/{file}", location.directory);
    let written = location.storage.write(&path, &mut |out| out.write_all(&bytes));
    let written = written.map_err(|error| error.to_string())?;
    let data = Data::File {
        name: file,
        length: written.length,
        crc32c: written.crc32c,
    };
    Ok((data, length))
}

fn write_keyed(
    location: &Location,
    file: String,
    snapshot: Box<dyn StateSnapshot>,
    bytes_estimate: u64,
) -> Result<(Data, u64), String> {
    let path = format!("{}/{file}", location.directory);
    let mut snapshot = Some(snapshot);
    let mut buffered = None;
    if bytes_estimate <= BUFFERED_BYTES_MAX
        && let Some(snapshot) = snapshot.take()
    {
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() <= INLINE_BYTES_MAX {
            let length = bytes.len() as u64;
            return Ok((Data::Inline(bytes), length));
        }
        buffered = Some(bytes);
    }
    let written = location
        .storage
        .write(&path, &mut |out| match (&buffered, snapshot.take()) {
            (Some(bytes), _) => out.write_all(bytes),
            (None, Some(snapshot)) => snapshot.write(out).map_err(std::io::Error::other),
            // A view is consumed by its write: the coordinator takes another checkpoint instead.
            (None, None) => Err(std::io::Error::other(
                "the storage asked twice for a snapshot's bytes",
            )),
        });
    let written = written.map_err(|error| error.to_string())?;
    let data = Data::File {
        name: file,
        length: written.length,
        crc32c: written.crc32c,
    };
    Ok((data, written.length))
}
