//! The edges out of a task: who gets which record, and when a batch is sent (G8 in part).
//!
//! Invariant: the order of items is kept in each channel. A control item goes after every record that was
//! pushed before it, so it flushes what is being built.

mod lane;

use wasmill_model::batch::Batch;
use wasmill_model::element::StreamElement;
use wasmill_model::graph::Partitioner;
use wasmill_model::key::{KeyGroup, MaxParallelism};
use wasmill_model::time::Timestamp;

use crate::channel::Sender;
use crate::error::TaskError;
use lane::Lane;

/// A batch in a channel holds at most this many bytes, or a single larger row.
pub(crate) const BATCH_BYTES_MAX: usize = 64 * 1024;

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
    /// Rebalance: the lane of the next record.
    next: usize,
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
            next: subtask as usize % senders.len().max(1),
            lanes: senders.into_iter().map(Lane::new).collect(),
            lane_of_group,
            buffering,
            flush_at: None,
            sent: Sent::default(),
        }
    }

    /// Takes records of the chain; sends what fills a batch.
    pub(crate) fn push(&mut self, batch: Batch, now: Timestamp) -> Result<(), TaskError> {
        self.sent.records += u64::from(batch.rows());
        self.sent.bytes += batch.bytes().len() as u64;
        match (self.partitioner, self.lanes.len()) {
            (_, 0) => return Ok(()),
            (_, 1) | (Partitioner::Forward, _) => self.lanes[0].push(batch, self.buffering.bytes),
            (Partitioner::Broadcast, _) => {
                for lane in &mut self.lanes {
                    lane.push(batch.clone(), self.buffering.bytes);
                }
            }
            (Partitioner::Hash, _) => self.push_hash(&batch)?,
            (Partitioner::Rebalance, _) => self.push_round_robin(&batch),
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

    /// Sends an item that is no batch to every target, after all records pushed before it.
    pub(crate) fn control(&mut self, item: &StreamElement) {
        self.flush();
        for lane in &mut self.lanes {
            lane.send(item.clone());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Receiver, channel};
    use crate::executor::Waker;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::key::hash;
    use wasmill_model::row::{FLAG_KEYED, RowHeader};

    const MAX: MaxParallelism = MaxParallelism(128);

    fn edge(partitioner: Partitioner, targets: usize, credits: u32) -> (Edge, Vec<Receiver>) {
        let (senders, receivers) = (0..targets)
            .map(|_| channel(credits, Waker::new(), Waker::new()))
            .unzip();
        let buffering = Buffering {
            bytes: 256,
            timeout_ms: 10,
        };
        (Edge::new(partitioner, senders, 0, MAX, buffering), receivers)
    }

    fn keyed(values: std::ops::Range<u32>) -> Batch {
        let mut builder = BatchBuilder::default();
        for value in values {
            let key = format!("b{value}");
            let hash = hash(key.as_bytes());
            let header = RowHeader {
                flags: FLAG_KEYED,
                key: hash as u32,
                group: u32::from(MAX.group_of(hash).0),
                ..RowHeader::element(None)
            };
            builder.push(header, key.as_bytes(), &value.to_le_bytes(), b"");
        }
        builder.finish()
    }

    /// The values in a channel, and where its control items stand among them.
    fn read(receiver: &Receiver) -> Vec<Result<u32, StreamElement>> {
        let mut out = Vec::new();
        while let Some(item) = receiver.receive() {
            match item {
                StreamElement::Batch(batch) => {
                    assert!(batch.bytes().len() <= BATCH_BYTES_MAX);
                    out.extend(
                        batch
                            .iter()
                            .map(|row| Ok(u32::from_le_bytes(row.value().try_into().unwrap()))),
                    );
                }
                control => out.push(Err(control)),
            }
        }
        out
    }

    #[test]
    fn hash_sends_a_key_to_the_owner_of_its_group_and_keeps_the_order() {
        let (mut edge, receivers) = edge(Partitioner::Hash, 3, 1_000);
        edge.push(keyed(0..500), 0).unwrap();
        edge.control(&StreamElement::Watermark(7));
        let mut seen = 0;
        for (index, receiver) in receivers.iter().enumerate() {
            let mut items = read(receiver);
            assert_eq!(
                items.pop(),
                Some(Err(StreamElement::Watermark(7))),
                "the watermark is last"
            );
            let values: Vec<u32> = items.into_iter().map(Result::unwrap).collect();
            assert!(values.is_sorted());
            for value in &values {
                let group = MAX.group_of(hash(format!("b{value}").as_bytes()));
                assert_eq!(MAX.subtask_of(group, 3) as usize, index);
            }
            seen += values.len();
        }
        assert_eq!(seen, 500);
    }

    #[test]
    fn rebalance_deals_records_one_by_one_wherever_batches_are_cut() {
        let (mut edge, receivers) = edge(Partitioner::Rebalance, 2, 1_000);
        for cut in [0..3, 3..4, 4..10] {
            edge.push(keyed(cut), 0).unwrap();
        }
        edge.flush();
        assert_eq!(read(&receivers[0]), [Ok(0), Ok(2), Ok(4), Ok(6), Ok(8)]);
        assert_eq!(read(&receivers[1]), [Ok(1), Ok(3), Ok(5), Ok(7), Ok(9)]);
    }

    #[test]
    fn forward_hands_a_large_batch_over_without_copying_it() {
        let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
        let batch = keyed(0..100);
        edge.push(batch.clone(), 0).unwrap();
        let Some(StreamElement::Batch(received)) = receivers[0].receive() else {
            panic!("the batch was not sent at once");
        };
        assert_eq!(received.bytes().as_ptr(), batch.bytes().as_ptr());
    }

    #[test]
    fn small_batches_wait_for_the_timeout_and_keep_their_order_before_a_large_one() {
        let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
        edge.push(keyed(0..1), 100).unwrap();
        edge.push(keyed(1..2), 105).unwrap();
        assert_eq!(edge.flush_at(), Some(110));
        assert!(!receivers[0].is_readable());
        edge.push(keyed(2..100), 106).unwrap();
        let values: Vec<u32> = read(&receivers[0]).into_iter().map(Result::unwrap).collect();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn broadcast_gives_every_target_everything() {
        let (mut edge, receivers) = edge(Partitioner::Broadcast, 3, 1_000);
        edge.push(keyed(0..40), 0).unwrap();
        edge.flush();
        for receiver in &receivers {
            assert_eq!(read(receiver).len(), 40);
        }
    }

    #[test]
    fn without_credit_items_wait_in_order_and_other_lanes_go_on() {
        let (mut edge, receivers) = edge(Partitioner::Broadcast, 2, 1);
        let first = edge.push(keyed(0..20), 0);
        assert!(first.is_ok());
        edge.push(keyed(20..40), 0).unwrap();
        edge.control(&StreamElement::Watermark(1));
        assert!(!edge.drain());
        let mut slow = Vec::new();
        for _ in 0..4 {
            slow.extend(read(&receivers[0]));
            edge.drain();
        }
        assert_eq!(
            slow.len(),
            41,
            "lane 0 has everything although lane 1 was never read"
        );
        assert_eq!(slow[40], Err(StreamElement::Watermark(1)));
    }

    #[test]
    fn a_batch_larger_than_a_buffer_may_be_is_cut() {
        let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
        edge.push(keyed(0..10_000), 0).unwrap();
        edge.flush();
        assert_eq!(read(&receivers[0]).len(), 10_000);
    }
}
