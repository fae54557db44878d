//! Evictor.

use super::{Elements, Window};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{KIND_EVICT_AFTER, KIND_EVICT_BEFORE};
use crate::function::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::record::{Format, Input, Record};

/// Decides which elements a firing leaves out. What it removes is gone for good, also what it removes before the
/// window function runs. It answers the numbers of the elements to remove, from 0.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// The window function never sees empty lines.
/// #[derive(Default)]
/// struct NotEmpty;
///
/// impl Evictor for NotEmpty {
///     type In = str;
///
///     fn evict_before(
///         &mut self,
///         _: Window,
///         lines: Elements<str>,
///         _: &mut Context<()>,
///     ) -> Result<Vec<u32>> {
///         let numbers = (0..).zip(lines.iter());
///         Ok(numbers.filter(|(_, line)| line.value.is_empty()).map(|(n, _)| n).collect())
///     }
/// }
/// ```
pub trait Evictor: Default + 'static {
    /// The elements.
    type In: Input + ?Sized;

    lifecycle!();

    /// Before the window function runs.
    fn evict_before(
        &mut self,
        _window: Window,
        _elements: Elements<'_, Self::In>,
        _ctx: &mut Context<'_, ()>,
    ) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }

    /// After it has run.
    fn evict_after(
        &mut self,
        _window: Window,
        _elements: Elements<'_, Self::In>,
        _ctx: &mut Context<'_, ()>,
    ) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }
}

/// Runs an [`Evictor`].
#[derive(Default)]
pub(crate) struct EvictorRunner<F> {
    function: F,
}

impl<F: Evictor> Runner for EvictorRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("evictor", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive::<()>(call, |ctx, row| {
            let window = ctx.call.window()?;
            let removed = match row.kind {
                KIND_EVICT_BEFORE => self
                    .function
                    .evict_before(window, Elements::parse(row.value)?, ctx)?,
                KIND_EVICT_AFTER => self
                    .function
                    .evict_after(window, Elements::parse(row.value)?, ctx)?,
                kind => {
                    unknown.get_or_insert(kind);
                    return Ok(());
                }
            };
            ctx.call.emit(0, None, false, |out| {
                for number in &removed {
                    out.bytes(&number.to_le_bytes());
                }
                Ok(())
            });
            Ok(())
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(Evictor);
}
