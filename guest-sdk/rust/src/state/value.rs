//! ValueState.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Slot;
use crate::Context;
use crate::error::Result;

/// One value for each key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Count {
///     count: ValueState<u64>,
/// }
///
/// impl KeyedProcessFunction for Count {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.count = d.value_state("count");
///     }
///
///     fn process_element(&mut self, _: &str, ctx: &mut Context<str>) -> Result<()> {
///         let count = self.count.value(ctx)?.unwrap_or(0) + 1;
///         self.count.update(ctx, &count)?;
///         ctx.emit((ctx.key_str()?, ',', count));
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Count>();
/// # t.element("k", "").unwrap();
/// # assert_eq!(t.take_output(), ["k,1"]);
/// ```
pub struct ValueState<T> {
    pub(super) slot: Slot,
    value: PhantomData<fn() -> T>,
}

impl<T> Default for ValueState<T> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            value: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ValueState<T> {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
            value: PhantomData,
        }
    }

    /// The value; none where it was never set or was cleared.
    #[inline]
    pub fn value<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Option<T>> {
        ctx.call.value(self.slot)
    }

    /// Sets the value.
    #[inline]
    pub fn update<O: ?Sized>(&self, ctx: &mut Context<'_, O>, value: &T) -> Result<()> {
        ctx.call.set_value(self.slot, value)
    }

    /// Removes the value.
    #[inline]
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_value(self.slot)
    }
}
