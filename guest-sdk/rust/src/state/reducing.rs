//! ReducingState.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Slot;
use crate::Context;
use crate::error::{Error, Result};

/// For each key one value that elements are folded into, by the function given to `declare`.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Highest {
///     highest: ReducingState<i64>,
/// }
///
/// impl KeyedProcessFunction for Highest {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.highest = d.reducing_state("highest", |a, b| a.max(b));
///     }
///
///     fn process_element(&mut self, number: &str, ctx: &mut Context<str>) -> Result<()> {
///         self.highest.add(ctx, number.parse()?)?;
///         if let Some(highest) = self.highest.get(ctx)? {
///             ctx.emit(highest);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Highest>();
/// # for n in ["3", "9", "4"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["3", "9", "9"]);
/// ```
pub struct ReducingState<T> {
    pub(super) slot: Slot,
    reduce: Option<fn(T, T) -> T>,
}

impl<T> Default for ReducingState<T> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            reduce: None,
        }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ReducingState<T> {
    pub(crate) fn new(index: u32, name: &'static str, reduce: fn(T, T) -> T) -> Self {
        Self {
            slot: Slot { index, name },
            reduce: Some(reduce),
        }
    }

    /// The value; none before the first element.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Option<T>> {
        ctx.call.value(self.slot)
    }

    /// Folds an element in; the first one is the value.
    pub fn add<O: ?Sized>(&self, ctx: &mut Context<'_, O>, element: T) -> Result<()> {
        let reduce = self
            .reduce
            .ok_or_else(|| -> Error { self.slot.unreachable(true) })?;
        let value = match ctx.call.value(self.slot)? {
            None => element,
            Some(value) => reduce(value, element),
        };
        ctx.call.set_value(self.slot, &value)
    }

    /// Takes the values of the windows that merged and folds them into that of the current one; in
    /// [`Trigger::on_merge`](crate::Trigger::on_merge).
    pub fn merge<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        let reduce = self
            .reduce
            .ok_or_else(|| -> Error { self.slot.unreachable(true) })?;
        let mut whole: Option<T> = None;
        ctx.for_each_merged(|ctx| {
            if let Some(value) = ctx.call.value(self.slot)? {
                ctx.call.clear_value(self.slot)?;
                whole = Some(match whole.take() {
                    None => value,
                    Some(before) => reduce(before, value),
                });
            }
            Ok(())
        })?;
        match whole {
            None => Ok(()),
            Some(whole) => self.add(ctx, whole),
        }
    }

    /// Removes the value.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_value(self.slot)
    }
}
