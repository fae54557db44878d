//! Planning by examples of each rule, and by random graphs.

mod random;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use wasmill_model::function::{Format, FunctionDescription, FunctionKind, SideOutput};
use wasmill_model::graph::{
    CheckpointSettings, InputRef, JobSettings, KeySelector, OperatorKind, RollingAggregation,
};

use super::*;
use crate::sink::SinkGuarantee;

fn operator(uid: &str, kind: OperatorKind, inputs: &[&str]) -> LogicalOperator {
    let inputs = inputs.iter().map(|input| match input.split_once('.') {
        Some((uid, side)) => InputRef {
            uid: OperatorUid::new(uid),
            side: Some(side.to_owned()),
        },
        None => InputRef {
            uid: OperatorUid::new(*input),
            side: None,
        },
    });
    LogicalOperator {
        uid: OperatorUid::new(uid),
        uid_given: true,
        name: uid.to_owned(),
        kind,
        inputs: inputs.collect(),
        parallelism: None,
        chaining: true,
        slot_sharing_group: "default".to_owned(),
    }
}

fn source(uid: &str) -> LogicalOperator {
    let kind = OperatorKind::Source {
        connector: "x".to_owned(),
        config: Value::Null,
        format: Format::Json,
        watermarks: None,
    };
    operator(uid, kind, &[])
}

fn sink(uid: &str, inputs: &[&str]) -> LogicalOperator {
    let kind = OperatorKind::Sink {
        connector: "x".to_owned(),
        config: Value::Null,
        format: Format::Raw,
    };
    operator(uid, kind, inputs)
}

fn function(uid: &str, kind: FunctionKind, inputs: &[&str]) -> LogicalOperator {
    let description = FunctionDescription {
        name: uid.to_owned(),
        kind,
        input: Format::Raw,
        second_input: None,
        broadcast_state: None,
        output: Format::Raw,
        state: Vec::new(),
        operator_state: Vec::new(),
        raw_state: false,
        side_outputs: vec![
            SideOutput {
                name: "late".to_owned(),
                format: Format::Raw,
            },
            SideOutput {
                name: "bad".to_owned(),
                format: Format::Raw,
            },
        ],
        merges: false,
        grants: Vec::new(),
    };
    let kind = OperatorKind::Function {
        plugin: "sha256:0".to_owned(),
        description,
        config: Value::Null,
        asynchronous: None,
    };
    operator(uid, kind, inputs)
}

fn map(uid: &str, inputs: &[&str]) -> LogicalOperator {
    function(uid, FunctionKind::Map, inputs)
}

fn key_by(uid: &str, inputs: &[&str]) -> LogicalOperator {
    operator(
        uid,
        OperatorKind::KeyBy {
            selector: KeySelector::Value,
            format: Format::Json,
        },
        inputs,
    )
}

fn count(uid: &str, inputs: &[&str]) -> LogicalOperator {
    operator(
        uid,
        OperatorKind::Rolling {
            aggregation: RollingAggregation::Count,
        },
        inputs,
    )
}

fn partition(uid: &str, partitioner: Partitioner, inputs: &[&str]) -> LogicalOperator {
    operator(uid, OperatorKind::Partition { partitioner }, inputs)
}

fn graph(parallelism: u32, operators: Vec<LogicalOperator>) -> LogicalGraph {
    let settings = JobSettings {
        parallelism,
        ..JobSettings::default()
    };
    let mut graph = LogicalGraph {
        name: "job".to_owned(),
        operators,
        max_parallelism: None,
        settings,
    };
    graph.validate().unwrap();
    graph
}

fn plan(graph: &LogicalGraph) -> JobPlan {
    JobPlan::new(graph, MaxParallelism(128), 1_000).unwrap()
}

fn with(mut operator: LogicalOperator, change: impl FnOnce(&mut LogicalOperator)) -> LogicalOperator {
    change(&mut operator);
    operator
}

fn names(plan: &JobPlan) -> Vec<&str> {
    plan.vertices.iter().map(|v| v.name.as_str()).collect()
}

