//! `wasmill run`: a job in the host of `--host`, or in a host of its own.
//!
//! Invariant: without `--data-dir` an embedded run leaves nothing behind; with it, an interrupted job can go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_model::id::JobId;

use super::client::{Client, encode};
use super::progress::{Progress, Snapshot, Summary};
use super::{ClaimMode, CliError, Context, RunArgs, files, plugins, serve};
use crate::config::Settings;
use crate::host::plugins::is_path;
use crate::host::{Host, Recover, SubmitOptions, random_u128};
use crate::job::{ParsedJob, parse};
use crate::logging;
use crate::rest::serve::asked_to_stop;
use crate::rest::types::job::SubmitAnswer;
use crate::rest::types::name_of;

/// How often an embedded job is looked at: it must not make short jobs long.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How often progress is drawn, and a remote job looked at.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Slots of an embedded host where none are given: more than any job needs.
const EMBEDDED_SLOTS: u32 = 10_000;

/// A directory that is deleted in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// In the system's temporary directory.
    pub fn new() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("wasmill-{:032x}", random_u128()));
        std::fs::create_dir(&path)
            .map_err(|e| format!("{}: {e}: set TMPDIR to a directory with room", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!("{}: {error}", self.0.display());
        }
    }
}

/// Runs a job file.
pub fn run(context: &Context, args: &RunArgs) -> Result<(), CliError> {
    if args.parallelism == Some(0) {
        return Err(CliError::Failed(
            "-p 0: the parallelism must be at least 1".to_owned(),
        ));
    }
    let (name, text) = files::read(&args.job)?;
    let job = parse(&name, &text).map_err(|e| e.to_string())?;
    match &context.host {
        Some(_) => submitted(context, args, &name, &text, &job),
        None => embedded(context, args, &name, &text, &job),
    }
}

/// Set once the process is asked to stop.
fn watch_signals() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("signals cannot be waited for: {e}"))?;
    let watching = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(asked_to_stop());
            told.store(true, Ordering::Relaxed);
        });
    watching.map_err(|e| format!("signals cannot be waited for: {e}"))?;
    Ok(stop)
}

/// The components that a job file names by path, each handed to `upload`; by the names in `plugins`.
fn upload_paths(
    args: &RunArgs,
    job: &ParsedJob,
    mut upload: impl FnMut(&Path) -> Result<String, String>,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut digests = BTreeMap::new();
    for (name, reference) in job
        .file
        .plugins
        .iter()
        .filter(|(_, reference)| is_path(reference))
    {
        let path = files::component_path(&args.job, reference);
        let digest = upload(&path).map_err(|e| {
            job.spans
                .error(
                    &["plugins".into(), name.as_str().into()],
                    format!("plugin `{name}`: {e}"),
                )
                .to_string()
        })?;
        digests.insert(name.clone(), digest);
    }
    Ok(digests)
}

