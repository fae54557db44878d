//! Makes the tasks of an attempt and the channels between them, and hands them to the executor (G2).
//!
//! Invariant: channels of a task are in the order of its vertex's inputs and of the sending subtasks, so
//! the same plan gives the same tasks.

mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_checkpoint::in_flight::EdgeName;
use wasmill_model::graph::OperatorKind;
use wasmill_model::id::{OperatorUid, SubtaskId};
use wasmill_model::key::hash;
use wasmill_model::time::{Timestamp, WATERMARK_NONE};
use wasmill_state::backends::Place;

use super::load::KeyedState;
use super::shared::Counters;
use super::{Master, Phase};
use crate::channel::{self, Sender};
use crate::error::TaskError;
use crate::exchange::{BATCH_BYTES_MAX, Buffering, Edge};
use crate::executor::Waker;
use crate::job::RestoreFrom;
use crate::job::status::{JobState, TaskState};
use crate::metrics::OperatorMetrics;
use crate::operator::{OperatorContext, RuntimeContext};
use crate::plan::{ChainedOperator, JobPlan, Vertex, Wire, WireTarget};
use crate::task::chain::{Chain, Node, Route};
use crate::task::inputs::{Input, Inputs};
use crate::task::mailbox::{Command, Mailbox, Reporter};
use crate::task::snapshot::SnapshotWriter;
use crate::task::source::SourceHead;
use crate::task::{Head, Task, TaskParts};
use crate::time::alignment::SourceAlignment;

/// A task as the master knows it.
pub(super) struct Deployed {
    pub(super) commands: Arc<Mailbox<Command>>,
    pub(super) counters: Arc<Counters>,
    pub(super) state: TaskState,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// Its input has ended.
    pub(super) ended: bool,
}

impl Deployed {
    pub(super) fn enter(&mut self, state: TaskState, now: Timestamp) {
        self.state = state;
        if self.is_gone() {
            self.ended_at = now;
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self.state,
            TaskState::Finished | TaskState::Canceled | TaskState::Failed
        )
    }
}

/// The ends of all channels, before tasks take them.
struct Channels {
    wakers: BTreeMap<SubtaskId, Arc<Waker>>,
    /// By sending subtask and edge of the plan.
    senders: BTreeMap<(SubtaskId, usize), Vec<Sender>>,
    inputs: BTreeMap<SubtaskId, Vec<Input>>,
}

impl Channels {
    fn new(plan: &JobPlan) -> Self {
        let mut channels = Self {
            wakers: plan.subtasks().map(|subtask| (subtask, Waker::new())).collect(),
            senders: BTreeMap::new(),
            inputs: BTreeMap::new(),
        };
        for (number, edge) in plan.edges.iter().enumerate() {
            let senders = plan
                .vertices
                .get(edge.from.0 as usize)
                .map_or(0, |v| v.parallelism);
            for from in 0..senders {
                let sender_id = SubtaskId {
                    vertex: edge.from,
                    index: from,
                };
                for to in plan.targets(edge, from) {
                    let receiver_id = SubtaskId {
                        vertex: edge.to,
                        index: to,
                    };
                    let (sender, receiver) = channel::channel(
                        channel::CREDITS,
                        channels.waker(sender_id),
                        channels.waker(receiver_id),
                    );
                    channels
                        .senders
                        .entry((sender_id, number))
                        .or_default()
                        .push(sender);
                    let input = Input::new(receiver, edge.to_port);
                    channels.inputs.entry(receiver_id).or_default().push(input);
                }
            }
        }
        channels
    }

    fn waker(&mut self, subtask: SubtaskId) -> Arc<Waker> {
        self.wakers.entry(subtask).or_default().clone()
    }
}

impl Master {
    /// Makes all tasks, then starts them: a job that cannot be made whole does not run in part.
    pub(super) fn deploy(&mut self, now: Timestamp) {
        self.record.enter(JobState::Created, now);
        let plan = self.plan.clone();
        let mut channels = Channels::new(&plan);
        let mut tasks = Vec::new();
        self.sources = SourceAlignment::default();
        for vertex in &plan.vertices {
            for index in 0..vertex.parallelism {
                let subtask = SubtaskId {
                    vertex: vertex.id,
                    index,
                };
                match self.task(vertex, subtask, &mut channels) {
                    Ok((task, deployed)) => tasks.push((subtask, task, deployed)),
                    Err(error) => return self.on_failure(error, now, Some(subtask)),
                }
            }
        }
        self.loaded.clear();
        self.in_flight.clear();
        self.restore = Default::default();
        self.phase = Phase::Running {
            announced: false,
            finishing: false,
        };
        for (subtask, task, mut deployed) in tasks {
            deployed.started_at = now;
            self.tasks.insert(subtask, deployed);
            let name = self.task_name(subtask).unwrap_or_default();
            let waker = channels.waker(subtask);
            if let Err(error) = self.executor.spawn(name, waker, Box::new(task)) {
                if let Some(deployed) = self.tasks.get_mut(&subtask) {
                    deployed.enter(TaskState::Failed, now);
                }
                let message =
                    format!("no thread could be started: {error}; stop other jobs or raise the limit");
                return self.on_failure(TaskError::host(message), now, Some(subtask));
            }
        }
    }

