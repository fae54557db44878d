//! `cargo xtask demo`: the word count on real text, exactly once, in an embedded host.
//!
//! Invariant: the result is compared with a plain count of the same text, so the demo shows that nothing was
//! lost or counted twice, not only that something came out.

mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::check;
use crate::command::run;
use crate::guests::{self, Language};
use crate::workspace::Workspace;

/// Below the root of the clone.
const DIRECTORY: &str = "target/demo";

/// Of the text that is counted.
const TEXT_BYTES: usize = 24 << 20;

/// Words that are printed.
const TOP: usize = 10;

/// Builds host and guests, runs the job, prints and checks the result.
pub(crate) fn demo(workspace: &Workspace) -> Result<()> {
    guests::run(workspace, &guests::Options::only(Language::Rust))?;
    check::build_host(workspace)?;

    let directory = workspace.root.join(DIRECTORY);
    let _ = fs::remove_dir_all(&directory);
    let input = directory.join("text");
    fs::create_dir_all(&input).with_context(|| format!("make {}", input.display()))?;
    let files = text::write(&workspace.root, &input, TEXT_BYTES)?;
    let job = directory.join("job.yaml");
    fs::write(&job, job_file(workspace, &directory)?).with_context(|| format!("write {}", job.display()))?;

    eprintln!(
        "==> wasmill run {} ({files} files, {} MB of text)",
        job.display(),
        TEXT_BYTES >> 20
    );
    let start = Instant::now();
    let mut host = Command::new(check::host_binary(workspace));
    run(host
        .arg("run")
        .arg(&job)
        .arg("--data-dir")
        .arg(directory.join("data")))?;
    let elapsed = start.elapsed();

    let expected = text::count_words(&input)?;
    let (lines, counts) = committed(&directory.join("out"))?;
    compare(&counts, lines, &expected)?;
    print(&counts, lines);
    println!(
        "\nEvery one of the {lines} running counts is there once: the same as a plain count of the text gives."
    );
    println!(
        "It took {:.1} s with checkpoints each second.",
        elapsed.as_secs_f64()
    );
    println!(
        "Result: {}\nJob:    {}",
        directory.join("out").display(),
        job.display()
    );
    Ok(())
}

/// The job of the plugin, with paths that do not depend on where it is run from.
fn job_file(workspace: &Workspace, directory: &Path) -> Result<String> {
    let original = workspace.root.join("plugins/word-count/job.yaml");
    let mut job = fs::read_to_string(&original).with_context(|| format!("read {}", original.display()))?;
    let component = workspace.guests().join("word_count.wasm").display().to_string();
    let replacements = [
        ("../../target/guests/word_count.wasm", format!("\"{component}\"")),
        (
            "\"text/*.txt\"",
            format!("\"{}/text/*.txt\"", directory.display()),
        ),
        ("path: out", format!("path: \"{}/out\"", directory.display())),
    ];
    for (from, to) in replacements {
        ensure!(
            job.contains(from),
            "{} does not contain `{from}`: mend the demo",
            original.display()
        );
        job = job.replace(from, &to);
    }
    Ok(job)
}

/// Reads the committed part files: how many lines there are, and the highest running count of each word.
fn committed(directory: &Path) -> Result<(u64, BTreeMap<String, u64>)> {
    let mut lines = 0;
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        // What starts with a dot is not committed.
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        {
            continue;
        }
        for line in fs::read_to_string(&path)
            .with_context(|| format!("read {}", path.display()))?
            .lines()
        {
            let (word, count) = line
                .rsplit_once(',')
                .with_context(|| format!("`{line}` is no `word,count`"))?;
            let count: u64 = count
                .parse()
                .with_context(|| format!("`{line}` is no `word,count`"))?;
            let highest = counts.entry(word.to_owned()).or_insert(0);
            *highest = count.max(*highest);
            lines += 1;
        }
    }
    Ok((lines, counts))
}

fn compare(counts: &BTreeMap<String, u64>, lines: u64, expected: &BTreeMap<String, u64>) -> Result<()> {
    for (word, count) in expected {
        let got = counts.get(word).copied().unwrap_or(0);
        if got != *count {
            bail!("`{word}` was counted {got} times instead of {count}");
        }
    }
    let words: u64 = expected.values().sum();
    ensure!(lines == words, "{lines} lines were written for {words} words");
    Ok(())
}

fn print(counts: &BTreeMap<String, u64>, lines: u64) {
    let mut top: Vec<(&String, &u64)> = counts.iter().collect();
    top.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    println!(
        "\n{lines} words, {} of them different. The most frequent:",
        counts.len()
    );
    for (word, count) in top.into_iter().take(TOP) {
        println!("{count:>9}  {word}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_or_repeated_count_is_found() {
        let expected = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert!(compare(&expected, 3, &expected).is_ok());
        assert!(compare(&expected, 4, &expected).is_err());
        assert!(compare(&BTreeMap::from([("a".to_owned(), 2)]), 3, &expected).is_err());
    }
}
