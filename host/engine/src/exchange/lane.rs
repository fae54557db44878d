//! One target of an edge: the batch being built for it and what waits for its credit.
//!
//! Invariant: records leave in the order in which they came, control items in their place between them.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::{Barrier, StreamElement};
use wasmill_model::id::CheckpointId;
use wasmill_model::row::RowRef;

use super::BATCH_BYTES_MAX;
use crate::channel::{Sender, batches, is_barrier_of};

pub(super) struct Lane {
    building: BatchBuilder,
    /// Bounded: the task stops as soon as something waits, so this holds the results of one step and the
    /// barriers that came after it.
    waiting: VecDeque<StreamElement>,
    sender: Sender,
}

impl Lane {
    pub(super) fn new(sender: Sender) -> Self {
        Self {
            building: BatchBuilder::default(),
            waiting: VecDeque::new(),
            sender,
        }
    }

    /// Takes a copy of a row.
    #[inline]
    pub(super) fn push_row(&mut self, row: RowRef<'_>, buffer_bytes: usize) {
        self.building.push_row(row);
        if self.building.len() >= buffer_bytes {
            self.send_full(buffer_bytes);
        }
    }

    #[cold]
    fn send_full(&mut self, buffer_bytes: usize) {
        // The next batch ends a row past the limit as well: room for that spares growing it by half.
        let batch = self
            .building
            .finish_with_capacity(buffer_bytes + buffer_bytes / 16);
        self.send(StreamElement::Batch(batch));
    }

    /// Hands a batch over as it is where it is worth a place of its own; small ones are put together.
    pub(super) fn push(&mut self, batch: Batch, buffer_bytes: usize) {
        let small = batch.bytes().len() < buffer_bytes / 4;
        if small {
            self.building.push_batch(&batch);
            if self.building.len() >= buffer_bytes {
                self.send_full(0);
            }
            return;
        }
        self.flush();
        let mut rest = batch;
        while rest.bytes().len() > BATCH_BYTES_MAX && rest.rows() > 1 {
            let (head, tail) = rest.split_at(rows_within(&rest, BATCH_BYTES_MAX));
            self.send(StreamElement::Batch(head));
            rest = tail;
        }
        self.send(StreamElement::Batch(rest));
    }

    pub(super) fn is_building(&self) -> bool {
        !self.building.is_empty()
    }

    pub(super) fn flush(&mut self) {
        if !self.building.is_empty() {
            let batch = self.building.finish();
            self.send(StreamElement::Batch(batch));
        }
    }

    /// Sends an item, or lets it wait behind those that wait already.
    pub(super) fn send(&mut self, item: StreamElement) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(item);
        } else if let Err(item) = self.sender.try_send(item) {
            self.waiting.push_back(item);
        }
    }

    /// Sends a barrier before all that no other barrier precedes; returns the batches that it overtook.
    pub(super) fn overtake(&mut self, barrier: &Arc<Barrier>) -> Vec<Batch> {
        self.flush();
        self.put_in_front(barrier.clone(), self.waiting.len())
    }

    /// Lets a barrier that is still on its way overtake; returns the batches that it overtook.
    pub(super) fn expedite(&mut self, checkpoint: CheckpointId) -> Vec<Batch> {
        let mut waiting = self.waiting.iter();
        let Some(at) = waiting.position(|item| is_barrier_of(item, checkpoint)) else {
            return self.sender.expedite(checkpoint);
        };
        match self.waiting.remove(at) {
            Some(StreamElement::Barrier(barrier)) => self.put_in_front(barrier, at),
            _ => Vec::new(),
        }
    }

    /// Sends a barrier before what no other barrier precedes among the first `end` that wait and all in the channel.
    fn put_in_front(&mut self, barrier: Arc<Barrier>, end: usize) -> Vec<Batch> {
        let is_barrier = |item: &StreamElement| matches!(item, StreamElement::Barrier(_));
        let before = self.waiting.range(..end);
        if let Some(last) = before.rev().position(is_barrier).map(|back| end - 1 - back) {
            let overtaken = batches(self.waiting.range(last + 1..end));
            self.waiting.insert(last + 1, StreamElement::Barrier(barrier));
            return overtaken;
        }
        let mut overtaken = self.sender.overtake(barrier);
        overtaken.extend(batches(self.waiting.range(..end)));
        overtaken
    }

    /// Whether a barrier is still on its way.
    pub(super) fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|item| is_barrier_of(item, checkpoint)) || self.sender.holds_barrier(checkpoint)
    }

    pub(super) fn drain(&mut self) -> bool {
        while let Some(item) = self.waiting.pop_front() {
            if let Err(item) = self.sender.try_send(item) {
                self.waiting.push_front(item);
                return false;
            }
        }
        true
    }
}

/// How many rows from the front fit in `bytes_max`; at least one.
fn rows_within(batch: &Batch, bytes_max: usize) -> u32 {
    let mut bytes = 0;
    let fitting = batch.iter().take_while(|row| {
        bytes += row.len();
        bytes <= bytes_max
    });
    (fitting.count() as u32).max(1)
}
