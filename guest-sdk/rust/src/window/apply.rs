//! WindowFunction.

use super::{Elements, ProcessWindowFunction, Window};
use crate::Context;
use crate::declare::Declare;
use crate::error::Result;
use crate::function::{lifecycle, runner_lifecycle};
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

/// The same as a process window function: that is what runs it.
#[derive(Default)]
pub(crate) struct Applied<F> {
    function: F,
}

impl<F: WindowFunction> ProcessWindowFunction for Applied<F> {
    type In = F::In;
    type Out = F::Out;

    fn declare(&mut self, d: &mut Declare) {
        self.function.declare(d);
    }

    fn process(
        &mut self,
        window: Window,
        elements: Elements<'_, F::In>,
        ctx: &mut Context<'_, F::Out>,
    ) -> Result<()> {
        self.function.apply(window, elements, ctx)
    }

    runner_lifecycle!(WindowFunction);
}
