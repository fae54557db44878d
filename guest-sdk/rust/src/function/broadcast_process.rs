//! BroadcastProcessFunction and KeyedBroadcastProcessFunction.

use super::{Runner, Timer, drive_rows_and_timers, lifecycle, runner_lifecycle};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Input, Record};

/// A keyed stream and one that is broadcast: every subtask is given all records of the latter, which alone may write
/// [`BroadcastState`](crate::BroadcastState).
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Lets payments pass that are within the limit of their currency; counts them by key.
/// #[derive(Default)]
/// struct Within {
///     limits: BroadcastState<String, u64>,
///     passed: ValueState<u64>,
/// }
///
/// impl KeyedBroadcastProcessFunction for Within {
///     type In = str;
///     type Broadcast = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.limits = d.broadcast_state("limits");
///         self.passed = d.value_state("passed");
///     }
///
///     fn process_element(&mut self, payment: &str, ctx: &mut Context<str>) -> Result<()> {
///         let (amount, currency) = payment.split_once(' ').ok_or_else(|| Error::bad_record("no currency"))?;
///         if Some(amount.parse()?) <= self.limits.get(ctx, &currency.to_owned())? {
///             let passed = self.passed.value(ctx)?.unwrap_or(0) + 1;
///             self.passed.update(ctx, &passed)?;
///             ctx.emit(payment);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast_element(&mut self, limit: &str, ctx: &mut Context<str>) -> Result<()> {
///         let (amount, currency) = limit.split_once(' ').ok_or_else(|| Error::bad_record("no currency"))?;
///         self.limits.put(ctx, &currency.to_owned(), &amount.parse()?)?;
///         let passed = &self.passed;
///         ctx.apply_to_keyed_state(passed, |_, ctx| passed.clear(ctx))
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::keyed_broadcast_process::<Within>("within"));
/// # t.element("a", "5 EUR").unwrap();
/// # t.element2("", "10 EUR").unwrap();
/// # t.element("a", "6 EUR").unwrap();
/// # assert_eq!(t.take_output(), ["6 EUR"]);
/// # assert_eq!(t.value("a", "passed"), Some(1_u64.to_le_bytes().to_vec()));
/// # t.element2("", "10 USD").unwrap();
/// # assert_eq!(t.value("a", "passed"), None);
/// ```
pub trait KeyedBroadcastProcessFunction: Default + 'static {
    /// The records of the keyed input.
    type In: Input + ?Sized;
    /// The records of the broadcast input.
    type Broadcast: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each record of the keyed input.
    fn process_element(&mut self, value: &Self::In, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Called with each record of the broadcast input, in every subtask and in the same order. It must write broadcast
    /// state alike everywhere: from the record and broadcast state alone.
    fn process_broadcast_element(
        &mut self,
        value: &Self::Broadcast,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;

    /// Called with each timer that fires, in the order of their times.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }
}

/// As [`KeyedBroadcastProcessFunction`], of a stream that is not keyed: without keyed state and timers.
pub trait BroadcastProcessFunction: Default + 'static {
    /// The records of the first input.
    type In: Input + ?Sized;
    /// The records of the broadcast input.
    type Broadcast: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each record of the first input.
    fn process_element(&mut self, value: &Self::In, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Called with each record of the broadcast input; as in [`KeyedBroadcastProcessFunction`].
    fn process_broadcast_element(
        &mut self,
        value: &Self::Broadcast,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;
}

/// Runs a [`KeyedBroadcastProcessFunction`].
#[derive(Default)]
pub(crate) struct KeyedBroadcastRunner<F> {
    function: F,
}

/// Runs a [`BroadcastProcessFunction`].
#[derive(Default)]
pub(crate) struct BroadcastRunner<F> {
    function: F,
}

impl<F: KeyedBroadcastProcessFunction> Runner for KeyedBroadcastRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("process", F::In::FORMAT, F::Out::FORMAT)
            .with_second_input(F::Broadcast::FORMAT)
            .with_broadcast_states();
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let function = &mut self.function;
        drive_rows_and_timers(call, |ctx, row, timer| match (timer, row.port) {
            (Some(timer), _) => function.on_timer(timer, ctx),
            (None, 0) => F::In::with(row.value, |value| function.process_element(value, ctx)),
            (None, _) => {
                F::Broadcast::with(row.value, |value| function.process_broadcast_element(value, ctx))
            }
        })
    }

    runner_lifecycle!(KeyedBroadcastProcessFunction);
}

impl<F: BroadcastProcessFunction> Runner for BroadcastRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("flat-map", F::In::FORMAT, F::Out::FORMAT)
            .with_second_input(F::Broadcast::FORMAT)
            .with_broadcast_states();
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let function = &mut self.function;
        super::drive_two_inputs(call, |ctx, row| match row.port {
            0 => F::In::with(row.value, |value| function.process_element(value, ctx)),
            _ => F::Broadcast::with(row.value, |value| function.process_broadcast_element(value, ctx)),
        })
    }

    runner_lifecycle!(BroadcastProcessFunction);
}
