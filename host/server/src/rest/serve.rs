//! Serving HTTP until the process is asked to stop.
//!
//! Invariant: an orderly stop takes no new requests, suspends all jobs and returns within `shutdown-timeout`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::ConfigError;
use crate::host::Host;

/// Requests in flight when the host stops get so long.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Serves a host until `stop` is ready. `bound` is told the address, with the port that was chosen where 0 was asked for.
pub async fn serve(
    host: Arc<Host>,
    stop: impl Future<Output = ()> + Send + 'static,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), ConfigError> {
    let address = host.settings().bind_address;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        ConfigError(format!(
            "{address} cannot be served: {e}: is another host running? set `bind-address`"
        ))
    })?;
    bound(listener.local_addr().unwrap_or(address));
    let (tell, told) = oneshot::channel::<()>();
    let graceful = async move {
        // An error means that the sender is gone, which is the end too.
        let _ = told.await;
    };
    let router = super::router(Arc::clone(&host));
    let mut serving = tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(graceful)
            .into_future(),
    );
    tokio::select! {
        ended = &mut serving => {
            let reason = ended.map_err(|e| e.to_string()).and_then(|served| served.map_err(|e| e.to_string()));
            let reason = reason.err().unwrap_or_else(|| "it ended by itself".to_owned());
            return Err(ConfigError(format!("{address} is served no more: {reason}")));
        }
        () = stop => {}
    }
    tracing::info!("stopping: jobs are suspended and go on with the next start");
    let _ = tell.send(());
    let limit = host.settings().shutdown_timeout;
    let suspended = tokio::task::spawn_blocking(move || host.suspend_all(limit)).await;
    if suspended.is_err() {
        tracing::error!("suspending the jobs ended early; they resume from their latest checkpoint");
    }
    // An idle connection must not keep the host from stopping.
    let _ = tokio::time::timeout(LAST_REQUESTS, serving).await;
    Ok(())
}

/// Ready once the process is asked to stop: SIGTERM or ctrl-c.
pub async fn asked_to_stop() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::warn!("SIGTERM cannot be waited for: {error}");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
