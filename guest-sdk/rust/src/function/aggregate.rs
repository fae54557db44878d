//! AggregateFunction.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Runner, drive_folds, lifecycle, merged, runner_lifecycle};
use crate::call::Call;
use crate::declare::{Declare, StateOptions};
use crate::error::Result;
use crate::frame::{KIND_ELEMENT, KIND_MERGE, KIND_PURGE, KIND_RESULT, Row};
use crate::record::{Emit, Input, Json, Record};
use crate::state::{Slot, codec};

/// Folds values of one key into an accumulator and makes results of it.
///
/// It is a function of a job, which emits the result after every record, where `In` is a record and
/// `Out` an [`OwnedRecord`]; and it is what an [`AggregatingState`](crate::AggregatingState) folds by,
/// with any types.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Average;
///
/// impl AggregateFunction for Average {
///     type In = str;
///     type Accumulator = (u64, i64);
///     type Out = String;
///
///     fn create_accumulator(&self) -> (u64, i64) {
///         (0, 0)
///     }
///
///     fn add(&self, number: &str, (count, sum): &mut (u64, i64)) -> Result<()> {
///         *count += 1;
///         *sum += number.parse::<i64>()?;
///         Ok(())
///     }
///
///     fn get_result(&self, (count, sum): &(u64, i64)) -> Result<String> {
///         Ok(format!("{:.1}", *sum as f64 / *count as f64))
///     }
///
///     fn merge(&self, a: (u64, i64), b: (u64, i64)) -> Result<(u64, i64)> {
///         Ok((a.0 + b.0, a.1 + b.1))
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::aggregate::<Average>("average"));
/// # for n in ["1", "2"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["1.0", "1.5"]);
/// ```
pub trait AggregateFunction: Default + 'static {
    /// What is folded.
    type In: ?Sized;
    /// What it is folded into; it lies in keyed state.
    type Accumulator: Serialize + DeserializeOwned + 'static;
    /// What is made of it.
    type Out;

    lifecycle!();

    /// An accumulator that holds nothing.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Folds one value in.
    fn add(&self, value: &Self::In, accumulator: &mut Self::Accumulator) -> Result<()>;

    /// The result of an accumulator.
    fn get_result(&self, accumulator: &Self::Accumulator) -> Result<Self::Out>;

    /// Combines two accumulators: windows that merge need it.
    fn merge(&self, a: Self::Accumulator, b: Self::Accumulator) -> Result<Self::Accumulator>;
}

/// An owned value that is emitted as a record.
pub trait OwnedRecord: Emit<Self::Record> {
    /// The record that it is.
    type Record: Record + ?Sized;
}

impl OwnedRecord for String {
    type Record = str;
}

impl OwnedRecord for u64 {
    type Record = str;
}

impl OwnedRecord for i64 {
    type Record = str;
}

impl OwnedRecord for Vec<u8> {
    type Record = [u8];
}

impl<T: Serialize> OwnedRecord for Json<T> {
    type Record = Self;
}

/// Runs an [`AggregateFunction`].
#[derive(Default)]
pub(crate) struct AggregateRunner<F> {
    function: F,
}

type Emitted<F> = <<F as AggregateFunction>::Out as OwnedRecord>::Record;

impl<F: AggregateFunction> AggregateRunner<F> {
    /// The parts first, then their whole into what is there.
    fn merge<O: ?Sized>(
        function: &F,
        ctx: &mut crate::Context<'_, O>,
        slot: Slot,
        row: &Row<'_>,
    ) -> Result<()> {
        let mut whole: Option<F::Accumulator> = None;
        for part in merged(row) {
            ctx.call.use_window(part);
            let Some(value) = ctx.call.value(slot)? else {
                continue;
            };
            ctx.call.clear_value(slot)?;
            whole = Some(match whole {
                None => value,
                Some(before) => function.merge(before, value)?,
            });
        }
        ctx.call.use_window(row.namespace);
        let Some(whole) = whole else { return Ok(()) };
        let merged = match ctx.call.value(slot)? {
            None => whole,
            Some(there) => function.merge(there, whole)?,
        };
        ctx.call.set_value(slot, &merged)
    }
}

impl<F: AggregateFunction> Runner for AggregateRunner<F>
where
    F::In: Input,
    F::Out: OwnedRecord,
{
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("aggregate", F::In::FORMAT, Emitted::<F>::FORMAT);
        let encoding = codec::encoding::<F::Accumulator>();
        d.state("accumulator", "aggregating", encoding, StateOptions::new());
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let slot = Slot {
            index: 0,
            name: "accumulator",
        };
        let function = &self.function;
        drive_folds::<Emitted<F>>(call, |ctx, row| {
            match row.kind {
                KIND_MERGE => return Self::merge(function, ctx, slot, &row),
                KIND_PURGE => return ctx.call.clear_value(slot),
                _ => {}
            }
            let stored = ctx.call.value(slot)?;
            if row.kind == KIND_RESULT {
                // Nothing is the result of no accumulator, unless an evictor left none.
                if stored.is_some() || !row.value.is_empty() {
                    let accumulator = stored.unwrap_or_else(|| function.create_accumulator());
                    ctx.emit(function.get_result(&accumulator)?);
                }
                return Ok(());
            }
            let mut accumulator = stored.unwrap_or_else(|| function.create_accumulator());
            F::In::with(row.value, |value| function.add(value, &mut accumulator))?;
            ctx.call.set_value(slot, &accumulator)?;
            if row.kind == KIND_ELEMENT {
                ctx.emit(function.get_result(&accumulator)?);
            }
            Ok(())
        })
    }

    runner_lifecycle!(AggregateFunction);
}
