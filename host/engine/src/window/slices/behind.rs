//! Elements of slices that a fired window has seen: they join the running aggregates.
//!
//! They came behind the watermark, in time for windows that begin later. All aggregates of the front that begin at or
//! before their slice take them in; so does the back. Rare, and in proportion to the slices of a window.

use super::damaged;
use super::slicing::SliceNumber;
use super::stored::{Stored, put_entry};
use crate::error::TaskError;
use crate::window::function::MergeAccumulators;

/// The running aggregates of a key, to be changed.
pub(super) struct Closed {
    pub(super) front: Vec<u8>,
    pub(super) back: Vec<u8>,
    pub(super) aggregate: Option<Vec<u8>>,
}

type Slices = Vec<(SliceNumber, Vec<u8>)>;

impl Closed {
    pub(super) fn of(stored: &Stored<'_>) -> Self {
        Self {
            front: stored.front.to_vec(),
            back: stored.back.to_vec(),
            aggregate: stored.aggregate.map(|aggregate| aggregate.bytes().to_vec()),
        }
    }

    /// Takes in what was added to a slice.
    pub(super) fn add(
        &mut self,
        base: SliceNumber,
        slice: SliceNumber,
        added: &[u8],
        merging: &mut dyn MergeAccumulators,
    ) -> Result<(), TaskError> {
        let mut front = read(base, &self.front)?;
        if front.last().is_some_and(|(last, _)| slice <= *last) {
            let at = front.partition_point(|(number, _)| *number < slice);
            // The aggregate of a slice that had nothing is that of the next one.
            if front[at].0 != slice {
                front.insert(at, (slice, front[at].1.clone()));
            }
            for (_, aggregate) in &mut front[..=at] {
                merging.merge(aggregate, added)?;
            }
            self.front = write(base, &front);
            return Ok(());
        }
        let mut back = read(base, &self.back)?;
        let at = back.partition_point(|(number, _)| *number < slice);
        match back.get_mut(at).filter(|(number, _)| *number == slice) {
            Some((_, accumulator)) => merging.merge(accumulator, added)?,
            None => back.insert(at, (slice, added.to_vec())),
        }
        self.back = write(base, &back);
        match &mut self.aggregate {
            Some(aggregate) => merging.merge(aggregate, added)?,
            None => self.aggregate = Some(added.to_vec()),
        }
        Ok(())
    }
}

fn read(base: SliceNumber, part: &[u8]) -> Result<Slices, TaskError> {
    let stored = Stored {
        base,
        ..Stored::default()
    };
    let entries = stored.entries(part);
    let slices = entries.map(|entry| entry.map(|(slice, accumulator)| (slice, accumulator.bytes().to_vec())));
    slices.collect::<Option<_>>().ok_or_else(damaged)
}

fn write(base: SliceNumber, slices: &Slices) -> Vec<u8> {
    let mut part = Vec::new();
    for (slice, accumulator) in slices {
        put_entry(&mut part, base, *slice, accumulator);
    }
    part
}
