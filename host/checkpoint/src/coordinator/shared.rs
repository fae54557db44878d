//! Which shared files are needed (S7): those of the checkpoints that are kept, of those under way, and of the ones that
//! these build on.
//!
//! Invariant: a name is handed out for deletion only when no checkpoint that is kept, is under way or is built on by one
//! under way names it; each is handed out by whoever was the last to need it.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::id::CheckpointId;

/// Shared files by the checkpoints that name them.
#[derive(Debug, Default)]
pub(super) struct SharedFiles {
    completed: BTreeMap<CheckpointId, BTreeSet<String>>,
    /// Completed ones that are deleted, and known because one under way builds on them.
    deleted: BTreeSet<CheckpointId>,
    pending: BTreeMap<CheckpointId, UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    base: Option<CheckpointId>,
    names: BTreeSet<String>,
}

impl SharedFiles {
    /// Of the checkpoints that a job has kept: nothing else is known any more.
    pub(super) fn restore(&mut self, kept: BTreeMap<CheckpointId, BTreeSet<String>>) {
        *self = Self {
            completed: kept,
            ..Self::default()
        };
    }

    /// A checkpoint is under way whose subtasks may name again what `base` named.
    pub(super) fn triggered(&mut self, id: CheckpointId, base: Option<CheckpointId>) {
        let names = BTreeSet::new();
        self.pending.insert(id, UnderWay { base, names });
    }

    /// A subtask has acknowledged with these.
    pub(super) fn acknowledged(&mut self, id: CheckpointId, names: impl Iterator<Item = String>) {
        if let Some(under_way) = self.pending.get_mut(&id) {
            under_way.names.extend(names);
        }
    }

    /// It is complete; whether it is one of the job's own, which may be built on. What nobody needs any more.
    pub(super) fn complete(&mut self, id: CheckpointId, is_own: bool) -> Vec<String> {
        if let Some(under_way) = self.pending.remove(&id)
            && is_own
        {
            self.completed.insert(id, under_way.names);
        }
        self.release(BTreeSet::new())
    }

    /// A completed one is deleted. What nobody needs any more.
    pub(super) fn delete(&mut self, id: CheckpointId) -> Vec<String> {
        self.deleted.insert(id);
        self.release(BTreeSet::new())
    }

    /// One under way is given up. What nobody needs any more.
    pub(super) fn give_up(&mut self, id: CheckpointId) -> Vec<String> {
        let names = self.pending.remove(&id).map(|under_way| under_way.names);
        self.release(names.unwrap_or_default())
    }

    /// Those that nobody needs of a part that came too late.
    pub(super) fn unneeded(&self, mut names: BTreeSet<String>) -> Vec<String> {
        let completed = self.completed.values();
        let pending = self.pending.values().map(|under_way| &under_way.names);
        for needed in completed.chain(pending) {
            names.retain(|name| !needed.contains(name));
        }
        names.into_iter().collect()
    }

    fn release(&mut self, mut names: BTreeSet<String>) -> Vec<String> {
        let bases: BTreeSet<_> = self.pending.values().filter_map(|p| p.base).collect();
        let free: Vec<_> = self.deleted.difference(&bases).copied().collect();
        for id in free {
            self.deleted.remove(&id);
            names.extend(self.completed.remove(&id).unwrap_or_default());
        }
        match names.is_empty() {
            true => Vec::new(),
            false => self.unneeded(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> impl Iterator<Item = String> {
        text.split_whitespace().map(str::to_owned)
    }

    fn id(number: u64) -> CheckpointId {
        CheckpointId(number)
    }

    #[test]
    fn a_file_goes_with_the_last_checkpoint_that_names_it() {
        let mut shared = SharedFiles::default();
        shared.triggered(id(1), None);
        shared.acknowledged(id(1), names("a b"));
        assert!(shared.complete(id(1), true).is_empty());
        shared.triggered(id(2), Some(id(1)));
        shared.acknowledged(id(2), names("b c"));
        assert!(shared.complete(id(2), true).is_empty());
        assert_eq!(shared.delete(id(1)), ["a"]);
        assert_eq!(shared.delete(id(2)), ["b", "c"]);
    }

    #[test]
    fn what_one_under_way_may_still_name_stays() {
        let mut shared = SharedFiles::default();
        shared.restore(BTreeMap::from([(id(1), names("a b").collect())]));
        shared.triggered(id(3), Some(id(1)));
        assert!(shared.delete(id(1)).is_empty());
        shared.acknowledged(id(3), names("b c"));
        assert_eq!(shared.unneeded(names("b c d").collect()), ["d"]);
        assert_eq!(shared.give_up(id(3)), ["a", "b", "c"]);
        shared.triggered(id(4), None);
        shared.acknowledged(id(4), names("e"));
        assert!(
            shared.complete(id(4), false).is_empty(),
            "a savepoint is its owner's"
        );
    }
}
