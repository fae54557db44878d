//! A case of the oracle: its parameters, its input, and what Flink answered.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) pipeline: Value,
    /// Flink has a fault here that is not to be copied.
    pub(crate) diverges: bool,
    /// The input ends without a last watermark.
    pub(crate) is_unbounded: bool,
    pub(crate) input: Vec<Value>,
    pub(crate) expected: Vec<String>,
    order: Vec<String>,
}

/// The kept cases of a seed that concern windows of one input. `WASMILL_ORACLE_CASES` names another folder.
pub(crate) fn cases(seed: &str) -> Vec<Case> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/cases");
    let folder = std::env::var_os("WASMILL_ORACLE_CASES").map_or(kept, PathBuf::from);
    let mut folders: Vec<_> = fs::read_dir(folder.join(seed))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").exists())
        .collect();
    folders.sort();
    let cases = folders.iter().map(|folder| read(folder));
    let ours = |case: &(Value, Case)| {
        case.0["family"] == "window" && case.0["tape"]["inputs"].as_u64().is_none_or(|inputs| inputs == 1)
    };
    cases.filter(ours).map(|(_, case)| case).collect()
}

fn read(folder: &Path) -> (Value, Case) {
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let spec: Value = serde_json::from_str(&text(&folder.join("case.json"))).unwrap();
    let input = folder.join(spec["input"].as_str().unwrap());
    let case = Case {
        name: spec["name"].as_str().unwrap().to_owned(),
        pipeline: spec["pipeline"].clone(),
        diverges: spec.get("diverges").is_some(),
        is_unbounded: spec["tape"].get("unbounded").is_some(),
        input: text(&input)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        expected: text(&folder.join("expected.jsonl"))
            .lines()
            .map(str::to_owned)
            .collect(),
        order: serde_json::from_value(spec["order"].clone()).unwrap(),
    };
    (spec, case)
}

impl Case {
    /// Of an input of its own, without an answer.
    pub(crate) fn of(pipeline: Value, input: Vec<Value>) -> Self {
        Self {
            name: "of its own".to_owned(),
            pipeline,
            diverges: false,
            is_unbounded: false,
            input,
            expected: Vec::new(),
            order: ["at", "key"].map(str::to_owned).to_vec(),
        }
    }

    /// Sorts lines by the fields of the case; equal ones stay as they were emitted.
    pub(crate) fn sort(&self, lines: Vec<String>) -> Vec<String> {
        let mut parsed: Vec<(Value, String)> = lines
            .into_iter()
            .map(|line| (serde_json::from_str(&line).unwrap(), line))
            .collect();
        parsed.sort_by(|(a, _), (b, _)| {
            let fields = self.order.iter().map(|field| compare(a.get(field), b.get(field)));
            fields.fold(Ordering::Equal, Ordering::then)
        });
        parsed.into_iter().map(|(_, line)| line).collect()
    }
}

/// A missing field comes last.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if a.is_number() => a.as_i64().cmp(&b.as_i64()),
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
