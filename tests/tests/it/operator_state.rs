//! Operator state of a component in a running job: list, union and broadcast state, and raw state; killed,
//! restored, and dealt out anew at another parallelism.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text, wait};

use crate::FAMILIES;

/// One source subtask deals records in turn to all subtasks of `buffering`.
fn job(family: &str, directory: &Path, parallelism: u32) -> String {
    let directory = directory.display();
    format!(
        "version: 1
name: operator-state-{family}
parallelism: {parallelism}
checkpointing: {{interval: 50ms}}
plugins: {{functions: {family}}}
operators:
  - uid: values
    source: files
    config: {{path: \"{directory}/in\", continuous: true, discovery-interval-ms: 20}}
    format: lines
    parallelism: 1
  - {{uid: dealt, partition: rebalance, inputs: [values]}}
  - {{uid: buffering, function: functions/buffering, inputs: [dealt]}}
  - {{uid: out, sink: files, config: {{path: \"{directory}/out/{family}\"}}, format: lines, inputs: [buffering]}}
"
    )
}

fn add(directory: &Path, file: &str, lines: &[&str]) -> Result<()> {
    let part = directory.join("part");
    std::fs::write(&part, lines.join("\n") + "\n")?;
    Ok(std::fs::rename(part, directory.join("in").join(file))?)
}

fn wait_until_read(host: &Host, job: &str, records: usize) -> Result<()> {
    wait::until("the input is read", LIMIT, || {
        let metrics = host.get_ok(&format!("/v1/jobs/{job}/metrics?get=numRecordsRead"))?;
        let read = metrics[0]["value"].as_str().unwrap_or_default().to_owned();
        Ok(if read == records.to_string() {
            Ok(())
        } else {
            Err(read)
        })
    })?;
    host.wait_for_a_new_checkpoint(job)
}

/// What one subtask answered to `?`.
#[derive(Debug)]
struct Answer {
    buffer: Vec<String>,
    seen: u64,
    setting: String,
    raw: String,
    is_restored: bool,
}

fn parse(line: &str) -> Result<Answer> {
    let field = |name: &str| {
        let start = line.find(name).with_context(|| line.to_owned())? + name.len();
        Ok::<_, anyhow::Error>(line[start..].split(' ').next().unwrap_or_default().to_owned())
    };
    let buffer = field("buffer=")?;
    let buffer = buffer.trim_matches(['[', ']']);
    Ok(Answer {
        buffer: buffer
            .split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        seen: field("seen=")?.parse()?,
        setting: field("setting=")?,
        raw: field("raw=")?,
        is_restored: field("restored=")? == "true",
    })
}

/// Waits for `count` committed lines and returns the answers among those that are not in `before`.
fn answers(directory: &Path, family: &str, before: &[String], count: usize) -> Result<Vec<Answer>> {
    let out = directory.join("out").join(family);
    let lines = wait::until("the answers are committed", LIMIT, || {
        let lines = text::committed(&out)?;
        ensure!(lines.len() <= count, "{family}: {lines:?}");
        Ok(if lines.len() == count {
            Ok(lines)
        } else {
            Err(format!("{lines:?}"))
        })
    })?;
    let mut new = lines;
    for line in before {
        let at = new.iter().position(|other| other == line);
        new.remove(at.with_context(|| format!("{family}: {line} was committed and is gone"))?);
    }
    new.iter().map(|line| parse(line)).collect()
}

/// The values in order; nothing may be lost or repeated.
fn buffered(answers: &[Answer]) -> Vec<String> {
    let mut all: Vec<String> = answers.iter().flat_map(|answer| answer.buffer.clone()).collect();
    all.sort();
    all
}

fn check_after_the_kill(family: &str, answers: &[Answer]) -> Result<()> {
    let subtasks: BTreeSet<(String, u64, &str)> = answers
        .iter()
        .map(|answer| (answer.buffer.join(","), answer.seen, answer.raw.as_str()))
        .collect();
    // Records are dealt in turn; which subtask is first is no promise. Raw is the last value it saw, and
    // the union goes to all: subtask 0 adds it up.
    let expected = [
        [("a,c", 4, "c"), ("b,d", 0, "d")],
        [("b,d", 4, "d"), ("a,c", 0, "c")],
    ];
    let fits = expected.iter().any(|expected| {
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|(buffer, seen, raw)| ((*buffer).to_owned(), *seen, *raw))
            .collect();
        expected == subtasks
    });
    ensure!(fits, "{family}: after the kill: {answers:?}");
    check_all(family, answers)
}

fn check_all(family: &str, answers: &[Answer]) -> Result<()> {
    let well = |answer: &Answer| answer.setting == "S" && answer.is_restored;
    ensure!(answers.iter().all(well), "{family}: {answers:?}");
    ensure!(buffered(answers) == ["a", "b", "c", "d"], "{family}: {answers:?}");
    Ok(())
}

fn check_with_three_subtasks(family: &str, answers: &[Answer]) -> Result<()> {
    let mut sizes: Vec<usize> = answers.iter().map(|answer| answer.buffer.len()).collect();
    sizes.sort_unstable();
    ensure!(sizes == [1, 1, 2], "{family}: dealt unevenly: {answers:?}");
    let mut seen: Vec<u64> = answers.iter().map(|answer| answer.seen).collect();
    seen.sort_unstable();
    ensure!(seen == [0, 0, 4], "{family}: {answers:?}");
    // Raw state belongs to a subtask, and these are others.
    ensure!(
        answers.iter().all(|answer| answer.raw.is_empty()),
        "{family}: {answers:?}"
    );
    check_all(family, answers)
}

#[test]
fn operator_state_and_raw_state_survive_a_kill_and_a_change_of_parallelism() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (directory, data) = (scratch.path(), scratch.path().join("data"));
    std::fs::create_dir_all(directory.join("in"))?;
    let host = Host::start(&data, &[])?;
    let mut jobs = Vec::new();
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        jobs.push(host.submit(&job(family, directory, 2))?);
    }
    let values = ["a", "b", "c", "d", "=S", "=S"];
    add(directory, "1.txt", &values)?;
    for job in &jobs {
        wait_until_read(&host, job, values.len())?;
    }
    host.kill()?;

    let host = Host::start(&data, &[])?;
    add(directory, "2.txt", &["?", "?"])?;
    let mut before = Vec::new();
    for family in FAMILIES {
        check_after_the_kill(family, &answers(directory, family, &[], 2)?)?;
        before.push(text::committed(&directory.join("out").join(family))?);
    }

    for (family, old) in FAMILIES.into_iter().zip(&jobs) {
        let savepoint = host.stop_with_savepoint(old)?;
        let query = format!("?savepointPath={savepoint}");
        host.submit_with(&job(family, directory, 3), &query)?;
    }
    add(directory, "3.txt", &["?", "?", "?"])?;
    for (family, before) in FAMILIES.into_iter().zip(&before) {
        let answers = answers(directory, family, before, 5)?;
        if answers.len() != 3 {
            bail!("{family}: {answers:?}");
        }
        check_with_three_subtasks(family, &answers)?;
    }
    Ok(())
}
