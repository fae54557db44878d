//! MapFunction.

use super::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Emit, Input, Record};

/// One record in, one out.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Uppercase;
///
/// impl MapFunction for Uppercase {
///     type In = str;
///     type Out = str;
///
///     fn map(&mut self, line: &str) -> Result<impl Emit<str>> {
///         Ok(line.to_uppercase())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::map::<Uppercase>("uppercase"));
/// # t.element("", "a").unwrap();
/// # assert_eq!(t.take_output(), ["A"]);
/// ```
pub trait MapFunction: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// The result for one record. It may borrow from the record or from the function, so that nothing
    /// need be allocated.
    fn map(&mut self, value: &Self::In) -> Result<impl Emit<Self::Out>>;
}

/// Runs a [`MapFunction`].
#[derive(Default)]
pub(crate) struct MapRunner<F> {
    function: F,
}

impl<F: MapFunction> Runner for MapRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("map", F::In::FORMAT, F::Out::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        drive_elements::<F::Out>(call, |ctx, value| {
            F::In::with(value, |value| {
                ctx.emit(self.function.map(value)?);
                Ok(())
            })
        })
    }

    runner_lifecycle!(MapFunction);
}
