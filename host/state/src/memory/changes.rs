//! What has changed in a table since the freezes that a later one may build on.
//!
//! Changes are noted in lots, one for the time between two freezes; a lot goes when the checkpoint behind it is known to
//! be complete. Invariant: whatever was put or removed since a base is named in one of the lots behind it, or the table
//! says that its changes since then are not known and is written whole. Nothing is noted before the first such freeze.

use std::collections::VecDeque;

use wasmill_model::id::CheckpointId;

/// Freezes that are never completed: their lots are kept up to so many.
const LOTS_MAX: usize = 32;

/// Lots of a small table take up to so many bytes.
const LOTS_BYTES_MIN: usize = 4 * 1024;

/// A freeze of which a later one may want to leave out what has not changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freeze {
    /// For this checkpoint.
    pub(super) checkpoint: CheckpointId,
    /// This one is complete, and later ones build on nothing older.
    pub(super) confirmed: Option<CheckpointId>,
    /// What has changed since this one is enough; `None`: everything is wanted.
    pub(super) base: Option<CheckpointId>,
}

/// Changes between two freezes.
pub(super) trait Lot: Default {
    /// Memory that it takes.
    fn bytes(&self) -> usize;

    /// Entries that were put or removed, some of them perhaps counted twice.
    fn len(&self) -> usize;
}

/// The lots of one table.
pub(super) struct Changes<L> {
    since: CheckpointId,
    /// Since the last freeze.
    pub(super) open: L,
    closed: VecDeque<(CheckpointId, L)>,
}

impl<L: Lot> Changes<L> {
    /// Of a table that was just frozen whole.
    pub(super) fn since(checkpoint: CheckpointId) -> Self {
        Self {
            since: checkpoint,
            open: L::default(),
            closed: VecDeque::new(),
        }
    }

    /// Closes the open lot. Whether [`lots`](Self::lots) then name all that has changed since the base.
    pub(super) fn close(&mut self, freeze: Freeze) -> bool {
        let lot = std::mem::take(&mut self.open);
        self.closed.push_back((freeze.checkpoint, lot));
        while let Some((checkpoint, _)) = self.closed.front()
            && Some(*checkpoint) <= freeze.confirmed
        {
            self.closed.pop_front();
        }
        freeze.base.is_some_and(|base| base >= self.since)
    }

    /// The closed lots that are kept, oldest first.
    pub(super) fn lots(&self) -> impl Iterator<Item = &L> {
        self.closed.iter().map(|(_, lot)| lot)
    }

    /// All lots.
    pub(super) fn lots_mut(&mut self) -> impl Iterator<Item = &mut L> {
        let closed = self.closed.iter_mut().map(|(_, lot)| lot);
        closed.chain(std::iter::once(&mut self.open))
    }

    /// After a freeze: forgets the lots of a table of so many bytes where they have become too many.
    pub(super) fn bound(&mut self, freeze: Freeze, table_bytes: usize) {
        let bytes: usize = self.lots().map(L::bytes).sum();
        if bytes > LOTS_BYTES_MIN.max(table_bytes / 2) || self.closed.len() > LOTS_MAX {
            self.closed.clear();
            self.since = freeze.checkpoint;
        }
    }

    /// Memory that the lots take.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.open.bytes() + self.lots().map(L::bytes).sum::<usize>()
    }

    /// Entries in all lots behind this checkpoint.
    pub(super) fn len_since(&self, confirmed: Option<CheckpointId>) -> usize {
        let closed = self.closed.iter();
        let behind = closed.filter(|(checkpoint, _)| Some(*checkpoint) > confirmed);
        self.open.len() + behind.map(|(_, lot)| lot.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Lot for Vec<u8> {
        fn bytes(&self) -> usize {
            self.len()
        }

        fn len(&self) -> usize {
            self.len()
        }
    }

    fn freeze(checkpoint: u64, base: Option<u64>) -> Freeze {
        let base = base.map(CheckpointId);
        Freeze {
            checkpoint: CheckpointId(checkpoint),
            confirmed: base,
            base,
        }
    }

    fn noted(changes: &Changes<Vec<u8>>) -> Vec<u8> {
        changes.lots().flatten().copied().collect()
    }

    #[test]
    fn lots_stay_until_a_checkpoint_behind_them_is_built_on() {
        let mut changes: Changes<Vec<u8>> = Changes::since(CheckpointId(1));
        changes.open.push(2);
        assert!(changes.close(freeze(2, Some(1))));
        changes.open.push(3);
        assert!(changes.close(freeze(3, Some(1))), "2 was given up");
        assert_eq!(noted(&changes), [2, 3]);
        changes.open.push(4);
        assert!(changes.close(freeze(4, Some(3))));
        assert_eq!(noted(&changes), [4]);
        changes.open.extend([5, 6]);
        let since = |checkpoint| changes.len_since(Some(CheckpointId(checkpoint)));
        assert_eq!((since(3), since(4)), (3, 2), "4 may be confirmed by now");
    }

    #[test]
    fn what_changed_before_the_first_freeze_is_not_known() {
        let mut changes: Changes<Vec<u8>> = Changes::since(CheckpointId(3));
        assert!(!changes.close(freeze(4, Some(2))));
        assert!(!changes.close(freeze(5, None)));
        assert!(changes.close(freeze(6, Some(3))));
    }

    #[test]
    fn lots_that_nobody_confirms_are_forgotten_and_known_to_be() {
        let mut changes: Changes<Vec<u8>> = Changes::since(CheckpointId(1));
        for checkpoint in 2..100 {
            changes.open.extend([0; 400]);
            changes.close(freeze(checkpoint, Some(1)));
            changes.bound(freeze(checkpoint, Some(1)), 0);
            assert!(changes.bytes() < 8_000);
        }
        assert!(!changes.close(freeze(100, Some(1))));
        let kept = changes.lots().count() as u64;
        assert!(changes.close(freeze(101, Some(100 - kept + 1))));
    }
}
