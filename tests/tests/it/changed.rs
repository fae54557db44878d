//! A job goes on from a savepoint although its operators were re-ordered, chained otherwise, added and removed.

use std::path::Path;

use anyhow::{Result, ensure};
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text};

/// Reads slowly and waits for more.
const FIRST: &str = "
  - {uid: lines, source: files, config: {path: \"@/in\", rate: 100, continuous: true}, format: lines}
  - {uid: split, function: words/split, inputs: [lines]}
  - {uid: by-word, key-by: {value: true}, inputs: [split]}
  - {uid: count, function: words/count, inputs: [by-word]}
  - {uid: out, sink: files, config: {path: \"@/out\"}, format: lines, inputs: [count]}
";

/// The other way round in the file; what was chained is not, for it has parallelisms of its own; and a second count is there.
const CHANGED: &str = "
  - {uid: more-out, sink: files, config: {path: \"@/more\"}, format: lines, inputs: [more]}
  - {uid: more, function: words/count, inputs: [by-word]}
  - {uid: out, sink: files, config: {path: \"@/out\"}, format: lines, inputs: [count], parallelism: 3}
  - {uid: count, function: words/count, inputs: [by-word], parallelism: 1}
  - {uid: by-word, key-by: {value: true}, inputs: [split]}
  - {uid: split, function: words/split, inputs: [lines], parallelism: 4}
  - {uid: lines, source: files, config: {path: \"@/in\", rate: 100, continuous: true}, format: lines}
";

/// Without the second count, and to the end.
const REDUCED: &str = "
  - {uid: lines, source: files, config: {path: \"@/in\"}, format: lines}
  - {uid: split, function: words/split, inputs: [lines]}
  - {uid: by-word, key-by: {value: true}, inputs: [split]}
  - {uid: count, function: words/count, inputs: [by-word]}
  - {uid: out, sink: files, config: {path: \"@/out\"}, format: lines, inputs: [count]}
";

fn job(operators: &str, directory: &Path) -> String {
    let operators = operators.replace('@', &directory.display().to_string());
    format!(
        "version: 1
name: changed
parallelism: 2
checkpointing: {{interval: 50ms}}
plugins: {{words: words}}
operators:{operators}"
    )
}

#[test]
fn a_job_goes_on_with_operators_added_removed_reordered_and_chained_otherwise() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path();
    text::write(&directory.join("in"), 4, 150, 5)?;
    let host = Host::start(&directory.join("data"), &[])?;
    host.upload("words", &guests::rust_component("word_count")?)?;
    let committed = |name: &str| text::committed(&directory.join(name));

    let first = host.submit(&job(FIRST, directory))?;
    host.wait_for_a_new_checkpoint(&first)?;
    let savepoint = host.stop_with_savepoint(&first)?;
    let before = committed("out")?.len();

    let query = format!("?savepointPath={savepoint}");
    let changed = host.submit_with(&job(CHANGED, directory), &query)?;
    host.wait_for_a_new_checkpoint(&changed)?;
    let savepoint = host.stop_with_savepoint(&changed)?;
    let (both, more) = (committed("out")?.len(), committed("more")?);
    ensure!(
        0 < before && before < both && more.len() == both - before,
        "the second count begins with nothing: {before}, {both}, {}",
        more.len()
    );

    let query = format!("?savepointPath={savepoint}");
    let refused = host.submit_with(&job(REDUCED, directory), &query)?;
    let failure = host.failure(&refused)?;
    ensure!(
        failure.contains("`more`") && failure.contains("allowNonRestoredState"),
        "the refusal names the operator and the way out: {failure}"
    );
    let allowed = format!("{query}&allowNonRestoredState=true");
    let reduced = host.submit_with(&job(REDUCED, directory), &allowed)?;
    host.wait_for(&reduced, "FINISHED", LIMIT)?;
    let expected = text::expected_counts(&directory.join("in"))?;
    let difference = text::difference(&committed("out")?, &expected);
    ensure!(difference.is_none(), "{difference:?}");
    Ok(())
}
