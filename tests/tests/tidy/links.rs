//! Links between the documents.

use anyhow::Result;
use wasmill_tests::guests::root;

use crate::files::{Text, texts};
use crate::none;

#[test]
fn every_link_in_a_document_leads_somewhere() -> Result<()> {
    let mut violations = Vec::new();
    for text in texts(&["md"])? {
        for (number, target) in links(&text) {
            let directory = root()
                .join(&text.path)
                .parent()
                .map(std::path::Path::to_path_buf)
                .unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !directory.join(path).exists() {
                violations.push(format!("{}:{number}: {target}", text.path));
            }
        }
    }
    none(
        "A link names a file that is there, relative to the document.",
        violations,
    );
    Ok(())
}

/// Targets of `[…](target)` within the repository, outside of code blocks, with their lines.
fn links(text: &Text) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

#[test]
fn links_are_found_outside_of_code_and_of_the_web() {
    let content = "see [a](b.md#c) and [d](https://example.org)\n```\n[e](f.md)\n```\n[g](../h)\n".to_owned();
    let text = Text {
        path: "x.md".to_owned(),
        content,
    };
    assert_eq!(links(&text), [(1, "b.md#c".to_owned()), (5, "../h".to_owned())]);
}
