//! BroadcastState.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::on_demand::{PAGE_BYTES, decode, encode, page_head, take, take_u32, write};
use super::{MapKey, Slot};
use crate::Context;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::frame::{KIND_ELEMENT, NONE};
use crate::host::{self, op};

/// A map that every subtask of the operator holds alike: records of the broadcast input write it, those of the other
/// input only read it. The host keeps it, in every checkpoint; the function reads a copy of its own.
///
/// See [`KeyedBroadcastProcessFunction`](crate::KeyedBroadcastProcessFunction).
pub struct BroadcastState<K, V> {
    slot: Slot,
    #[allow(clippy::type_complexity)] // Neither type is owned: the handle is Send whatever they are.
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Default for BroadcastState<K, V> {
    fn default() -> Self {
        Self {
            slot: Slot::default(),
            entry: PhantomData,
        }
    }
}

impl<K: MapKey, V: Serialize + DeserializeOwned + 'static> BroadcastState<K, V> {
    pub(crate) fn new(index: u32, name: &'static str) -> Self {
        Self {
            slot: Slot { index, name },
            entry: PhantomData,
        }
    }

    /// The value under a map key.
    pub fn get<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<Option<V>> {
        let slot = self.slot;
        let map = ctx.call.broadcast_map(slot)?;
        key.with_bytes(|key| decode(slot, map.get(key).map(Vec::as_slice)))
    }

    /// Whether the map holds the key.
    pub fn contains<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<bool> {
        let map = ctx.call.broadcast_map(self.slot)?;
        Ok(key.with_bytes(|key| map.contains_key(key)))
    }

    /// All entries in the order of their map keys.
    pub fn entries<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        for (key, value) in ctx.call.broadcast_map(self.slot)? {
            let key = K::decode(key).ok_or_else(|| self.slot.codec_error("a map key"))?;
            if let Some(value) = decode(self.slot, Some(value))? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// Sets the value under a map key; an error for a record that is not of the broadcast input.
    pub fn put<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K, value: &V) -> Result<()> {
        let slot = self.slot;
        key.with_bytes(|key| {
            ctx.call
                .broadcast_write(slot, write::BROADCAST_PUT, key, |out| encode(slot, value, out))
        })
    }

    /// Removes a map key; an error for a record that is not of the broadcast input.
    pub fn remove<O: ?Sized>(&self, ctx: &mut Context<'_, O>, key: &K) -> Result<()> {
        let operation = write::BROADCAST_REMOVE;
        key.with_bytes(|key| ctx.call.broadcast_write(self.slot, operation, key, |_| Ok(())))
    }

    /// Removes all entries; an error for a record that is not of the broadcast input.
    pub fn clear<O: ?Sized>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        let operation = write::BROADCAST_CLEAR;
        ctx.call.broadcast_write(self.slot, operation, &[], |_| Ok(()))
    }
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an instance has read of its broadcast states: they change by its own writes alone, so it is read once. A call
/// that fails is undone by the host, and what was read is forgotten.
#[derive(Default)]
pub(crate) struct Broadcast {
    /// By slot.
    maps: Vec<Option<Map>>,
}

impl Broadcast {
    pub(crate) fn forget(&mut self) {
        self.maps.clear();
    }
}

impl Call<'_> {
    fn broadcast_map(&mut self, slot: Slot) -> Result<&mut Map> {
        if slot.index == NONE {
            return Err(slot.unreachable(true));
        }
        let index = slot.index as usize;
        let maps = &mut self.buffers.broadcast.maps;
        if maps.len() <= index {
            maps.resize_with(index + 1, || None);
        }
        let known = &mut maps[index];
        if known.is_none() {
            *known = Some(fetch(slot, &mut self.buffers.request)?);
        }
        Ok(known.get_or_insert_default())
    }

    fn broadcast_write(
        &mut self,
        slot: Slot,
        operation: u8,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        if self.row.kind != KIND_ELEMENT || self.row.port == 0 {
            return Err(Error::failed(format_args!(
                "broadcast state `{}` was to be written for a record or timer that is not of the broadcast input: there it \
                 can only be read, or the subtasks would no longer hold the same; write it in `process_broadcast_element`",
                slot.name
            )));
        }
        self.broadcast_map(slot)?;
        let start = self.push_write(self.row_index, slot.index, NONE, operation, key, value)?;
        let value = self.buffers.writes[start..].to_vec();
        let map = self.broadcast_map(slot)?;
        match operation {
            write::BROADCAST_PUT => drop(map.insert(key.to_vec(), value)),
            write::BROADCAST_REMOVE => drop(map.remove(key)),
            _ => map.clear(),
        }
        Ok(())
    }
}

/// A whole map, page by page.
fn fetch(slot: Slot, request: &mut Vec<u8>) -> Result<Map> {
    let mut map = Map::new();
    loop {
        host::start_request(request, op::BROADCAST_PAGE);
        let after = map.last_key_value().map(|(key, _)| key.as_slice());
        let bytes = after.unwrap_or_default();
        for field in [
            slot.index,
            PAGE_BYTES,
            u32::from(after.is_some()),
            bytes.len() as u32,
        ] {
            request.extend_from_slice(&field.to_le_bytes());
        }
        request.extend_from_slice(bytes);
        let page = host::call(request).map_err(Error::failed)?;
        let (count, done) = page_head(&page);
        let mut rest = page.get(8..).unwrap_or_default();
        for _ in 0..count {
            let (key_len, value_len) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
            let key = take(&mut rest, key_len)?.to_vec();
            map.insert(key, take(&mut rest, value_len)?.to_vec());
        }
        if done || count == 0 {
            return Ok(map);
        }
    }
}
