//! Rules of single source files.

use anyhow::Result;

use crate::files::{Text, texts};
use crate::none;

/// Lines of a file without its tests; past it the file's opening must say why it is longer.
const LINES: usize = 500;

/// Lines that no explanation excuses.
const LINES_HARD: usize = 600;

/// Lines of a file that holds nothing but tests.
const LINES_OF_TESTS: usize = 800;

/// What the opening of a file between the two limits has to contain.
const REASON: &str = "//! Longer than 500 lines: ";

#[test]
fn every_rust_file_opens_by_saying_what_it_is_for() -> Result<()> {
    let violations = texts(&["rs"])?
        .iter()
        .filter(|text| !text.content.starts_with("//! "))
        .map(|text| format!("{}: the first line is not `//! …`", text.path))
        .collect();
    none(
        "A source file opens with what it is for and the invariant it keeps.",
        violations,
    );
    Ok(())
}

#[test]
fn no_file_is_longer_than_one_can_read() -> Result<()> {
    let violations = texts(&["rs"])?.iter().filter_map(too_long).collect();
    none(
        "A file has at most 500 lines without its tests; up to 600 where its opening says why: \
         `//! Longer than 500 lines: …`; a file of tests at most 800. Split it by concept.",
        violations,
    );
    Ok(())
}

fn too_long(text: &Text) -> Option<String> {
    let lines = lines_without_tests(&text.content);
    let limit = match text.content.contains(REASON) {
        _ if is_test(text) => LINES_OF_TESTS,
        true => LINES_HARD,
        false => LINES,
    };
    (lines > limit).then(|| format!("{}: {lines} lines, {limit} allowed", text.path))
}

/// Whether a file holds nothing but tests.
fn is_test(text: &Text) -> bool {
    ["/tests/", "/testing/"]
        .iter()
        .any(|folder| text.path.contains(folder))
        || text.path.ends_with("tests.rs")
}

/// Lines before the module of unit tests, which stands at the end of a file.
fn lines_without_tests(content: &str) -> usize {
    let lines: Vec<&str> = content.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    match tests {
        // `mod tests;` is a file of its own and ends nothing.
        Some(at) if !lines[at + 1].ends_with(';') => at,
        _ => lines.len(),
    }
}

#[test]
fn lines_are_counted_without_the_module_of_tests() {
    assert_eq!(
        lines_without_tests("//! a\nfn b() {}\n#[cfg(test)]\nmod tests {\n}\n"),
        2
    );
    assert_eq!(
        lines_without_tests("//! a\n#[cfg(test)]\nmod tests;\nfn b() {}\n"),
        4
    );
}

/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES: usize = 70;

#[test]
fn no_function_is_longer_than_a_screen() -> Result<()> {
    let mut violations = Vec::new();
    // A test that is a table may be as long as its table.
    for text in texts(&["rs"])?.iter().filter(|text| !is_test(text)) {
        for (line, lines) in functions(&text.content) {
            if lines > FUNCTION_LINES {
                violations.push(format!("{}:{line}: {lines} lines", text.path));
            }
        }
    }
    none(
        "A function has at most 70 lines: part it by what it does.",
        violations,
    );
    Ok(())
}

/// Where each function starts and how many lines it has; the formatter puts its closing brace under its start.
fn functions(content: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = content.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code.split([' ', '(']).collect();
        let is_function = words.contains(&"fn") && !code.starts_with("//") && !code.starts_with('"');
        if !is_function || !words[0].starts_with(|c: char| c.is_ascii_lowercase()) {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - code.len()]);
        let signature_ends = lines[start..]
            .iter()
            .position(|line| line.ends_with(['{', ';', '}']));
        let has_body = signature_ends.is_some_and(|at| lines[start + at].ends_with('{'));
        let end = lines[start..].iter().position(|line| *line == close);
        if let (true, Some(length)) = (has_body, end) {
            found.push((start + 1, length + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured_to_their_closing_brace() {
    let content = "pub(crate) fn a() {\n    let b = 1;\n}\n\nimpl C {\n    fn d(&self) -> u8 {\n        e();\n        1\n    }\n}\n\ntrait F {\n    fn g(\n        &self,\n    );\n    fn h() {}\n}\n";
    assert_eq!(functions(content), [(1, 3), (6, 4)]);
}

#[test]
fn no_test_is_switched_off() -> Result<()> {
    let attribute = concat!("#[", "ignore");
    let mut violations = Vec::new();
    for text in texts(&["rs"])? {
        for (number, line) in text.lines() {
            if line.trim_start().starts_with(attribute) {
                violations.push(format!("{}:{number}", text.path));
            }
        }
    }
    none(
        "A test that cannot run says so at run time (wasmill_tests::skip::note); it is never switched off.",
        violations,
    );
    Ok(())
}

#[test]
fn nothing_mentions_what_lies_outside_the_repository() -> Result<()> {
    // Cut in two, so that this file passes its own rule.
    let outside = [
        concat!("../", "shared"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("artifac", "tory"),
        concat!("/tmp/", "bash"),
    ];
    let mut violations = Vec::new();
    for text in texts(&[])? {
        for (number, line) in text.lines() {
            for mention in outside.iter().filter(|mention| line.contains(**mention)) {
                violations.push(format!("{}:{number}: {mention}", text.path));
            }
        }
    }
    none(
        "The repository is complete in itself: copy what it needs, name no path of one machine.",
        violations,
    );
    Ok(())
}
