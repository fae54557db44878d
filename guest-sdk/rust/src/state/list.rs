//! ListState.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::on_demand::{PAGE_BYTES, decode, encode, page_head, take, take_u32, write};
use super::{Slot, codec};
use crate::Context;
use crate::error::{Error, Result};
use crate::host::op;

/// A list for each key. It lies with the host: appending costs nothing but the element.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Emits the sum of every three numbers of a key.
/// #[derive(Default)]
/// struct Threes {
///     numbers: ListState<i64>,
/// }
///
/// impl KeyedProcessFunction for Threes {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.numbers = d.list_state("numbers");
///     }
///
///     fn process_element(&mut self, number: &str, ctx: &mut Context<str>) -> Result<()> {
///         self.numbers.add(ctx, &number.parse()?)?;
///         let numbers = self.numbers.get(ctx)?;
///         if numbers.len() == 3 {
///             ctx.emit(numbers.iter().sum::<i64>());
///             self.numbers.clear(ctx)?;
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Threes>();
/// # for n in ["1", "2", "3", "4"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["6"]);
/// ```
pub struct ListState<T> {
    pub(super) slot: Slot,
    element: PhantomData<fn() -> T>,
}

impl<T> Default for ListState<T> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            element: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ListState<T> {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
            element: PhantomData,
        }
    }

    /// All elements in their order; use [`ListState::for_each`] where the list may be long.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Vec<T>> {
        let mut elements = Vec::new();
        self.for_each(ctx, |_, element| {
            elements.push(element);
            Ok(())
        })?;
        Ok(elements)
    }

    /// Calls `each` with the elements in their order, fetched page by page. What `each` changes of this
    /// list shows in later pages at the latest.
    pub fn for_each<'f, O: ?Sized>(
        &self,
        ctx: &mut Context<'f, O>,
        mut each: impl FnMut(&mut Context<'f, O>, T) -> Result<()>,
    ) -> Result<()> {
        let mut start = 0_u32;
        loop {
            let fields = [start.to_le_bytes(), PAGE_BYTES.to_le_bytes()];
            let page = ctx
                .call
                .page(self.slot, op::LIST_PAGE, &[fields.as_flattened()])?;
            let (count, done) = page_head(&page);
            let mut rest = page.get(8..).unwrap_or_default();
            for _ in 0..count {
                let length = take_u32(&mut rest)?;
                if let Some(element) = decode(self.slot, Some(take(&mut rest, length)?))? {
                    each(ctx, element)?;
                }
            }
            if done || count == 0 {
                return Ok(());
            }
            start = start
                .checked_add(count)
                .ok_or_else(|| Error::failed("a list has more than 4 billion elements"))?;
        }
    }

    /// Appends one element.
    pub fn add<O: ?Sized>(&self, ctx: &mut Context<'_, O>, element: &T) -> Result<()> {
        let slot = self.slot;
        ctx.call
            .write(slot, write::APPEND, &[], |out| encode(slot, element, out))
    }

    /// Appends elements in their order.
    pub fn add_all<O: ?Sized>(&self, ctx: &mut Context<'_, O>, elements: &[T]) -> Result<()> {
        elements.iter().try_for_each(|element| self.add(ctx, element))
    }

    /// Replaces the whole list.
    pub fn update<O: ?Sized>(&self, ctx: &mut Context<'_, O>, elements: &[T]) -> Result<()> {
        let slot = self.slot;
        ctx.call.write(slot, write::REPLACE_LIST, &[], |out| {
            for element in elements {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                codec::encode(element, out).map_err(|error| slot.codec_error(error))?;
                let length = (out.len() - start - 4) as u32;
                out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            }
            Ok(())
        })
    }

    /// Removes all elements.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_state(self.slot)
    }
}
