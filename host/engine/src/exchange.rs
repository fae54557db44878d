//! The edges out of a task: who gets which record, and when a batch is sent (G8).
//!
//! No partitioner has state: after a restore those that take turns or draw begin anew, and records that were dealt
//! out differently before are in state that is redistributed by its own rule.
//!
//! Invariant: the order of items is kept in each channel. A control item goes after every record that was
//! pushed before it, so it flushes what is being built.

mod lane;

use std::sync::Arc;

use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement};
use wasmill_model::graph::Partitioner;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroup, MaxParallelism};
use wasmill_model::time::Timestamp;

use crate::channel::Sender;
use crate::error::TaskError;
use lane::Lane;

/// A batch in a channel holds at most this many bytes, or a single larger row.
pub(crate) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Says to which target each record goes: a component or, in tests, native.
pub trait CustomPartitioner: Send {
    /// Appends the target of each record, in order, from 0 to less than `targets`.
    fn partition(&mut self, rows: &Batch, targets: u32, out: &mut Vec<u32>) -> Result<(), TaskError>;
}

/// How an edge batches its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffering {
    /// A batch being built is sent at this size.
    pub(crate) bytes: usize,
    /// And after this time, ms.
    pub(crate) timeout_ms: u64,
}

/// One edge of the job graph, seen from one sending subtask.
pub(crate) struct Edge {
    partitioner: Partitioner,
    lanes: Vec<Lane>,
    /// Hash: the lane of each key group.
    lane_of_group: Vec<u16>,
    /// Rebalance, rescale: the lane of the next record.
    next: usize,
    /// Shuffle: what the next draw is made of.
    seed: u64,
    custom: Option<Box<dyn CustomPartitioner>>,
    /// Custom: of the batch at hand.
    chosen: Vec<u32>,
    buffering: Buffering,
    flush_at: Option<Timestamp>,
    sent: Sent,
}

