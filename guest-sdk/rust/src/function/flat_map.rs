//! FlatMapFunction.

use super::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// One record in, any number out.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Split;
///
/// impl FlatMapFunction for Split {
///     type In = str;
///     type Out = str;
///
///     fn flat_map(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
///         for word in line.split_whitespace() {
///             ctx.emit(word);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::flat_map::<Split>("split"));
/// # t.element("", "to be").unwrap();
/// # assert_eq!(t.take_output(), ["to", "be"]);
/// ```
pub trait FlatMapFunction: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Emits the results for one record through `ctx`.
    fn flat_map(&mut self, value: &Self::In, ctx: &mut Context<'_, Self::Out>) -> Result<()>;
}

/// Runs a [`FlatMapFunction`].
#[derive(Default)]
pub(crate) struct FlatMapRunner<F> {
    function: F,
}

impl<F: FlatMapFunction> Runner for FlatMapRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("flat-map", F::In::FORMAT, F::Out::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        drive_elements(call, |ctx, value| {
            F::In::with(value, |value| self.function.flat_map(value, ctx))
        })
    }

    runner_lifecycle!(FlatMapFunction);
}
