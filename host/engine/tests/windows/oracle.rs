//! Every kept case of windows gives Flink's bytes: line by line, in batches, and over a snapshot in between.

use crate::build;
use crate::case::{Case, cases};
use crate::drive::{Way, run};

/// Runs all cases one way; the ones that do not agree, each with its first difference.
fn disagreements(seed: &str, way: impl Fn(&Case) -> Way) -> Vec<String> {
    let cases = cases(seed);
    assert!(cases.len() >= 40, "only {} cases in {seed}", cases.len());
    let mut failed = Vec::new();
    for case in cases.iter().filter(|case| !case.diverges) {
        let way = way(case);
        let given = run(case, way);
        if given != case.expected {
            let at = given.iter().zip(&case.expected).position(|(a, b)| a != b);
            let at = at.unwrap_or(given.len().min(case.expected.len()));
            let (ours, flinks) = (given.get(at), case.expected.get(at));
            let name = &case.name;
            failed.push(format!(
                "{name} ({way:?}), line {at}:\n  ours  {ours:?}\n  Flink {flinks:?}"
            ));
        }
    }
    failed
}

fn agree(way: impl Fn(&Case) -> Way + Copy) {
    for seed in ["seed-1", "seed-2"] {
        let failed = disagreements(seed, way);
        assert!(
            failed.is_empty(),
            "{seed}: {} cases\n{}",
            failed.len(),
            failed.join("\n")
        );
    }
}

#[test]
fn windows_line_by_line_give_flinks_answers() {
    agree(|_| Way::default());
}

#[test]
fn windows_in_batches_give_flinks_answers() {
    agree(|_| Way {
        in_batches: true,
        ..Way::default()
    });
}

#[test]
fn windows_restored_in_the_middle_at_another_parallelism_give_flinks_answers() {
    for part in [3, 5, 7] {
        agree(|case| Way {
            in_batches: part == 5,
            restore_at: Some(case.input.len() * part / 10),
            // Windows of all elements are one subtask's.
            then_parallelism: if case.pipeline.get("all").is_some() {
                1
            } else {
                part as u32
            },
            ..Way::default()
        });
    }
}

#[test]
fn windows_in_slices_give_flinks_answers() {
    let sliced = cases("seed-1")
        .into_iter()
        .filter(|case| build::sliced(&case.pipeline).is_some());
    assert!(sliced.count() >= 10);
    for (in_batches, part) in [(false, 10), (true, 10), (true, 3), (false, 6)] {
        agree(|case| Way {
            in_batches,
            in_slices: true,
            restore_at: Some(case.input.len() * part / 10),
            then_parallelism: if case.pipeline.get("all").is_some() { 1 } else { 3 },
        });
    }
}
