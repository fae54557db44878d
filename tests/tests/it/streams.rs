//! Functions beside operators and functions of several streams in jobs of the real host: what they do, and what is
//! refused at submit.

use anyhow::{Result, ensure};
use wasmill_tests::host::Host;
use wasmill_tests::{cli, guests, text};

use crate::FAMILIES;

/// A job of the conformance component, which reads `in` and writes `out`.
fn job(family: &str, operators: &str) -> Result<String> {
    let component = guests::rust_component(family)?;
    Ok(format!(
        "version: 1
name: streams
parallelism: 2
restart: {{strategy: none}}
plugins: {{c: {}}}
operators:
  - {{uid: in, source: files, config: {{path: in}}, format: lines, parallelism: 1}}
{operators}",
        component.display()
    ))
}

#[test]
fn a_custom_partition_sends_records_where_its_function_says() -> Result<()> {
    for family in FAMILIES {
        let directory = tempfile::tempdir()?;
        let operators = "  - {uid: dealt, partition-custom: {function: c/partition}, inputs: [in]}
  - {uid: where, function: c/flat-map, inputs: [dealt], config: {tag: t}}
  - {uid: out, sink: files, config: {path: out}, format: lines, inputs: [where]}
";
        std::fs::write(directory.path().join("job.yaml"), job(family, operators)?)?;
        std::fs::create_dir(directory.path().join("in"))?;
        // The length decides: odd ones to subtask 1.
        let lines = "? ab\n? a\n? abcd\n? abc\n? ab\n";
        std::fs::write(directory.path().join("in/lines"), lines)?;
        cli::run(directory.path(), &["run", "job.yaml"])?.ok()?;
        let places: Vec<_> = text::committed(&directory.path().join("out"))?;
        let expected = [
            "0/2 t", "0/2 t", "0/2 t", "1/2 t", "1/2 t", "a", "ab", "ab", "abc", "abcd",
        ];
        ensure!(places == expected, "{family}: {places:?}");

        std::fs::write(directory.path().join("in/wrong"), "=7\n")?;
        let error = cli::run(directory.path(), &["run", "job.yaml"])?.refused()?;
        ensure!(
            error.contains("chose target 7 of 2") && error.contains("\"=7\""),
            "{family}: {error}"
        );
    }
    Ok(())
}

/// What a job says, and the parts of its refusal.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "  - {uid: t, function: c/timestamps, inputs: [in]}\n",
        &[
            "`c/timestamps` is no operator by itself",
            "timestamp: {function: c/timestamps}",
        ],
    ),
    (
        "  - {uid: t, partition-custom: {function: c/watermarks}, inputs: [in]}\n",
        &[
            "`watermarks` is a function of kind WatermarkGenerator",
            "Partitioner is needed",
        ],
    ),
    (
        "  - {uid: t, assign-timestamps: {generator: {function: c/partition}}, inputs: [in]}\n",
        &["`partition` is a function of kind Partitioner"],
    ),
    (
        "  - {uid: t, assign-timestamps: {timestamp: {ingestion: true}}, inputs: [in]}\n",
        &["`strategy`", "`generator`"],
    ),
    (
        "  - {uid: t, assign-timestamps: {strategy: none, generator: {function: c/watermarks}}, inputs: [in]}\n",
        &["`strategy`", "`generator`"],
    ),
    (
        "  - {uid: j, key-by: {value: true}, inputs: [in]}
  - {uid: t, function: c/broadcast, inputs: [j, in]}\n",
        &[
            "it has broadcast state",
            "`partition: broadcast` before its second input",
        ],
    ),
    (
        "  - {uid: b, partition: broadcast, inputs: [in]}
  - {uid: t, function: c/broadcast, inputs: [in, b]}\n",
        &["it needs a keyed stream"],
    ),
    (
        "  - {uid: j, key-by: {value: true}, inputs: [in]}
  - {uid: b, partition: broadcast, inputs: [in]}
  - {uid: t, function: c/co-process, inputs: [j, b]}\n",
        &["its first input is keyed, its second is not"],
    ),
    (
        "  - {uid: t, function: c/co-map, inputs: [in]}\n",
        &["it has two inputs and 1 are named"],
    ),
];

#[test]
fn functions_where_they_do_not_belong_are_refused_at_submit() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    for family in FAMILIES {
        host.upload(family, &guests::rust_component(family)?)?;
        for (operators, wanted) in REFUSED {
            let sink = "  - {uid: out, sink: discard, inputs: [t]}\n";
            let text = job(family, &format!("{operators}{sink}"))?;
            let path = guests::rust_component(family)?.display().to_string();
            let text = text.replace(&path, family);
            let (status, answer) = host.post("/v1/jobs", "application/yaml", text.as_bytes())?;
            let error = answer["errors"][0].as_str().unwrap_or_default();
            ensure!(status == 400, "{operators}: {status} {answer}");
            for part in *wanted {
                ensure!(error.contains(part), "{operators}: no `{part}` in: {error}");
            }
        }
    }
    Ok(())
}
