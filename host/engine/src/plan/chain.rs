//! Operators into chains, and what lies between chains into edges (G2).
//!
//! `key-by`, `partition` and `union` are no operators of their own at run time: a union is several edges
//! to one port, a partition is how an edge deals records out, and a `key-by` computes the key where the
//! record is and deals out by it. So each output of the graph stands for a list of *exits*: planned
//! operators with a port and a way to deal out.

use std::collections::BTreeMap;

use wasmill_model::graph::{
    FunctionRef, InputRef, KeySelector, LogicalGraph, LogicalOperator, OperatorKind, Partitioner,
};
use wasmill_model::id::{OperatorUid, VertexId};

use super::{ChainedOperator, Edge, PlanError, Vertex, Wire, WireTarget};

/// An operator that runs, with its place among the vertices.
struct Planned {
    operator: LogicalOperator,
    parallelism: u32,
    vertex: usize,
    /// Index in the vertex's chain.
    position: usize,
}

/// Where records come out.
#[derive(Clone, Copy)]
struct Exit {
    planned: usize,
    port: u16,
    /// How they are dealt out, where the graph says so.
    partitioner: Option<Partitioner>,
    /// By which function, where that is custom: an index into the functions.
    function: Option<usize>,
}

/// Chains and edges as far as they are built.
#[derive(Default)]
pub(super) struct Chains {
    planned: Vec<Planned>,
    /// Indices into `planned`, in topological order.
    vertices: Vec<Vec<usize>>,
    /// (from, to which operator and input port of it, chained or how it is dealt out).
    links: Vec<(Exit, (usize, u16), Link)>,
    /// Custom partitioners.
    functions: Vec<FunctionRef>,
    /// Exits of the main output of each logical operator.
    exits: BTreeMap<OperatorUid, Vec<Exit>>,
}

#[derive(Clone, Copy)]
enum Link {
    Chained,
    Edge(Partitioner),
}

/// Builds vertices and edges of a validated graph; `parallelism` gives that of an operator.
pub(super) fn chain(
    graph: &LogicalGraph,
    parallelism: &dyn Fn(&LogicalOperator) -> Result<u32, PlanError>,
) -> Result<(Vec<Vertex>, Vec<Edge>), PlanError> {
    let mut chains = Chains::default();
    for operator in &graph.operators {
        chains.add(operator, parallelism)?;
    }
    Ok(chains.finish())
}

impl Chains {
    fn add(
        &mut self,
        operator: &LogicalOperator,
        parallelism: &dyn Fn(&LogicalOperator) -> Result<u32, PlanError>,
    ) -> Result<(), PlanError> {
        // A sink may tell its inputs apart.
        let has_ports = operator.ports() > 1 || matches!(operator.kind, OperatorKind::Sink { .. });
        let entries: Vec<(Exit, u16)> = operator
            .inputs
            .iter()
            .enumerate()
            .flat_map(|(number, input)| {
                let port = if has_ports { number as u16 } else { 0 };
                self.exits_of(input).into_iter().map(move |exit| (exit, port))
            })
            .collect();
        let inputs: Vec<Exit> = entries.iter().map(|(exit, _)| *exit).collect();
        let exits = match &operator.kind {
            OperatorKind::Union => inputs,
            OperatorKind::Partition { partitioner } => dealt_out(inputs, *partitioner),
            OperatorKind::PartitionCustom { function } => {
                self.functions.push(function.clone());
                let function = Some(self.functions.len() - 1);
                let dealt = dealt_out(inputs, Partitioner::Custom).into_iter();
                dealt.map(|exit| Exit { function, ..exit }).collect()
            }
            // The selector's own operator has set the key already.
            OperatorKind::KeyBy {
                selector: KeySelector::Function,
                ..
            } => dealt_out(inputs, Partitioner::Hash),
            OperatorKind::KeyBy { .. } => {
                let keyed: Result<Vec<_>, _> = inputs
                    .iter()
                    .map(|input| self.add_key_by(operator, *input))
                    .collect();
                dealt_out(keyed?, Partitioner::Hash)
            }
            OperatorKind::Source { .. }
            | OperatorKind::Sink { .. }
            | OperatorKind::Function { .. }
            | OperatorKind::AssignTimestamps { .. }
            | OperatorKind::Rolling { .. }
            | OperatorKind::IntervalJoin { .. }
            | OperatorKind::Window { .. } => {
                let parallelism = parallelism(operator)?;
                vec![self.add_running(operator, &entries, parallelism, operator.chaining)?]
            }
        };
        self.exits.insert(operator.uid.clone(), exits);
        Ok(())
    }