/// Each edge as `from -partitioner-> to`, by vertex index.
fn edges(plan: &JobPlan) -> Vec<(u32, Partitioner, u32)> {
    plan.edges
        .iter()
        .map(|e| (e.from.0, e.partitioner, e.to.0))
        .collect()
}

#[test]
fn operators_chain_from_source_to_sink_where_nothing_redistributes() {
    let plan = plan(&graph(2, vec![source("a"), map("b", &["a"]), sink("c", &["b"])]));
    assert_eq!(names(&plan), ["Source: a -> b -> Sink: c"]);
    assert_eq!(edges(&plan), []);
    let chained = |operator| {
        [Wire {
            port: 0,
            to: WireTarget::Chained { operator, port: 0 },
        }]
    };
    let operators = &plan.vertices[0].operators;
    assert_eq!(operators[0].wires, chained(1));
    assert_eq!(operators[1].wires, chained(2));
    assert_eq!(operators[2].wires, []);
    assert_eq!(plan.slots, 2);
}

#[test]
fn a_key_is_computed_at_the_end_of_the_chain_and_the_edge_is_by_hash() {
    let plan = plan(&graph(
        2,
        vec![
            source("a"),
            map("b", &["a"]),
            key_by("k", &["b"]),
            count("c", &["k"]),
        ],
    ));
    assert_eq!(names(&plan), ["Source: a -> b -> k", "c"]);
    assert_eq!(edges(&plan), [(0, Partitioner::Hash, 1)]);
    assert_eq!(
        plan.vertices[0].operators[2].wires,
        [Wire {
            port: 0,
            to: WireTarget::Edge(0)
        }]
    );
    assert_eq!((plan.edges[0].from_operator, plan.edges[0].from_port), (2, 0));
}

#[test]
fn a_key_selector_function_stands_for_its_key_by() {
    let by_function = operator(
        "k",
        OperatorKind::KeyBy {
            selector: KeySelector::Function,
            format: Format::Json,
        },
        &["s"],
    );
    let selector = function("s", FunctionKind::KeySelector, &["a"]);
    let plan = plan(&graph(
        2,
        vec![source("a"), selector, by_function, count("c", &["k"])],
    ));
    assert_eq!(names(&plan), ["Source: a -> s", "c"]);
    assert_eq!(edges(&plan), [(0, Partitioner::Hash, 1)]);
}

#[test]
fn a_key_by_runs_at_the_parallelism_of_what_feeds_it() {
    let source = with(source("a"), |o| o.parallelism = Some(3));
    let key = with(key_by("k", &["a"]), |o| o.parallelism = Some(7));
    let plan = plan(&graph(5, vec![source, key, count("c", &["k"])]));
    assert_eq!(
        plan.vertices.iter().map(|v| v.parallelism).collect::<Vec<_>>(),
        [3, 5]
    );
}

#[test]
fn two_consumers_of_one_key_by_share_its_computation() {
    let plan = plan(&graph(
        1,
        vec![
            source("a"),
            key_by("k", &["a"]),
            count("c", &["k"]),
            count("d", &["k"]),
        ],
    ));
    assert_eq!(names(&plan), ["Source: a -> k", "c", "d"]);
    assert_eq!(
        edges(&plan),
        [(0, Partitioner::Hash, 1), (0, Partitioner::Hash, 2)]
    );
    assert_eq!(plan.vertices[0].operators[1].wires.len(), 2);
}

#[test]
fn another_parallelism_breaks_the_chain_and_rebalances() {
    let wide = with(map("b", &["a"]), |o| o.parallelism = Some(4));
    let plan = plan(&graph(2, vec![source("a"), wide, sink("c", &["b"])]));
    assert_eq!(names(&plan), ["Source: a", "b", "Sink: c"]);
    assert_eq!(
        edges(&plan),
        [(0, Partitioner::Rebalance, 1), (1, Partitioner::Rebalance, 2)]
    );
    assert_eq!(plan.slots, 4);
    assert_eq!(plan.targets(&plan.edges[0], 1), 0..4);
}

