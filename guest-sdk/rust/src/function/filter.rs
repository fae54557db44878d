//! FilterFunction.

use super::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// Keeps the records for which it answers true: they pass as they are, with key and headers.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct NotEmpty;
///
/// impl FilterFunction for NotEmpty {
///     type In = str;
///
///     fn filter(&mut self, line: &str) -> Result<bool> {
///         Ok(!line.trim().is_empty())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::filter::<NotEmpty>("not-empty"));
/// # for line in ["a", " "] { t.element("", line).unwrap(); }
/// # assert_eq!(t.take_output(), ["a"]);
/// ```
pub trait FilterFunction: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;

    lifecycle!();

    /// Whether the record is kept.
    fn filter(&mut self, value: &Self::In) -> Result<bool>;
}

/// Runs a [`FilterFunction`].
#[derive(Default)]
pub(crate) struct FilterRunner<F> {
    function: F,
}

impl<F: FilterFunction> Runner for FilterRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("filter", F::In::FORMAT, F::In::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        drive_elements::<[u8]>(call, |ctx, value| {
            // An empty row stands for the record, which never left the host.
            if F::In::with(value, |value| self.function.filter(value))? {
                ctx.emit_with(|_| {});
            }
            Ok(())
        })
    }

    runner_lifecycle!(FilterFunction);
}
