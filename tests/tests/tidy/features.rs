//! `docs/features.md`: a row for every feature that the project promises, and tests that show it.

use std::collections::HashSet;

use anyhow::{Context, Result};

use crate::files::texts;
use crate::none;

const DOCUMENT: &str = "docs/features.md";

/// Groups of features and how many each has; `X` are the examples.
const GROUPS: [(char, usize); 9] = [
    ('G', 16),
    ('T', 5),
    ('W', 9),
    ('S', 9),
    ('C', 10),
    ('E', 8),
    ('P', 9),
    ('O', 8),
    ('X', 20),
];

/// One row: id, feature, state, tests, what is missing.
struct Row {
    line: usize,
    id: String,
    state: String,
    tests: Vec<String>,
    missing: String,
}

fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let is_row = cells.first().is_some_and(|id| is_id(id));
        if !line.starts_with('|') || !is_row {
            continue;
        }
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        rows.push(Row {
            line: index + 1,
            id: cell(0).to_owned(),
            state: cell(2).to_owned(),
            tests: cell(3).split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            missing: cell(4).to_owned(),
        });
    }
    rows
}

fn is_id(text: &str) -> bool {
    let group = |letter: char| GROUPS.iter().any(|(known, _)| *known == letter);
    text.starts_with(group) && text[1..].parse::<usize>().is_ok()
}

/// Names of all functions that are tests.
fn test_names() -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    for text in texts(&["rs"])? {
        let mut is_test = false;
        for line in text.content.lines().map(str::trim) {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
                if is_test {
                    names.extend(rest.split(['(', '<']).next().map(str::to_owned));
                }
                is_test = false;
            }
        }
    }
    Ok(names)
}

fn document() -> Result<String> {
    let document = texts(&["md"])?.into_iter().find(|text| text.path == DOCUMENT);
    Ok(document
        .with_context(|| format!("{DOCUMENT} is missing"))?
        .content)
}

#[test]
fn every_promised_feature_has_one_row_in_order() -> Result<()> {
    let found: Vec<String> = rows(&document()?).into_iter().map(|row| row.id).collect();
    let expected: Vec<String> = GROUPS
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |n| format!("{group}{n}")))
        .collect();
    assert_eq!(found, expected, "{DOCUMENT} has one row for each id, in order");
    Ok(())
}

#[test]
fn every_feature_that_works_is_shown_by_tests_that_exist() -> Result<()> {
    let names = test_names()?;
    let mut violations = Vec::new();
    for row in rows(&document()?) {
        let place = format!("{DOCUMENT}:{}: {}", row.line, row.id);
        match row.state.as_str() {
            "done" | "partial" if row.tests.is_empty() => violations.push(format!("{place} names no test")),
            "done" if !row.missing.is_empty() => {
                violations.push(format!(
                    "{place} is done, but something is missing: {}",
                    row.missing
                ));
            }
            "partial" if row.missing.is_empty() => {
                violations.push(format!("{place} is partial: say what is missing"))
            }
            "none" if !row.tests.is_empty() => {
                violations.push(format!("{place} has no state `none` with tests"))
            }
            "done" | "partial" | "none" => {}
            other => violations.push(format!("{place}: state `{other}` is not done, partial or none")),
        }
        for test in row.tests.iter().filter(|test| !names.contains(*test)) {
            violations.push(format!("{place}: there is no test `{test}`"));
        }
    }
    none(
        "A feature's state is done, partial or none, and the tests it names exist.",
        violations,
    );
    Ok(())
}
