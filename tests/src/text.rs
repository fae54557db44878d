//! Text made from a seed, and what counting its words must give.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

/// Writes `files` files of `lines` lines of eight words each.
pub fn write(directory: &Path, files: u32, lines: u32, seed: u64) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for file in 0..files {
        let mut text = String::new();
        for _ in 0..lines {
            for word in 0..8 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Squaring makes some words common and most rare.
                let number = (state % 40) * ((state >> 20) % 40);
                text.push_str(if word == 0 { "" } else { " " });
                text.push_str(&format!("w{number}"));
            }
            text.push('\n');
        }
        std::fs::write(directory.join(format!("{file:03}.txt")), text)?;
    }
    Ok(())
}

/// The sorted lines that a running count emits: `word,1` up to `word,n` for each word.
pub fn expected_counts(directory: &Path) -> Result<Vec<String>> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        for word in std::fs::read_to_string(entry?.path())?.split_whitespace() {
            let count = counts.entry(word.to_owned()).or_default();
            *count += 1;
            lines.push(format!("{word},{count}"));
        }
    }
    lines.sort();
    Ok(lines)
}

/// The sorted lines of all committed part files.
pub fn committed(directory: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if !directory.exists() {
        return Ok(lines);
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            lines.extend(std::fs::read_to_string(entry.path())?.lines().map(str::to_owned));
        }
    }
    lines.sort();
    Ok(lines)
}

/// Says in few words how two sorted lists of lines differ.
pub fn difference(got: &[String], expected: &[String]) -> Option<String> {
    if got == expected {
        return None;
    }
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines
            .iter()
            .for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let mut balance = count(got);
    for (line, number) in count(expected) {
        *balance.entry(line).or_default() -= number;
    }
    let odd: Vec<_> = balance.iter().filter(|(_, n)| **n != 0).collect();
    let shown: Vec<_> = odd
        .iter()
        .take(8)
        .map(|(line, n)| format!("{line}: {n:+}"))
        .collect();
    Some(format!(
        "{} lines, {} expected; {} differ: {}",
        got.len(),
        expected.len(),
        odd.len(),
        shown.join("; ")
    ))
}
