//! CoFlatMapFunction and CoProcessFunction: two inputs, no key.

use super::{Runner, drive_two_inputs, lifecycle, runner_lifecycle};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// One record of either of two streams in, any number out.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Words of lines, and words as they are.
/// #[derive(Default)]
/// struct Words;
///
/// impl CoFlatMapFunction for Words {
///     type In1 = str;
///     type In2 = str;
///     type Out = str;
///
///     fn flat_map1(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
///         line.split_whitespace().for_each(|word| ctx.emit(word));
///         Ok(())
///     }
///
///     fn flat_map2(&mut self, word: &str, ctx: &mut Context<str>) -> Result<()> {
///         ctx.emit(word);
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::co_flat_map::<Words>("words"));
/// # t.element("", "to be").unwrap();
/// # t.element2("", "or not").unwrap();
/// # assert_eq!(t.take_output(), ["to", "be", "or not"]);
/// ```
pub trait CoFlatMapFunction: Default + 'static {
    /// The records of the first input.
    type In1: Input + ?Sized;
    /// The records of the second input.
    type In2: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Emits the results for a record of the first input.
    fn flat_map1(&mut self, value: &Self::In1, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Emits the results for a record of the second input.
    fn flat_map2(&mut self, value: &Self::In2, ctx: &mut Context<'_, Self::Out>) -> Result<()>;
}

/// Two streams without a key: any number of results and side outputs, with the time at hand. For state of a key and
/// timers see [`KeyedCoProcessFunction`](crate::KeyedCoProcessFunction).
pub trait CoProcessFunction: Default + 'static {
    /// The records of the first input.
    type In1: Input + ?Sized;
    /// The records of the second input.
    type In2: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each record of the first input.
    fn process_element1(&mut self, value: &Self::In1, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Called with each record of the second input.
    fn process_element2(&mut self, value: &Self::In2, ctx: &mut Context<'_, Self::Out>) -> Result<()>;
}

/// Runs a [`CoFlatMapFunction`].
#[derive(Default)]
pub(crate) struct CoFlatMapRunner<F> {
    function: F,
}

/// Runs a [`CoProcessFunction`]: what has no key and no timers is a flat-map to the host.
#[derive(Default)]
pub(crate) struct CoProcessRunner<F> {
    function: F,
}

macro_rules! runner {
    ($runner:ident, $trait:ident, $first:ident, $second:ident) => {
        impl<F: $trait> Runner for $runner<F> {
            fn declare(&mut self) -> Declare {
                let mut d = Declare::new("flat-map", F::In1::FORMAT, F::Out::FORMAT)
                    .with_second_input(F::In2::FORMAT);
                self.function.declare(&mut d);
                d
            }

            fn call(&mut self, call: Call<'_>) -> Result<(), String> {
                let function = &mut self.function;
                drive_two_inputs(call, |ctx, row| match row.port {
                    0 => F::In1::with(row.value, |value| function.$first(value, ctx)),
                    _ => F::In2::with(row.value, |value| function.$second(value, ctx)),
                })
            }

            runner_lifecycle!($trait);
        }
    };
}

runner!(CoFlatMapRunner, CoFlatMapFunction, flat_map1, flat_map2);
runner!(
    CoProcessRunner,
    CoProcessFunction,
    process_element1,
    process_element2
);
