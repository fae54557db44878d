//! The user of a simulated job: triggers savepoints and checkpoints, stops and cancels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmill_checkpoint::restore;
use wasmill_checkpoint::storage::{CheckpointStorage, MemoryStorage};
use wasmill_engine::job::status::SavepointOutcome;
use wasmill_engine::job::{JobHandle, SavepointTrigger, Stop};
use wasmill_model::element::SavepointFormat;
use wasmill_model::id::CheckpointId;

use crate::random::Random;

/// What it does at most: storage that is slow never comes to an end with a user who never rests.
const ACTS_MAX: u32 = 200;

pub(crate) struct User {
    /// Does something once in so many turns; 0: never.
    once_in: u64,
    stops_left: u32,
    cancels_left: u32,
    numbered: u32,
    /// What was asked of the process that runs, and where a savepoint is to go.
    wishes: BTreeMap<SavepointTrigger, Option<String>>,
    /// Stops that drain.
    drains: BTreeSet<String>,
    /// A savepoint after which the job may be followed into another world.
    branch: Option<(SavepointTrigger, String)>,
    branches_left: u32,
    /// All that have completed: they are the user's, and nobody deletes them.
    completed: BTreeSet<String>,
}

impl User {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            once_in: [0, 300, 1_000][random.below(3) as usize],
            stops_left: random.below(3) as u32,
            cancels_left: u32::from(random.once_in(3)),
            numbered: 0,
            wishes: BTreeMap::new(),
            drains: BTreeSet::new(),
            branch: None,
            branches_left: random.below(2) as u32,
            completed: BTreeSet::new(),
        }
    }

    /// Does nothing from now on.
    pub(crate) fn rest(&mut self) {
        self.once_in = 0;
    }

    /// Whether a stop with the savepoint in this directory drains.
    pub(crate) fn drains(&self, directory: &str) -> bool {
        self.drains.contains(directory)
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed.len() as u64
    }

    /// Whether the savepoint in this directory was said to be complete.
    pub(crate) fn has_completed(&self, directory: &str) -> bool {
        self.completed.contains(directory)
    }

    /// Says what was done.
    pub(crate) fn act(
        &mut self,
        random: &mut Random,
        handle: &dyn JobHandle,
        storage: &Arc<dyn CheckpointStorage>,
    ) -> Option<String> {
        if !random.once_in(self.once_in) {
            return None;
        }
        self.numbered += 1;
        if self.numbered == ACTS_MAX {
            self.rest();
        }
        let directory = format!("savepoints/{}", self.numbered);
        let format = match random.once_in(2) {
            true => SavepointFormat::Native,
            false => SavepointFormat::Canonical,
        };
        let what = match random.below(10) {
            0 if self.cancels_left > 0 => {
                self.cancels_left -= 1;
                handle.cancel();
                "cancel".to_owned()
            }
            1..=3 if self.stops_left > 0 => {
                self.stops_left -= 1;
                let drain = random.once_in(2);
                if drain {
                    self.drains.insert(directory.clone());
                }
                let stop = Some(Stop { drain });
                let trigger = handle.trigger_savepoint(storage.clone(), directory.clone(), stop, format);
                self.wishes.insert(trigger, Some(directory.clone()));
                format!("stop with {directory}, drain {drain}")
            }
            4..=5 => {
                self.wishes
                    .insert(handle.trigger_checkpoint(random.once_in(2)), None);
                "checkpoint".to_owned()
            }
            _ => {
                let trigger = handle.trigger_savepoint(storage.clone(), directory.clone(), None, format);
                self.wishes.insert(trigger, Some(directory.clone()));
                if self.branches_left > 0 {
                    self.branch = Some((trigger, directory.clone()));
                }
                directory
            }
        };
        Some(what)
    }

    /// The savepoint to follow, once, in the turn in which it completes.
    pub(crate) fn branch(&mut self, handle: &dyn JobHandle) -> Option<(CheckpointId, String)> {
        let (trigger, directory) = self.branch.as_ref()?;
        match handle.trigger_outcome(*trigger)? {
            SavepointOutcome::Completed { id, .. } => {
                let directory = directory.clone();
                self.branch = None;
                self.branches_left = 0;
                Some((id, directory))
            }
            SavepointOutcome::Failed(_) => {
                self.branch = None;
                None
            }
        }
    }

    /// The process is gone: every completed savepoint is whole, and where the job has come to its end every
    /// wish was answered.
    pub(crate) fn check(
        &mut self,
        handle: &dyn JobHandle,
        files: &MemoryStorage,
        has_ended: bool,
    ) -> Result<(), String> {
        self.branch = None;
        for (trigger, directory) in std::mem::take(&mut self.wishes) {
            match (handle.trigger_outcome(trigger), directory) {
                (Some(SavepointOutcome::Completed { .. }), Some(directory)) => {
                    self.completed.insert(directory);
                }
                (None, _) if has_ended => return Err(format!("wish {} was never answered", trigger.0)),
                _ => {}
            }
        }
        for directory in &self.completed {
            restore::load(files, directory).map_err(|error| format!("a completed savepoint: {error}"))?;
        }
        Ok(())
    }
}
