//! The threads on which `object_store` works: calls of storage block, from whatever thread they come.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

/// Threads that drive requests.
const WORKERS: usize = 2;

/// Threads for file system calls.
const BLOCKING_THREADS_MAX: usize = 16;

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

fn runtime() -> io::Result<&'static Runtime> {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("checkpoint-io")
            .enable_all()
            .build()
            .map_err(|e| e.to_string())
    });
    runtime
        .as_ref()
        .map_err(|e| io::Error::other(format!("threads for checkpoint storage cannot start: {e}")))
}

/// Work under way on those threads.
pub(super) struct Task<T>(mpsc::Receiver<T>);

impl<T: Send + 'static> Task<T> {
    /// Starts it.
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> io::Result<Self> {
        let (answer, task) = mpsc::sync_channel(1);
        runtime()?.spawn(async move {
            // Nobody may wait any more: then nobody needs the answer.
            let _ = answer.send(work.await);
        });
        Ok(Self(task))
    }

    /// Blocks until it is done. Not `block_on`, which would panic on a thread of another runtime.
    pub(super) fn wait(self) -> io::Result<T> {
        self.0
            .recv()
            .map_err(|_| io::Error::other("the storage thread has gone: this is a bug of the host"))
    }
}
