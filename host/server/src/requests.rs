//! Performs the requests of async functions over HTTP (G14), as far as a job grants them.
//!
//! | module | holds |
//! |---|---|
//! | `grant` | which hosts a job allows, what it adds to requests, and limits; pure |
//! | `resolver` | from names to addresses, without those that only an address may name |
//! | `exchange` | one request, with its redirects |
//!
//! Invariant: nothing but an allowed host is connected to, whatever a name resolves to and wherever an answer redirects;
//! headers that the job adds go to allowed hosts of the first request's origin alone and appear in no log and no error.
//! Requests run on one thread of their own, and no more of them than the capacities of async operators let be.

mod exchange;
mod grant;
mod resolver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use wasmill_engine::asynchronous::{Answer, RequestClient, RequestClients, UnderWay};
use wasmill_model::function::GRANT_HTTP;

use exchange::Exchange;
use grant::HttpGrant;

/// Makes clients; they share a thread while any of them lives.
#[derive(Default)]
pub struct HttpClients {
    runtime: Mutex<Weak<Runtime>>,
}

impl HttpClients {
    fn runtime(&self) -> Result<Arc<Runtime>, String> {
        let mut known = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = known.upgrade() {
            return Ok(runtime);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("requests")
            .enable_all()
            .build()
            .map_err(|error| format!("the thread that performs requests cannot be started: {error}"))?;
        let runtime = Arc::new(runtime);
        *known = Arc::downgrade(&runtime);
        Ok(runtime)
    }
}

/// Whether `grants` hold settings that a client can be made of; the error names the setting.
pub fn check(grants: &BTreeMap<String, Value>) -> Result<(), String> {
    grants.iter().try_for_each(|(name, grant)| match name.as_str() {
        GRANT_HTTP => HttpGrant::parse(grant).map(drop),
        other => Err(format!(
            "`{}` is no grant of this host; there is: {GRANT_HTTP}",
            other.escape_debug()
        )),
    })
}

impl RequestClients for HttpClients {
    fn client(&self, grants: &BTreeMap<String, Value>) -> Result<Arc<dyn RequestClient>, String> {
        check(grants)?;
        let grant = grants.get(GRANT_HTTP).ok_or("nothing is granted")?;
        let runtime = self.runtime()?;
        let grant = HttpGrant::parse(grant)?;
        let _entered = runtime.enter();
        let exchange = Arc::new(Exchange::new(grant)?);
        Ok(Arc::new(HttpClient {
            exchange,
            runtime: Some(runtime),
        }))
    }
}

/// Of one operator.
struct HttpClient {
    exchange: Arc<Exchange>,
    /// Taken by the end.
    runtime: Option<Arc<Runtime>>,
}

impl RequestClient for HttpClient {
    fn perform(&self, request: Bytes, answer: Answer) -> UnderWay {
        let exchange = self.exchange.clone();
        let Some(runtime) = &self.runtime else {
            return UnderWay::default();
        };
        let task = runtime.spawn(async move { answer(exchange.perform(request).await) });
        let handle = task.abort_handle();
        UnderWay::new(move || handle.abort())
    }
}

impl Drop for HttpClient {
    fn drop(&mut self) {
        // A runtime must not be waited for where a thread of another one may drop it.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
