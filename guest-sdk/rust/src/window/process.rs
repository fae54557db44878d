//! ProcessWindowFunction.

use super::{Elements, Window};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{KIND_CLEAR, KIND_FIRE};
use crate::function::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::record::{Input, Record};

/// Computes over all elements of a window when it fires, or over the one result of the reduce or aggregate function
/// before it.
///
/// What it emits carries the window's last timestamp. States declared [`per_window`](crate::StateOptions::per_window)
/// belong to key and window, the others to the key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// The average of a window's numbers, with its end.
/// #[derive(Default)]
/// struct Average;
///
/// impl ProcessWindowFunction for Average {
///     type In = str;
///     type Out = str;
///
///     fn process(
///         &mut self,
///         window: Window,
///         numbers: Elements<str>,
///         ctx: &mut Context<str>,
///     ) -> Result<()> {
///         let mut sum = 0.0;
///         numbers.try_for_each(|number| {
///             sum += number.parse::<f64>()?;
///             Ok(())
///         })?;
///         let average = sum / numbers.len() as f64;
///         ctx.emit(format!("{},{average:.1}", window.max_timestamp() + 1));
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessWindowFunction: Default + 'static {
    /// The elements.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called when the window fires; more than once where its trigger says so, or for late elements.
    fn process(
        &mut self,
        window: Window,
        elements: Elements<'_, Self::In>,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;

    /// Called when the window is gone: clears states that are per window.
    fn clear(&mut self, _window: Window, _ctx: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }
}

/// Runs a [`ProcessWindowFunction`].
#[derive(Default)]
pub(crate) struct WindowRunner<F> {
    function: F,
}

impl<F: ProcessWindowFunction> Runner for WindowRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("window", F::In::FORMAT, F::Out::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| {
            let window = ctx.call.window()?;
            match row.kind {
                KIND_FIRE => self.function.process(window, Elements::parse(row.value)?, ctx),
                KIND_CLEAR => self.function.clear(window, ctx),
                kind => {
                    unknown.get_or_insert(kind);
                    Ok(())
                }
            }
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(ProcessWindowFunction);
}