#[test]
fn disabled_chaining_keeps_records_in_their_subtask() {
    let alone = with(map("b", &["a"]), |o| o.chaining = false);
    let plan = plan(&graph(2, vec![source("a"), alone]));
    assert_eq!(edges(&plan), [(0, Partitioner::Forward, 1)]);
    assert_eq!(plan.targets(&plan.edges[0], 1), 1..2);
}

#[test]
fn a_partition_is_the_edge_and_no_vertex() {
    for partitioner in [
        Partitioner::Rebalance,
        Partitioner::Broadcast,
        Partitioner::Shuffle,
        Partitioner::Rescale,
        Partitioner::Global,
    ] {
        let plan = plan(&graph(
            1,
            vec![source("a"), partition("p", partitioner, &["a"]), map("b", &["p"])],
        ));
        assert_eq!(names(&plan), ["Source: a", "b"]);
        assert_eq!(edges(&plan), [(0, partitioner, 1)]);
    }
}

#[test]
fn a_custom_partition_takes_its_function_to_the_edge() {
    let function = FunctionRef {
        plugin: "sha256:0".to_owned(),
        description: serde_json::from_value(serde_json::json!({"name": "f", "kind": "partitioner"})).unwrap(),
        config: Value::Null,
    };
    let kind = OperatorKind::PartitionCustom {
        function: function.clone(),
    };
    let again = || partition("again", Partitioner::Shuffle, &["p"]);
    let custom = || vec![source("a"), operator("p", kind.clone(), &["a"])];
    let direct = plan(&graph(1, [custom(), vec![map("b", &["p"])]].concat()));
    assert_eq!(edges(&direct), [(0, Partitioner::Custom, 1)]);
    assert_eq!(direct.edges[0].function, Some(function));
    let replaced = plan(&graph(
        1,
        [custom(), vec![again(), map("b", &["again"])]].concat(),
    ));
    assert_eq!(edges(&replaced), [(0, Partitioner::Shuffle, 1)]);
    assert_eq!(replaced.edges[0].function, None);
}

#[test]
fn of_several_ways_to_deal_records_out_the_last_counts() {
    for partitioner in [
        Partitioner::Broadcast,
        Partitioner::Rebalance,
        Partitioner::Global,
    ] {
        let plan = plan(&graph(
            2,
            vec![
                source("a"),
                partition("p", partitioner, &["a"]),
                key_by("k", &["p"]),
                count("c", &["k"]),
            ],
        ));
        assert_eq!(names(&plan), ["Source: a -> k", "c"]);
        assert_eq!(edges(&plan), [(0, Partitioner::Hash, 1)]);
    }
}

#[test]
fn a_rescale_gives_each_sender_its_own_targets_or_several_senders_one() {
    let targets = |senders: u32, targets: u32| -> Vec<std::ops::Range<u32>> {
        let from = with(source("a"), |o| o.parallelism = Some(senders));
        let to = with(map("b", &["p"]), |o| o.parallelism = Some(targets));
        let plan = plan(&graph(
            1,
            vec![from, partition("p", Partitioner::Rescale, &["a"]), to],
        ));
        (0..senders)
            .map(|from| plan.targets(&plan.edges[0], from))
            .collect()
    };
    assert_eq!(targets(2, 4), [0..2, 2..4]);
    assert_eq!(targets(4, 2), [0..1, 0..1, 1..2, 1..2]);
    assert_eq!(targets(3, 3), [0..1, 1..2, 2..3]);
    // As Flink cuts where neither divides the other.
    assert_eq!(targets(2, 3), [0..2, 2..3]);
    assert_eq!(targets(3, 2), [0..1, 1..2, 1..2]);
    for (senders, receivers) in (1..=9).flat_map(|s| (1..=9).map(move |r| (s, r))) {
        let all = targets(senders, receivers);
        assert!(all.iter().all(|own| !own.is_empty()), "{senders} to {receivers}");
        let reached: BTreeSet<u32> = all.iter().cloned().flatten().collect();
        assert_eq!(reached.len() as u32, receivers, "{senders} to {receivers}");
        let sizes = all.iter().map(ExactSizeIterator::len);
        assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
    }
}

