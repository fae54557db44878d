//! The bytes of `docs/frame.md`: reading a frame and writing an answer.
//!
//! Invariant: nothing in a frame is trusted. Every length is checked before it is used, and a frame
//! that does not hold what it says is an error of the call, never a panic.

mod answer;
mod reader;
mod row;

pub(crate) use answer::{Section, finish_answer, output_len, start_answer, take_output, write_error_answer};
pub(crate) use reader::{Frame, NONE, read_u32};
pub(crate) use row::{
    FLAG_NULL, FLAG_TIMESTAMP, KIND_ADD, KIND_CLEAR, KIND_CO_GROUP, KIND_COMPLETION, KIND_ELEMENT,
    KIND_EVENT_TIMER, KIND_EVICT_AFTER, KIND_EVICT_BEFORE, KIND_FIRE, KIND_MERGE, KIND_PAIR, KIND_PERIODIC,
    KIND_PROCESSING_TIMER, KIND_PURGE, KIND_RESULT, KIND_TIMEOUT, KIND_TRIGGER_CLEAR, KIND_TRIGGER_ELEMENT,
    KIND_TRIGGER_EVENT_TIME, KIND_TRIGGER_MERGE, KIND_TRIGGER_PROCESSING_TIME, KIND_WINDOW_PAIR, Row,
    finish_emission, start_emission,
};

#[cfg(test)]
mod tests;