    /// A key is computed where the record is: one operator for each chain that feeds the `key-by`. However the
    /// records were to be dealt out before, only the last way counts, as in Flink.
    fn add_key_by(&mut self, operator: &LogicalOperator, input: Exit) -> Result<Exit, PlanError> {
        let input = Exit {
            partitioner: None,
            function: None,
            ..input
        };
        let mut operator = operator.clone();
        operator.slot_sharing_group = self.planned[input.planned].operator.slot_sharing_group.clone();
        let parallelism = self.planned[input.planned].parallelism;
        self.add_running(&operator, &[(input, 0)], parallelism, true)
    }

    fn add_running(
        &mut self,
        operator: &LogicalOperator,
        inputs: &[(Exit, u16)],
        parallelism: u32,
        chaining: bool,
    ) -> Result<Exit, PlanError> {
        let chained_to = match inputs {
            [(input, _), others @ ..] if chaining => {
                let chains = |input: &(Exit, u16)| self.may_chain(input.0, operator, parallelism);
                let is_one = others.is_empty() || are_outputs_of_one(operator, inputs);
                (is_one && inputs.iter().all(chains)).then_some(input.planned)
            }
            _ => None,
        };
        let planned = self.planned.len();
        let vertex = match chained_to {
            Some(before) => self.planned[before].vertex,
            None => {
                self.vertices.push(Vec::new());
                self.vertices.len() - 1
            }
        };
        let position = self.vertices[vertex].len();
        self.vertices[vertex].push(planned);
        for (input, port) in inputs {
            let link = match chained_to {
                Some(_) => Link::Chained,
                None => Link::Edge(self.partitioner(*input, operator, parallelism)?),
            };
            self.links.push((*input, (planned, *port), link));
        }
        self.planned.push(Planned {
            operator: operator.clone(),
            parallelism,
            vertex,
            position,
        });
        Ok(Exit {
            planned,
            port: 0,
            partitioner: None,
            function: None,
        })
    }

    /// G2: nothing redistributes between, and the parallelism is equal.
    fn may_chain(&self, input: Exit, operator: &LogicalOperator, parallelism: u32) -> bool {
        let before = &self.planned[input.planned];
        matches!(input.partitioner, None | Some(Partitioner::Forward))
            && before.parallelism == parallelism
            && before.operator.slot_sharing_group == operator.slot_sharing_group
    }

    fn partitioner(
        &self,
        input: Exit,
        operator: &LogicalOperator,
        parallelism: u32,
    ) -> Result<Partitioner, PlanError> {
        let before = &self.planned[input.planned];
        let equal = before.parallelism == parallelism;
        match input.partitioner {
            None if equal => Ok(Partitioner::Forward),
            None => Ok(Partitioner::Rebalance),
            Some(Partitioner::Forward) if !equal => Err(PlanError::Parallelism {
                operator: operator.uid.clone(),
                message: format!(
                    "it gets its records by `forward` from `{}`, but their parallelism differs ({} and {}): make it \
                     equal, or use `rebalance`",
                    before.operator.uid, before.parallelism, parallelism
                ),
            }),
            Some(partitioner) => Ok(partitioner),
        }
    }

    fn exits_of(&self, input: &InputRef) -> Vec<Exit> {
        let exits = self.exits.get(&input.uid).cloned().unwrap_or_default();
        let Some(side) = &input.side else { return exits };
        exits
            .into_iter()
            .map(|exit| Exit {
                port: self.side_port(exit, side),
                ..exit
            })
            .collect()
    }

    /// The port of a side output; validation has made sure that it is declared.
    fn side_port(&self, exit: Exit, side: &str) -> u16 {
        let index = match &self.planned[exit.planned].operator.kind {
            OperatorKind::Function { description, .. } => description
                .side_outputs
                .iter()
                .position(|output| output.name == side),
            OperatorKind::Window { spec } => {
                let outputs = spec.side_outputs();
                outputs.iter().position(|(name, _)| *name == side)
            }
            OperatorKind::IntervalJoin { spec } => spec.side_index(side),
            _ => None,
        };
        index.map_or(exit.port, |index| 1 + index as u16)
    }

