//! Cases of the Flink oracle run through the real host: `tests/oracle/README.md` says what they are.
//!
//! A case names operators and their parameters, an input and Flink's answers. [`job`] makes a job file of it, the host
//! runs that, [`compare`] sorts what came out by the fields that the case promises an order of and compares bytes.
//!
//! Invariant: nothing here knows what an operator does: names are mapped and files are read and written. (Where Flink has a
//! fault that is not to be copied, `model` says what is right instead.)

pub mod case;
pub mod compare;
pub mod flink;
pub mod job;
mod model;
pub mod run;

pub use case::Case;
pub use run::{Backend, Family, Outcome, Runner, Scope};
