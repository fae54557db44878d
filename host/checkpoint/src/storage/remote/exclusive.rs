//! Creates a file that only one can create, on a store that may lose its answers.
//!
//! `object_store` would make a request again whose answer was lost, and then take its own file for somebody
//! else's. So requests are made once, and what comes after an unknown outcome is looked at here.
//! Invariant: "created" is said only of a file that this call has created, "exists" of one that was or
//! may have been there before.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

/// The first pause before a request is made again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How an error of `object_store` begins to tell the status of an answer; it has no other way.
const STATUS: &str = "non-2xx status code: ";

/// Creates files of one store.
#[derive(Clone)]
pub(in super::super) struct Exclusive {
    /// Makes each request once.
    store: Arc<dyn ObjectStore>,
    retries_max: u32,
    timeout: Duration,
    /// Whether the server was seen to refuse what is there.
    is_proven: Arc<AtomicBool>,
}

/// Whether an attempt was made.
enum Attempt {
    Created,
    Exists(Error),
    /// It was not, or the server says that it did nothing.
    NotDone(Error),
    /// The answer is lost.
    Unknown(Error),
    Refused(Error),
}

impl Exclusive {
    pub(super) fn new(store: Arc<dyn ObjectStore>, retries_max: u32, timeout: Duration) -> Self {
        Self {
            store,
            retries_max,
            timeout,
            is_proven: Arc::default(),
        }
    }

    /// Creates a file.
    pub(in super::super) async fn create(self, path: Path, content: Bytes) -> object_store::Result<()> {
        let begun = Instant::now();
        let (mut pause, mut retries, mut is_unknown) = (PAUSE_FIRST, 0, false);
        loop {
            let error = match self.attempt(&path, &content).await {
                Attempt::Created => return self.prove(&path, &content).await,
                Attempt::Exists(error) => {
                    // It may be ours, of the attempt whose answer is lost; but an empty file could be anybody's.
                    let may_be_ours = is_unknown && !content.is_empty();
                    return match may_be_ours && self.holds(&path, &content).await? {
                        true => Ok(()),
                        false => Err(error),
                    };
                }
                Attempt::Refused(error) => return Err(error),
                Attempt::NotDone(error) => error,
                Attempt::Unknown(error) => {
                    is_unknown = true;
                    error
                }
            };
            if retries == self.retries_max || begun.elapsed() + pause > self.timeout {
                return Err(error);
            }
            tracing::info!(file = %path, %error, "creating a file failed and is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            retries += 1;
        }
    }

    async fn attempt(&self, path: &Path, content: &Bytes) -> Attempt {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(content.clone());
        match self.store.put_opts(path, payload, options).await {
            Ok(_) => Attempt::Created,
            Err(error @ Error::AlreadyExists { .. }) => Attempt::Exists(error),
            Err(error) => match (transport(&error), status(&error)) {
                (Some(HttpErrorKind::Connect | HttpErrorKind::Request), _) | (_, Some(429 | 503)) => {
                    Attempt::NotDone(error)
                }
                (Some(_), _) | (_, Some(408 | 500 | 502 | 504)) => Attempt::Unknown(error),
                (_, Some(501)) => Attempt::Refused(without_conditions(path, Some(error))),
                _ => Attempt::Refused(error),
            },
        }
    }

    async fn holds(&self, path: &Path, content: &Bytes) -> object_store::Result<bool> {
        let found = self.store.get(path).await?.bytes().await?;
        Ok(found == content)
    }

    /// There are servers that do not know the condition and replace what is there: the first file that was created
    /// is created once more, which must be refused.
    async fn prove(&self, path: &Path, content: &Bytes) -> object_store::Result<()> {
        if self.is_proven.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.attempt(path, content).await {
            Attempt::Exists(_) => {
                self.is_proven.store(true, Ordering::Relaxed);
                Ok(())
            }
            Attempt::Created => {
                // It was replaced by the same content, so it is ours to take back.
                self.store.delete(path).await?;
                Err(without_conditions(path, None))
            }
            // It is created; the next file shows.
            Attempt::NotDone(_) | Attempt::Unknown(_) | Attempt::Refused(_) => Ok(()),
        }
    }
}

fn without_conditions(path: &Path, error: Option<Error>) -> Error {
    let answer = error.map(|error| format!(" ({error})")).unwrap_or_default();
    Error::NotSupported {
        source: format!(
            "the server does not support conditional writes (`If-None-Match: *`), without which two hosts could run one \
             job and both write `{path}`{answer}: use a server that does, or a `file:` directory"
        )
        .into(),
    }
}

/// Whether the server did not answer at all.
pub(in super::super) fn is_unanswered(error: &Error) -> bool {
    transport(error).is_some()
}

fn transport(error: &Error) -> Option<HttpErrorKind> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(http) = inner.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = inner.source();
    }
    None
}

fn status(error: &Error) -> Option<u16> {
    let text = error.to_string();
    let (_, after) = text.split_once(STATUS)?;
    after.get(..3)?.parse().ok()
}
