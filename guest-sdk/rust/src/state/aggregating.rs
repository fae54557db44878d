//! AggregatingState.

use super::Slot;
use crate::Context;
use crate::error::Result;
use crate::function::AggregateFunction;

/// For each key one accumulator of the [`AggregateFunction`] `A`.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Contains;
///
/// impl AggregateFunction for Contains {
///     type In = u64;
///     type Accumulator = String;
///     type Out = String;
///
///     fn create_accumulator(&self) -> String {
///         "Contains".to_owned()
///     }
///
///     fn add(&self, value: &u64, text: &mut String) -> Result<()> {
///         text.push_str(&format!("-{value}"));
///         Ok(())
///     }
///
///     fn get_result(&self, text: &String) -> Result<String> {
///         Ok(text.clone())
///     }
///
///     fn merge(&self, a: String, b: String) -> Result<String> {
///         Ok(a + &b["Contains".len()..])
///     }
/// }
///
/// #[derive(Default)]
/// struct Seen {
///     seen: AggregatingState<Contains>,
/// }
///
/// impl KeyedProcessFunction for Seen {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.seen = d.aggregating_state("seen");
///     }
///
///     fn process_element(&mut self, number: &str, ctx: &mut Context<str>) -> Result<()> {
///         self.seen.add(ctx, &number.parse()?)?;
///         if let Some(seen) = self.seen.get(ctx)? {
///             ctx.emit(seen);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Seen>();
/// # for n in ["3", "5", "7"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output().last().unwrap(), "Contains-3-5-7");
/// ```
pub struct AggregatingState<A> {
    pub(super) slot: Slot,
    function: A,
}

impl<A: Default> Default for AggregatingState<A> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            function: A::default(),
        }
    }
}

impl<A: AggregateFunction> AggregatingState<A> {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
            function: A::default(),
        }
    }

    /// The result made of the accumulator; none before the first element.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Option<A::Out>> {
        match ctx.call.value(self.slot)? {
            None => Ok(None),
            Some(accumulator) => self.function.get_result(&accumulator).map(Some),
        }
    }

    /// Folds an element into the accumulator.
    pub fn add<O: ?Sized>(&self, ctx: &mut Context<'_, O>, element: &A::In) -> Result<()> {
        let stored = ctx.call.value(self.slot)?;
        let mut accumulator = stored.unwrap_or_else(|| self.function.create_accumulator());
        self.function.add(element, &mut accumulator)?;
        ctx.call.set_value(self.slot, &accumulator)
    }

    /// Removes the accumulator.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_value(self.slot)
    }
}
