//! Reads what the sink wrote, sorts it as the case says and compares it with Flink's answers byte by byte.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Lines that are shown where files differ.
const LINES_SHOWN: usize = 3;

/// One line and its fields.
struct Line {
    text: String,
    fields: Value,
}

/// The lines of all committed parts, a list for each subtask in the order of writing.
pub fn written(directory: &Path) -> Result<Vec<Vec<String>>> {
    let mut parts = BTreeMap::new();
    if directory.exists() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // `part-TAG-SUBTASK-CHECKPOINT-N`; the others are not committed.
            let numbers: Vec<u64> = name
                .split('-')
                .skip(2)
                .filter_map(|part| part.parse().ok())
                .collect();
            if let ([subtask, checkpoint, number], false) = (&numbers[..], name.starts_with('.')) {
                // Of two jobs the later one has the higher checkpoints.
                parts.insert((*subtask, *checkpoint, *number, name), entry.path());
            }
        }
    }
    let mut subtasks: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for ((subtask, ..), path) in parts {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(str::to_owned);
        subtasks.entry(subtask).or_default().extend(lines);
    }
    Ok(subtasks.into_values().collect())
}

/// One list of lines: records of all subtasks, and the signals, which must be the same in each.
pub fn merged(subtasks: Vec<Vec<String>>) -> Result<Vec<String>> {
    let is_signal = |line: &String| {
        let is_watermark = line.contains("\"watermark\":") && !line.contains("\"key\":");
        is_watermark || line.contains("\"status\":")
    };
    let signals = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| is_signal(line))
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut subtasks = subtasks.into_iter();
    let mut all = subtasks.next().unwrap_or_default();
    let first = signals(&all);
    for lines in subtasks {
        ensure!(
            signals(&lines) == first,
            "subtasks saw different watermarks or statuses"
        );
        all.extend(lines.into_iter().filter(|line| !is_signal(line)));
    }
    Ok(all)
}

/// Sorts stably by fields: numbers as such, other values by their text; a missing field comes last.
pub fn sorted(lines: Vec<String>, order: &[String]) -> Result<Vec<String>> {
    let parse = |text: String| {
        let fields = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        Ok(Line { text, fields })
    };
    let mut lines = lines.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
    lines.sort_by(|a, b| {
        let fields = order
            .iter()
            .map(|field| compare(a.fields.get(field), b.fields.get(field)));
        fields.fold(Ordering::Equal, Ordering::then)
    });
    Ok(lines.into_iter().map(|line| line.text).collect())
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.to_string().cmp(&b.to_string()),
        },
    }
}

/// Where two lists of lines differ first, in words; `None`: they are equal.
pub fn difference(got: &[String], expected: &[String]) -> Option<String> {
    let at = (0..got.len().max(expected.len())).find(|at| got.get(*at) != expected.get(*at))?;
    let shown = |lines: &[String]| {
        let lines = lines.iter().skip(at).take(LINES_SHOWN);
        let lines: Vec<String> = lines.map(|line| format!("\n    {line}")).collect();
        match lines.is_empty() {
            true => "\n    (nothing more)".to_owned(),
            false => lines.concat(),
        }
    };
    Some(format!(
        "answer {at} of {} differs ({} here)\n  here:{}\n  Flink:{}",
        expected.len(),
        got.len(),
        shown(got),
        shown(expected)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_missing_field_comes_last_and_equals_keep_their_order() {
        let given = lines(&[
            r#"{"at":2,"key":"b"}"#,
            r#"{"at":10,"key":"a"}"#,
            r#"{"at":2,"x":1}"#,
            r#"{"at":2,"key":"a","x":2}"#,
            r#"{"at":2,"key":"a","x":1}"#,
        ]);
        let order = lines(&["at", "key"]);
        assert_eq!(
            sorted(given, &order).unwrap(),
            [
                r#"{"at":2,"key":"a","x":2}"#,
                r#"{"at":2,"key":"a","x":1}"#,
                r#"{"at":2,"key":"b"}"#,
                r#"{"at":2,"x":1}"#,
                r#"{"at":10,"key":"a"}"#,
            ]
        );
    }

    #[test]
    fn signals_of_subtasks_count_once_and_must_agree() {
        let first = lines(&[r#"{"at":1,"watermark":5}"#, r#"{"at":2,"key":"a"}"#]);
        let second = lines(&[r#"{"at":1,"watermark":5}"#, r#"{"at":3,"key":"b"}"#]);
        let both = merged(vec![first.clone(), second.clone()]).unwrap();
        assert_eq!(both, [&first[..], &second[1..]].concat());
        assert!(merged(vec![first, lines(&[r#"{"at":1,"watermark":6}"#])]).is_err());
    }

    #[test]
    fn a_difference_names_the_place_and_both_sides() {
        let (a, b) = (lines(&["x", "y"]), lines(&["x", "z", "w"]));
        let told = difference(&a, &b).unwrap();
        assert!(told.starts_with("answer 1 of 3 differs (2 here)"), "{told}");
        assert_eq!(difference(&a, &a), None);
    }
}