#[test]
fn forward_chains_and_is_refused_between_different_parallelisms() {
    let forward = || {
        vec![
            source("a"),
            partition("p", Partitioner::Forward, &["a"]),
            map("b", &["p"]),
        ]
    };
    assert_eq!(names(&plan(&graph(2, forward()))), ["Source: a -> b"]);
    let mut uneven = forward();
    uneven[2].parallelism = Some(3);
    let error = JobPlan::new(&graph(2, uneven), MaxParallelism(128), 99).unwrap_err();
    assert!(error.to_string().contains("(2 and 3)"), "{error}");
}

#[test]
fn a_union_is_several_edges_to_one_port() {
    let union = operator("u", OperatorKind::Union, &["a", "b"]);
    let plan = plan(&graph(2, vec![source("a"), source("b"), union, map("c", &["u"])]));
    assert_eq!(names(&plan), ["Source: a", "Source: b", "c"]);
    assert_eq!(
        edges(&plan),
        [(0, Partitioner::Forward, 2), (1, Partitioner::Forward, 2)]
    );
    assert!(plan.edges.iter().all(|edge| edge.to_port == 0));
    assert_eq!(plan.inputs(VertexId(2)).count(), 2);
}

#[test]
fn the_two_inputs_of_a_function_are_two_ports_and_each_may_be_a_union() {
    let mut connect = function("c", FunctionKind::FlatMap, &["u", "b"]);
    if let OperatorKind::Function { description, .. } = &mut connect.kind {
        description.second_input = Some(Format::Json);
    }
    let union = operator("u", OperatorKind::Union, &["a", "b"]);
    let plan = plan(&graph(1, vec![source("a"), source("b"), union, connect]));
    assert_eq!(
        names(&plan),
        ["Source: a", "Source: b", "c"],
        "two inputs never chain"
    );
    let ports = plan.edges.iter().map(|edge| (edge.from.0, edge.to_port));
    assert_eq!(ports.collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 1)]);
}

#[test]
fn a_union_before_a_key_by_computes_the_key_in_each_branch() {
    let union = operator("u", OperatorKind::Union, &["a", "b"]);
    let graph = graph(
        2,
        vec![
            source("a"),
            source("b"),
            union,
            key_by("k", &["u"]),
            count("c", &["k"]),
        ],
    );
    let plan = plan(&graph);
    assert_eq!(names(&plan), ["Source: a -> k", "Source: b -> k", "c"]);
    assert_eq!(
        edges(&plan),
        [(0, Partitioner::Hash, 2), (1, Partitioner::Hash, 2)]
    );
}

#[test]
fn a_stream_united_with_itself_arrives_twice() {
    let union = operator("u", OperatorKind::Union, &["a", "a"]);
    let plan = plan(&graph(1, vec![source("a"), union, map("c", &["u"])]));
    assert_eq!(
        edges(&plan),
        [(0, Partitioner::Forward, 1), (0, Partitioner::Forward, 1)]
    );
}

#[test]
fn side_outputs_have_ports_of_their_own_and_chain_too() {
    let operators = vec![
        source("a"),
        map("b", &["a"]),
        sink("m", &["b"]),
        sink("s", &["b.bad"]),
    ];
    let plan = plan(&graph(1, operators));
    assert_eq!(names(&plan), ["Source: a -> b -> Sink: m -> Sink: s"]);
    let wires = &plan.vertices[0].operators[1].wires;
    let ports: Vec<_> = wires.iter().map(|w| (w.port, w.to)).collect();
    let chained = |operator| WireTarget::Chained { operator, port: 0 };
    assert_eq!(ports, [(0, chained(2)), (2, chained(3))]);
}

#[test]
fn a_sink_of_several_outputs_of_one_operator_chains_and_tells_them_apart() {
    let operators = vec![source("a"), map("b", &["a"]), sink("s", &["b.bad", "b"])];
    let plan = plan(&graph(1, operators));
    assert_eq!(names(&plan), ["Source: a -> b -> Sink: s"]);
    let wires = &plan.vertices[0].operators[1].wires;
    let chained = |port| WireTarget::Chained { operator: 2, port };
    let ports: Vec<_> = wires.iter().map(|w| (w.port, w.to)).collect();
    assert_eq!(ports, [(2, chained(0)), (0, chained(1))]);
}

