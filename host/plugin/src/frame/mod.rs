//! The bytes of a call in the frame family: `docs/frame.md`, the host's side.
//!
//! Invariant: what goes out is built from checked batches and cannot be malformed; what comes back is
//! untrusted and is validated as a whole before any of it is used.

pub mod answer;
pub mod apply;
pub mod cursor;
pub mod encode;
pub(crate) mod exports;
pub mod host_call;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod writes;

/// Version of frames and answers.
pub const VERSION: u8 = 1;

/// Length of a frame's header up to its directory.
pub const FRAME_HEADER_LEN: usize = 40;
/// Length of an answer's header up to its directory.
pub const ANSWER_HEADER_LEN: usize = 16;
/// Length of one entry of a directory.
pub const DIRECTORY_ENTRY_LEN: usize = 12;
/// Marks a section that a reader may skip.
pub const OPTIONAL_SECTION: u32 = 1 << 31;

/// The rows.
pub const SECTION_ROWS: u32 = 1;
/// Distinct keys.
pub const SECTION_KEYS: u32 = 2;
/// Distinct namespaces.
pub const SECTION_NAMESPACES: u32 = 3;
/// Values of prefetched states.
pub const SECTION_STATE: u32 = 4;
/// The (key, namespace) of each entry of STATE.
pub const SECTION_PAIRS: u32 = 5;
/// Rows of the main output.
pub const SECTION_OUTPUT: u32 = 16;
/// Rows of side outputs.
pub const SECTION_SIDE: u32 = 17;
/// What happened to prefetched state.
pub const SECTION_STATE_WRITES: u32 = 18;
/// Timers registered and deleted.
pub const SECTION_TIMERS: u32 = 19;
/// Writes to states that do not travel.
pub const SECTION_WRITES: u32 = 20;
/// Why the call failed.
pub const SECTION_ERROR: u32 = 21;
/// Asynchronous requests.
pub const SECTION_REQUESTS: u32 = 22;
/// Metrics.
pub const SECTION_METRICS: u32 = 23;

/// The name of an answer's section as in `docs/frame.md`.
pub fn section_name(tag: u32) -> &'static str {
    match tag {
        SECTION_OUTPUT => "OUTPUT",
        SECTION_SIDE => "SIDE",
        SECTION_STATE_WRITES => "STATE",
        SECTION_TIMERS => "TIMERS",
        SECTION_WRITES => "WRITES",
        SECTION_ERROR => "ERROR",
        SECTION_REQUESTS => "REQUESTS",
        SECTION_METRICS => "METRICS",
        _ => "unknown",
    }
}
