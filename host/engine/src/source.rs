//! The seam to where records come from.

use wasmill_model::batch::BatchBuilder;
use wasmill_model::element::Tick;
use wasmill_model::id::CheckpointId;
use wasmill_model::time::{TimeSignal, Timestamp};

use crate::error::TaskError;
use crate::operator::RuntimeContext;

/// A source as the job declares it: makes one reader for each subtask.
pub trait Source: Send + Sync {
    /// Makes a reader. `restored` holds the elements of *all* subtasks' [`SourceReader::snapshot`] (union
    /// redistribution): a reader takes those that are its own by a rule that depends on nothing but the
    /// element, the subtask index and the parallelism. `None` on a fresh start.
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError>;

    /// Whether a restored reader reads again what came after its position (E1).
    fn is_replayable(&self) -> bool;

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;

    /// Whether its [`SourceSignal::Tick`]s are the job's processing-time clock, which starts at 0. Where one
    /// source of a job is so, all must be.
    fn drives_clock(&self) -> bool {
        false
    }
}

/// Reads in one subtask. Calls come from its task, one after another.
pub trait SourceReader: Send {
    /// Appends rows until there are none at hand, `rows_max` is reached or some 64 KiB are filled. Must
    /// not wait: where nothing is at hand it says when to ask again.
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError>;

    /// Which splits it reads, for watermarks of each (T4): appends what has changed since the last call. Asked
    /// once after the reader was made and after every poll. Rows of a split carry its number as their port; one
    /// that ends has given all its rows. A reader that never says anything has one split, number 0.
    fn split_changes(&mut self, out: &mut Vec<SplitChange>) {
        let _ = out;
    }

    /// The position after the last row given, as elements to be redistributed. Every element that
    /// belongs to this subtask, also those of splits already read to their end.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError>;

    /// A checkpoint is complete.
    fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        let _ = checkpoint;
        Ok(())
    }
}

/// A change of the splits of a reader. Numbers are the reader's own and mean nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitChange {
    /// It is read from now on; the last poll may hold rows of it.
    Added(u16),
    /// It has come to its end with the last poll.
    Finished(u16),
}

/// What a reader says after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// There is more at hand.
    More,
    /// Nothing now; ask again at this processing time.
    WaitUntil(Timestamp),
    /// After the rows of this poll comes this, and then there may be more at hand.
    Then(SourceSignal),
    /// As [`SourceStatus::Then`], of the splits that the reader has named: the source says what follows for all.
    ThenOfSplits(SplitSignal),
    /// Nothing will come any more.
    Finished,
    /// As [`SourceStatus::Finished`], but event time does not go to its end: what still waits for a watermark
    /// is not fired, as where a job is stopped without being drained.
    Stopped,
}

/// What a reader says of its splits between their rows; ignored where the job gives the source a strategy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitSignal {
    /// Of one split.
    Time {
        /// The reader's number of it.
        split: u16,
        /// What it says.
        signal: TimeSignal,
        /// Whether it counts at once, or with the next [`SplitSignal::Combine`].
        is_immediate: bool,
    },
    /// What the splits have said until now counts.
    Combine,
}

/// What a source says between its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceSignal {
    /// A watermark that is not later than the last is ignored, and so are all where the job gives the source a
    /// strategy of its own.
    Time(TimeSignal),
    /// A step of the job's clock: see [`Source::drives_clock`].
    Tick(Tick),
}
