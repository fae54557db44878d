//! Reducing state whose folding the host does by itself.

use super::Slot;
use super::on_demand::write;
use crate::Context;
use crate::error::Result;

/// How the host folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The wrapping sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many there were.
    Count,
}

impl Fold {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
        }
    }
}

/// For each key one integer that the host folds elements into: it need not travel to be added to.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Default)]
/// # struct Total { total: FoldedState }
/// # impl KeyedProcessFunction for Total {
/// #     type In = str;
/// #     type Out = str;
/// fn declare(&mut self, d: &mut Declare) {
///     self.total = d.folded_state("total", Fold::Sum);
/// }
///
/// fn process_element(&mut self, number: &str, ctx: &mut Context<str>) -> Result<()> {
///     self.total.add(ctx, number.parse()?)
/// }
/// # }
/// # let mut t = testing::Harness::process::<Total>();
/// # for n in ["3", "9"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.value("k", "total"), Some(12_i64.to_le_bytes().to_vec()));
/// ```
#[derive(Default)]
pub struct FoldedState {
    pub(super) slot: Slot,
}

impl FoldedState {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
        }
    }

    /// The integer; none before the first element.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Option<i64>> {
        // The host has folded what this call added only once it was sent.
        ctx.call.flush()?;
        ctx.call.look_up_fresh(self.slot)
    }

    /// Folds an element in.
    pub fn add<O: ?Sized>(&self, ctx: &mut Context<'_, O>, element: i64) -> Result<()> {
        ctx.call.write(self.slot, write::FOLD, &[], |out| {
            out.extend_from_slice(&element.to_le_bytes());
            Ok(())
        })
    }

    /// Removes the integer.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_state(self.slot)
    }
}
