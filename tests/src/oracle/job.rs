//! Makes a job file of a case: names of the case become names of the job file, and its tape the sources.
//!
//! Invariant: what a parameter means is for the host to know; one that has no counterpart in a job file is named as
//! missing, never passed over.

mod window;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Backend, Case};

/// Where a job reads, writes and runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where its results go.
    pub out: &'a Path,
    /// What the job file calls the component: its path, or its name in the host.
    pub plugin: &'a str,
    /// Of keyed operators.
    pub parallelism: u64,
    /// Where keyed state is held.
    pub backend: Backend,
    /// Where batches are cut.
    pub steps: Steps,
    /// The line before which the tape stands still until the job is stopped.
    pub hold_at: Option<usize>,
}

/// Where batches are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// After every line of the tape.
    Lines,
    /// Only where something other than a record of the same input comes.
    Runs,
}

impl Steps {
    /// Both, in the order of running.
    pub const ALL: [Self; 2] = [Self::Lines, Self::Runs];

    /// As the job file says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Runs => "runs",
        }
    }
}

/// What a case needs that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

/// The operators between the sources and the sink.
pub(super) struct Pipeline {
    operators: Vec<Value>,
    /// The last one.
    last: &'static str,
    /// Side outputs, and what the case's answers call them.
    sides: Vec<(&'static str, &'static str)>,
    keyed: bool,
}

/// The job file of a case, in JSON.
pub fn job(case: &Case, place: Place<'_>) -> Result<Value, Missing> {
    let pipeline = pipeline(case)?;
    let parallelism = if pipeline.keyed { place.parallelism } else { 1 };
    let mut operators = sources(case, place, ends(case));
    operators.extend(pipeline.operators);
    let mut inputs = vec![pipeline.last.to_owned()];
    let mut outputs = vec![""];
    for (side, name) in pipeline.sides {
        inputs.push(format!("{}.{side}", pipeline.last));
        outputs.push(name);
    }
    let mut config = json!({
        "path": place.out.display().to_string(),
        "outputs": outputs,
        "signals": case.has_signals(),
    });
    if case.spec["family"] == "splits" {
        config["records"] = false.into();
    }
    operators.push(json!({"uid": "out", "sink": "tape", "config": config, "inputs": inputs}));
    let mut job = json!({
        "version": 1,
        "name": format!("oracle {}", case.name),
        "parallelism": parallelism,
        "state-backend": place.backend.name(),
        "plugins": {"oracle": place.plugin},
        "operators": operators,
    });
    if let Some(ms) = case.pipeline()["interval"].as_i64() {
        job["auto-watermark-interval"] = format!("{ms}ms").into();
    }
    Ok(job)
}

/// Inputs of a union end together, those of an operator with two inputs one after the other.
fn ends(case: &Case) -> &'static str {
    let pipeline = case.pipeline();
    match pipeline["function"].as_str() {
        Some("co-process" | "broadcast-keyed") => "in-turn",
        _ if pipeline["join"] == "interval" => "in-turn",
        _ => "together",
    }
}

/// A source for each input of the tape.
fn sources(case: &Case, place: Place<'_>, ends: &str) -> Vec<Value> {
    let inputs = case.inputs();
    let pipeline = case.pipeline();
    let splits = match (pipeline["splits"].is_null(), pipeline["immediate"].is_null()) {
        (true, _) => None,
        (false, true) => Some("deferred"),
        (false, false) => Some("immediate"),
    };
    let source = |input: u64| {
        let mut source = json!({
            "uid": format!("tape-{input}"),
            "source": "tape",
            "format": "json",
            "parallelism": 1,
            "config": {
                "path": case.tape.display().to_string(),
                "input": input,
                "inputs": inputs,
                "steps": place.steps.name(),
                "ends": ends,
                "unbounded": !case.spec["tape"]["unbounded"].is_null(),
            },
        });
        if let Some(when) = splits {
            // What Flink's side drives has no end of input.
            source["config"]["splits"] = when.into();
            source["config"]["unbounded"] = true.into();
        }
        if let Some(line) = place.hold_at {
            source["config"]["hold-at"] = line.into();
        }
        source
    };
    let sources = if splits.is_some() { 1 } else { inputs };
    (1..=sources).map(source).collect()
}

fn pipeline(case: &Case) -> Result<Pipeline, Missing> {
    let parameters = case.pipeline();
    match case.spec["family"].as_str().unwrap_or_default() {
        "timers" => {
            known(case, &["chain"])?;
            Ok(keyed(json!({"function": "oracle/timers", "config": parameters})))
        }
        "state" => {
            known(case, &["ttl", "update", "visibility"])?;
            let mut operator = json!({"function": "oracle/state"});
            if let Some(ms) = parameters["ttl"].as_i64() {
                operator["state-ttl"] = state_ttl(ms, parameters)?;
            }
            Ok(keyed(operator))
        }
        "stream" => stream(case, parameters),
        "watermark" => watermark(case, parameters),
        "splits" => {
            known(case, &["splits", "immediate"])?;
            Ok(Pipeline {
                operators: Vec::new(),
                last: "tape-1",
                sides: Vec::new(),
                keyed: false,
            })
        }
        "window" => window::pipeline(case, parameters),
        "join" if parameters["join"] == "interval" => interval_join(case, parameters),
        "join" => window::join(case, parameters),
        family => missing(&format!("the family `{family}`")),
    }
}

