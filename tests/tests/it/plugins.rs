//! The registry of plugins over HTTP: versions by digest, what they say of themselves, deletion when unused,
//! and what is refused at upload.

use std::io::Write as _;
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::guests;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::wait;

fn digest(plugin: &Value) -> Result<String> {
    Ok(plugin["digest"].as_str().context("no digest")?.to_owned())
}

fn names<'a>(entries: &'a Value, of: &str) -> Vec<&'a str> {
    let entries = entries.as_array().into_iter().flatten();
    entries.filter_map(|entry| entry[of].as_str()).collect()
}

/// Runs until it is cancelled, by the version that has the digest.
fn job(reference: &str, function: &str) -> String {
    format!(
        "version: 1
name: plugin
plugins: {{p: \"{reference}\"}}
operators:
  - {{uid: events, source: datagen, config: {{template: \"a\", rate: 10}}}}
  - {{uid: by-value, key-by: {{value: true}}, inputs: [events]}}
  - {{uid: call, function: p/{function}, inputs: [by-value]}}
  - {{uid: out, sink: discard, inputs: [call]}}
"
    )
}

#[test]
fn components_are_uploaded_described_versioned_and_deleted_over_http() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    let host = Host::start(&data, &[])?;
    let first = host.upload("mine", &guests::rust_component("word_count")?)?;
    ensure!(first["family"] == "frame" && first["in-use"] == false, "{first}");
    let functions = &first["description"]["functions"];
    ensure!(names(functions, "name") == ["split", "count"], "{first}");
    ensure!(names(functions, "kind") == ["flat-map", "process"], "{first}");
    ensure!(names(&functions[1]["state"], "name") == ["count"], "{first}");
    ensure!(
        first["imports"].as_array().is_some_and(|i| !i.is_empty()),
        "{first}"
    );
    let again = host.upload("mine", &guests::rust_component("word_count")?)?;
    ensure!(digest(&again)? == digest(&first)?, "the same bytes: {again}");
    let second = host.upload("mine", &guests::rust_component("keyed_count")?)?;
    ensure!(digest(&second)? != digest(&first)?, "other bytes: {second}");

    // A job that names the plugin alone gets the latest version; by digest it gets any.
    let old = host.submit(&job(&format!("mine@{}", digest(&first)?), "count"))?;
    let new = host.submit(&job("mine", "keyed-count"))?;
    for job in [&old, &new] {
        host.wait_for(job, "RUNNING", LIMIT)?;
    }
    let listed = host.get_ok("/v1/plugins")?;
    ensure!(
        names(&listed["plugins"], "digest") == [digest(&second)?, digest(&first)?],
        "the latest version comes first: {listed}"
    );
    let (status, answer) = host.delete(&format!("/v1/plugins/{}", digest(&first)?))?;
    ensure!(
        status == 409 && answer["errors"][0].as_str().is_some_and(|e| e.contains("use")),
        "a job runs it: {status} {answer}"
    );
    host.patch(&format!("/v1/jobs/{old}?mode=cancel"))?;
    host.wait_for(&old, "CANCELED", LIMIT)?;
    let (status, answer) = host.delete(&format!("/v1/plugins/{}", digest(&first)?))?;
    ensure!(status == 200, "{status} {answer}");

    // What is left outlives the host.
    host.kill()?;
    let host = Host::start(&data, &[])?;
    host.wait_for(&new, "RUNNING", LIMIT)?;
    let (status, _) = host.get(&format!("/v1/plugins/{}", digest(&first)?))?;
    ensure!(status == 404, "a deleted plugin came back: {status}");
    let shown = host.get_ok("/v1/plugins/mine")?;
    ensure!(
        digest(&shown)? == digest(&second)? && shown["in-use"] == true,
        "{shown}"
    );
    Ok(())
}

#[test]
fn what_is_no_component_is_refused_at_upload_with_the_reason() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    let whole = std::fs::read(guests::rust_component("word_count")?)?;
    let cut = &whole[..whole.len() / 2];
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "empty"),
        ("text", b"(component)", "text"),
        ("module", b"\0asm\x01\0\0\0", "module"),
        ("nothing", b"\0asm\x0d\0\x01\0", "wasmill:function"),
        ("cut", cut, "cut short; upload it again"),
    ];
    for (name, bytes, reason) in cases {
        let (status, answer) = host.post(&format!("/v1/plugins?name={name}"), "application/wasm", bytes)?;
        let error = answer["errors"][0].as_str().unwrap_or_default();
        ensure!(
            status == 422 && error.contains(reason),
            "{name}: no `{reason}`: {status} {answer}"
        );
    }
    let listed = host.get_ok("/v1/plugins")?;
    ensure!(names(&listed["plugins"], "name").is_empty(), "{listed}");
    Ok(())
}

#[test]
fn uploads_that_do_not_come_to_their_end_leave_the_host_at_work_and_others_told() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    let upload = || host.post("/v1/plugins?name=p", "application/wasm", b"no component");
    let mut hanging = Vec::new();
    wait::until("an upload too many is refused", LIMIT, || {
        // One of these may be the one too many, while the upload below is being taken.
        let mut connection = TcpStream::connect(host.address())?;
        let address = host.address();
        let request =
            format!("POST /v1/plugins?name=slow HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\nx");
        connection.write_all(request.as_bytes())?;
        hanging.push(connection);
        let (status, answer) = upload()?;
        match status {
            429 => {
                let message = answer["errors"][0].as_str().unwrap_or_default();
                ensure!(message.contains("try again in a moment"), "{answer}");
                Ok(Ok(()))
            }
            _ => Ok(Err(format!("{status} {answer}"))),
        }
    })?;
    ensure!(hanging.len() >= 8, "refused after {} uploads", hanging.len());
    host.get_ok("/v1/plugins")?;
    drop(hanging);
    wait::until("uploads are taken again", LIMIT, || {
        Ok(match upload()? {
            (422, _) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        })
    })
}
