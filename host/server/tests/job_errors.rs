//! Every way to get a job file wrong that has its own message: `tests/cases/job-errors/*.yaml`, whose first
//! line is `# <line>:<column>: <message>`.

use std::path::Path;
use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::registry::Registry;
use wasmill_engine::sink::{Sink, SinkGuarantee, SinkRecovery, SinkWriter};
use wasmill_engine::source::{Source, SourceReader};
use wasmill_model::function::{CleanupStrategies, CompactFilterCleanup, Description, IncrementalCleanup};
use wasmill_model::graph::{KeySelector, OperatorKind};
use wasmill_server::job::file::StateBackend;
use wasmill_server::job::lower::{LowerOptions, LoweredJob, PluginLookup, ResolvedPlugin, lower};

/// Connectors that check nothing but one setting.
struct Nothing;

impl Source for Nothing {
    fn reader(
        &self,
        _: &RuntimeContext,
        _: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        Err(TaskError::host("never started"))
    }
    fn is_replayable(&self) -> bool {
        true
    }
    fn is_bounded(&self) -> bool {
        true
    }
}

impl Sink for Nothing {
    fn writer(&self, _: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Err(TaskError::host("never started"))
    }
    fn recover(&self, _: &SinkRecovery) -> Result<(), TaskError> {
        Ok(())
    }
    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::AtLeastOnce
    }
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    for name in ["files", "datagen"] {
        let factory = |config: &serde_json::Value, _| match config.get("path") {
            Some(path) if !path.is_string() => Err("setting `path`: a text is expected".to_owned()),
            _ => Ok(Arc::new(Nothing) as Arc<dyn Source>),
        };
        registry.sources.insert(name.to_owned(), Box::new(factory));
    }
    registry.sinks.insert(
        "print".to_owned(),
        Box::new(|_, _| Ok(Arc::new(Nothing) as Arc<dyn Sink>)),
    );
    registry
}

struct Words;

impl PluginLookup for Words {
    fn plugin(&self, reference: &str) -> Result<ResolvedPlugin, String> {
        if reference != "words" {
            return Err(format!(
                "the host has no plugin `{reference}`: upload it with `wasmill plugin upload`"
            ));
        }
        let description = r#"{"version": 1, "functions": [
            {"name": "split", "kind": "flat-map", "input": "lines", "output": "lines",
             "side-outputs": [{"name": "empty", "format": "lines"}]},
            {"name": "initial", "kind": "key-selector"},
            {"name": "count", "kind": "process", "input": "lines", "output": "json",
             "state": [{"name": "n", "kind": "value"}]}]}"#;
        let description = Description::parse(description).map_err(|e| e.to_string())?;
        Ok(ResolvedPlugin {
            digest: "sha256:00".to_owned(),
            description,
        })
    }
}

fn check(text: &str) -> Result<LoweredJob, String> {
    let options = LowerOptions {
        default_parallelism: 1,
        state_backend: StateBackend::Memory,
        parallelism: None,
        slots: 4,
    };
    let job = wasmill_server::job::parse("job.yaml", text).map_err(|e| e.to_string())?;
    lower(&job, &registry(), &Words, options).map_err(|e| e.to_string())
}

