//! CoMapFunction.

use super::{Runner, drive_two_inputs, lifecycle, runner_lifecycle};
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Emit, Input, Record};

/// One record of either of two streams in, one out.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Lines of text, and lengths, to one stream of lines.
/// #[derive(Default)]
/// struct Describe;
///
/// impl CoMapFunction for Describe {
///     type In1 = str;
///     type In2 = Json<u64>;
///     type Out = str;
///
///     fn map1(&mut self, line: &str) -> Result<impl Emit<str>> {
///         Ok(format!("the line {line}"))
///     }
///
///     fn map2(&mut self, length: &Json<u64>) -> Result<impl Emit<str>> {
///         Ok(format!("a length of {}", length.0))
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::co_map::<Describe>("describe"));
/// # t.element("", "a").unwrap();
/// # t.element2("", "7").unwrap();
/// # assert_eq!(t.take_output(), ["the line a", "a length of 7"]);
/// ```
pub trait CoMapFunction: Default + 'static {
    /// The records of the first input.
    type In1: Input + ?Sized;
    /// The records of the second input.
    type In2: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// The result for a record of the first input.
    fn map1(&mut self, value: &Self::In1) -> Result<impl Emit<Self::Out>>;

    /// The result for a record of the second input.
    fn map2(&mut self, value: &Self::In2) -> Result<impl Emit<Self::Out>>;
}

/// Runs a [`CoMapFunction`].
#[derive(Default)]
pub(crate) struct CoMapRunner<F> {
    function: F,
}

impl<F: CoMapFunction> Runner for CoMapRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("map", F::In1::FORMAT, F::Out::FORMAT).with_second_input(F::In2::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let function = &mut self.function;
        drive_two_inputs::<F::Out>(call, |ctx, row| match row.port {
            0 => F::In1::with(row.value, |value| {
                ctx.emit(function.map1(value)?);
                Ok(())
            }),
            _ => F::In2::with(row.value, |value| {
                ctx.emit(function.map2(value)?);
                Ok(())
            }),
        })
    }

    runner_lifecycle!(CoMapFunction);
}
