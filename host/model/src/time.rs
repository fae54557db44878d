//! Event time and processing time, in milliseconds since the epoch.

/// A point in time in milliseconds since the epoch; negative before 1970.
pub type Timestamp = i64;

/// The watermark before the first one: nothing is known.
pub const WATERMARK_NONE: Timestamp = i64::MIN;

/// The watermark at the end of input: nothing more will come.
pub const WATERMARK_END: Timestamp = i64::MAX;

/// What a stream says of its event time, in order with its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSignal {
    /// No record with a timestamp at or before this one will come.
    Watermark(Timestamp),
    /// The stream takes no part in the minimum of watermarks until it is active again.
    Idle,
    /// The stream takes part again.
    Active,
}
