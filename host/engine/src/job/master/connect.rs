//! Makes what a job's graph names: its plan, its sources and sinks.
//!
//! Invariant: whatever can be refused without running the job is refused here.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::graph::{LogicalOperator, OperatorKind};
use wasmill_model::id::OperatorUid;
use wasmill_model::key::MaxParallelism;

use super::JobError;
use crate::asynchronous::RequestClient;
use crate::job::JobSpec;
use crate::plan::{JobPlan, Promises};
use crate::sink::Sink;
use crate::source::Source;

/// The connectors of a job by operator.
#[derive(Default)]
pub(super) struct Connectors {
    pub(super) sources: BTreeMap<OperatorUid, Arc<dyn Source>>,
    pub(super) sinks: BTreeMap<OperatorUid, Arc<dyn Sink>>,
    /// What performs the requests of async functions.
    pub(super) clients: BTreeMap<OperatorUid, Arc<dyn RequestClient>>,
}

impl Connectors {
    /// Whether the job's processing time is what its sources say.
    pub(super) fn drive_clock(&self) -> bool {
        self.sources.values().any(|source| source.drives_clock())
    }

    /// What they promise (E1).
    pub(super) fn promises(&self) -> Promises {
        let replayable = self
            .sources
            .iter()
            .map(|(uid, s)| (uid.clone(), s.is_replayable()));
        let sinks = self.sinks.iter().map(|(uid, s)| (uid.clone(), s.guarantee()));
        Promises {
            replayable: replayable.collect(),
            sinks: sinks.collect(),
        }
    }
}

/// Plans the job.
pub(super) fn plan(spec: &JobSpec) -> Result<JobPlan, JobError> {
    Ok(JobPlan::new(&spec.graph, MaxParallelism::DEFAULT, spec.slots)?)
}

/// Makes all sources and sinks, and checks that everything else is known.
pub(super) fn connect(spec: &JobSpec) -> Result<Connectors, JobError> {
    let mut connectors = Connectors::default();
    for operator in &spec.graph.operators {
        add(&mut connectors, spec, operator).map_err(|message| JobError::Operator {
            operator: operator.uid.clone(),
            message,
        })?;
    }
    if connectors.drive_clock()
        && let Some((uid, _)) = connectors
            .sources
            .iter()
            .find(|(_, source)| !source.drives_clock())
    {
        return Err(JobError::Operator {
            operator: uid.clone(),
            message: "another source of the job drives its clock, as a tape does, so all sources have to: give it a \
                      job of its own, or write what it reads on a tape"
                .to_owned(),
        });
    }
    if connectors.drive_clock()
        && let Some(operator) = spec.graph.operators.iter().find(|operator| is_async(operator))
    {
        return Err(JobError::Operator {
            operator: operator.uid.clone(),
            message: "a source of the job drives its clock, as a tape does, and answers to requests go by no tape: read \
                      from another source, or write the answers on the tape"
                .to_owned(),
        });
    }
    Ok(connectors)
}

fn is_async(operator: &LogicalOperator) -> bool {
    let OperatorKind::Function { asynchronous, .. } = &operator.kind else {
        return false;
    };
    asynchronous.is_some()
}

fn add(connectors: &mut Connectors, spec: &JobSpec, operator: &LogicalOperator) -> Result<(), String> {
    let registry = &spec.registry;
    match &operator.kind {
        OperatorKind::Source {
            connector,
            config,
            format,
            ..
        } => {
            let make = registry
                .sources
                .get(connector)
                .ok_or_else(|| unknown("source", connector, registry.sources.keys()))?;
            connectors
                .sources
                .insert(operator.uid.clone(), make(config, *format)?);
        }
        OperatorKind::Sink {
            connector,
            config,
            format,
        } => {
            let make = registry
                .sinks
                .get(connector)
                .ok_or_else(|| unknown("sink", connector, registry.sinks.keys()))?;
            connectors
                .sinks
                .insert(operator.uid.clone(), make(config, *format)?);
        }
        OperatorKind::Function { .. } if registry.functions.is_none() => {
            return Err("this host runs no components".to_owned());
        }
        OperatorKind::Function {
            asynchronous: Some(spec),
            ..
        } if !spec.grants.is_empty() => {
            let clients = registry
                .clients
                .as_ref()
                .ok_or("this host performs no requests")?;
            let client = clients.client(&spec.grants)?;
            connectors.clients.insert(operator.uid.clone(), client);
        }
        _ => {}
    }
    Ok(())
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).collect();
    format!("there is no {what} `{name}`; there are: {}", known.join(", "))
}
