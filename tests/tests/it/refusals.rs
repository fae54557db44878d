//! A function that answers with an error: the job's failure names plugin, function, subtask and record, and
//! says what to do.

use anyhow::{Context, Result, ensure};
use wasmill_tests::guests;
use wasmill_tests::host::Host;

use crate::FAMILIES;

/// What the function is given, and what the failure says beside where it happened.
const REFUSALS: &[(&str, &[&str])] = &[
    (
        "!bad no good",
        &[
            "the function refused a record: no good; ",
            "mend the record, or make the function",
        ],
    ),
    (
        "!retry not now",
        &[
            "the function asks for another attempt: not now; ",
            "give the job a `restart` strategy",
        ],
    ),
    (
        "!fail no more",
        &[
            "the function failed: no more; ",
            "look at the component and at the operator's `config`",
        ],
    ),
];

fn job(family: &str, directory: &str) -> String {
    format!(
        "version: 1
name: refusal
restart: {{strategy: none}}
plugins: {{functions: {family}}}
operators:
  - {{uid: values, source: files, config: {{path: \"{directory}\"}}, format: lines}}
  - {{uid: picky, function: functions/flat-map, inputs: [values]}}
  - {{uid: out, sink: discard, inputs: [picky]}}
"
    )
}

#[test]
fn an_error_of_a_function_names_its_place_and_what_to_do() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    let mut jobs = Vec::new();
    for family in FAMILIES {
        let uploaded = host.upload(family, &guests::rust_component(family)?)?;
        let digest = uploaded["digest"].as_str().context("no digest")?;
        // As errors name it: the first digits tell one version from another.
        let plugin = format!("{family}@{}", &digest[.."sha256:".len() + 12]);
        for (number, (record, wanted)) in REFUSALS.iter().enumerate() {
            let input = scratch.path().join(number.to_string());
            std::fs::create_dir_all(&input)?;
            std::fs::write(input.join("values.txt"), format!("fine\n{record}\nfine\n"))?;
            let job = host.submit(&job(family, &input.display().to_string()))?;
            jobs.push((job, plugin.clone(), *record, *wanted));
        }
    }
    for (job, plugin, record, wanted) in jobs {
        let error = host.failure(&job)?;
        let place = [
            "operator `picky` subtask 0: ".to_owned(),
            format!("[plugin {plugin}, function `flat-map`, record \"{record}\"]"),
        ];
        for part in place.iter().map(String::as_str).chain(wanted.iter().copied()) {
            ensure!(error.contains(part), "{plugin} {record}: no `{part}` in: {error}");
        }
    }
    Ok(())
}
