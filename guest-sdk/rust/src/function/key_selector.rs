//! KeySelector.

use super::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::record::{Emit, Format, Input, Record};

/// The key of a record: the same record must always give the same key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct FirstColumn;
///
/// impl KeySelector for FirstColumn {
///     type In = str;
///
///     fn get_key(&mut self, line: &str) -> Result<impl Emit<[u8]>> {
///         Ok(line.split(',').next().unwrap_or_default())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::key_selector::<FirstColumn>("first"));
/// # t.element("", "a,b").unwrap();
/// # assert_eq!(t.take_output(), ["a"]);
/// ```
pub trait KeySelector: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;

    lifecycle!();

    /// The key's bytes.
    fn get_key(&mut self, value: &Self::In) -> Result<impl Emit<[u8]>>;
}

/// Runs a [`KeySelector`].
#[derive(Default)]
pub(crate) struct KeySelectorRunner<F> {
    function: F,
}

impl<F: KeySelector> Runner for KeySelectorRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("key-selector", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        drive_elements::<[u8]>(call, |ctx, value| {
            F::In::with(value, |value| {
                ctx.emit(self.function.get_key(value)?);
                Ok(())
            })
        })
    }

    runner_lifecycle!(KeySelector);
}
