//! What the master shows of the job: its states, failures, vertices.
//!
//! Invariant: only what is shown is kept here; nothing is decided by it.

use std::sync::Arc;

use wasmill_checkpoint::coordinator::Coordinator;
use wasmill_model::time::{Timestamp, WATERMARK_NONE};

use super::Master;
use super::connect::Connectors;
use super::shared::{Counters, Published, Shared};
use crate::job::JobSpec;
use crate::job::status::{
    CheckpointStats, EXCEPTIONS_MAX, ExceptionEntry, JobState, JobStatus, SubtaskStatus, TaskState,
    VertexStatus,
};
use crate::plan::{self, JobPlan, Vertex};

/// The parts of a status that only grow.
pub(super) struct Record {
    status: JobStatus,
}

impl Record {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            status: shared.read(|published| published.status.clone()),
        }
    }

    pub(super) fn enter(&mut self, state: JobState, now: Timestamp) {
        tracing::info!(job = %self.status.id, from = ?self.status.state, to = ?state, "the job's state changes");
        self.status.state = state;
        self.status.entered.retain(|(entered, _)| *entered != state);
        self.status.entered.push((state, now));
    }

    pub(super) fn exception(&mut self, name: &str, message: &str, now: Timestamp, task: Option<String>) {
        let entry = ExceptionEntry {
            name: name.to_owned(),
            message: message.to_owned(),
            at: now,
            task,
        };
        self.status.exceptions.insert(0, entry);
        self.status.exceptions.truncate(EXCEPTIONS_MAX);
    }
}

/// The status before anything has happened.
pub(super) fn initial(spec: &JobSpec, plan: &JobPlan, connectors: &Connectors, now: Timestamp) -> JobStatus {
    JobStatus {
        id: spec.id,
        name: spec.graph.name.clone(),
        state: JobState::Initializing,
        entered: vec![(JobState::Initializing, now)],
        max_parallelism: plan.max_parallelism.0,
        attempt: spec.first_attempt,
        vertices: plan
            .vertices
            .iter()
            .map(|vertex| vertex_status(plan, vertex))
            .collect(),
        checkpoints: CheckpointStats::default(),
        exceptions: Vec::new(),
        guarantees: plan::guarantees(&spec.graph, &connectors.promises()),
    }
}

fn vertex_status(plan: &JobPlan, vertex: &Vertex) -> VertexStatus {
    let created = SubtaskStatus {
        state: TaskState::Created,
        started_at: -1,
        ended_at: -1,
        records_in: 0,
        bytes_in: 0,
        records_out: 0,
        bytes_out: 0,
        busy_ms: 0,
        idle_ms: 0,
        backpressured_ms: 0,
        watermark: WATERMARK_NONE,
    };
    VertexStatus {
        id: vertex.key.clone(),
        name: vertex.name.clone(),
        operators: vertex.operators.iter().map(|o| o.operator.uid.clone()).collect(),
        slot_sharing_group: vertex.slot_sharing_group.clone(),
        parallelism: vertex.parallelism,
        inputs: plan
            .inputs(vertex.id)
            .map(|(_, edge)| (edge.from.0 as usize, edge.partitioner))
            .collect(),
        subtasks: vec![created; vertex.parallelism as usize],
    }
}

impl Master {
    pub(super) fn publish(&mut self) {
        let status = &mut self.record.status;
        status.attempt = self.attempt;
        status.max_parallelism = self.plan.max_parallelism.0;
        if let Some(coordinator) = &self.coordinator {
            status.checkpoints = Coordinator::stats(coordinator).clone();
        }
        let mut counters: Vec<Vec<Arc<Counters>>> = Vec::new();
        for (subtask, task) in &self.tasks {
            let vertex = subtask.vertex.0 as usize;
            if counters.len() <= vertex {
                counters.resize_with(vertex + 1, Vec::new);
            }
            counters[vertex].push(task.counters.clone());
            let shown = status.vertices.get_mut(vertex);
            if let Some(shown) = shown.and_then(|v| v.subtasks.get_mut(subtask.index as usize)) {
                shown.state = task.state;
                shown.started_at = task.started_at;
                shown.ended_at = task.ended_at;
            }
        }
        let status = status.clone();
        // Between attempts and after the end the last counters stay.
        let counters = match counters.is_empty() {
            true => self.shared.read(|published| published.counters.clone()),
            false => counters,
        };
        self.shared.publish(Published { status, counters });
    }
}
