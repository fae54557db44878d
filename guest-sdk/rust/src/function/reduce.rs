//! ReduceFunction.

use super::{Runner, drive_elements, lifecycle, runner_lifecycle};
use crate::call::Call;
use crate::declare::{Declare, StateOptions};
use crate::error::Result;
use crate::record::{Emit, Format, Input, Record};
use crate::state::Slot;

/// Combines two records of one key into one of the same format.
///
/// The first record of a key is the accumulator and is emitted as it is; each later one is reduced
/// into it and the result emitted.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Sum;
///
/// impl ReduceFunction for Sum {
///     type Value = str;
///
///     fn reduce(&mut self, sum: &str, number: &str) -> Result<impl Emit<str>> {
///         Ok(sum.parse::<i64>()? + number.parse::<i64>()?)
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::reduce::<Sum>("sum"));
/// # for n in ["1", "2"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["1", "3"]);
/// ```
pub trait ReduceFunction: Default + 'static {
    /// The records that it reads and emits.
    type Value: Input + ?Sized;

    lifecycle!();

    /// The new accumulator.
    fn reduce(&mut self, accumulator: &Self::Value, value: &Self::Value) -> Result<impl Emit<Self::Value>>;
}

/// Runs a [`ReduceFunction`].
#[derive(Default)]
pub(crate) struct ReduceRunner<F> {
    function: F,
    accumulator: Vec<u8>,
}

impl<F: ReduceFunction> Runner for ReduceRunner<F> {
    fn declare(&mut self) -> Declare {
        let format = F::Value::FORMAT;
        let mut d = Declare::new("reduce", format, format);
        let encoding = match format {
            Format::Raw => "raw",
            Format::Json => "json",
            Format::Lines | Format::Csv => "utf8",
        };
        d.state("accumulator", "reducing", encoding, StateOptions::new());
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let slot = Slot {
            index: 0,
            name: "accumulator",
        };
        let Self {
            function,
            accumulator,
        } = self;
        drive_elements::<F::Value>(call, |ctx, value| {
            accumulator.clear();
            match ctx.call.value_bytes(slot)? {
                None => accumulator.extend_from_slice(value),
                Some(former) => F::Value::with(former, |former| {
                    F::Value::with(value, |value| {
                        let mut out = crate::record::Writer::new(accumulator);
                        function.reduce(former, value)?.write_to(&mut out)
                    })
                })?,
            }
            ctx.call.set_value_bytes(slot, accumulator)?;
            ctx.emit_with(|out| {
                out.bytes(accumulator);
            });
            Ok(())
        })
    }

    runner_lifecycle!(ReduceFunction);
}
