//! `list`, `info`, `cancel`, `savepoint`, `checkpoint`, `stop`, `resume`: commands on jobs of a host.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::client::Client;
use super::{CliError, Context, SavepointType};
use crate::job::units::DurationText;
use crate::rest::types::checkpoint::TriggerAnswer;

/// Lists all jobs.
pub fn list(context: &Context) -> Result<(), CliError> {
    let jobs: Value = context.client()?.get("/jobs/overview")?;
    context.print(&jobs, |jobs| {
        let jobs = jobs["jobs"].as_array().cloned().unwrap_or_default();
        if jobs.is_empty() {
            return "no jobs: run one with `wasmill run JOB --host URL`".to_owned();
        }
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_header(["id", "name", "state", "duration", "tasks"]);
        for job in &jobs {
            let tasks = format!("{}/{}", job["tasks"]["running"], job["tasks"]["total"]);
            table.add_row([
                text(&job["jid"]),
                text(&job["name"]),
                text(&job["state"]),
                duration(&job["duration"]),
                tasks,
            ]);
        }
        table.to_string()
    })
}

/// The text of a string, or the JSON of anything else.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn duration(value: &Value) -> String {
    let ms = value.as_u64().unwrap_or_default();
    DurationText(if ms >= 1_000 { ms / 1_000 * 1_000 } else { ms }).to_string()
}

/// The one job whose id begins so.
fn find(client: &Client, prefix: &str) -> Result<String, CliError> {
    if prefix.len() == 32 {
        return Ok(prefix.to_owned());
    }
    let jobs: Value = client.get("/jobs")?;
    let ids = jobs["jobs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|job| job["id"].as_str());
    let fitting: Vec<_> = ids
        .filter(|id| !prefix.is_empty() && id.starts_with(prefix))
        .collect();
    match fitting.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(CliError::Failed(format!(
            "no job's id begins with `{prefix}`: `wasmill list` shows the jobs"
        ))),
        _ => Err(CliError::Failed(format!(
            "several jobs' ids begin with `{prefix}`: give more of it"
        ))),
    }
}

/// Shows one job: state, vertices, checkpoints, guarantees, failures.
pub fn info(context: &Context, job: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let part = |path: &str| client.get::<Value>(&format!("/jobs/{id}{path}"));
    let all = json!({
        "job": part("")?,
        "checkpoints": part("/checkpoints")?,
        "guarantees": part("/guarantees")?["guarantees"],
        "exceptions": part("/exceptions")?["exceptionHistory"]["entries"],
    });
    context.print(&all, describe)
}

fn describe(all: &Value) -> String {
    let job = &all["job"];
    let mut out = format!(
        "{} {}\nstate {}, for {}\n",
        text(&job["jid"]),
        text(&job["name"]),
        text(&job["state"]),
        duration(&job["duration"])
    );
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "vertex",
        "parallelism",
        "state",
        "records in",
        "records out",
        "busy",
        "backpressured",
    ]);
    for vertex in job["vertices"].as_array().into_iter().flatten() {
        let metrics = &vertex["metrics"];
        let ms = |name: &str| format!("{} ms", metrics[name].as_f64().unwrap_or_default());
        table.add_row([
            text(&vertex["name"]),
            vertex["parallelism"].to_string(),
            text(&vertex["status"]),
            metrics["read-records"].to_string(),
            metrics["write-records"].to_string(),
            ms("accumulated-busy-time"),
            ms("accumulated-backpressured-time"),
        ]);
    }
    out.push_str(&table.to_string());
    let counts = &all["checkpoints"]["counts"];
    out.push_str(&format!(
        "\ncheckpoints: {} completed, {} failed, {} under way",
        counts["completed"], counts["failed"], counts["in_progress"]
    ));
    let latest = &all["checkpoints"]["latest"]["completed"];
    if let Some(path) = latest["external_path"].as_str() {
        out.push_str(&format!(
            "\nlatest: {} bytes in {} ms, {path}",
            latest["state_size"], latest["end_to_end_duration"]
        ));
    }
    for guarantee in all["guarantees"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "\nsink {}: {} ({})",
            text(&guarantee["sink"]),
            text(&guarantee["guarantee"]),
            text(&guarantee["reason"])
        ));
    }
    for exception in all["exceptions"].as_array().into_iter().flatten().take(3) {
        out.push_str(&format!(
            "\n{}: {}",
            text(&exception["exceptionName"]),
            text(&exception["stacktrace"])
        ));
    }
    out
}

