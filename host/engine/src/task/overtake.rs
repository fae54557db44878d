//! Unaligned checkpoints (C3): a barrier overtakes the records before it, which become part of the checkpoint.
//!
//! A sender puts the barrier in front of what waits on its edges and keeps a copy of what was overtaken; a receiver takes
//! it whatever it waits for itself, and keeps a copy of what it has read and not processed. Invariant: each record before
//! the barrier has its effect in exactly one place of the checkpoint: in state, or among the records in flight.

use std::sync::Arc;

use wasmill_checkpoint::in_flight::{EdgeName, InFlight, InFlightPlace};
use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement};
use wasmill_model::id::OperatorUid;
use wasmill_model::time::Timestamp;

use super::chain::Chain;
use super::snapshot::Part;
use super::{Head, Task, Work};
use crate::error::TaskError;

impl Task {
    /// Sends and processes first what was in flight.
    pub(super) fn go_on_with(&mut self, allow_dropped: bool) -> Result<(), TaskError> {
        for (owner, InFlight { place, batch }) in std::mem::take(&mut self.parts.in_flight) {
            let chain = &mut self.parts.chain;
            let is_there = match place {
                InFlightPlace::Input { port } if chain.is_first(&owner) => {
                    self.work.push_back(Work::Batch { port, rest: batch });
                    true
                }
                InFlightPlace::Input { port } => chain.give(&owner, port, batch),
                InFlightPlace::Output(edge) => {
                    let sent = chain.send_again(&owner, &edge, &batch)?;
                    // The two may have become parts of one chain.
                    sent || chain.give(&edge.target, edge.port, batch)
                }
            };
            if !is_there && !allow_dropped {
                return Err(TaskError::user(format!(
                    "the checkpoint holds records on their way at operator `{owner}`, and the job has changed so that they \
                     cannot go on: go on from a savepoint, which holds none, or drop them with `allowNonRestoredState`"
                ))
                .for_good());
            }
        }
        Ok(())
    }

    /// Takes the snapshot of a barrier that has overtaken the records before it, whatever waits for credit; true where
    /// something was done.
    pub(super) fn overtake(&mut self, now: Timestamp) -> Result<bool, TaskError> {
        let is_next = match &mut self.parts.head {
            Head::Source(_) => match self.work.iter().position(is_barrier) {
                Some(at) if overtakes(&self.work[at], now) => at == 0,
                _ => return Ok(false),
            },
            Head::Channels(inputs) => {
                if self.overtaking.is_none() {
                    match inputs.receive_overtaking() {
                        None => return Ok(false),
                        Some(None) => {
                            if let Some(barrier) = inputs.aligning().cloned() {
                                self.note_aligning(&barrier, now);
                            }
                            return Ok(true);
                        }
                        Some(aligned) => self.overtaking = aligned,
                    }
                }
                // What was read and not begun is overtaken.
                self.work.iter().all(|work| matches!(work, Work::Batch { .. }))
            }
        };
        if is_next && !self.parts.chain.has_pending() {
            if let Some(barrier) = self.take_unaligned(now) {
                self.snapshot(&barrier, now, true)?;
            }
            return Ok(true);
        }
        // What has begun goes first, with or without credit: it is of one batch or one signal.
        if self.parts.chain.take_ready()? {
            return Ok(true);
        }
        if self.is_stalled() {
            return Ok(false);
        }
        if self.parts.chain.has_pending() {
            self.parts.chain.work_on()?;
        } else if let Some(work) = self.work.pop_front() {
            self.perform(work, now)?;
        }
        Ok(true)
    }

    /// The barrier whose snapshot is to be taken now.
    fn take_unaligned(&mut self, now: Timestamp) -> Option<Arc<Barrier>> {
        match self.parts.head {
            Head::Channels(_) => self.overtaking.take(),
            Head::Source(_) => match self.work.pop_front_if(|work| overtakes(work, now)) {
                Some(Work::Barrier { barrier }) => Some(barrier),
                _ => None,
            },
        }
    }

    /// Sends a barrier downstream; where it overtakes, returns the records that are part of the checkpoint, with the operator
    /// that they are at.
    pub(super) fn pass_on(
        &mut self,
        barrier: &Arc<Barrier>,
        overtakes: bool,
    ) -> Vec<(OperatorUid, InFlight)> {
        if !overtakes {
            self.parts.chain.control(&StreamElement::Barrier(barrier.clone()));
            return Vec::new();
        }
        let mut in_flight = Vec::new();
        for work in &self.work {
            if let (Work::Batch { port, rest }, Some(first)) = (work, self.parts.chain.nodes.first()) {
                let one = InFlight {
                    place: InFlightPlace::Input { port: *port },
                    batch: rest.clone(),
                };
                in_flight.push((first.uid.clone(), one));
            }
        }
        let overtaken = self.parts.chain.overtaken(|edge| edge.overtake(barrier));
        in_flight.extend(overtaken);
        in_flight
    }
}

impl Chain {
    /// Sends records that were on their way behind an operator when the checkpoint was taken; false where there is no such
    /// edge.
    fn send_again(&mut self, owner: &OperatorUid, edge: &EdgeName, batch: &Batch) -> Result<bool, TaskError> {
        let mut names = self.edge_names.iter();
        let place = names.position(|(of, name)| of == owner && name == edge);
        let Some(edge) = place.and_then(|place| self.edges.get_mut(place)) else {
            return Ok(false);
        };
        edge.push(batch.clone(), self.now)?;
        Ok(true)
    }
}

/// Adds records in flight to the parts of their operators.
pub(super) fn assign(in_flight: Vec<(OperatorUid, InFlight)>, parts: &mut [Part]) -> Result<(), TaskError> {
    for (owner, one) in in_flight {
        let Some(part) = parts.iter_mut().find(|part| part.uid == owner) else {
            return Err(TaskError::host(format!(
                "records in flight are of operator `{owner}`, which is not in the chain: a fault of the host"
            )));
        };
        part.in_flight.push(one);
    }
    Ok(())
}

fn is_barrier(work: &Work) -> bool {
    matches!(work, Work::Barrier { .. })
}

fn overtakes(work: &Work, now: Timestamp) -> bool {
    matches!(work, Work::Barrier { barrier } if barrier.overtakes(now))
}
