//! Planning (G2, G3): logical graph → chained job graph → subtasks, slots and channels. Pure.

mod chain;
mod guarantee;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wasmill_model::graph::{FunctionRef, LogicalGraph, LogicalOperator, Partitioner};
use wasmill_model::id::{OperatorUid, SubtaskId, VertexId};
use wasmill_model::key::MaxParallelism;

pub use guarantee::{Promises, guarantees};

/// The chained graph of a job, ready to be made parallel.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    /// In topological order, sources first; a [`VertexId`] is the index.
    pub vertices: Vec<Vertex>,
    /// Between vertices; the order of a consumer's edges is that of its inputs.
    pub edges: Vec<Edge>,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
    /// Slots that the job needs: the highest parallelism of each sharing group, summed.
    pub slots: u32,
}

/// A chain of operators that share a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertex {
    /// Index into the plan's vertices.
    pub id: VertexId,
    /// For the API: 32 hexadecimal characters, derived from the uids in the chain.
    pub key: String,
    /// `Source: a -> b -> Sink: c`.
    pub name: String,
    /// The chain, in topological order: the first gets what comes in.
    pub operators: Vec<ChainedOperator>,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Its slot sharing group.
    pub slot_sharing_group: String,
}

impl Vertex {
    /// Whether its inputs are one stream that knows which of them a record came from.
    pub fn unites_inputs(&self) -> bool {
        let first = self.operators.first();
        first.is_some_and(|first| first.operator.unites_inputs())
    }
}

/// One operator of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainedOperator {
    /// As the job declares it. A `key-by` appears once for each chain that feeds it.
    pub operator: LogicalOperator,
    /// Where its results go; several wires of one port each get them all.
    pub wires: Vec<Wire>,
}

/// From an output port to a chained operator or to an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Output port: 0 is the main one, 1 + n the side output n.
    pub port: u16,
    /// Where to.
    pub to: WireTarget,
}

/// Where a wire ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireTarget {
    /// A later operator of the same chain, by index; its input port.
    Chained {
        /// Index into the vertex's operators.
        operator: usize,
        /// Its input port.
        port: u16,
    },
    /// An edge, by index into the plan's edges.
    Edge(usize),
}

/// From a vertex to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The vertex that sends.
    pub from: VertexId,
    /// The operator in it, by index.
    pub from_operator: usize,
    /// Its output port.
    pub from_port: u16,
    /// The vertex that receives, with its first operator.
    pub to: VertexId,
    /// That operator's input port.
    pub to_port: u16,
    /// To which subtasks.
    pub partitioner: Partitioner,
    /// What chooses them, where the partitioner is custom.
    pub function: Option<FunctionRef>,
}

/// Why a job cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An operator's parallelism is out of bounds.
    #[error("operator `{operator}`: {message}")]
    Parallelism {
        /// The operator.
        operator: OperatorUid,
        /// Which numbers and how to mend it.
        message: String,
    },
    /// Too few slots.
    #[error(
        "the job needs {needed} slots ({groups}) and {available} are free: lower its parallelism, put operators into \
         one slot sharing group, stop another job, or raise the host's slots"
    )]
    Slots {
        /// How many it needs.
        needed: u32,
        /// Each sharing group and its highest parallelism.
        groups: String,
        /// How many are free.
        available: u32,
    },
}

impl JobPlan {
    /// Plans a validated graph. `default_max_parallelism` is taken where the graph sets none; `slots` is how
    /// many are free.
    pub fn new(
        graph: &LogicalGraph,
        default_max_parallelism: MaxParallelism,
        slots: u32,
    ) -> Result<Self, PlanError> {
        let max_parallelism = graph.max_parallelism.unwrap_or(default_max_parallelism);
        let parallelism = |operator: &LogicalOperator| parallelism(graph, operator, max_parallelism);
        let (vertices, edges) = chain::chain(graph, &parallelism)?;
        let needed = check_slots(&vertices, slots)?;
        Ok(Self {
            vertices,
            edges,
            max_parallelism,
            slots: needed,
        })
    }

    /// The edges into a vertex, by index, in the order of its inputs.
    pub fn inputs(&self, vertex: VertexId) -> impl Iterator<Item = (usize, &Edge)> {
        self.edges
            .iter()
            .enumerate()
            .filter(move |(_, edge)| edge.to == vertex)
    }

