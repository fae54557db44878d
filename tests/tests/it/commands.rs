//! The command line against a running host, as a person uses it.

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::example::Example;
use wasmill_tests::host::LIMIT;

/// A job file like the word count's that runs until it is stopped.
fn endless() -> Result<Example> {
    let example = Example::copy("word-count")?;
    example.edit(
        "\"text/*.txt\"",
        "\"text/*.txt\", continuous: true, discovery-interval-ms: 20",
    )?;
    example.edit("interval: 1s", "interval: 50ms")?;
    Ok(example)
}

#[test]
fn a_job_is_submitted_watched_saved_stopped_and_resumed_from_the_command_line() -> Result<()> {
    let example = endless()?;
    let host = example.host(&[])?;
    let file = example.path("job.yaml").display().to_string();
    let id = host.command(&["run", "-d", &file])?.ok()?;
    let id = id.trim();
    host.wait_for(id, "RUNNING", LIMIT)?;

    let listed = host.command(&["list"])?.ok()?;
    ensure!(
        listed.contains(id) && listed.contains("word-count") && listed.contains("RUNNING"),
        "{listed}"
    );
    let listed = host.command(&["list", "--json"])?.json()?;
    ensure!(listed["jobs"][0]["jid"] == id, "{listed}");
    // The first characters of an id are enough.
    let info = host.command(&["info", &id[..8]])?.ok()?;
    for part in ["word-count", "RUNNING", "sink out: exactly-once", "checkpoints: "] {
        ensure!(info.contains(part), "no `{part}` in {info}");
    }

    let saved = host
        .command(&["savepoint", id, "--type", "native", "--json"])?
        .json()?;
    let savepoint = saved["location"].as_str().context("no location")?.to_owned();
    ensure!(host.state(id)? == "RUNNING", "a savepoint stops nothing");
    let written = host.command(&["checkpoint", id, "--full", "--json"])?.json()?;
    ensure!(written["checkpointId"].is_u64(), "{written}");
    host.command(&["savepoint", "-d", &savepoint])?.ok()?;
    let gone = host.command(&["run", "-s", &savepoint, &file])?;
    ensure!(
        gone.code == 1 && gone.errors.contains("is no savepoint or checkpoint"),
        "{gone:?}"
    );
    let stopped = host.command(&["stop", id])?.ok()?;
    let (place, rest) = stopped.split_once('\n').context("no place of the savepoint")?;
    ensure!(
        rest.contains("FINISHED") && place != savepoint && place.contains("savepoint-"),
        "{stopped}"
    );

    // A changed job: the state of `count` has no operator any more.
    let job = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        job.replace("uid: count", "uid: other")
            .replace("[count]", "[other]"),
    )?;
    let refused = host.command(&["run", "-s", place, &file])?;
    ensure!(refused.code == 1, "{refused:?}");
    ensure!(
        refused.errors.contains("`count`") && refused.errors.contains("`run -n`"),
        "the refusal names the state and the way out: {}",
        refused.errors
    );
    let next = host.command(&["run", "-d", "-n", "-s", place, &file])?.ok()?;
    host.wait_for(next.trim(), "RUNNING", LIMIT)?;
    let cancelled = host.command(&["cancel", next.trim(), "-s", "--json"])?.json()?;
    ensure!(cancelled["state"] == "CANCELED", "{cancelled}");
    let place = cancelled["location"].as_str().context("no location")?;
    let claimed = host.command(&["run", "-d", "-s", place, "--claim-mode", "claim", &file])?;
    host.wait_for(claimed.ok()?.trim(), "RUNNING", LIMIT)?;
    Ok(())
}

#[test]
fn plugins_are_managed_and_job_files_checked_from_the_command_line() -> Result<()> {
    let example = endless()?;
    let host = example.host(&[])?;
    let component = example.path("../../target/guests/word_count.wasm");
    let component = component.display().to_string();
    let uploaded = host
        .command(&["plugin", "upload", &component, "--name", "words"])?
        .ok()?;
    let (name, digest) = uploaded.trim().split_once(' ').context("no digest")?;
    ensure!(name == "words" && digest.starts_with("sha256:"), "{uploaded}");
    let listed = host.command(&["plugin", "list"])?.ok()?;
    ensure!(
        listed.contains("words") && listed.contains("split, count"),
        "{listed}"
    );
    let shown = host.command(&["plugin", "show", "words"])?.ok()?;
    ensure!(shown.contains(digest) && shown.contains("flat-map"), "{shown}");
    host.command(&["plugin", "delete", digest])?.ok()?;
    let refused = host.command(&["plugin", "show", "words"])?.refused()?;
    ensure!(
        refused.starts_with("error: ") && refused.contains("words"),
        "{refused}"
    );

    let file = example.path("job.yaml").display().to_string();
    let valid = host.command(&["job", "validate", &file])?.ok()?;
    ensure!(
        valid.contains("job `word-count` with 5 operators is valid"),
        "{valid}"
    );
    example.edit("words/split", "words/splt")?;
    let refused = host.command(&["job", "validate", &file])?.refused()?;
    let line = std::fs::read_to_string(&file)?
        .lines()
        .position(|line| line.contains("words/splt"))
        .context("the line")?
        + 1;
    for part in [&format!("job.yaml:{line}:"), "did you mean `split`?"] {
        ensure!(refused.contains(part), "no `{part}` in {refused}");
    }
    Ok(())
}

#[test]
fn a_command_without_a_host_says_how_to_start_one() -> Result<()> {
    let here = std::path::Path::new(".");
    // The port of the discard service: nobody serves HTTP there.
    let refused = wasmill_tests::cli::run(here, &["list", "--host", "http://127.0.0.1:9"])?.refused()?;
    if !refused.contains("start one with `wasmill serve`") {
        bail!("{refused}");
    }
    Ok(())
}
