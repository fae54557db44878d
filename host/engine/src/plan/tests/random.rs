//! Planning random graphs.

use super::*;

/// A random acyclic graph: each operator reads from earlier ones.
fn any_graph() -> impl Strategy<Value = LogicalGraph> {
    let one = (
        0u8..6,
        prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        1u32..4,
        any::<bool>(),
    );
    prop::collection::vec(one, 1..15).prop_map(|parts| {
        let mut operators = vec![source("o0"), source("o1")];
        for (kind, inputs, parallelism, chaining) in parts {
            let uid = format!("o{}", operators.len());
            let from: Vec<String> = inputs.iter().map(|i| i.get(&operators).uid.0.clone()).collect();
            let from: Vec<&str> = from.iter().map(String::as_str).collect();
            let mut operator = match kind {
                0 => key_by(&uid, &from),
                1 => partition(&uid, Partitioner::Rebalance, &from),
                2 => operator(&uid, OperatorKind::Union, &from),
                3 => partition(&uid, Partitioner::Broadcast, &from),
                _ => map(&uid, &from),
            };
            operator.parallelism = Some(parallelism);
            operator.chaining = chaining;
            operators.push(operator);
        }
        graph(2, operators)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_wired_forward_and_chains_only_equals(graph in any_graph()) {
        let plan = plan(&graph);
        prop_assert_eq!(&plan, &JobPlan::new(&graph, MaxParallelism(128), 1_000).unwrap(), "planning is pure");
        let keys: BTreeSet<_> = plan.vertices.iter().map(|v| &v.key).collect();
        prop_assert_eq!(keys.len(), plan.vertices.len(), "vertex keys are distinct");
        let mut reached = vec![0; plan.edges.len()];
        for vertex in &plan.vertices {
            let mut fed = vec![0; vertex.operators.len()];
            for (position, chained) in vertex.operators.iter().enumerate() {
                for wire in &chained.wires {
                    match wire.to {
                        WireTarget::Chained { operator, .. } => {
                            prop_assert!(operator > position, "records go forward in a chain");
                            fed[operator] += 1;
                        }
                        WireTarget::Edge(edge) => {
                            prop_assert_eq!(plan.edges[edge].from, vertex.id);
                            prop_assert_eq!(plan.edges[edge].from_operator, position);
                            reached[edge] += 1;
                        }
                    }
                }
            }
            prop_assert!(fed[1..].iter().all(|n| *n == 1), "a chained operator has one input");
            let source = matches!(vertex.operators[0].operator.kind, OperatorKind::Source { .. });
            prop_assert_eq!(plan.inputs(vertex.id).count() == 0, source, "only sources have no input");
        }
        prop_assert!(reached.iter().all(|n| *n == 1), "an edge has one origin");
        for edge in &plan.edges {
            prop_assert!(edge.from < edge.to, "edges go forward");
            let (from, to) = (&plan.vertices[edge.from.0 as usize], &plan.vertices[edge.to.0 as usize]);
            if edge.partitioner == Partitioner::Forward {
                prop_assert_eq!(from.parallelism, to.parallelism);
            }
        }
        let running = graph.operators.iter().filter(|o| {
            !matches!(o.kind, OperatorKind::KeyBy { .. } | OperatorKind::Partition { .. } | OperatorKind::Union)
        });
        for operator in running {
            let times = plan.vertices.iter().flat_map(|v| &v.operators).filter(|c| c.operator.uid == operator.uid).count();
            prop_assert_eq!(times, 1, "each operator runs once");
        }
    }
}
