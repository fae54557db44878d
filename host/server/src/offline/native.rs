//! Entries that lie in files of a backend, put into the canonical format for those who read it.
//!
//! They go through a database in a scratch directory, so that state may be larger than memory.

use std::sync::Arc;

use wasmill_checkpoint::handle::{Data, KeyedHandle, NativeState as Stored};
use wasmill_checkpoint::restore::StoredNative;
use wasmill_checkpoint::storage::{CheckpointStorage, StorageSettings};
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_state::backend::{StateError, StateId, StateSnapshot};
use wasmill_state::backends::{Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::native::NativeState;
use wasmill_state::timers::TimerQueue;

use super::OfflineError;
use super::read::Savepoint;
use crate::cli::run::Scratch;
use crate::host::state::Backends;
use crate::job::file::StateBackend;

/// A canonical file in a directory that goes with it.
pub(super) struct Canonical {
    pub(super) storage: Arc<dyn CheckpointStorage>,
    pub(super) data: Data,
    _scratch: Scratch,
}

impl Savepoint {
    /// The entries of one subtask that lie in files of a backend.
    pub(super) fn canonical(
        &self,
        operator: &OperatorUid,
        subtask: u32,
        keyed: &KeyedHandle,
        stored: &Stored,
    ) -> Result<Canonical, OfflineError> {
        let scratch = Scratch::new().map_err(|error| self.failed(error))?;
        let local = wasmill_rocksdb::Settings::new(scratch.path().join("rocksdb"));
        let backends = Backends::new(local)
            .of(StateBackend::Rocksdb.name(), JobId(0))
            .map_err(|error| self.failed(error))?;
        let numbers: Vec<_> = stored.numbers.iter().map(|number| StateId(*number)).collect();
        let mut files = StoredNative {
            storage: &self.storage,
            directory: &self.restored.directory,
            files: &stored.files,
        };
        let mut native = NativeState {
            format: &stored.format,
            range: keyed.range,
            states: &keyed.states,
            numbers: &numbers,
            files: &mut files,
        };
        let place = Place {
            operator,
            subtask,
            attempt: 0,
        };
        let snapshot = self
            .put_together(&*backends, place, &mut native)
            .map_err(|error| self.failed(error))?;
        let directory = scratch.path().join("canonical").display().to_string();
        let storage = wasmill_checkpoint::storage::open(&directory, &StorageSettings::default())
            .map_err(|error| self.failed(error))?;
        let mut snapshot = Some(snapshot);
        let written = storage.write("entries", &mut |out| match snapshot.take() {
            Some(snapshot) => snapshot.write(out).map_err(std::io::Error::other),
            None => Err(std::io::Error::other("a snapshot is written once")),
        });
        let written = written.map_err(|error| self.failed(error))?;
        let data = Data::File {
            name: "entries".to_owned(),
            length: written.length,
            crc32c: written.crc32c,
        };
        Ok(Canonical {
            storage,
            data,
            _scratch: scratch,
        })
    }

    fn put_together(
        &self,
        backends: &dyn StateBackends,
        place: Place<'_>,
        native: &mut NativeState<'_>,
    ) -> Result<Box<dyn StateSnapshot>, StateError> {
        let manifest = &self.restored.manifest;
        let (range, max_parallelism) = (native.range, manifest.max_parallelism);
        let mut timers = TimerQueue::default();
        let adopted = backends.adopt(place, max_parallelism, native, &mut timers)?;
        let mut backend = match adopted {
            Some(backend) => backend,
            None => {
                let mut backend = backends.open(place, range, max_parallelism);
                backends.read_native(place, native, &mut *backend, &mut timers)?;
                backend
            }
        };
        keyed::freeze(&mut *backend, &timers, manifest.checkpoint)
    }
}
