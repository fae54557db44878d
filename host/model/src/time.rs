//! Event time and processing time, in milliseconds since the epoch.

/// A point in time in milliseconds since the epoch; negative before 1970.
pub type Timestamp = i64;

/// The watermark before the first one: nothing is known.
pub const WATERMARK_NONE: Timestamp = i64::MIN;

/// The watermark at the end of input: nothing more will come.
pub const WATERMARK_END: Timestamp = i64::MAX;