    /// The parallelism of each operator: what a manifest notes and a restore asks for.
    pub fn parallelism(&self) -> BTreeMap<OperatorUid, u32> {
        let operators = self.vertices.iter().flat_map(|vertex| {
            vertex
                .operators
                .iter()
                .map(|chained| (chained.operator.uid.clone(), vertex.parallelism))
        });
        operators.collect()
    }

    /// All subtasks, by vertex and index.
    pub fn subtasks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.vertices.iter().flat_map(|vertex| {
            (0..vertex.parallelism).map(|index| SubtaskId {
                vertex: vertex.id,
                index,
            })
        })
    }

    /// The subtasks of the receiving vertex to which subtask `from` has a channel, in order.
    pub fn targets(&self, edge: &Edge, from: u32) -> std::ops::Range<u32> {
        match edge.partitioner {
            Partitioner::Forward => from..from + 1,
            Partitioner::Rescale => {
                let senders = self.parallelism_of(edge.from);
                neighbours(from, senders, self.parallelism_of(edge.to))
            }
            Partitioner::Hash
            | Partitioner::Rebalance
            | Partitioner::Broadcast
            | Partitioner::Shuffle
            | Partitioner::Global
            | Partitioner::Custom => 0..self.parallelism_of(edge.to),
        }
    }

    fn parallelism_of(&self, vertex: VertexId) -> u32 {
        self.vertices.get(vertex.0 as usize).map_or(0, |v| v.parallelism)
    }
}

/// The targets next to sender `from`: as in Flink's pointwise distribution, those of all senders together are
/// every target, and each sender has one at least.
fn neighbours(from: u32, senders: u32, targets: u32) -> std::ops::Range<u32> {
    let (from, senders, targets) = (u64::from(from), u64::from(senders.max(1)), u64::from(targets));
    if senders >= targets {
        // Target t hears from senders t * senders / targets on, to where those of t + 1 begin.
        let of_target = |target: u64| target * senders / targets.max(1);
        let target = (0..targets).rev().find(|target| of_target(*target) <= from);
        let target = target.unwrap_or(0) as u32;
        return target..target + 1;
    }
    let first_of = |sender: u64| (sender * targets).div_ceil(senders) as u32;
    first_of(from)..first_of(from + 1)
}

/// The operator's own, else the job's; within bounds.
fn parallelism(
    graph: &LogicalGraph,
    operator: &LogicalOperator,
    max_parallelism: MaxParallelism,
) -> Result<u32, PlanError> {
    let parallelism = operator.parallelism.unwrap_or(graph.settings.parallelism);
    let max = u32::from(max_parallelism.0);
    let message = match parallelism {
        0 => "its parallelism is 0: it must be at least 1".to_owned(),
        _ if parallelism > max => format!(
            "its parallelism {parallelism} exceeds the max parallelism {max}: lower it, or raise `max-parallelism` (only \
             before the first run: it is the number of key groups)"
        ),
        _ => return Ok(parallelism),
    };
    Err(PlanError::Parallelism {
        operator: operator.uid.clone(),
        message,
    })
}

/// The slots needed: subtasks of different vertices of a group share them (G3).
fn check_slots(vertices: &[Vertex], available: u32) -> Result<u32, PlanError> {
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    for vertex in vertices {
        let highest = groups.entry(&vertex.slot_sharing_group).or_default();
        *highest = (*highest).max(vertex.parallelism);
    }
    let needed = groups
        .values()
        .fold(0u32, |sum, highest| sum.saturating_add(*highest));
    if needed <= available {
        return Ok(needed);
    }
    let groups: Vec<_> = groups
        .iter()
        .map(|(group, highest)| format!("group `{group}`: {highest}"))
        .collect();
    Err(PlanError::Slots {
        needed,
        groups: groups.join(", "),
        available,
    })
}

/// The uid of an operator that was given none (G4): a hash of what it is and of what feeds it. `nth` tells
/// equal ones apart, in the job file's order.
pub fn derive_uid(what: &str, inputs: &[OperatorUid], nth: u32) -> OperatorUid {
    let mut text = format!("{}:{what}", what.len());
    for input in inputs {
        text.push_str(&format!("|{}:{input}", input.as_str().len()));
    }
    text.push_str(&format!("#{nth}"));
    OperatorUid::new(format!("auto-{:016x}", wasmill_model::key::hash(text.as_bytes())))
}