/// Cancels a job and waits until it has ended.
pub fn cancel(context: &Context, job: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    client.patch(&format!("/jobs/{id}?mode=cancel"))?;
    let state = wait_for_end(&client, &id)?;
    context.print(&json!({"jobid": id, "state": state}), |_| {
        format!("job {id} is {state}")
    })
}

fn wait_for_end(client: &Client, id: &str) -> Result<String, CliError> {
    loop {
        let status: Value = client.get(&format!("/jobs/{id}/status"))?;
        let state = text(&status["status"]);
        if matches!(state.as_str(), "CANCELED" | "FAILED" | "FINISHED") {
            return Ok(state);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for a savepoint that was triggered.
fn wait_for_savepoint(client: &Client, id: &str, trigger: &str) -> Result<String, CliError> {
    loop {
        let status: Value = client.get(&format!("/jobs/{id}/savepoints/{trigger}"))?;
        if status["status"]["id"] == "COMPLETED" {
            return Ok(text(&status["operation"]["location"]));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A directory on this machine is made absolute: the host may run somewhere else in the file system.
fn target(directory: Option<&str>) -> Result<Option<String>, CliError> {
    Ok(directory.map(crate::host::trigger::as_url).transpose()?)
}

/// Flink's name of the format.
fn format_type(format: SavepointType) -> &'static str {
    match format {
        SavepointType::Canonical => "CANONICAL",
        SavepointType::Native => "NATIVE",
    }
}

/// Writes a savepoint.
pub fn savepoint(
    context: &Context,
    job: &str,
    directory: Option<&str>,
    format: SavepointType,
) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let body = json!({
        "target-directory": target(directory)?,
        "cancel-job": false,
        "formatType": format_type(format),
    });
    let trigger: TriggerAnswer = client.post_json(&format!("/jobs/{id}/savepoints"), &body)?;
    let location = wait_for_savepoint(&client, &id, &trigger.request_id)?;
    context.print(&json!({"jobid": id, "location": location}), |_| location.clone())
}

/// Cancels a job after a savepoint and waits until it has ended.
pub fn cancel_with_savepoint(context: &Context, job: &str, directory: Option<&str>) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let body = json!({"target-directory": target(directory)?, "cancel-job": true});
    let trigger: TriggerAnswer = client.post_json(&format!("/jobs/{id}/savepoints"), &body)?;
    let location = wait_for_savepoint(&client, &id, &trigger.request_id)?;
    let state = wait_for_end(&client, &id)?;
    context.print(
        &json!({"jobid": id, "location": location, "state": state}),
        |_| format!("{location}\njob {id} is {state}"),
    )
}

/// Deletes a savepoint.
pub fn dispose(context: &Context, path: &str) -> Result<(), CliError> {
    let path = target(Some(path))?;
    let body = json!({"savepoint-path": path});
    let _: TriggerAnswer = context.client()?.post_json("/savepoint-disposal", &body)?;
    context.print(&json!({"location": path}), |_| {
        format!("savepoint {} is deleted", path.as_deref().unwrap_or_default())
    })
}

/// Writes a checkpoint.
pub fn checkpoint(context: &Context, job: &str, full: bool) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let body = json!({"checkpointType": if full { "FULL" } else { "CONFIGURED" }});
    let trigger: TriggerAnswer = client.post_json(&format!("/jobs/{id}/checkpoints"), &body)?;
    loop {
        let status: Value = client.get(&format!("/jobs/{id}/checkpoints/{}", trigger.request_id))?;
        if status["status"]["id"] == "COMPLETED" {
            let number = &status["operation"]["checkpointId"];
            return context.print(&json!({"jobid": id, "checkpointId": number}), |_| {
                format!("checkpoint {number} of job {id}")
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Stops a job with a savepoint and waits until it has ended.
pub fn stop(
    context: &Context,
    job: &str,
    directory: Option<&str>,
    drain: bool,
    format: SavepointType,
) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let body = json!({
        "targetDirectory": target(directory)?,
        "drain": drain,
        "formatType": format_type(format),
    });
    let trigger: TriggerAnswer = client.post_json(&format!("/jobs/{id}/stop"), &body)?;
    let location = wait_for_savepoint(&client, &id, &trigger.request_id)?;
    let state = wait_for_end(&client, &id)?;
    context.print(
        &json!({"jobid": id, "location": location, "state": state}),
        |_| format!("{location}\njob {id} is {state}"),
    )
}

/// Starts a failed job again.
pub fn resume(context: &Context, job: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, job)?;
    let _: Value = client.post_json(&format!("/jobs/{id}/resume"), &json!({}))?;
    context.print(&json!({"jobid": id}), |_| format!("job {id} is started again"))
}