fn embedded(
    context: &Context,
    args: &RunArgs,
    name: &str,
    text: &str,
    job: &ParsedJob,
) -> Result<(), CliError> {
    let given = serve::settings_outside()?;
    let mut settings = Settings {
        slots: args.slots.unwrap_or(EMBEDDED_SLOTS),
        log_level: "warn".to_owned(),
        storage: given.storage,
        state_backend: given.state_backend,
        rocksdb: given.rocksdb,
        ..Settings::default()
    };
    if let Some(level) = &args.log_level {
        settings
            .set("log-level", level)
            .map_err(|e| format!("--log-level: {e}"))?;
    }
    logging::start(&settings);
    serve::arm_pause_point()?;
    let stop = watch_signals()?;
    // Dropped last: the host's files lie in it.
    let scratch = args.data_dir.is_none().then(Scratch::new).transpose()?;
    settings.data_dir = match (&args.data_dir, &scratch) {
        (Some(directory), _) => directory.clone(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => return Err(CliError::Failed("no data directory".to_owned())),
    };
    let host = Host::open(settings, Recover::Nothing)?;
    let plugins = upload_paths(args, job, |path| {
        let bytes =
            std::fs::read(path).map_err(|e| format!("{}: {e}: build the component first", path.display()))?;
        let info = host.plugins().upload(&files::plugin_name(path), &bytes);
        info.map(|info| info.digest.to_string())
            .map_err(|e| format!("{}: {e}", path.display()))
    })?;
    let options = SubmitOptions {
        file: Some(name.to_owned()),
        parallelism: args.parallelism,
        savepoint_path: args.from_savepoint.clone(),
        allow_non_restored: args.allow_non_restored_state,
        claim: args.claim_mode == ClaimMode::Claim,
        plugins,
    };
    let submitted = host.submit(text, &options)?;
    submitted
        .warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    let watched = watch(context, args, &host, submitted.id, &stop);
    host.close(host.settings().shutdown_timeout);
    watched
}

/// Shows the job until it has ended or the process is asked to stop.
fn watch(
    context: &Context,
    args: &RunArgs,
    host: &Host,
    id: JobId,
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let job = host.job(id)?;
    let mut progress = Progress::new(context.json);
    let mut drawn: Option<Instant> = None;
    while !job.is_ended() {
        if drawn.is_none_or(|at| at.elapsed() >= DRAW_INTERVAL) {
            progress.show(&snapshot(&job));
            drawn = Some(Instant::now());
        }
        if stop.load(Ordering::Relaxed) {
            return interrupted(host, &job, args);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let summary = progress.finish(&snapshot(&job));
    finish(context, &id.to_string(), &summary)
}

fn snapshot(job: &crate::host::job::Job) -> Snapshot {
    let status = job.status();
    Snapshot {
        state: name_of(&status.state),
        records: job.records_read(),
        checkpoints: status.checkpoints.completed,
        watermark: Snapshot::watermark_of(
            status
                .vertices
                .iter()
                .flat_map(|v| &v.subtasks)
                .map(|s| s.watermark),
        ),
        failure: status.exceptions.first().map(|e| e.message.clone()),
    }
}

fn interrupted(host: &Host, job: &crate::host::job::Job, args: &RunArgs) -> Result<(), CliError> {
    let limit = host.settings().shutdown_timeout;
    let Some(directory) = &args.data_dir else {
        host.cancel(job.id())?;
        let until = Instant::now() + limit;
        while !job.is_ended() && Instant::now() < until {
            std::thread::sleep(LOOK_INTERVAL);
        }
        return Err(CliError::Interrupted(format!("job {} is cancelled", job.id())));
    };
    host.suspend_all(limit);
    Err(CliError::Interrupted(format!(
        "job {} is suspended and goes on from its latest checkpoint with `wasmill serve --data-dir {}`",
        job.id(),
        directory.display()
    )))
}

fn submitted(
    context: &Context,
    args: &RunArgs,
    name: &str,
    text: &str,
    job: &ParsedJob,
) -> Result<(), CliError> {
    let client = context.client()?;
    let plugins = upload_paths(args, job, |path| {
        plugins::upload(&client, path, None)
            .map(|plugin| plugin.digest)
            .map_err(|e| e.to_string())
    })?;
    let mut query = vec![format!("file={}", encode(name))];
    let pairs: Vec<_> = plugins
        .iter()
        .map(|(name, digest)| format!("{name}={digest}"))
        .collect();
    query.push(format!("plugins={}", encode(&pairs.join(","))));
    query.extend(args.parallelism.map(|p| format!("parallelism={p}")));
    if let Some(path) = &args.from_savepoint {
        query.push(format!(
            "savepointPath={}",
            encode(&crate::host::trigger::as_url(path)?)
        ));
        query.push(format!("allowNonRestoredState={}", args.allow_non_restored_state));
        if args.claim_mode == ClaimMode::Claim {
            query.push("claimMode=CLAIM".to_owned());
        }
    }
    let path = format!("/jobs?{}", query.join("&"));
    let answer: SubmitAnswer = client.post_bytes(&path, "application/yaml", text.as_bytes())?;
    answer
        .warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    if args.detached {
        return context.print(&answer, |answer| answer.jobid.clone());
    }
    follow(context, &client, &answer.jobid)
}

/// Shows a job of another host until it ends.
fn follow(context: &Context, client: &Client, id: &str) -> Result<(), CliError> {
    let stop = watch_signals()?;
    if !context.json {
        eprintln!("job {id}");
    }
    let mut progress = Progress::new(context.json);
    loop {
        let snapshot = remote_snapshot(client, id)?;
        if snapshot.is_terminal() {
            return finish(context, id, &progress.finish(&snapshot));
        }
        progress.show(&snapshot);
        if stop.load(Ordering::Relaxed) {
            let message = format!("job {id} goes on: `wasmill cancel {id}` ends it");
            return Err(CliError::Interrupted(message));
        }
        std::thread::sleep(DRAW_INTERVAL);
    }
}

fn remote_snapshot(client: &Client, id: &str) -> Result<Snapshot, CliError> {
    let status: Value = client.get(&format!("/jobs/{id}/status"))?;
    let names = "numRecordsRead,numberOfCompletedCheckpoints,currentWatermark";
    let metrics: Value = client.get(&format!("/jobs/{id}/metrics?get={names}"))?;
    let metric = |name: &str| {
        let metrics = metrics.as_array().into_iter().flatten();
        metrics
            .filter(|m| m["id"] == name)
            .find_map(|m| m["value"].as_str()?.parse::<i64>().ok())
    };
    let mut snapshot = Snapshot {
        state: status["status"].as_str().unwrap_or_default().to_owned(),
        records: metric("numRecordsRead").unwrap_or_default().unsigned_abs(),
        checkpoints: metric("numberOfCompletedCheckpoints")
            .unwrap_or_default()
            .unsigned_abs(),
        watermark: Snapshot::watermark_of(metric("currentWatermark").into_iter()),
        failure: None,
    };
    if snapshot.state == "FAILED" {
        let exceptions: Value = client.get(&format!("/jobs/{id}/exceptions"))?;
        snapshot.failure = exceptions["exceptionHistory"]["entries"][0]["stacktrace"]
            .as_str()
            .map(str::to_owned);
    }
    Ok(snapshot)
}

fn finish(context: &Context, id: &str, summary: &Summary) -> Result<(), CliError> {
    let Summary { seconds, snapshot } = summary;
    if context.json {
        let answer = json!({
            "jobid": id,
            "state": snapshot.state,
            "seconds": seconds,
            "records": snapshot.records,
            "checkpoints": snapshot.checkpoints,
            "failure": snapshot.failure,
        });
        context.print(&answer, |_| String::new())?;
    } else {
        eprintln!(
            "job {id} is {} after {seconds:.1} s: {} records, {} checkpoints",
            snapshot.state, snapshot.records, snapshot.checkpoints
        );
    }
    match snapshot.state.as_str() {
        "FINISHED" => Ok(()),
        state => {
            let failure = snapshot
                .failure
                .as_deref()
                .unwrap_or("without a reason on record");
            Err(CliError::Failed(format!("job {id} is {state}: {failure}")))
        }
    }
}
