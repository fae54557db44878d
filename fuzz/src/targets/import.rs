//! Lines of `wasmill state import`: a savepoint made of them holds what they say.

use std::path::Path;

use wasmill_checkpoint::storage::StorageSettings;
use wasmill_server::offline::change::import;
use wasmill_server::offline::read::{Filter, Savepoint};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "import",
    run,
    seeds,
};

const ALL: &str = r#"{"savepoint":{"version":1,"job-id":"00000000000000000000000000000007","job-name":"job","checkpoint":3,"triggered-at":0,"epoch":1,"max-parallelism":128}}
{"operator":"count","parallelism":2,"states":[{"name":"count","kind":"value","encoding":"u64-le","schema":null,"schema-version":1},{"name":"last","kind":"list"},{"name":"seen","kind":"map"},{"name":"text","kind":"value","encoding":"utf-8"}]}
{"operator":"count","state":"count","key":"word","value":5}
{"operator":"count","state":"seen","key":1,"window":{"start":0,"end":60000},"map-key":"k","value":{"base64":"AAEC"}}
{"operator":"count","state":"last","key":null,"element":"x"}
{"operator":"count","state":"text","key":{"base64":"AAEC"},"value":"x"}
{"operator":"count","timer":"event","timestamp":60000,"key":"word"}
{"operator":"count","operator-state":"buffer","mode":"list","subtask":0,"element":{"base64":"AAEC"}}
{"operator":"count","raw-state":{"base64":"AAEC"},"subtask":1}
{"operator":"count","committable":{"sink":"count","checkpoint":3,"version":1,"bytes":"AAEC"},"subtask":0}
"#;

fn seeds() -> Vec<Vec<u8>> {
    let head: Vec<&str> = ALL.lines().take(2).collect();
    let lines = ALL.lines().skip(2);
    let mut seeds: Vec<_> = lines
        .map(|line| format!("{}\n{line}\n", head.join("\n")).into_bytes())
        .collect();
    seeds.push(ALL.as_bytes().to_vec());
    seeds
}

fn run(data: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let Ok(first) = imported(data, &directory.path().join("first")) else {
        return;
    };
    let second =
        imported(&first, &directory.path().join("second")).expect("what was exported can be imported");
    assert_eq!(String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
}

/// What is exported from the savepoint that the lines make.
fn imported(mut lines: &[u8], to: &Path) -> Result<Vec<u8>, String> {
    let to = to.display().to_string();
    let settings = StorageSettings::default();
    if let Err(error) = import("lines", &mut lines, &to, &settings) {
        assert!(!error.0.is_empty());
        return Err(error.0);
    }
    let mut exported = Vec::new();
    let savepoint = Savepoint::open(&to, &settings).expect("what was imported can be opened");
    savepoint
        .export(&Filter::default(), &mut exported)
        .expect("what was imported can be exported");
    Ok(exported)
}
