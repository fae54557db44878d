//! Rules of the repository that a compiler does not check.
//!
//! Invariant: every failure names the file, the line where there is one, the rule and the mend, all at once
//! for all places.

mod dependencies;
mod features;
mod files;
mod links;
mod sources;

/// Fails with all violations of a rule, one a line.
#[track_caller]
fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}\n  {}\n", violations.join("\n  "));
}