#[test]
fn slots_are_the_highest_parallelism_of_each_group_summed() {
    let group = |o: &mut LogicalOperator| o.slot_sharing_group = "heavy".to_owned();
    let heavy = with(map("b", &["a"]), group);
    let wide = with(with(map("c", &["b"]), group), |o| o.parallelism = Some(5));
    let graph = graph(2, vec![source("a"), heavy, wide]);
    assert_eq!(plan(&graph).slots, 7);
    assert_eq!(
        names(&plan(&graph)),
        ["Source: a", "b", "c"],
        "a group of its own breaks the chain"
    );
    let error = JobPlan::new(&graph, MaxParallelism(128), 6)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("needs 7 slots (group `default`: 2, group `heavy`: 5) and 6 are free"),
        "{error}"
    );
    assert!(error.contains("raise the host's slots"), "{error}");
}

#[test]
fn parallelism_beyond_the_key_groups_or_of_zero_is_refused() {
    let wide = with(map("b", &["a"]), |o| o.parallelism = Some(129));
    let error = JobPlan::new(&graph(1, vec![source("a"), wide]), MaxParallelism(128), 999).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("operator `b`: its parallelism 129 exceeds the max parallelism 128")
    );
    let error = JobPlan::new(&graph(0, vec![source("a")]), MaxParallelism(128), 999).unwrap_err();
    assert!(error.to_string().contains("must be at least 1"), "{error}");
}

#[test]
fn vertex_keys_depend_on_the_uids_alone() {
    let key = |name: &str| {
        let named = with(map("b", &["a"]), |o| o.name = name.to_owned());
        plan(&graph(1, vec![source("a"), named])).vertices[0].key.clone()
    };
    assert_eq!(key("x"), key("y"));
    assert_eq!(key("x").len(), 32);
    assert!(key("x").bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(
        plan(&graph(1, vec![source("ab")])).vertices[0].key,
        plan(&graph(1, vec![source("a")])).vertices[0].key
    );
}

#[test]
fn derived_uids_differ_by_what_feeds_them_and_by_number() {
    let inputs = [OperatorUid::new("a"), OperatorUid::new("b")];
    let uids: BTreeSet<_> = [
        derive_uid("map", &inputs, 0),
        derive_uid("map", &inputs, 1),
        derive_uid("map", &inputs[..1], 0),
        derive_uid("filter", &inputs, 0),
        derive_uid("map", &[OperatorUid::new("ab")], 0),
    ]
    .into();
    assert_eq!(uids.len(), 5);
    assert_eq!(derive_uid("map", &inputs, 0), derive_uid("map", &inputs, 0));
}

#[test]
fn each_sink_is_told_its_guarantee_and_what_decides_it() {
    let mut graph = graph(
        1,
        vec![
            source("a"),
            source("b"),
            sink("x", &["a"]),
            sink("y", &["b"]),
            sink("z", &["a"]),
        ],
    );
    let promises = Promises {
        replayable: [(OperatorUid::new("a"), true), (OperatorUid::new("b"), false)].into(),
        sinks: [
            (OperatorUid::new("x"), SinkGuarantee::TwoPhaseCommit),
            (OperatorUid::new("y"), SinkGuarantee::TwoPhaseCommit),
            (OperatorUid::new("z"), SinkGuarantee::AtLeastOnce),
        ]
        .into(),
    };
    let given = |graph: &LogicalGraph| {
        guarantees(graph, &promises)
            .into_iter()
            .map(|g| g.guarantee)
            .collect::<Vec<_>>()
    };
    assert_eq!(given(&graph), ["at-most-once"; 3]);
    graph.settings.checkpointing = Some(CheckpointSettings {
        interval_ms: 100,
        ..CheckpointSettings::default()
    });
    assert_eq!(given(&graph), ["exactly-once", "at-most-once", "at-least-once"]);
    assert!(guarantees(&graph, &promises)[1].reason.contains("source `b`"));
}
