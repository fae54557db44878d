//! `wasmill serve`.

use std::path::PathBuf;

use super::{CliError, ServeArgs};
use crate::config::Settings;
use crate::host::{Host, Recover};
use crate::logging;
use crate::rest::serve as http;

/// Serves until the process is asked to stop.
pub fn serve(args: &ServeArgs) -> Result<(), CliError> {
    let (settings, warnings) = Settings::load(args.config.as_deref(), environment(), &args.settings.given())?;
    logging::start(&settings);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    arm_pause_point()?;
    if !settings.bind_address.ip().is_loopback() {
        tracing::warn!(address = %settings.bind_address, "others can reach this host, and it asks nobody who they are");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("the HTTP threads could not be started: {e}"))?;
    let host = Host::open(settings, Recover::RunningJobs)?;
    runtime.block_on(http::serve(host, http::asked_to_stop(), |address| {
        tracing::info!("serving http://{address}");
    }))?;
    // Blocking work that is stuck must not keep the process.
    runtime.shutdown_background();
    Ok(())
}

/// Settings for commands that are no host that serves: by the file of `WASMILL_CONFIG` and the environment.
pub fn settings_outside() -> Result<Settings, CliError> {
    let file = std::env::var_os("WASMILL_CONFIG").map(PathBuf::from);
    let (settings, _) = Settings::load(file.as_deref(), environment(), &[])?;
    Ok(settings)
}

/// The process's environment, as far as it is text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `WASMILL_PAUSE_AT` makes the process stop for ever at a named step, for tests that kill it there.
pub fn arm_pause_point() -> Result<(), CliError> {
    match std::env::var("WASMILL_PAUSE_AT") {
        Ok(at) => wasmill_engine::pause_points::configure(&at)
            .map_err(|e| CliError::Failed(format!("WASMILL_PAUSE_AT: {e}"))),
        Err(_) => Ok(()),
    }
}
