//! Where the keyed state of this host's jobs is.
//!
//! Invariant: RocksDB takes memory and a directory only once a job asks for it, and all jobs share both.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmill_model::id::JobId;
use wasmill_rocksdb::RocksHost;
use wasmill_state::backend::{KeyedStateBackend, StateError};
use wasmill_state::backends::{MemoryBackends, NativeReader, Place, StateBackends};
use wasmill_state::native::NativeState;
use wasmill_state::timers::TimerQueue;

use crate::job::file::StateBackend;

/// The backends of a host.
pub struct Backends(Arc<Rocksdb>);

/// RocksDB, from when it is first asked for.
struct Rocksdb {
    settings: wasmill_rocksdb::Settings,
    opened: Mutex<Option<Arc<RocksHost>>>,
}

impl Rocksdb {
    fn host(&self) -> Result<Arc<RocksHost>, String> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*opened {
            return Ok(Arc::clone(host));
        }
        let host = RocksHost::open(self.settings.clone())?;
        *opened = Some(Arc::clone(&host));
        Ok(host)
    }
}

/// Reads RocksDB's files for a job whose state is elsewhere.
struct Reader {
    rocksdb: Arc<Rocksdb>,
    job: JobId,
}

impl NativeReader for Reader {
    fn read_native(
        &self,
        place: Place<'_>,
        native: &mut NativeState<'_>,
        backend: &mut dyn KeyedStateBackend,
        timers: &mut TimerQueue,
    ) -> Result<(), StateError> {
        let host = self.rocksdb.host().map_err(io::Error::other)?;
        host.backends_of(self.job.to_string())
            .read_native(place, native, backend, timers)
    }
}

impl Backends {
    /// Those of a host that tells RocksDB this.
    pub fn new(settings: wasmill_rocksdb::Settings) -> Self {
        Self(Arc::new(Rocksdb {
            settings,
            opened: Mutex::new(None),
        }))
    }

    /// Waits until what jobs had open is closed; false where something is open after that time.
    pub fn wait_until_closed(&self, limit: Duration) -> bool {
        let opened = self
            .0
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        opened.is_none_or(|rocksdb| rocksdb.wait_until_closed(limit))
    }

    /// The backends of a job, by the name in its settings. The error says what is wrong with the name, or with the
    /// local directory.
    pub fn of(&self, name: &str, job: JobId) -> Result<Arc<dyn StateBackends>, String> {
        match StateBackend::named(name) {
            Some(StateBackend::Memory) => {
                let rocksdb = Arc::clone(&self.0);
                Ok(Arc::new(MemoryBackends::reading(Arc::new(Reader {
                    rocksdb,
                    job,
                }))))
            }
            Some(StateBackend::Rocksdb) => Ok(self.0.host()?.backends_of(job.to_string())),
            None => Err(format!(
                "the job's state backend `{}` is not known here: submit the job again with `state-backend: memory` or \
                 `rocksdb`",
                name.escape_debug()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_known_or_has_no_directory_is_an_error_that_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("rocksdb");
        let backends = Backends::new(wasmill_rocksdb::Settings::new(below.clone()));
        assert!(backends.of("memory", JobId(1)).is_ok() && backends.of("hashmap", JobId(1)).is_ok());
        let error = backends.of("tape", JobId(1)).err().unwrap();
        assert!(error.contains("`tape` is not known here"), "{error}");
        let error = backends.of("rocksdb", JobId(1)).err().unwrap();
        assert!(
            error.contains("rocksdb-localdir") && error.contains(&*below.to_string_lossy()),
            "{error}"
        );
    }
}
