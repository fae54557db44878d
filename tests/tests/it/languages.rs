//! The keyed count in C, Go and Python straight on the typed world: uploaded over HTTP, checkpointed,
//! killed and restored by a job file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use wasmill_tests::host::Host;
use wasmill_tests::{guests, text, wait};

fn job(input: &Path, output: &Path) -> String {
    format!(
        "version: 1
name: typed-count
parallelism: 2
checkpointing: {{interval: 100ms}}
plugins: {{counts: counts}}
operators:
  - {{uid: words, source: files, config: {{path: \"{}\", rate: 4000}}, format: lines}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [words]}}
  - {{uid: count, function: counts/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
        input.display(),
        output.display()
    )
}

fn counts_through_a_kill(component: &str) -> Result<()> {
    let Some(component) = guests::component(component)? else {
        return Ok(());
    };
    let directory = tempfile::tempdir()?;
    let (data, input, output) = (
        directory.path().join("data"),
        directory.path().join("in"),
        directory.path().join("out"),
    );
    std::fs::create_dir_all(&input)?;
    // One word a line: the function counts whole records.
    let words: Vec<String> = (0..12_000u32).map(|i| format!("w{}", i * i % 97)).collect();
    for (file, part) in words.chunks(3_000).enumerate() {
        std::fs::write(input.join(format!("{file}.txt")), part.join("\n"))?;
    }
    let host = Host::start(&data, &[])?;
    host.upload("counts", &component)?;
    let job = host.submit(&job(&input, &output))?;
    wait::until("a checkpoint completes", Duration::from_secs(60), || {
        let completed = host.completed_checkpoints(&job)?;
        let state = host.state(&job)?;
        ensure!(
            state != "FAILED",
            "{}",
            host.get_ok(&format!("/v1/jobs/{job}/exceptions"))?
        );
        Ok(if completed > 0 && state == "RUNNING" {
            Ok(())
        } else {
            Err(state)
        })
    })?;
    host.kill()?;
    let host = Host::start(&data, &[])?;
    host.wait_for(&job, "FINISHED", Duration::from_secs(120))?;
    let counts = text::expected_counts(&input)?;
    let mut expected: Vec<String> = counts.iter().map(|line| line.replacen(',', ":", 1)).collect();
    expected.sort();
    match text::difference(&text::committed(&output)?, &expected) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the committed output differs: {difference}"),
    }
}

#[test]
fn a_count_in_c_survives_a_kill() -> Result<()> {
    counts_through_a_kill("typed_count_c")
}

#[test]
fn a_count_in_go_survives_a_kill() -> Result<()> {
    counts_through_a_kill("typed_count_go")
}

#[test]
fn a_count_in_python_survives_a_kill() -> Result<()> {
    counts_through_a_kill("typed_count_python")
}
