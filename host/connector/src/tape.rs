//! Tapes: a job whose input says everything that happens, in one order, so that it always answers the same.
//!
//! A tape is a file of JSON objects, one a line, counted from 0:
//!
//! | line | what happens |
//! |---|---|
//! | `{"ts","key",…}` | a record with event time `ts`, ms; it holds the other fields and the line's number as `n` |
//! | `{"watermark"}` | a watermark, ms; one that is not later than the last is ignored |
//! | `{"status":"idle"}`, `"active"` | the input takes no part in the minimum of watermarks, or takes part again |
//! | `{"processing-time"}` | the job's processing time, ms; it starts at 0 and moves by nothing else |
//!
//! `input` (1 where it is missing) says whose line it is, where a tape has several inputs: a source for each, which
//! read the same file. Whatever operators and channels lie between, a subtask takes the lines in the tape's order: the
//! sources send every line's number as a step ([`Tick`](wasmill_model::element::Tick)) to all.
//!
//! The sink writes what arrives as lines of JSON, each with the line of the tape that caused it as `at`: by the cause
//! that a record carries ([`wasmill_model::row::cause`]), or by the step under way.
//!
//! Invariant: what the sink writes for one subtask depends on the tape and the job alone, not on where batches are
//! cut or which task was faster.
//!
//! NOTE: a job with several tapes takes its checkpoints where all of them stand still (`hold-at`): anywhere else a
//! barrier of one may wait for a step of another until the checkpoint times out.

mod line;
mod sink;
mod source;

pub use sink::sink;
pub use source::source;
