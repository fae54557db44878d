//! ReduceFunction.

use super::{Runner, drive_folds, lifecycle, merged, runner_lifecycle};
use crate::call::Call;
use crate::declare::{Declare, StateOptions};
use crate::error::Result;
use crate::frame::{KIND_ADD, KIND_MERGE, KIND_PURGE, KIND_RESULT, Row};
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

impl<F: ReduceFunction> ReduceRunner<F> {
    /// Puts into `out` what `former` and `value` make.
    fn fold(function: &mut F, former: Option<&[u8]>, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let Some(former) = former else {
            out.extend_from_slice(value);
            return Ok(());
        };
        F::Value::with(former, |former| {
            F::Value::with(value, |value| {
                let mut out = crate::record::Writer::new(out);
                function.reduce(former, value)?.write_to(&mut out)
            })
        })
    }

    /// The parts first, then their whole into what is there.
    fn merge<O: ?Sized>(
        function: &mut F,
        ctx: &mut crate::Context<'_, O>,
        slot: Slot,
        row: &Row<'_>,
    ) -> Result<()> {
        let (mut whole, mut out) = (None::<Vec<u8>>, Vec::new());
        for part in merged(row) {
            ctx.call.use_window(part);
            let Some(value) = ctx.call.value_bytes(slot)? else {
                continue;
            };
            Self::fold(function, whole.as_deref(), value, &mut out)?;
            ctx.call.clear_value(slot)?;
            whole = Some(std::mem::take(&mut out));
        }
        ctx.call.use_window(row.namespace);
        let Some(whole) = whole else { return Ok(()) };
        Self::fold(function, ctx.call.value_bytes(slot)?, &whole, &mut out)?;
        ctx.call.set_value_bytes(slot, &out)
    }
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
        drive_folds::<F::Value>(call, |ctx, row| {
            match row.kind {
                KIND_MERGE => return Self::merge(function, ctx, slot, &row),
                KIND_PURGE => return ctx.call.clear_value(slot),
                KIND_RESULT => {
                    accumulator.clear();
                    let Some(result) = ctx.call.value_bytes(slot)? else {
                        return Ok(());
                    };
                    accumulator.extend_from_slice(result);
                }
                _ => {
                    Self::fold(function, ctx.call.value_bytes(slot)?, row.value, accumulator)?;
                    ctx.call.set_value_bytes(slot, accumulator)?;
                }
            }
            if row.kind != KIND_ADD {
                ctx.emit_with(|out| {
                    out.bytes(accumulator);
                });
            }
            Ok(())
        })
    }

    runner_lifecycle!(ReduceFunction);
}
