//! WindowFunction.

use super::{Elements, Window};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{KIND_CLEAR, KIND_FIRE};
use crate::function::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::record::{Input, Record};

/// The older form of [`ProcessWindowFunction`](super::ProcessWindowFunction): what `apply` takes in Flink. It keeps
/// nothing per window, so there is nothing to clear.
///
/// To the host both are functions of kind `window`.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// All words of a window in one line.
/// #[derive(Default)]
/// struct Sentence;
///
/// impl WindowFunction for Sentence {
///     type In = str;
///     type Out = str;
///
///     fn apply(&mut self, _: Window, words: Elements<str>, ctx: &mut Context<str>) -> Result<()> {
///         let mut sentence = ctx.key_str()?.to_owned();
///         words.try_for_each(|word| {
///             sentence.push(' ');
///             sentence.push_str(word);
///             Ok(())
///         })?;
///         ctx.emit(sentence);
///         Ok(())
///     }
/// }
/// ```
pub trait WindowFunction: Default + 'static {
    /// The elements.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called when the window fires; more than once where its trigger says so, or for late elements.
    fn apply(
        &mut self,
        window: Window,
        elements: Elements<'_, Self::In>,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;
}

/// Runs a [`WindowFunction`].
#[derive(Default)]
pub(crate) struct ApplyRunner<F> {
    function: F,
}

impl<F: WindowFunction> Runner for ApplyRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("window", F::In::FORMAT, F::Out::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| match row.kind {
            KIND_FIRE => {
                let window = ctx.call.window()?;
                self.function.apply(window, Elements::parse(row.value)?, ctx)
            }
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

    runner_lifecycle!(WindowFunction);
}
