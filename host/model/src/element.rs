//! What flows in a channel, in order with the records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::id::CheckpointId;
use crate::time::{TimeSignal, Timestamp};

/// One item of a channel. Items are immutable and cheap to clone, so a barrier may overtake them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamElement {
    /// Records.
    Batch(Batch),
    /// No record with a timestamp at or before this one will come. Never goes back in a channel.
    Watermark(Timestamp),
    /// The channel takes no part in the minimum of watermarks until it is active again.
    Idle,
    /// The channel takes part again.
    Active,
    /// Records before it belong to the checkpoint, records after it do not.
    Barrier(Arc<Barrier>),
    /// A step of the input that drives the job's clock: what follows is caused by it.
    Tick(Tick),
    /// No more records will come; barriers still do.
    End,
}

/// A step of an input that drives the job, such as a line of a tape: every task takes the steps in the
/// same order, whatever the channels between them. Sources of one job all send the same steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Counts the steps; never goes back.
    pub step: u64,
    /// The line of the input that what follows is caused by.
    pub line: u64,
    /// The job's processing time from here on, ms.
    pub processing_time: Timestamp,
    /// Whether the clock has moved to it with this step: what is due by it happens now.
    pub moves_clock: bool,
}

impl From<TimeSignal> for StreamElement {
    fn from(signal: TimeSignal) -> Self {
        match signal {
            TimeSignal::Watermark(watermark) => Self::Watermark(watermark),
            TimeSignal::Idle => Self::Idle,
            TimeSignal::Active => Self::Active,
        }
    }
}

/// Cuts the stream for one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// What is to be taken.
    pub kind: SnapshotKind,
    /// When the coordinator triggered it, ms since the epoch.
    pub triggered_at: Timestamp,
    /// From when on, ms since the epoch, it overtakes the records before it, which are then part of the checkpoint (C3);
    /// `None`: never.
    pub overtakes_at: Option<Timestamp>,
    /// How keyed state is written.
    pub format: StateFormat,
}

impl Barrier {
    /// Whether it overtakes the records before it now.
    pub fn overtakes(&self, now: Timestamp) -> bool {
        self.overtakes_at.is_some_and(|at| at <= now)
    }
}

/// How a snapshot holds keyed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFormat {
    /// In the format that every backend reads.
    #[default]
    Canonical,
    /// As the backend keeps it, where it can, with all its files in the snapshot's own directory (C7).
    Native,
    /// As the backend keeps it, where it can (S7): what `base` holds already is named again and not written again.
    Incremental {
        /// A completed checkpoint whose files stay until this one has ended; `None`: everything is written.
        base: Option<CheckpointId>,
    },
}

/// How a savepoint holds keyed state (Flink's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SavepointFormat {
    /// In the format that every backend reads.
    #[default]
    Canonical,
    /// In the files of the job's backend: quick to write and to restore where they are large. All backends read it.
    Native,
}

impl From<SavepointFormat> for StateFormat {
    fn from(format: SavepointFormat) -> Self {
        match format {
            SavepointFormat::Canonical => Self::Canonical,
            SavepointFormat::Native => Self::Native,
        }
    }
}

/// What a barrier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotKind {
    /// A periodic checkpoint, owned by the job.
    Checkpoint,
    /// A savepoint, owned by the user; the job goes on and sinks commit nothing for it.
    Savepoint,
    /// The last savepoint of a job that then stops: sources emit nothing after it, sinks commit.
    StopWithSavepoint,
}
