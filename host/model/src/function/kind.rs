//! The kinds of functions, and what goes for each.

use serde::{Deserialize, Serialize};

/// What a function does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FunctionKind {
    /// One in, one out.
    Map,
    /// One in, none or one out.
    Filter,
    /// One in, any number out.
    FlatMap,
    /// Computes the key of a record.
    KeySelector,
    /// Rolling reduce on a keyed stream.
    Reduce,
    /// Rolling aggregate on a keyed stream; also within windows.
    Aggregate,
    /// Keyed process function.
    Process,
    /// Computes over the elements of a window.
    Window,
    /// Decides when a window fires.
    Trigger,
    /// Decides which elements a firing leaves out.
    Evictor,
    /// Says which windows an element belongs to.
    WindowAssigner,
    /// Makes requests whose answers come later (G14).
    Async,
    /// Says the timestamps of records.
    TimestampAssigner,
    /// Makes watermarks of records and time.
    WatermarkGenerator,
    /// Chooses the channel that a record goes to.
    Partitioner,
    /// Is given the pairs of an interval join.
    ProcessJoin,
    /// Is given the pairs of a window join.
    Join,
    /// Is given the elements of two streams in a window.
    CoGroup,
}

impl FunctionKind {
    /// Whether the function is part of another operator or of an edge, and none by itself: what a job file calls such
    /// functions by.
    pub fn place(self) -> Option<&'static str> {
        match self {
            Self::KeySelector => Some("key-by: {function: NAME}"),
            Self::TimestampAssigner => Some("timestamp: {function: NAME}"),
            Self::WatermarkGenerator => Some("generator: {function: NAME}"),
            Self::Partitioner => Some("partition-custom: {function: NAME}"),
            _ => None,
        }
    }

    /// Whether it answers about records rather than with some.
    pub fn is_about_records(self) -> bool {
        matches!(
            self,
            Self::TimestampAssigner | Self::WatermarkGenerator | Self::Partitioner
        )
    }

    /// Whether the function only works on a keyed stream.
    pub fn needs_key(self) -> bool {
        matches!(
            self,
            Self::Reduce | Self::Aggregate | Self::Process | Self::ProcessJoin
        )
    }

    /// Whether it stands behind a join and is given elements of both its inputs, rather than records.
    pub fn is_joined(self) -> bool {
        matches!(self, Self::ProcessJoin | Self::Join | Self::CoGroup)
    }

    /// Whether the function may register timers.
    pub fn has_timers(self) -> bool {
        matches!(self, Self::Process | Self::Trigger)
    }

    /// Whether it is a part of a window and no operator of its own.
    pub fn is_of_windows(self) -> bool {
        matches!(
            self,
            Self::Window | Self::Trigger | Self::Evictor | Self::WindowAssigner | Self::Join | Self::CoGroup
        )
    }

    /// Whether it computes over the elements of a window: its state belongs to the key, whatever the window, but where
    /// it is declared otherwise.
    pub fn is_over_elements(self) -> bool {
        matches!(self, Self::Window | Self::Join | Self::CoGroup)
    }
}
