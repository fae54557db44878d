//! Which guarantee each sink gets, and why (E1). Pure.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::graph::{LogicalGraph, OperatorKind};
use wasmill_model::id::OperatorUid;

use crate::job::status::Guarantee;
use crate::sink::SinkGuarantee;

/// What connectors promise.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// Whether each source reads again what came after its position.
    pub replayable: BTreeMap<OperatorUid, bool>,
    /// What each sink does about records that come again.
    pub sinks: BTreeMap<OperatorUid, SinkGuarantee>,
}

/// One entry for each sink, in the graph's order. A source or sink of which nothing is known promises
/// nothing.
pub fn guarantees(graph: &LogicalGraph, promises: &Promises) -> Vec<Guarantee> {
    let sinks = graph
        .operators
        .iter()
        .filter(|o| matches!(o.kind, OperatorKind::Sink { .. }));
    sinks
        .map(|sink| {
            let (guarantee, reason) = guarantee(graph, promises, &sink.uid);
            Guarantee {
                sink: sink.uid.clone(),
                guarantee: guarantee.to_owned(),
                reason,
            }
        })
        .collect()
}

fn guarantee(graph: &LogicalGraph, promises: &Promises, sink: &OperatorUid) -> (&'static str, String) {
    let checkpointing = graph
        .settings
        .checkpointing
        .as_ref()
        .is_some_and(|c| c.interval_ms > 0);
    if !checkpointing {
        let reason = "checkpointing is off: after a failure records are lost, or repeated where the job is started \
                      anew; set `checkpointing`";
        return ("at-most-once", reason.to_owned());
    }
    let lossy = sources_of(graph, sink)
        .into_iter()
        .find(|source| !promises.replayable.get(source).copied().unwrap_or(false));
    if let Some(source) = lossy {
        return (
            "at-most-once",
            format!("source `{source}` cannot read again what was lost with a failure"),
        );
    }
    match promises.sinks.get(sink) {
        Some(SinkGuarantee::TwoPhaseCommit) => (
            "exactly-once",
            "the sources are replayable and the sink commits in two phases with the checkpoints".to_owned(),
        ),
        Some(SinkGuarantee::Idempotent) => (
            "exactly-once",
            "the sources are replayable and writing a record again changes nothing in the sink".to_owned(),
        ),
        Some(SinkGuarantee::AtLeastOnce) | None => (
            "at-least-once",
            "the sources are replayable, and the sink shows records again that come again after a failure"
                .to_owned(),
        ),
    }
}

/// All sources from which records reach an operator.
fn sources_of(graph: &LogicalGraph, operator: &OperatorUid) -> BTreeSet<OperatorUid> {
    let (mut sources, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![operator.clone()]);
    while let Some(uid) = open.pop() {
        let Some(operator) = graph.operator(&uid).filter(|_| seen.insert(uid.clone())) else {
            continue;
        };
        if matches!(operator.kind, OperatorKind::Source { .. }) {
            sources.insert(uid);
        }
        open.extend(operator.inputs.iter().map(|input| input.uid.clone()));
    }
    sources
}
