//! Functions that are no operator of their own: timestamp assigners, watermark generators and partitioners.
//!
//! Invariant: one call of the engine is one call of the component, unless that consumes less of the batch; what it
//! answers is told by the record that it is about.

use std::sync::Arc;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::error::TaskError;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_engine::registry::{CustomPartitioner, FunctionPlace};
use wasmill_engine::time::{Punctuation, TimestampAssigner, WatermarkGenerator};
use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, SnapshotKind, StateFormat};
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_model::row::RowRef;
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_NONE};
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::TimerQueue;

use super::blueprint::Blueprint;
use super::function::FunctionOperator;

/// A function with the surroundings of an operator, which it has no use for.
pub(super) struct Aside {
    blueprint: Arc<Blueprint>,
    operator: Option<FunctionOperator>,
    context: OperatorContext,
}

impl Aside {
    pub(super) fn new(blueprint: Arc<Blueprint>, place: &FunctionPlace) -> Self {
        let nothing = KeyGroupRange { start: 0, end: 0 };
        Self {
            blueprint,
            operator: None,
            context: OperatorContext {
                runtime: place.runtime.clone(),
                state: Box::new(MemoryBackend::new(nothing, MaxParallelism::DEFAULT)),
                timers: TimerQueue::default(),
                watermark: WATERMARK_NONE,
                processing_time: 0,
                metrics: Arc::new(OperatorMetrics::default()),
            },
        }
    }

    fn open(&mut self, channels: u32, restored: Option<OperatorState>) -> Result<(), TaskError> {
        let mut operator = FunctionOperator::new(self.blueprint.clone()).with_channels(channels);
        operator.open(&mut self.context, restored)?;
        self.operator = Some(operator);
        Ok(())
    }

    fn opened(&mut self) -> Result<(&mut FunctionOperator, &mut OperatorContext), TaskError> {
        match &mut self.operator {
            Some(operator) => Ok((operator, &mut self.context)),
            None => Err(TaskError::host("a function is called before it was opened")),
        }
    }

    /// Hands the batch to the function, and to `each` what it emits with the number of the record.
    fn rows(
        &mut self,
        batch: &Batch,
        mut each: impl FnMut(u32, RowRef<'_>) -> Result<(), String>,
    ) -> Result<(), TaskError> {
        let mut rest = batch.clone();
        let mut passed = 0;
        while !rest.is_empty() {
            let mut out = Output::default();
            let (operator, context) = self.opened()?;
            let consumed = operator.process(0, &rest, context, &mut out)?;
            for (_, emitted) in out.drain() {
                for row in &emitted {
                    each(passed + row.key_field(), row).map_err(|message| self.wrong(&message))?;
                }
            }
            passed += consumed;
            rest = rest.skip(consumed);
        }
        Ok(())
    }

    fn wrong(&self, message: &str) -> TaskError {
        TaskError::user(format!(
            "function `{}` of plugin {}: {message}",
            self.blueprint.function(),
            self.blueprint.plugin()
        ))
    }
}

/// A component that says timestamps (T3).
pub(super) struct PluginTimestamps(pub(super) Aside);

impl TimestampAssigner for PluginTimestamps {
    fn assign(&mut self, rows: &Batch, out: &mut Vec<Timestamp>) -> Result<(), TaskError> {
        if self.0.operator.is_none() {
            self.0.open(0, None)?;
        }
        // In the order of the records: there is one answer for each.
        self.0.rows(rows, |_, row| {
            let timestamp = row.timestamp();
            out.push(
                timestamp.ok_or(
                    "it answered a record without a timestamp: a timestamp assigner gives one to each",
                )?,
            );
            Ok(())
        })
    }
}

/// A component that generates watermarks (T3).
pub(super) struct PluginWatermarks(pub(super) Aside);

impl WatermarkGenerator for PluginWatermarks {
    fn open(&mut self, restored: Option<OperatorState>) -> Result<(), TaskError> {
        self.0.open(0, restored)
    }

    fn on_events(&mut self, rows: &Batch, _: &[Timestamp], out: &mut Punctuation) -> Result<(), TaskError> {
        self.0.rows(rows, |number, row| {
            out.after(number, signal(row));
            Ok(())
        })
    }

    fn on_periodic_emit(&mut self, clock: Timestamp, out: &mut Vec<TimeSignal>) -> Result<(), TaskError> {
        let (operator, context) = self.0.opened()?;
        context.processing_time = clock;
        let mut said = Output::default();
        operator.periodic_emit(context, &mut said)?;
        for (_, batch) in said.drain() {
            out.extend(batch.iter().map(signal));
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<OperatorState, TaskError> {
        let (operator, context) = self.0.opened()?;
        // What it snapshots does not depend on which checkpoint it is for.
        let barrier = Barrier {
            checkpoint: CheckpointId(0),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        };
        Ok(operator.snapshot(&barrier, context)?.state)
    }
}

/// A row with a timestamp is a watermark; of those without, a null one says idle.
fn signal(row: RowRef<'_>) -> TimeSignal {
    match (row.timestamp(), row.is_null()) {
        (Some(watermark), _) => TimeSignal::Watermark(watermark),
        (None, true) => TimeSignal::Idle,
        (None, false) => TimeSignal::Active,
    }
}

/// A component that chooses channels (G8).
pub(super) struct PluginPartitioner {
    pub(super) aside: Aside,
    /// How many it was opened for.
    pub(super) channels: u32,
}

impl CustomPartitioner for PluginPartitioner {
    fn partition(&mut self, rows: &Batch, targets: u32, out: &mut Vec<u32>) -> Result<(), TaskError> {
        if self.channels != targets {
            self.aside.open(targets, None)?;
            self.channels = targets;
        }
        self.aside.rows(rows, |_, row| {
            let channel = <[u8; 4]>::try_from(row.value());
            let channel = channel.map_err(|_| {
                format!(
                    "it answered a record by {} bytes: a partitioner answers by the 4 of the channel's number",
                    row.value().len()
                )
            })?;
            out.push(u32::from_le_bytes(channel));
            Ok(())
        })
    }
}
