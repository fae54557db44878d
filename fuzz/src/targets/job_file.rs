//! Job files, down to the graph.

use wasmill_model::function::Description;
use wasmill_server::host::connectors;
use wasmill_server::job::file::StateBackend;
use wasmill_server::job::lower::{LowerOptions, PluginLookup, ResolvedPlugin, lower};
use wasmill_server::job::parse;

use crate::{Target, contents_below};

pub(crate) const TARGET: Target = Target {
    name: "job-file",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let bad = contents_below("host/server/tests/cases/job-errors");
    [
        bad,
        contents_below("plugins/word-count"),
        contents_below("plugins/nexmark/jobs"),
    ]
    .concat()
}

struct Words;

impl PluginLookup for Words {
    fn plugin(&self, reference: &str) -> Result<ResolvedPlugin, String> {
        if reference != "words" {
            return Err("there is but `words`".to_owned());
        }
        let description = r#"{"version": 1, "functions": [
            {"name": "split", "kind": "flat-map", "input": "lines", "output": "lines",
             "side-outputs": [{"name": "empty", "format": "lines"}]},
            {"name": "initial", "kind": "key-selector"},
            {"name": "count", "kind": "process", "input": "lines", "output": "json",
             "state": [{"name": "n", "kind": "value"}]}]}"#;
        Ok(ResolvedPlugin {
            digest: "sha256:00".to_owned(),
            description: Description::parse(description).map_err(|error| error.to_string())?,
        })
    }
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A secret may be read from any file of the machine, also from one without end.
    if text.contains("/dev/") || text.contains("/proc/") {
        return;
    }
    let named = |error: String| assert!(error.starts_with("job.yaml"), "{error}");
    let job = match parse("job.yaml", text) {
        Ok(job) => job,
        Err(error) => return named(error.to_string()),
    };
    let json = serde_json::to_string(&job.file).expect("a job file is JSON");
    let again = parse("job.yaml", &json)
        .expect("what was read can be written")
        .file;
    assert_eq!(serde_json::to_string(&again).expect("a job file is JSON"), json);
    let options = LowerOptions {
        default_parallelism: 1,
        state_backend: StateBackend::Memory,
        parallelism: None,
        slots: 4,
    };
    match lower(&job, &connectors(), &Words, options) {
        Ok(lowered) => assert!(!lowered.graph.operators.is_empty()),
        Err(error) => named(error.to_string()),
    }
}
