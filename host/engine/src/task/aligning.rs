//! Barriers that align until a time-out and overtake from then on (`alignedCheckpointTimeout`, C3), and what is measured
//! of alignment.
//!
//! Such a barrier is sent behind the records. The task's part of the checkpoint is frozen with it, and written when the
//! barrier has arrived everywhere or its time has come; then it overtakes what it still waits behind, and that is part
//! of the checkpoint. Invariant: a part is acknowledged only when nothing can be overtaken any more.

use std::sync::Arc;

use wasmill_checkpoint::in_flight::{InFlight, InFlightPlace};
use wasmill_model::batch::Batch;
use wasmill_model::element::Barrier;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::Timestamp;

use super::chain::Chain;
use super::overtake::assign;
use super::snapshot::{Part, Taken};
use super::{Head, Task, Work};
use crate::error::TaskError;
use crate::exchange::Edge;

/// A barrier that has been sent and may overtake yet.
pub(super) struct OnItsWay {
    pub(super) barrier: Arc<Barrier>,
    pub(super) parts: Vec<Part>,
    pub(super) taken: Taken,
}

/// The first barrier of a checkpoint has come.
pub(super) struct Aligning {
    checkpoint: CheckpointId,
    at_ns: u64,
    /// Bytes that had been read.
    bytes_in: u64,
    start_delay_ms: u64,
}

impl Task {
    /// Writes the part of a barrier that has arrived or whose time has come.
    pub(super) fn settle_barrier(&mut self, now: Timestamp) -> Result<(), TaskError> {
        let Some(OnItsWay { barrier, .. }) = &self.on_its_way else {
            return Ok(());
        };
        let (checkpoint, is_due) = (barrier.checkpoint, barrier.overtakes(now));
        if !is_due && self.parts.chain.holds_barrier(checkpoint) {
            return Ok(());
        }
        let Some(mut sent) = self.on_its_way.take() else {
            return Ok(());
        };
        if is_due {
            let overtaken = self.parts.chain.expedite(checkpoint);
            sent.taken.unaligned = !overtaken.is_empty();
            assign(overtaken, &mut sent.parts)?;
        }
        self.parts.snapshots.start(checkpoint, sent.parts, sent.taken);
        Ok(())
    }

    /// When a barrier begins to overtake.
    pub(super) fn next_overtaking(&self, now: Timestamp) -> Option<Timestamp> {
        let sent = self
            .on_its_way
            .as_ref()
            .and_then(|sent| sent.barrier.overtakes_at);
        let work = match self.parts.head {
            Head::Channels(_) => None,
            Head::Source(_) => self.work.iter().find_map(|work| match work {
                Work::Barrier { barrier } => barrier.overtakes_at.filter(|at| *at > now),
                _ => None,
            }),
        };
        sent.into_iter().chain(work).min()
    }

    /// Notes that alignment has begun; to be called when a barrier may have come.
    pub(super) fn note_aligning(&mut self, barrier: &Barrier, now: Timestamp) {
        let checkpoint = barrier.checkpoint;
        if self
            .aligning
            .as_ref()
            .is_some_and(|known| known.checkpoint == checkpoint)
        {
            return;
        }
        self.aligning = Some(Aligning {
            checkpoint,
            at_ns: self.parts.clock.monotonic_ns(),
            bytes_in: self.bytes_in(),
            start_delay_ms: u64::try_from(now.saturating_sub(barrier.triggered_at)).unwrap_or(0),
        });
    }

    /// What was measured up to the snapshot, which is taken now.
    pub(super) fn taken(&mut self, barrier: &Barrier, now: Timestamp) -> Taken {
        self.note_aligning(barrier, now);
        let (now_ns, bytes_in) = (self.parts.clock.monotonic_ns(), self.bytes_in());
        let aligned = self.aligning.take();
        aligned.map_or_else(Taken::default, |began| Taken {
            start_delay_ms: began.start_delay_ms,
            alignment_ms: now_ns.saturating_sub(began.at_ns) / 1_000_000,
            processed_bytes: bytes_in.saturating_sub(began.bytes_in),
            sync_ms: 0,
            unaligned: false,
        })
    }

    fn bytes_in(&self) -> u64 {
        let bytes = &self.parts.metrics.bytes_in;
        bytes.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Chain {
    /// Whether a barrier that was sent is still on its way on an edge on which it may overtake.
    fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        self.edges.iter().any(|edge| edge.holds_barrier(checkpoint))
    }

    /// Lets such a barrier overtake; returns the records that it overtook, with the operator behind which they are.
    fn expedite(&mut self, checkpoint: CheckpointId) -> Vec<(OperatorUid, InFlight)> {
        self.overtaken(|edge| edge.expedite(checkpoint))
    }

    /// What is overtaken on each edge, with the operator behind which it is.
    pub(super) fn overtaken(
        &mut self,
        mut on: impl FnMut(&mut Edge) -> Vec<Batch>,
    ) -> Vec<(OperatorUid, InFlight)> {
        let mut overtaken = Vec::new();
        for (edge, (owner, name)) in self.edges.iter_mut().zip(&self.edge_names) {
            for batch in on(edge) {
                let place = InFlightPlace::Output(name.clone());
                overtaken.push((owner.clone(), InFlight { place, batch }));
            }
        }
        overtaken
    }
}
