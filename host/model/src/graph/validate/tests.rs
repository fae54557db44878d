//! Functions with two inputs.

use serde_json::{Value, json};

use super::*;

fn source(uid: &str, format: &str) -> Value {
    operator(
        uid,
        &[],
        json!({"type": "source", "connector": "x", "config": null, "format": format}),
    )
}

fn operator(uid: &str, inputs: &[&str], kind: Value) -> Value {
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|uid| json!({"uid": uid, "side": null}))
        .collect();
    json!({"uid": uid, "uid_given": true, "name": uid, "kind": kind, "inputs": inputs, "parallelism": null,
           "chaining": true, "slot_sharing_group": "default"})
}

fn key_by(uid: &str, input: &str, selector: Value) -> Value {
    operator(uid, &[input], json!({"type": "key-by", "selector": selector}))
}

fn connect(kind: &str, inputs: &[&str]) -> Value {
    let description = json!({"name": "f", "kind": kind, "input": "json", "second-input": "csv"});
    operator(
        "f",
        inputs,
        json!({"type": "function", "plugin": "sha256:0", "config": null, "description": description}),
    )
}

/// The same, whose second input is to be broadcast.
fn broadcast(kind: &str, inputs: &[&str]) -> Value {
    let mut function = connect(kind, inputs);
    function["kind"]["description"]["broadcast-state"] = json!([{"name": "rules"}]);
    function
}

fn validated(operators: Vec<Value>) -> Result<(), String> {
    let graph = json!({"name": "j", "operators": operators, "max_parallelism": null, "settings": {}});
    let mut graph: LogicalGraph = serde_json::from_value(graph).unwrap();
    graph.validate().map(drop).map_err(|error| error.to_string())
}

fn sources() -> Vec<Value> {
    let field = |name: &str| json!({"field": name});
    vec![
        source("a", "json"),
        source("b", "csv"),
        key_by("ka", "a", field("id")),
        key_by("kb", "b", field("0")),
        key_by("va", "a", json!("value")),
        key_by("vb", "b", json!("value")),
        operator(
            "all",
            &["b"],
            json!({"type": "partition", "partitioner": "broadcast"}),
        ),
    ]
}

#[test]
fn two_inputs_have_formats_of_their_own_and_keys_that_can_meet() {
    let with = |function: Value| validated([sources(), vec![function]].concat());
    assert_eq!(with(connect("flat-map", &["a", "b"])), Ok(()));
    assert_eq!(with(connect("process", &["va", "vb"])), Ok(()));
    assert_eq!(
        with(broadcast("process", &["ka", "all"])),
        Ok(()),
        "keyed and broadcast"
    );
    assert_eq!(with(broadcast("flat-map", &["a", "all"])), Ok(()));
    for (function, wanted) in [
        (connect("flat-map", &["a"]), "it has two inputs and 1 are named"),
        (
            connect("flat-map", &["b", "a"]),
            "it reads Json but `b` emits Csv",
        ),
        (
            connect("process", &["ka", "b"]),
            "its first input is keyed, its second is not",
        ),
        (
            connect("process", &["ka", "all"]),
            "only a function with broadcast state may have a broadcast one",
        ),
        (broadcast("process", &["a", "all"]), "it needs a keyed stream"),
        (
            broadcast("process", &["ka", "kb"]),
            "put `partition: broadcast` before its second input",
        ),
        (
            broadcast("flat-map", &["a", "b"]),
            "put `partition: broadcast` before its second input",
        ),
        (
            connect("process", &["ka", "kb"]),
            "are of different formats and would never meet",
        ),
    ] {
        let error = with(function).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}
