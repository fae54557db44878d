//! What happened in a run: its trace, and how much of everything there was.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) steps: u64,
    pub(crate) slowed: u64,
    pub(crate) crashes: u64,
    pub(crate) restored: u64,
    pub(crate) checkpoints: u64,
    pub(crate) faults: u64,
    pub(crate) savepoints: u64,
    pub(crate) stopped: u64,
    pub(crate) drained: u64,
    pub(crate) cancelled: u64,
    /// Cancellations that left results to be committed.
    pub(crate) owed: u64,
    pub(crate) branches: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.slowed += other.slowed;
        self.crashes += other.crashes;
        self.restored += other.restored;
        self.checkpoints += other.checkpoints;
        self.faults += other.faults;
        self.savepoints += other.savepoints;
        self.stopped += other.stopped;
        self.drained += other.drained;
        self.cancelled += other.cancelled;
        self.owed += other.owed;
        self.branches += other.branches;
    }

    /// Whether everything that can go wrong or be asked for has happened.
    pub(crate) fn is_rich(&self) -> bool {
        let counts = [
            self.slowed,
            self.crashes,
            self.restored,
            self.checkpoints,
            self.faults,
            self.savepoints,
            self.stopped,
            self.drained,
            self.cancelled,
            self.branches,
        ];
        counts.iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.steps, "steps"),
            (self.slowed, "slow jobs"),
            (self.crashes, "crashes"),
            (self.faults, "faults"),
            (self.checkpoints, "checkpoints"),
            (self.restored, "restores"),
            (self.savepoints, "savepoints"),
            (self.stopped, "stops"),
            (self.drained, "of them drained"),
            (self.cancelled, "cancellations"),
            (self.owed, "of them before all was committed"),
            (self.branches, "jobs from a savepoint of a running one"),
        ];
        let counts = counts.map(|(count, what)| format!("{count} {what}"));
        write!(f, "{}", counts.join(", "))
    }
}
