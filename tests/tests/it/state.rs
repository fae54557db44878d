//! Keyed state of all kinds in a running job: killed, restored, and dealt out anew to other subtasks.

use std::path::Path;

use anyhow::{Result, bail};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text, wait};

use crate::FAMILIES;

/// Keys; each is in another key group, so that all subtasks have some.
const KEYS: u32 = 40;

/// Runs until it is stopped: the test adds files to the input.
fn job(family: &str, directory: &Path, parallelism: u32) -> String {
    let directory = directory.display();
    format!(
        "version: 1
name: state-{family}
parallelism: {parallelism}
checkpointing: {{interval: 50ms}}
plugins: {{functions: {family}}}
operators:
  - uid: scripts
    source: files
    config: {{path: \"{directory}/in\", continuous: true, discovery-interval-ms: 20}}
    format: lines
  - {{uid: by-key, key-by: {{function: functions/key-selector}}, inputs: [scripts]}}
  - {{uid: process, function: functions/process, inputs: [by-key]}}
  - {{uid: out, sink: files, config: {{path: \"{directory}/out/{family}\"}}, format: lines, inputs: [process]}}
"
    )
}

/// Adds a file in which every key runs a script. The key is what stands before the first `:`, and the
/// whole record is the script: it begins by emitting that.
fn add(directory: &Path, file: &str, script: impl Fn(u32) -> String) -> Result<()> {
    let lines: String = (0..KEYS)
        .map(|key| format!("e k{key}:;{}\n", script(key)))
        .collect();
    let part = directory.join("part");
    std::fs::write(&part, lines)?;
    Ok(std::fs::rename(part, directory.join("in").join(file))?)
}

/// Waits until both families have committed just the lines expected, and remembers what comes next.
fn expect(directory: &Path, expected: &mut Vec<String>, more: impl Fn(u32) -> Vec<String>) -> Result<()> {
    expected.extend((0..KEYS).flat_map(|key| {
        let mut lines = more(key);
        lines.push(format!("k{key}:"));
        lines
    }));
    expected.sort();
    for family in FAMILIES {
        let out = directory.join("out").join(family);
        wait::until("the results are committed", LIMIT, || {
            let got = text::committed(&out)?;
            match text::difference(&got, expected) {
                None => Ok(Ok(())),
                Some(difference) if got.len() >= expected.len() => bail!("{family}: {difference}"),
                Some(difference) => Ok(Err(format!("{family}: {difference}"))),
            }
        })?;
    }
    Ok(())
}

const ASK: &str = "v?;c?;l?;m?;r?;f?;a?";

#[test]
fn every_kind_of_keyed_state_survives_a_kill_and_a_change_of_parallelism() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (directory, data) = (scratch.path(), scratch.path().join("data"));
    std::fs::create_dir_all(directory.join("in"))?;
    let host = Host::start(&data, &[])?;
    let mut jobs = Vec::new();
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        jobs.push(host.submit(&job(family, directory, 2))?);
    }
    let mut expected = Vec::new();
    add(directory, "1.txt", |key| {
        format!("v=v{key};c=c{key};l+x;l+y{key};m+p:1;m+q:{key};r+{key};r+7;f+3;f+{key};a+3;a+{key}")
    })?;
    expect(directory, &mut expected, |_| Vec::new())?;

    // What is committed is in a checkpoint.
    host.kill()?;
    let host = Host::start(&data, &[])?;
    add(directory, "2.txt", |key| {
        format!("{ASK};v=w;c-;l+z;m/p;m+r:2;r+1;f+1;a+5;e {key}")
    })?;
    expect(directory, &mut expected, |key| {
        vec![
            format!("v=v{key}"),
            format!("c=c{key}"),
            format!("l=[x,y{key}]"),
            format!("m={{p:1,q:{key}}}"),
            format!("r={}", key + 7),
            format!("f={}", key + 3),
            format!("a=Contains-3-{key}"),
            key.to_string(),
        ]
    })?;

    for (family, old) in FAMILIES.into_iter().zip(&jobs) {
        let savepoint = host.stop_with_savepoint(old)?;
        let query = format!("?savepointPath={savepoint}");
        host.submit_with(&job(family, directory, 3), &query)?;
    }
    add(directory, "3.txt", |_| format!("{ASK};m0;m-;m0"))?;
    expect(directory, &mut expected, |key| {
        vec![
            "v=w".to_owned(),
            "c none".to_owned(),
            format!("l=[x,y{key},z]"),
            format!("m={{q:{key},r:2}}"),
            format!("r={}", key + 8),
            format!("f={}", key + 4),
            format!("a=Contains-3-{key}-5"),
            "m empty false".to_owned(),
            "m empty true".to_owned(),
        ]
    })
}