/// The same time to live for each state of the function.
fn state_ttl(ms: i64, parameters: &Value) -> Result<Value, Missing> {
    let update = match parameters["update"].as_str() {
        Some("OnCreateAndWrite") => "on-create-and-write",
        Some("OnReadAndWrite") => "on-read-and-write",
        other => return missing(&format!("the update type {other:?}")),
    };
    let visibility = match parameters["visibility"].as_str() {
        Some("NeverReturnExpired") => "never-return-expired",
        Some("ReturnExpiredIfNotCleanedUp") => "return-expired-if-not-cleaned-up",
        other => return missing(&format!("the visibility {other:?}")),
    };
    let ttl = json!({
        "time-to-live": format!("{ms}ms"), "update-type": update, "visibility": visibility,
        // As Flink's side says: what is read does not depend on when something is cleaned up.
        "disable-cleanup-in-background": true,
    });
    let states = ["value", "list", "map", "reducing", "aggregating"];
    Ok(states
        .into_iter()
        .map(|name| (name.to_owned(), ttl.clone()))
        .collect())
}

fn stream(case: &Case, parameters: &Value) -> Result<Pipeline, Missing> {
    known(case, &["function", "last"])?;
    let tie = if parameters["last"].is_null() {
        "first"
    } else {
        "last"
    };
    match parameters["function"].as_str().unwrap_or_default() {
        "reduce" => Ok(keyed(json!({"function": "oracle/plus"}))),
        field @ ("sum" | "min" | "max") => Ok(keyed(json!({"rolling": {field: "value"}}))),
        field @ ("min-by" | "max-by") => Ok(keyed(json!({"rolling": {field: "value", "tie": tie}}))),
        "side-output" => Ok(Pipeline {
            operators: vec![json!({"uid": "split", "function": "oracle/split", "inputs": tapes(case)})],
            last: "split",
            sides: vec![("side", "side")],
            keyed: false,
        }),
        "pass" => Ok(Pipeline {
            operators: vec![
                json!({"uid": "all", "union": true, "inputs": tapes(case)}),
                json!({"uid": "pass", "function": "oracle/pass", "inputs": ["all"]}),
            ],
            last: "pass",
            sides: Vec::new(),
            keyed: false,
        }),
        "co-process" => Ok(connected(
            "oracle/shared",
            json!({"key-by": {"field": "key"}, "inputs": ["tape-2"]}),
        )),
        "broadcast-keyed" => Ok(connected(
            "oracle/keyed-rules",
            json!({"partition": "broadcast", "inputs": ["tape-2"]}),
        )),
        function => missing(&format!("the function `{function}`")),
    }
}

/// A function of two inputs: the first keyed by `key`, the second as given.
fn connected(function: &str, mut second: Value) -> Pipeline {
    second["uid"] = "second".into();
    let by_key = json!({"uid": "by-key", "key-by": {"field": "key"}, "inputs": ["tape-1"]});
    let operator = json!({"uid": "connected", "function": function, "inputs": ["by-key", "second"]});
    Pipeline {
        operators: vec![by_key, second, operator],
        last: "connected",
        sides: Vec::new(),
        keyed: true,
    }
}

/// An assigner gives the timestamps, as that of the case does, and a strategy makes watermarks of them.
fn watermark(case: &Case, parameters: &Value) -> Result<Pipeline, Missing> {
    known(case, &["strategy", "disorder", "interval", "idle-after"])?;
    let mut assign = json!({
        "strategy": parameters["strategy"],
        "timestamp": {"function": "oracle/shifted-time"},
    });
    for name in ["disorder", "idle-after"] {
        if let Some(ms) = parameters[name].as_i64() {
            assign[name] = format!("{ms}ms").into();
        }
    }
    Ok(Pipeline {
        operators: vec![json!({"uid": "time", "assign-timestamps": assign, "inputs": tapes(case)})],
        last: "time",
        sides: Vec::new(),
        keyed: false,
    })
}

/// Both inputs keyed by `key`, left and right.
fn interval_join(case: &Case, parameters: &Value) -> Result<Pipeline, Missing> {
    known(
        case,
        &["join", "lower", "upper", "lower-exclusive", "upper-exclusive"],
    )?;
    let mut join = json!({"function": "oracle/pair-times", "late-outputs": true});
    for name in ["lower", "upper"] {
        join[name] = format!("{}ms", parameters[name]).into();
    }
    for name in ["lower-exclusive", "upper-exclusive"] {
        join[name] = (!parameters[name].is_null()).into();
    }
    Ok(Pipeline {
        operators: vec![
            json!({"uid": "left", "key-by": {"field": "key"}, "inputs": ["tape-1"]}),
            json!({"uid": "right", "key-by": {"field": "key"}, "inputs": ["tape-2"]}),
            json!({"uid": "join", "interval-join": join, "inputs": ["left", "right"]}),
        ],
        last: "join",
        sides: vec![("left-late", "late-left"), ("right-late", "late-right")],
        keyed: true,
    })
}

/// One operator on the stream keyed by `key`.
fn keyed(mut operator: Value) -> Pipeline {
    operator["uid"] = "keyed".into();
    operator["inputs"] = json!(["by-key"]);
    let by_key = json!({"uid": "by-key", "key-by": {"field": "key"}, "inputs": ["tape-1"]});
    Pipeline {
        operators: vec![by_key, operator],
        last: "keyed",
        sides: Vec::new(),
        keyed: true,
    }
}

fn tapes(case: &Case) -> Vec<String> {
    (1..=case.inputs()).map(|input| format!("tape-{input}")).collect()
}

/// A parameter that is not known would be passed over.
fn known(case: &Case, names: &[&str]) -> Result<(), Missing> {
    let empty = Map::new();
    let parameters = case.pipeline().as_object().unwrap_or(&empty);
    match parameters.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => missing(&format!("the parameter `{name}`")),
        None => Ok(()),
    }
}

fn missing<T>(what: &str) -> Result<T, Missing> {
    Err(Missing(what.to_owned()))
}
