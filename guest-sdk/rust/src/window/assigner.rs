//! WindowAssigner.

use super::Window;
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::function::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::record::{Format, Input, Record};

/// Says which windows an element belongs to. Where `declare` says [`merges`](Declare::merges), windows of a key that
/// meet become one, as sessions do.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// A window of as many ms as the record says.
/// #[derive(Default)]
/// struct AsLongAsItSays;
///
/// impl WindowAssigner for AsLongAsItSays {
///     type In = str;
///
///     fn assign_windows(
///         &mut self,
///         record: &str,
///         ctx: &mut Context<()>,
///         windows: &mut Vec<Window>,
///     ) -> Result<()> {
///         let start = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
///         windows.push(Window::Time { start, end: start + record.parse::<i64>()? });
///         Ok(())
///     }
/// }
/// ```
pub trait WindowAssigner: Default + 'static {
    /// The elements.
    type In: Input + ?Sized;

    lifecycle!();

    /// Appends the windows, in the order in which they are served; `windows` is empty.
    fn assign_windows(
        &mut self,
        element: &Self::In,
        ctx: &mut Context<'_, ()>,
        windows: &mut Vec<Window>,
    ) -> Result<()>;
}

/// Runs a [`WindowAssigner`].
#[derive(Default)]
pub(crate) struct WindowAssignerRunner<F> {
    function: F,
    windows: Vec<Window>,
}

impl<F: WindowAssigner> Runner for WindowAssignerRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("window-assigner", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let Self { function, windows } = self;
        drive_elements::<()>(call, |ctx, value| {
            windows.clear();
            F::In::with(value, |value| function.assign_windows(value, ctx, windows))?;
            ctx.call.emit(0, None, false, |out| {
                for window in &*windows {
                    let (start, end) = window.bounds();
                    out.bytes(&start.to_le_bytes());
                    out.bytes(&end.to_le_bytes());
                }
                Ok(())
            });
            Ok(())
        })
    }

    runner_lifecycle!(WindowAssigner);
}