    fn task(
        &mut self,
        vertex: &Vertex,
        subtask: SubtaskId,
        channels: &mut Channels,
    ) -> Result<(Task, Deployed), TaskError> {
        let commands = Mailbox::new(channels.waker(subtask));
        let mut counters = Counters::default();
        let (edges, routes) = self.edges(vertex, subtask, channels)?;
        let mut head = None;
        let (mut entry, mut nodes) = (Vec::new(), Vec::new());
        for (place, chained) in vertex.operators.iter().enumerate() {
            let runtime = self.runtime(vertex, chained, subtask);
            let metrics = Arc::new(OperatorMetrics::default());
            counters
                .operators
                .push((chained.operator.name.clone(), metrics.clone()));
            let restored = self.restored(chained, subtask);
            let routes = routes_of(&chained.wires, &routes, vertex);
            if matches!(chained.operator.kind, OperatorKind::Source { .. }) {
                let source = self.connectors.sources.get(&chained.operator.uid).cloned();
                let source = source.ok_or_else(|| missing(chained))?;
                entry = routes.into_iter().next().unwrap_or_default();
                let strategy = self.strategy(chained, &runtime);
                if let Some(alignment) = strategy.as_ref().and_then(|s| s.declared.alignment.as_ref()) {
                    self.sources.add(subtask, alignment);
                }
                head = Some(Head::Source(Box::new(SourceHead::new(
                    runtime, metrics, source, strategy, restored,
                ))));
            } else {
                let operator = self.operator(chained, &runtime, channels.waker(subtask))?;
                let context = self.context(subtask, place, runtime, metrics);
                nodes.push(Node::new(place, operator, context, routes, restored));
            }
        }
        let head = head.unwrap_or_else(|| {
            let inputs = channels.inputs.remove(&subtask).unwrap_or_default();
            Head::Channels(Box::new(match vertex.unites_inputs() {
                true => Inputs::of_union(inputs, self.mode()),
                false => Inputs::new(inputs, self.mode()),
            }))
        });
        let counters = Arc::new(counters);
        let mut chain = Chain::new(nodes, edges, entry).with_edge_names(self.edge_names(vertex));
        if self.connectors.drive_clock() {
            chain.drive();
        }
        let task = Task::new(TaskParts {
            head,
            chain,
            commands: commands.clone(),
            snapshots: self.snapshot_writer(subtask),
            metrics: counters.task.clone(),
            clock: self.clock.clone(),
            allow_non_restored: self.allows_non_restored(),
            in_flight: self.in_flight.remove(&subtask).unwrap_or_default(),
        });
        Ok((task, deployed(commands, counters)))
    }

    fn snapshot_writer(&self, subtask: SubtaskId) -> SnapshotWriter {
        SnapshotWriter {
            executor: self.executor.clone(),
            files: self.files.clone(),
            reporter: Reporter {
                mailbox: self.reports.clone(),
                attempt: self.attempt,
                subtask,
            },
            clock: self.clock.clone(),
            epoch: self.fence.as_ref().map_or(0, |fence| fence.epoch()),
            stored: Arc::default(),
        }
    }

    fn allows_non_restored(&self) -> bool {
        matches!(
            self.spec.restore,
            RestoreFrom::Path {
                allow_non_restored: true,
                ..
            }
        )
    }

    /// The subtask's edges, and where each edge of the plan is among them.
    fn edges(
        &self,
        vertex: &Vertex,
        subtask: SubtaskId,
        channels: &mut Channels,
    ) -> Result<(Vec<Edge>, BTreeMap<usize, usize>), TaskError> {
        let settings = &self.spec.graph.settings;
        let buffering = Buffering {
            bytes: (settings.buffer_bytes as usize).clamp(1, BATCH_BYTES_MAX),
            timeout_ms: settings.buffer_timeout_ms,
        };
        let mut edges = Vec::new();
        let mut places = BTreeMap::new();
        for (number, edge) in self
            .plan
            .edges
            .iter()
            .enumerate()
            .filter(|(_, e)| e.from == vertex.id)
        {
            let senders = channels.senders.remove(&(subtask, number)).unwrap_or_default();
            places.insert(number, edges.len());
            let custom = match (&edge.function, &self.spec.registry.functions) {
                (Some(function), Some(functions)) => {
                    let last = vertex.operators.last();
                    let runtime = last.map(|chained| self.runtime(vertex, chained, subtask));
                    let place = runtime.map(|runtime| self.function_place(&runtime));
                    match place {
                        Some(place) => Some(functions.partitioner(function, &place)?),
                        None => None,
                    }
                }
                _ => None,
            };
            let made = Edge::new(
                edge.partitioner,
                senders,
                subtask.index,
                self.plan.max_parallelism,
                buffering,
            );
            let seed = format!("{} {number} {}", self.spec.id, subtask.index);
            edges.push(made.with_seed(hash(seed.as_bytes())).with_custom(custom));
        }
        Ok((edges, places))
    }