#[test]
fn every_bad_job_file_is_refused_at_its_line_and_column_with_what_to_do() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/job-errors");
    let update = std::env::var_os("WASMILL_UPDATE_SNAPSHOTS").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let expected = first.strip_prefix("# ").unwrap();
        let got = match check(&text) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.strip_prefix("job.yaml:").unwrap_or(&error).to_owned(),
        };
        if got != expected {
            wrong.push(format!(
                "{}:\n  expected {expected}\n  got      {got}",
                path.display()
            ));
            if update {
                std::fs::write(&path, format!("# {got}\n{rest}")).unwrap();
            }
        }
        count += 1;
    }
    assert!(count >= 30, "only {count} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const GOOD: &str = "version: 1
name: word-count
checkpointing: {interval: 1s, retained: 2}
restart: {strategy: fixed-delay, attempts: 3, delay: 500ms}
plugins: {words: words}
operators:
  - {uid: out, sink: print, inputs: [count, split.empty]}
  - {uid: lines, source: files, config: {path: text}, format: lines, parallelism: 2}
  - {uid: split, function: words/split, inputs: [lines]}
  - {uid: by-word, key-by: {function: words/initial}, inputs: [split]}
  - {uid: count, function: words/count, inputs: [by-word]}
  - {source: datagen, format: lines}
  - {sink: print, inputs: [source-datagen]}
";

#[test]
fn a_good_job_is_lowered_in_topological_order_with_its_key_selector_as_an_operator() {
    let lowered = check(GOOD).unwrap();
    let uids: Vec<_> = lowered.graph.operators.iter().map(|o| o.uid.as_str()).collect();
    let at = |uid: &str| uids.iter().position(|u| *u == uid).unwrap();
    assert!(at("split") < at("by-word.selector") && at("by-word.selector") < at("by-word"));
    assert!(at("by-word") < at("count") && at("count") < at("out"));
    let by_word = &lowered.graph.operators[at("by-word")];
    assert!(matches!(
        by_word.kind,
        OperatorKind::KeyBy {
            selector: KeySelector::Function,
            ..
        }
    ));
    let checkpointing = lowered.graph.settings.checkpointing.unwrap();
    assert_eq!((checkpointing.interval_ms, checkpointing.retained), (1_000, 2));
    assert_eq!(lowered.warnings.len(), 2, "{:?}", lowered.warnings);
    assert!(
        lowered.warnings[0].starts_with("job.yaml:12:5: operator `source-datagen`"),
        "{:?}",
        lowered.warnings
    );
}

#[test]
fn the_cleanup_that_a_job_says_reaches_its_states_with_flinks_defaults_for_the_rest() {
    let lowered = check(
        "version: 1
name: job
plugins: {words: words}
operators:
  - {uid: lines, source: files, config: {path: text}, format: lines}
  - {uid: by, key-by: {value: true}, inputs: [lines]}
  - uid: count
    function: words/count
    inputs: [by]
    state-ttl:
      n:
        time-to-live: 1h
        cleanup-full-snapshot: true
        cleanup-incrementally: {run-cleanup-for-every-record: true}
        cleanup-in-rocksdb-compact-filter: {periodic-compaction-time: 2d}
  - {uid: out, sink: print, inputs: [count]}
",
    )
    .unwrap();
    let mut ttls = lowered
        .graph
        .operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Function { description, .. } => description.state.first()?.ttl,
            _ => None,
        });
    let expected = CleanupStrategies {
        cleanup_full_snapshot: true,
        cleanup_incrementally: Some(IncrementalCleanup {
            cleanup_size: 5,
            run_cleanup_for_every_record: true,
        }),
        cleanup_in_rocksdb_compact_filter: Some(CompactFilterCleanup {
            query_time_after_num_entries: 1_000,
            periodic_compaction_time: 2 * 24 * 3_600_000,
        }),
        disable_cleanup_in_background: false,
    };
    assert_eq!(ttls.next().unwrap().cleanup, expected);
}

#[test]
fn json_is_read_like_yaml() {
    let json = r#"{"version": 1, "name": "j", "operators": [
        {"uid": "in", "source": "datagen"},
        {"uid": "out", "sink": "print", "inputs": ["inn"]}]}"#;
    assert_eq!(
        check(json).unwrap_err(),
        "job.yaml:3:52: no operator has the uid `inn`: did you mean `in`?"
    );
    assert!(check(&json.replace("inn", "in")).is_ok());
}

#[test]
fn a_hostile_job_file_is_refused_within_bounds() {
    let deep = format!("version: 1\nname: {}", "[".repeat(100_000));
    assert!(check(&deep).is_err());
    let laughs = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                  d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(check(laughs).is_err());
    assert!(check(&" ".repeat(2 << 20)).unwrap_err().contains("larger than"));
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job.schema.json");
    let schema = format!(
        "{}\n",
        serde_json::to_string_pretty(&wasmill_server::job::schema()).unwrap()
    );
    if std::env::var_os("WASMILL_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        published, schema,
        "run again with WASMILL_UPDATE_SNAPSHOTS=1 and look at the difference"
    );
}
