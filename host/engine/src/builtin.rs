//! Operators that the host runs itself: the native key-by, the rolling
//! aggregations, and the assignment of timestamps and watermarks (G6, G7, T3).

mod assign_timestamps;
pub(crate) mod field;
mod key_by;
mod rolling;

pub use assign_timestamps::AssignTimestampsOperator;
pub(crate) use field::json_field;
pub use field::{FieldError, KeyReader};
pub use key_by::KeyByOperator;
pub use rolling::RollingOperator;
pub(crate) use rolling::reduce_records;
