//! ProcessJoinFunction.

use super::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{KIND_PAIR, NONE, read_u32};
use crate::record::{Input, Record};

/// A left and a right element of one key whose timestamps are near each other.
pub struct Pair<'a, L: ?Sized, R: ?Sized> {
    /// Of the first input.
    pub left: &'a L,
    /// Of the second input.
    pub right: &'a R,
    /// Event time of the left one, in milliseconds since the epoch.
    pub left_timestamp: i64,
    /// Event time of the right one.
    pub right_timestamp: i64,
}

/// Is given the pairs of an interval join: any number of results, state of the key, side outputs; no timers.
///
/// What it emits has the later of both timestamps, unless it gives another.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// How long an order took to be shipped.
/// #[derive(Default)]
/// struct Shipped;
///
/// impl ProcessJoinFunction for Shipped {
///     type Left = str;
///     type Right = str;
///     type Out = str;
///
///     fn process_pair(&mut self, pair: Pair<str, str>, ctx: &mut Context<str>) -> Result<()> {
///         ctx.emit((pair.left, ',', pair.right_timestamp - pair.left_timestamp));
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process_join::<Shipped>();
/// # t.pair("k", ("order", 5), ("parcel", 12)).unwrap();
/// # assert_eq!(t.take_output(), ["order,7"]);
/// ```
pub trait ProcessJoinFunction: Default + 'static {
    /// The records of the first input.
    type Left: Input + ?Sized;
    /// The records of the second input.
    type Right: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each pair.
    fn process_pair(
        &mut self,
        pair: Pair<'_, Self::Left, Self::Right>,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;
}

/// Runs a [`ProcessJoinFunction`].
#[derive(Default)]
pub(crate) struct ProcessJoinRunner<F> {
    function: F,
}

impl<F: ProcessJoinFunction> Runner for ProcessJoinRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("process-join", F::Left::FORMAT, F::Out::FORMAT);
        d.second_input_format(F::Right::FORMAT);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| {
            let parts = PairParts::split(row.value).filter(|_| row.kind == KIND_PAIR);
            let Some(parts) = parts else {
                unknown.get_or_insert(row.kind);
                return Ok(());
            };
            F::Left::with(parts.left, |left| {
                F::Right::with(parts.right, |right| {
                    let pair = Pair {
                        left,
                        right,
                        left_timestamp: parts.left_timestamp,
                        right_timestamp: parts.right_timestamp,
                    };
                    self.function.process_pair(pair, ctx)
                })
            })
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(ProcessJoinFunction);
}

/// The value of a row that is a pair: both timestamps, both lengths, both records; a null one is empty.
struct PairParts<'f> {
    left_timestamp: i64,
    right_timestamp: i64,
    left: &'f [u8],
    right: &'f [u8],
}

impl<'f> PairParts<'f> {
    fn split(value: &'f [u8]) -> Option<Self> {
        let (left_timestamp, rest) = value.split_first_chunk()?;
        let (right_timestamp, rest) = rest.split_first_chunk()?;
        let (lengths, rest) = rest.split_at_checked(8)?;
        let length = |at| match read_u32(lengths, at) {
            NONE => 0,
            length => length as usize,
        };
        let (left, right) = rest.split_at_checked(length(0))?;
        (right.len() == length(4)).then(|| Self {
            left_timestamp: i64::from_le_bytes(*left_timestamp),
            right_timestamp: i64::from_le_bytes(*right_timestamp),
            left,
            right,
        })
    }
}
