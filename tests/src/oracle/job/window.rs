//! Windows of a case, in the words of the job file.

use serde_json::{Value, json};

use super::{Case, Missing, Pipeline, known, missing, tapes};

/// The operator whose late elements are counted.
pub(crate) const WINDOW: &str = "window";

const PARAMETERS: [&str; 12] = [
    "assigner",
    "size",
    "slide",
    "offset",
    "gap",
    "lateness",
    "late-output",
    "time",
    "all",
    "function",
    "trigger",
    "evictor",
];

pub(super) fn pipeline(case: &Case, parameters: &Value) -> Result<Pipeline, Missing> {
    known(case, &PARAMETERS)?;
    let is_all = !parameters["all"].is_null();
    let mut window = assigner(parameters)?;
    if let Some(clock) = parameters["time"].as_str() {
        window["time"] = clock.into();
    }
    if is_all {
        window["all"] = true.into();
    }
    let (function, mut sides) = function(parameters, is_all)?;
    window["function"] = function;
    if let Some(lateness) = parameters["lateness"].as_i64() {
        window["lateness"] = ms(lateness);
    }
    if !parameters["late-output"].is_null() {
        window["late-output"] = true.into();
        sides.push("late");
    }
    if !parameters["trigger"].is_null() {
        window["trigger"] = trigger(&parameters["trigger"])?;
        if parameters["trigger"]["kind"] == "own" {
            sides.push("calls");
        }
    }
    if !parameters["evictor"].is_null() {
        window["evictor"] = evictor(&parameters["evictor"])?;
    }
    let mut operators = vec![json!({"uid": "all", "union": true, "inputs": tapes(case)})];
    let mut input = "all";
    if !is_all {
        operators.push(json!({"uid": "by-key", "key-by": {"field": "key"}, "inputs": [input]}));
        input = "by-key";
    }
    operators.push(json!({"uid": WINDOW, "window": window, "inputs": [input]}));
    Ok(Pipeline {
        operators,
        last: WINDOW,
        sides: sides.into_iter().map(|side| (side, side)).collect(),
        keyed: !is_all,
    })
}

/// Both inputs keyed by `key`, left and right.
pub(super) fn join(case: &Case, parameters: &Value) -> Result<Pipeline, Missing> {
    known(case, &["join", "assigner", "size", "slide", "gap", "lateness"])?;
    let mut join = assigner(parameters)?;
    if let Some(lateness) = parameters["lateness"].as_i64() {
        join["lateness"] = ms(lateness);
    }
    let (transformation, function) = match parameters["join"].as_str().unwrap_or_default() {
        "inner" => ("window-join", "oracle/pair"),
        "cogroup" => ("co-group", "oracle/group"),
        other => return missing(&format!("the join `{other}`")),
    };
    join["function"] = function.into();
    Ok(Pipeline {
        operators: vec![
            json!({"uid": "left", "key-by": {"field": "key"}, "inputs": ["tape-1"]}),
            json!({"uid": "right", "key-by": {"field": "key"}, "inputs": ["tape-2"]}),
            json!({"uid": WINDOW, transformation: join, "inputs": ["left", "right"]}),
        ],
        last: WINDOW,
        sides: Vec::new(),
        keyed: true,
    })
}

fn ms(ms: i64) -> Value {
    format!("{ms}ms").into()
}

fn assigner(parameters: &Value) -> Result<Value, Missing> {
    let sized = |names: &[&str]| {
        let mut sized = json!({});
        for name in names {
            if let Some(number) = parameters[name].as_i64() {
                sized[name] = ms(number);
            }
        }
        sized
    };
    Ok(match parameters["assigner"].as_str().unwrap_or_default() {
        "tumbling" => json!({"tumbling": sized(&["size", "offset"])}),
        "sliding" => json!({"sliding": sized(&["size", "slide", "offset"])}),
        "session" => json!({"session": sized(&["gap"])}),
        "session-dynamic" => json!({"assigner": "oracle/session-dynamic"}),
        "global" => json!({"global": "never"}),
        "global-end-of-stream" => json!({"global": "end-of-stream"}),
        "count" => json!({"count": {"size": parameters["size"]}}),
        "count-sliding" => json!({"count": {"size": parameters["size"], "slide": parameters["slide"]}}),
        other => return missing(&format!("the assigner `{other}`")),
    })
}

/// The function and its side outputs.
fn function(parameters: &Value, is_all: bool) -> Result<(Value, Vec<&'static str>), Missing> {
    if is_all {
        // Flink's side runs the aggregate alone over all elements.
        return Ok((json!({"aggregate": "oracle/stats"}), Vec::new()));
    }
    Ok(match parameters["function"].as_str().unwrap_or_default() {
        "stats" => (
            json!({"aggregate": "oracle/stats", "process": "oracle/bounds"}),
            Vec::new(),
        ),
        "aggregate" => (json!({"aggregate": "oracle/stats"}), Vec::new()),
        "reduce" => (json!({"reduce": "oracle/plus"}), Vec::new()),
        "reduce-process" => (
            json!({"reduce": "oracle/plus", "process": "oracle/elements"}),
            Vec::new(),
        ),
        "elements" => (json!({"process": "oracle/elements"}), Vec::new()),
        "context" => (json!({"process": "oracle/context"}), vec!["big", "cleared"]),
        other => return missing(&format!("the window function `{other}`")),
    })
}

fn trigger(said: &Value) -> Result<Value, Missing> {
    let interval = || ms(said["interval"].as_i64().unwrap_or_default());
    let mut trigger = match said["kind"].as_str().unwrap_or_default() {
        "event-time" => json!({"event-time": true}),
        "count" => json!({"count": said["count"]}),
        "continuous-event-time" => json!({"continuous-event-time": interval()}),
        "continuous-processing-time" => json!({"continuous-processing-time": interval()}),
        "processing-timeout" => {
            let mut trigger = json!({"count": said["count"], "timeout": interval()});
            for (name, ours) in [
                ("reset-timer-on-new-record", "reset-timeout-on-element"),
                ("clear-on-timeout", "clear-on-timeout"),
            ] {
                if !said[name].is_null() {
                    trigger[ours] = true.into();
                }
            }
            trigger
        }
        "delta" => json!({"delta": {"field": "value", "threshold": said["threshold"]}}),
        "own" => json!({"function": "oracle/own"}),
        other => return missing(&format!("the trigger `{other}`")),
    };
    if !said["purging"].is_null() {
        trigger["purging"] = true.into();
    }
    Ok(trigger)
}

fn evictor(said: &Value) -> Result<Value, Missing> {
    let mut evictor = match said["kind"].as_str().unwrap_or_default() {
        "count" => json!({"count": said["count"]}),
        "time" => json!({"time": ms(said["size"].as_i64().unwrap_or_default())}),
        "delta" => json!({"delta": {"field": "value", "threshold": said["threshold"]}}),
        other => return missing(&format!("the evictor `{other}`")),
    };
    if !said["after"].is_null() {
        evictor["after"] = true.into();
    }
    Ok(evictor)
}