    /// What a checkpoint calls the edges of a vertex, in their order.
    fn edge_names(&self, vertex: &Vertex) -> Vec<(OperatorUid, EdgeName)> {
        let mut names: Vec<(OperatorUid, EdgeName)> = Vec::new();
        for edge in self.plan.edges.iter().filter(|edge| edge.from == vertex.id) {
            let target = self.plan.vertices.get(edge.to.0 as usize);
            let first = target.and_then(|target| target.operators.first());
            let target = first.map_or_else(|| OperatorUid::new(""), |first| first.operator.uid.clone());
            let owner = owner(vertex, edge.from_operator);
            let same = |(of, name): &&(OperatorUid, EdgeName)| {
                *of == owner && name.target == target && name.port == edge.to_port
            };
            let number = names.iter().filter(same).count() as u16;
            let name = EdgeName {
                target,
                port: edge.to_port,
                number,
            };
            names.push((owner, name));
        }
        names
    }

    fn runtime(&self, vertex: &Vertex, chained: &ChainedOperator, subtask: SubtaskId) -> Arc<RuntimeContext> {
        let max_parallelism = self.plan.max_parallelism;
        Arc::new(RuntimeContext {
            job_id: self.spec.id,
            job_name: self.spec.graph.name.clone(),
            operator: chained.operator.uid.clone(),
            task_name: vertex.name.clone(),
            subtask_index: subtask.index,
            parallelism: vertex.parallelism,
            max_parallelism,
            key_groups: max_parallelism.range_of(subtask.index, vertex.parallelism),
            attempt: self.attempt,
        })
    }

    fn context(
        &mut self,
        subtask: SubtaskId,
        place: usize,
        runtime: Arc<RuntimeContext>,
        metrics: Arc<OperatorMetrics>,
    ) -> OperatorContext {
        let loaded = self.loaded.remove(&(subtask, place));
        let keyed = loaded.unwrap_or_else(|| {
            let place = Place {
                operator: &runtime.operator,
                subtask: subtask.index,
                attempt: self.attempt,
            };
            let state = &*self.spec.state;
            KeyedState::empty(state, place, runtime.key_groups, runtime.max_parallelism)
        });
        OperatorContext {
            runtime,
            state: keyed.backend,
            timers: keyed.timers,
            watermark: WATERMARK_NONE,
            processing_time: Timestamp::MIN,
            metrics,
        }
    }

    /// Operator and raw state; `None`: the operator starts fresh.
    fn restored(&self, chained: &ChainedOperator, subtask: SubtaskId) -> Option<OperatorState> {
        let restored = self.restore.operators.get(&chained.operator.uid)?;
        let own = restored.subtasks.get(subtask.index as usize)?;
        Some(OperatorState {
            lists: own.lists.clone(),
            raw: own.raw.clone(),
            ..OperatorState::default()
        })
    }
}

/// Whose state holds what is in flight behind an operator: its own, or that of the operator before a key-by, of which
/// there may be one of the same uid in other chains.
fn owner(vertex: &Vertex, mut place: usize) -> OperatorUid {
    let feeder = |place: usize| {
        let leads_here =
            |wire: &Wire| matches!(wire.to, WireTarget::Chained { operator, .. } if operator == place);
        vertex.operators[..place]
            .iter()
            .position(|chained| chained.wires.iter().any(leads_here))
    };
    while let Some(chained) = vertex.operators.get(place) {
        match feeder(place) {
            Some(before) if matches!(chained.operator.kind, OperatorKind::KeyBy { .. }) => place = before,
            _ => return chained.operator.uid.clone(),
        }
    }
    OperatorUid::new("")
}

/// A task that has not begun.
fn deployed(commands: Arc<Mailbox<Command>>, counters: Arc<Counters>) -> Deployed {
    Deployed {
        commands,
        counters,
        state: TaskState::Deploying,
        started_at: -1,
        ended_at: -1,
        ended: false,
    }
}

fn missing(chained: &ChainedOperator) -> TaskError {
    TaskError {
        operator: Some(chained.operator.uid.clone()),
        ..TaskError::host("the plan holds an operator that runs nothing: a fault of the host").for_good()
    }
}

/// By output port.
fn routes_of(wires: &[Wire], edges: &BTreeMap<usize, usize>, vertex: &Vertex) -> Vec<Vec<Route>> {
    let mut routes: Vec<Vec<Route>> = Vec::new();
    // The source is no node of the chain: places count it, nodes do not.
    let source = vertex
        .operators
        .first()
        .is_some_and(|first| matches!(first.operator.kind, OperatorKind::Source { .. }));
    for wire in wires {
        let port = usize::from(wire.port);
        if routes.len() <= port {
            routes.resize_with(port + 1, Vec::new);
        }
        let route = match wire.to {
            WireTarget::Chained { operator, port } => Some(Route::Chained {
                node: operator - usize::from(source),
                port,
            }),
            WireTarget::Edge(number) => edges.get(&number).copied().map(Route::Edge),
        };
        routes[port].extend(route);
    }
    routes
}
