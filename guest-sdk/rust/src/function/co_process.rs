//! KeyedCoProcessFunction.

use super::{Runner, Timer, drive_rows_and_timers, lifecycle, runner_lifecycle};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// Two streams under the same keys: state and timers of a key are shared by both.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Joins each payment with the order that came before it.
/// #[derive(Default)]
/// struct Paid {
///     order: ValueState<String>,
/// }
///
/// impl KeyedCoProcessFunction for Paid {
///     type In1 = str;
///     type In2 = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.order = d.value_state("order");
///     }
///
///     fn process_element1(&mut self, order: &str, ctx: &mut Context<str>) -> Result<()> {
///         self.order.update(ctx, &order.to_owned())
///     }
///
///     fn process_element2(&mut self, payment: &str, ctx: &mut Context<str>) -> Result<()> {
///         if let Some(order) = self.order.value(ctx)? {
///             ctx.emit((&order[..], '=', payment));
///             self.order.clear(ctx)?;
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::keyed_co_process::<Paid>("paid"));
/// # t.element("a", "tea").unwrap();
/// # t.element2("b", "3").unwrap();
/// # t.element2("a", "2").unwrap();
/// # assert_eq!(t.take_output(), ["tea=2"]);
/// ```
pub trait KeyedCoProcessFunction: Default + 'static {
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

    /// Called with each timer that fires, in the order of their times. The clock is the lower of the two inputs'.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }
}

/// Runs a [`KeyedCoProcessFunction`].
#[derive(Default)]
pub(crate) struct KeyedCoProcessRunner<F> {
    function: F,
}

impl<F: KeyedCoProcessFunction> Runner for KeyedCoProcessRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("process", F::In1::FORMAT, F::Out::FORMAT).with_second_input(F::In2::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let function = &mut self.function;
        drive_rows_and_timers(call, |ctx, row, timer| match (timer, row.port) {
            (Some(timer), _) => function.on_timer(timer, ctx),
            (None, 0) => F::In1::with(row.value, |value| function.process_element1(value, ctx)),
            (None, _) => F::In2::with(row.value, |value| function.process_element2(value, ctx)),
        })
    }

    runner_lifecycle!(KeyedCoProcessFunction);
}