    fn finish(self) -> (Vec<Vertex>, Vec<Edge>) {
        let mut seen = BTreeMap::new();
        let mut vertices: Vec<Vertex> = self
            .vertices
            .iter()
            .enumerate()
            .map(|(index, chain)| self.vertex(index, chain, &mut seen))
            .collect();
        let mut edges = Vec::new();
        for (exit, (to, to_port), link) in &self.links {
            let (from, to, to_port) = (&self.planned[exit.planned], &self.planned[*to], *to_port);
            let target = match link {
                Link::Chained => WireTarget::Chained {
                    operator: to.position,
                    port: to_port,
                },
                Link::Edge(partitioner) => {
                    edges.push(Edge {
                        from: VertexId(from.vertex as u32),
                        from_operator: from.position,
                        from_port: exit.port,
                        to: VertexId(to.vertex as u32),
                        to_port,
                        partitioner: *partitioner,
                        function: exit.function.map(|function| self.functions[function].clone()),
                    });
                    WireTarget::Edge(edges.len() - 1)
                }
            };
            let wire = Wire {
                port: exit.port,
                to: target,
            };
            vertices[from.vertex].operators[from.position].wires.push(wire);
        }
        (vertices, edges)
    }

    /// `seen` counts vertices of the same uids.
    fn vertex(&self, index: usize, chain: &[usize], seen: &mut BTreeMap<String, u32>) -> Vertex {
        let planned: Vec<&Planned> = chain.iter().map(|planned| &self.planned[*planned]).collect();
        let names: Vec<String> = planned.iter().map(|p| display_name(&p.operator)).collect();
        let operators = planned
            .iter()
            .map(|p| ChainedOperator {
                operator: p.operator.clone(),
                wires: Vec::new(),
            })
            .collect();
        Vertex {
            id: VertexId(index as u32),
            key: vertex_key(planned.iter().map(|p| &p.operator.uid), seen),
            name: names.join(" -> "),
            operators,
            parallelism: planned.first().map_or(1, |p| p.parallelism),
            slot_sharing_group: planned
                .first()
                .map_or_else(String::new, |p| p.operator.slot_sharing_group.clone()),
        }
    }
}

/// Whether a sink reads different outputs of one operator, such as its main and a side output.
fn are_outputs_of_one(operator: &LogicalOperator, inputs: &[(Exit, u16)]) -> bool {
    let mut ports: Vec<u16> = inputs.iter().map(|(input, _)| input.port).collect();
    ports.sort_unstable();
    matches!(operator.kind, OperatorKind::Sink { .. })
        && inputs
            .windows(2)
            .all(|pair| pair[0].0.planned == pair[1].0.planned)
        && ports.windows(2).all(|pair| pair[0] != pair[1])
}

fn dealt_out(exits: Vec<Exit>, partitioner: Partitioner) -> Vec<Exit> {
    exits
        .into_iter()
        .map(|exit| Exit {
            partitioner: Some(partitioner),
            function: None,
            ..exit
        })
        .collect()
}

fn display_name(operator: &LogicalOperator) -> String {
    match operator.kind {
        OperatorKind::Source { .. } => format!("Source: {}", operator.name),
        OperatorKind::Sink { .. } => format!("Sink: {}", operator.name),
        _ => operator.name.clone(),
    }
}

/// 32 hexadecimal characters of the chain's uids. A `key-by` by itself may be there twice: the second one
/// is told apart by its number.
fn vertex_key<'a>(uids: impl Iterator<Item = &'a OperatorUid>, seen: &mut BTreeMap<String, u32>) -> String {
    let parts: Vec<_> = uids.map(|uid| format!("{}:{uid}", uid.as_str().len())).collect();
    let text = parts.join("|");
    let nth = seen.entry(text.clone()).or_default();
    let half = |salt: &str| wasmill_model::key::hash(format!("{salt}{nth}|{text}").as_bytes());
    let key = format!("{:016x}{:016x}", half("vertex"), half("chain"));
    *nth += 1;
    key
}
