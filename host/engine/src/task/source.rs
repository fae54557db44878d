//! The source at the head of a chain: polls its reader, sends barriers when the coordinator asks.
//!
//! Invariant: a reader's snapshot is the position after the last record that entered the chain, and after
//! the barrier of a stop-with-savepoint nothing is read until that is given up.

use std::sync::Arc;

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::{Barrier, SnapshotKind};
use wasmill_model::function::OperatorStateMode;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::Timestamp;

use crate::error::TaskError;
use crate::metrics::{OperatorMetrics, add};
use crate::operator::RuntimeContext;
use crate::source::{Source, SourceReader, SourceStatus};

/// The operator state that holds a reader's elements.
const STATE_NAME: &str = "splits";

/// A source's reader in one subtask.
pub(crate) struct SourceHead {
    pub(crate) runtime: Arc<RuntimeContext>,
    pub(crate) metrics: Arc<OperatorMetrics>,
    source: Arc<dyn Source>,
    reader: Option<Box<dyn SourceReader>>,
    restored: Option<OperatorState>,
    builder: BatchBuilder,
    wait_until: Timestamp,
    /// A barrier that stops the job has gone out.
    stopped_by: Option<CheckpointId>,
    finished: bool,
}

/// What a poll came to.
pub(crate) struct Polled {
    pub(crate) batch: Batch,
    /// Nothing will come any more.
    pub(crate) finished: bool,
}

impl SourceHead {
    pub(crate) fn new(
        runtime: Arc<RuntimeContext>,
        metrics: Arc<OperatorMetrics>,
        source: Arc<dyn Source>,
        restored: Option<OperatorState>,
    ) -> Self {
        Self {
            runtime,
            metrics,
            source,
            reader: None,
            restored,
            builder: BatchBuilder::default(),
            wait_until: Timestamp::MIN,
            stopped_by: None,
            finished: false,
        }
    }

    pub(crate) fn uid(&self) -> &OperatorUid {
        &self.runtime.operator
    }

    pub(crate) fn open(&mut self) -> Result<(), TaskError> {
        let restored = self.restored.take().map(elements);
        self.reader = Some(
            self.source
                .reader(&self.runtime, restored)
                .map_err(|error| self.named(error))?,
        );
        Ok(())
    }

    /// When it is to be polled; `None`: never again, or not before it is told to go on.
    pub(crate) fn poll_at(&self) -> Option<Timestamp> {
        (!self.finished && self.stopped_by.is_none()).then_some(self.wait_until)
    }

    /// Its input counts as ended, whatever the reader still has: the job is drained.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads at most `rows_max` rows.
    pub(crate) fn poll(&mut self, now: Timestamp, rows_max: u32) -> Result<Polled, TaskError> {
        let Some(reader) = &mut self.reader else {
            return Err(self.named(TaskError::host("a source was polled before it was opened")));
        };
        let status = reader.poll(now, rows_max, &mut self.builder);
        match status.map_err(|error| self.named(error))? {
            SourceStatus::More => self.wait_until = Timestamp::MIN,
            SourceStatus::WaitUntil(at) => self.wait_until = at,
            SourceStatus::Finished => self.finished = true,
        }
        let room = self.builder.len() + self.builder.len() / 8;
        let batch = match self.builder.is_empty() {
            true => Batch::default(),
            false => self.builder.finish_with_capacity(room),
        };
        add(&self.metrics.records_out, u64::from(batch.rows()));
        Ok(Polled {
            batch,
            finished: self.finished,
        })
    }

    /// At a barrier, which goes out with it.
    pub(crate) fn snapshot(&mut self, barrier: &Barrier) -> Result<OperatorState, TaskError> {
        if barrier.kind == SnapshotKind::StopWithSavepoint {
            self.stopped_by = Some(barrier.checkpoint);
        }
        let elements = match &mut self.reader {
            Some(reader) => reader.snapshot(barrier.checkpoint),
            None => Err(TaskError::host("a source was snapshotted before it was opened")),
        };
        let elements = elements.map_err(|error| self.named(error))?;
        Ok(OperatorState {
            lists: vec![OperatorList {
                name: STATE_NAME.to_owned(),
                mode: OperatorStateMode::Union,
                elements: elements.into_iter().map(Base64Bytes).collect(),
            }],
            ..OperatorState::default()
        })
    }

    pub(crate) fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        match &mut self.reader {
            Some(reader) => reader
                .on_checkpoint_complete(checkpoint)
                .map_err(|error| self.named(error)),
            None => Ok(()),
        }
    }

    /// A checkpoint is given up: a source that stopped with it goes on.
    pub(crate) fn on_abort(&mut self, checkpoint: CheckpointId) {
        if self.stopped_by == Some(checkpoint) {
            self.stopped_by = None;
        }
    }

    fn named(&self, mut error: TaskError) -> TaskError {
        error.operator.get_or_insert_with(|| self.uid().clone());
        error
    }
}

fn elements(state: OperatorState) -> Vec<Vec<u8>> {
    let lists = state.lists.into_iter().filter(|list| list.name == STATE_NAME);
    lists
        .flat_map(|list| list.elements)
        .map(|element| element.0)
        .collect()
}
