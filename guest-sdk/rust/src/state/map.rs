//! MapState.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::on_demand::{PAGE_BYTES, decode, encode, page_head, take, take_u32, write};
use super::{MapKey, Slot};
use crate::Context;
use crate::error::Result;
use crate::host::op;

/// A map for each key, iterated in the order of its map keys. It lies with the host; a value that was
/// read or written is known for the rest of the call.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Emits how often each page was seen by a user, all pages in order.
/// #[derive(Default)]
/// struct Pages {
///     views: MapState<String, u64>,
/// }
///
/// impl KeyedProcessFunction for Pages {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         self.views = d.map_state("views");
///     }
///
///     fn process_element(&mut self, page: &str, ctx: &mut Context<str>) -> Result<()> {
///         let page = page.to_owned();
///         let views = self.views.get(ctx, &page)?.unwrap_or(0) + 1;
///         self.views.put(ctx, &page, &views)?;
///         self.views.for_each(ctx, |ctx, page, views| {
///             ctx.emit((page, '=', views));
///             Ok(())
///         })
///     }
/// }
/// # let mut t = testing::Harness::process::<Pages>();
/// # for page in ["b", "a"] { t.element("k", page).unwrap(); }
/// # assert_eq!(t.take_output(), ["b=1", "a=1", "b=1"]);
/// ```
pub struct MapState<K, V> {
    pub(super) slot: Slot,
    #[allow(clippy::type_complexity)] // Neither type is owned: the handle is Send whatever they are.
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Default for MapState<K, V> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            entry: PhantomData,
        }
    }
}

impl<K: MapKey, V: Serialize + DeserializeOwned + 'static> MapState<K, V> {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
            entry: PhantomData,
        }
    }

    /// The value under a map key.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<Option<V>> {
        key.with_bytes(|key| ctx.call.look_up(self.slot, key))
    }

    /// Sets the value under a map key.
    pub fn put<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K, value: &V) -> Result<()> {
        let slot = self.slot;
        key.with_bytes(|key| {
            ctx.call
                .write(slot, write::PUT, key, |out| encode(slot, value, out))
        })
    }

    /// Sets several.
    pub fn put_all<'a, O: ?Sized>(
        &self,
        ctx: &mut Context<'_, O>,
        entries: impl IntoIterator<Item = (&'a K, &'a V)>,
    ) -> Result<()>
    where
        K: 'a,
        V: 'a,
    {
        entries
            .into_iter()
            .try_for_each(|(key, value)| self.put(ctx, key, value))
    }

    /// Removes a map key; does nothing where there is none.
    pub fn remove<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<()> {
        key.with_bytes(|key| ctx.call.write(self.slot, write::REMOVE, key, |_| Ok(())))
    }

    /// Whether the map holds the key.
    pub fn contains<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<bool> {
        key.with_bytes(|key| ctx.call.contains(self.slot, key))
    }

    /// Whether the map holds nothing; entries whose time is over count as long as they are there, as in Flink.
    pub fn is_empty<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<bool> {
        ctx.call.is_empty(self.slot)
    }

    /// All map keys in order.
    pub fn keys<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Vec<K>> {
        Ok(self.entries(ctx)?.into_iter().map(|(key, _)| key).collect())
    }

    /// All values in the order of their map keys.
    pub fn values<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Vec<V>> {
        Ok(self.entries(ctx)?.into_iter().map(|(_, value)| value).collect())
    }

    /// All entries in the order of their map keys; use [`MapState::for_each`] where the map may be
    /// large.
    pub fn entries<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        self.for_each(ctx, |_, key, value| {
            entries.push((key, value));
            Ok(())
        })?;
        Ok(entries)
    }

    /// Calls `each` with the entries in the order of their map keys, fetched page by page. What `each`
    /// changes of this map shows in later pages at the latest.
    pub fn for_each<'f, O: ?Sized>(
        &self,
        ctx: &mut Context<'f, O>,
        mut each: impl FnMut(&mut Context<'f, O>, K, V) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(ctx, after.as_deref())?;
            let (count, done) = page_head(&page);
            let mut rest = page.get(8..).unwrap_or_default();
            let mut last: &[u8] = &[];
            for _ in 0..count {
                let (key_len, value_len) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
                last = take(&mut rest, key_len)?;
                let key = K::decode(last).ok_or_else(|| self.slot.codec_error("a map key"))?;
                if let Some(value) = decode(self.slot, Some(take(&mut rest, value_len)?))? {
                    each(ctx, key, value)?;
                }
            }
            if done || count == 0 {
                return Ok(());
            }
            after = Some(last.to_vec());
        }
    }

    /// Removes all entries.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.call.clear_state(self.slot)
    }

    fn page<O: ?Sized>(&self, ctx: &mut Context<'_, O>, after: Option<&[u8]>) -> Result<Vec<u8>> {
        let bytes = after.unwrap_or_default();
        let fields = [PAGE_BYTES, u32::from(after.is_some()), bytes.len() as u32].map(u32::to_le_bytes);
        ctx.call
            .page(self.slot, op::MAP_PAGE, &[fields.as_flattened(), bytes])
    }
}
