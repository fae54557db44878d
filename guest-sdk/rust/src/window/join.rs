//! JoinFunction and CoGroupFunction.

use super::{Elements, Window};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::{Error, Result};
use crate::frame::{KIND_CLEAR, KIND_CO_GROUP, KIND_WINDOW_PAIR, read_u32};
use crate::function::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::record::{Input, Record};

/// Is given the pairs of a window join: any number of results, state of the key, side outputs; no timers. Flink's
/// `FlatJoinFunction`.
///
/// Pairs come by their left element, then by their right one, each in order of arrival. What is emitted has the window's
/// last timestamp, unless it is given another.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// An order with its payment.
/// #[derive(Default)]
/// struct Paid;
///
/// impl JoinFunction for Paid {
///     type Left = str;
///     type Right = str;
///     type Out = str;
///
///     fn join(&mut self, _: Window, order: &str, payment: &str, ctx: &mut Context<str>) -> Result<()> {
///         ctx.emit((order, ',', payment));
///         Ok(())
///     }
/// }
/// ```
pub trait JoinFunction: Default + 'static {
    /// The records of the first input.
    type Left: Input + ?Sized;
    /// The records of the second input.
    type Right: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each pair.
    fn join(
        &mut self,
        window: Window,
        left: &Self::Left,
        right: &Self::Right,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;
}

/// Is given all that a window has of two streams: any number of results, state of the key, side outputs; no timers.
///
/// What is emitted has the window's last timestamp, unless it is given another.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Orders without a payment.
/// #[derive(Default)]
/// struct Unpaid;
///
/// impl CoGroupFunction for Unpaid {
///     type Left = str;
///     type Right = str;
///     type Out = str;
///
///     fn co_group(
///         &mut self,
///         _: Window,
///         orders: Elements<str>,
///         payments: Elements<str>,
///         ctx: &mut Context<str>,
///     ) -> Result<()> {
///         if payments.is_empty() {
///             orders.try_for_each(|order| {
///                 ctx.emit(order);
///                 Ok(())
///             })?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait CoGroupFunction: Default + 'static {
    /// The records of the first input.
    type Left: Input + ?Sized;
    /// The records of the second input.
    type Right: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called when the window fires; more than once where its trigger says so, or for late elements. One side may be
    /// empty.
    fn co_group(
        &mut self,
        window: Window,
        left: Elements<'_, Self::Left>,
        right: Elements<'_, Self::Right>,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;
}

/// Runs a [`JoinFunction`].
#[derive(Default)]
pub(crate) struct JoinRunner<F> {
    function: F,
}

impl<F: JoinFunction> Runner for JoinRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("join", F::Left::FORMAT, F::Out::FORMAT);
        d.second_input_format(F::Right::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| {
            if row.kind != KIND_WINDOW_PAIR {
                unknown.get_or_insert(row.kind);
                return Ok(());
            }
            let window = ctx.call.window()?;
            let mut pair = Elements::<[u8]>::pair(row.value).iter();
            let (Some(left), Some(right)) = (pair.next(), pair.next()) else {
                return Err(Error::failed("the frame has half a pair"));
            };
            F::Left::with(left.value, |left| {
                F::Right::with(right.value, |right| self.function.join(window, left, right, ctx))
            })
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(JoinFunction);
}

/// Runs a [`CoGroupFunction`].
#[derive(Default)]
pub(crate) struct CoGroupRunner<F> {
    function: F,
}

impl<F: CoGroupFunction> Runner for CoGroupRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("co-group", F::Left::FORMAT, F::Out::FORMAT);
        d.second_input_format(F::Right::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| match row.kind {
            KIND_CO_GROUP => {
                let window = ctx.call.window()?;
                let (left, right) = sides(row.value).ok_or_else(|| {
                    Error::failed("the frame does not say which elements are of which side")
                })?;
                let (left, right) = (Elements::parse(left)?, Elements::parse(right)?);
                self.function.co_group(window, left, right, ctx)
            }
            // That the window is gone is nothing to a function without state of the window.
            KIND_CLEAR => Ok(()),
            kind => {
                unknown.get_or_insert(kind);
                Ok(())
            }
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(CoGroupFunction);
}

/// The bytes of both sides' elements.
fn sides(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = value.split_first_chunk::<4>()?;
    rest.split_at_checked(read_u32(value, 0) as usize)
}