/// What an edge has sent so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sent {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Edge {
    /// `senders` holds one channel to each target subtask, in order; one for forward. `subtask` is the
    /// sender's own index: round robin starts there, so that senders do not all begin with one target.
    pub(crate) fn new(
        partitioner: Partitioner,
        senders: Vec<Sender>,
        subtask: u32,
        max_parallelism: MaxParallelism,
        buffering: Buffering,
    ) -> Self {
        let parallelism = senders.len().max(1) as u32;
        let lane_of_group = (0..max_parallelism.0)
            .map(|group| max_parallelism.subtask_of(KeyGroup(group), parallelism) as u16)
            .collect();
        Self {
            partitioner,
            // The targets of a rescale are the sender's own.
            next: match partitioner {
                Partitioner::Rescale => 0,
                _ => subtask as usize % senders.len().max(1),
            },
            seed: u64::from(subtask),
            custom: None,
            chosen: Vec::new(),
            lanes: senders.into_iter().map(Lane::new).collect(),
            lane_of_group,
            buffering,
            flush_at: None,
            sent: Sent::default(),
        }
    }

    /// Shuffle: draws from this seed.
    pub(crate) fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Custom: asks this one.
    pub(crate) fn with_custom(mut self, custom: Option<Box<dyn CustomPartitioner>>) -> Self {
        self.custom = custom;
        self
    }

    /// Takes records of the chain; sends what fills a batch.
    pub(crate) fn push(&mut self, batch: Batch, now: Timestamp) -> Result<(), TaskError> {
        self.sent.records += u64::from(batch.rows());
        self.sent.bytes += batch.bytes().len() as u64;
        match (self.partitioner, self.lanes.len()) {
            (_, 0) => return Ok(()),
            (Partitioner::Custom, _) => self.push_custom(&batch)?,
            (_, 1) | (Partitioner::Forward | Partitioner::Global, _) => {
                self.lanes[0].push(batch, self.buffering.bytes);
            }
            (Partitioner::Broadcast, _) => {
                for lane in &mut self.lanes {
                    lane.push(batch.clone(), self.buffering.bytes);
                }
            }
            (Partitioner::Hash, _) => self.push_hash(&batch)?,
            (Partitioner::Rebalance | Partitioner::Rescale, _) => self.push_round_robin(&batch),
            (Partitioner::Shuffle, _) => self.push_shuffled(&batch),
        }
        if self.flush_at.is_none() && self.lanes.iter().any(Lane::is_building) {
            self.flush_at = Some(now.saturating_add_unsigned(self.buffering.timeout_ms));
        }
        Ok(())
    }

    fn push_hash(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let bytes = self.buffering.bytes;
        for row in batch {
            let group = row.group_field() as usize;
            let Some(lane) = self.lane_of_group.get(group) else {
                let max = self.lane_of_group.len();
                return Err(TaskError::host(format!(
                    "a record has key group {group}, but the job has {max}: its key selector set none"
                )));
            };
            self.lanes[usize::from(*lane)].push_row(row, bytes);
        }
        Ok(())
    }

    fn push_round_robin(&mut self, batch: &Batch) {
        let bytes = self.buffering.bytes;
        for row in batch {
            self.lanes[self.next].push_row(row, bytes);
            self.next += 1;
            if self.next == self.lanes.len() {
                self.next = 0;
            }
        }
    }

    fn push_shuffled(&mut self, batch: &Batch) {
        let (bytes, lanes) = (self.buffering.bytes, self.lanes.len() as u64);
        for row in batch {
            let lane = ((u128::from(split_mix(&mut self.seed)) * u128::from(lanes)) >> 64) as usize;
            self.lanes[lane].push_row(row, bytes);
        }
    }

    fn push_custom(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let (bytes, targets) = (self.buffering.bytes, self.lanes.len() as u32);
        let Some(custom) = &mut self.custom else {
            return Err(TaskError::host(
                "a custom partition has no function: a fault of the host",
            ));
        };
        self.chosen.clear();
        custom.partition(batch, targets, &mut self.chosen)?;
        if self.chosen.len() != batch.rows() as usize {
            return Err(TaskError::user(format!(
                "the partitioner chose {} targets for {} records: it must choose one for each",
                self.chosen.len(),
                batch.rows()
            )));
        }
        for (row, target) in batch.iter().zip(&self.chosen) {
            let Some(lane) = self.lanes.get_mut(*target as usize) else {
                let record: String = String::from_utf8_lossy(row.value()).chars().take(200).collect();
                return Err(TaskError::user(format!(
                    "the partitioner chose target {target} of {targets}: it must be from 0 to less than {targets}; record \
                     {record:?}"
                )));
            };
            lane.push_row(row, bytes);
        }
        Ok(())
    }

    /// Sends an item that is no batch to every target, after all records pushed before it.
    pub(crate) fn control(&mut self, item: &StreamElement) {
        self.flush();
        for lane in &mut self.lanes {
            lane.send(item.clone());
        }
    }

    /// Sends a barrier to every target before the records that are on their way, and returns those. Only where any target
    /// may be given them later: records that each target must have, and those whose target is fixed by the sender, are
    /// not overtaken, as in Flink.
    pub(crate) fn overtake(&mut self, barrier: &Arc<Barrier>) -> Vec<Batch> {
        if !self.may_be_overtaken() {
            self.control(&StreamElement::Barrier(barrier.clone()));
            return Vec::new();
        }
        self.flush_at = None;
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(|lane| lane.overtake(barrier)).collect()
    }

    fn may_be_overtaken(&self) -> bool {
        match self.partitioner {
            Partitioner::Broadcast | Partitioner::Forward | Partitioner::Rescale => false,
            Partitioner::Hash
            | Partitioner::Rebalance
            | Partitioner::Shuffle
            | Partitioner::Global
            | Partitioner::Custom => true,
        }
    }

    /// Whether a barrier that was sent behind the records is still on its way and may yet overtake.
    pub(crate) fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        self.may_be_overtaken() && self.lanes.iter().any(|lane| lane.holds_barrier(checkpoint))
    }

    /// Lets such a barrier overtake what it still waits behind, and returns those records.
    pub(crate) fn expedite(&mut self, checkpoint: CheckpointId) -> Vec<Batch> {
        if !self.may_be_overtaken() {
            return Vec::new();
        }
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(|lane| lane.expedite(checkpoint)).collect()
    }

    /// Sends what is being built.
    pub(crate) fn flush(&mut self) {
        self.flush_at = None;
        for lane in &mut self.lanes {
            lane.flush();
        }
    }

    /// When what is being built must go out.
    pub(crate) fn flush_at(&self) -> Option<Timestamp> {
        self.flush_at
    }

    /// Moves waiting items into their channels as far as credits go; true where none waits any more.
    pub(crate) fn drain(&mut self) -> bool {
        // Every lane is tried: a full one must not keep a barrier from the others.
        let mut clear = true;
        for lane in &mut self.lanes {
            clear &= lane.drain();
        }
        clear
    }

    /// What was pushed so far.
    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }
}

/// The next number of Steele, Lea and Flood's SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
