//! Operators that the host runs itself: the native key-by and the rolling aggregations (G6, G7).

mod field;
mod key_by;
mod rolling;

pub(crate) use field::json_field;
pub use field::{FieldError, KeyReader};
pub use key_by::KeyByOperator;
pub use rolling::RollingOperator;
pub(crate) use rolling::reduce_records;
