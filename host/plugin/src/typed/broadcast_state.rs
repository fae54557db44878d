//! `broadcast-state` of `wit/`: maps of the broadcast input, and the keys of a keyed state.

use super::generated::wasmill::function::broadcast_state::{Host, MapEntry};
use super::imports::names;
use super::{Data, trap};
use crate::journal::broadcast::BroadcastWrite;
use crate::journal::scope::PAGE_BYTES_MAX;

type Result<T> = wasmtime::Result<T>;

impl Host for Data {
    fn open_broadcast(&mut self, name: String) -> Result<u32> {
        self.host.count_call().map_err(trap)?;
        let declared = self.host.description().broadcast_state.as_deref();
        let declared = declared.unwrap_or_default();
        if let Some(slot) = declared.iter().position(|state| state.name == name) {
            return Ok(slot as u32);
        }
        let shown: String = name.chars().take(64).collect();
        Err(trap(format!(
            "open-broadcast: broadcast state `{}` is not declared; `describe` declares {}",
            shown.escape_debug(),
            names(declared.iter().map(|state| state.name.as_str()))
        )))
    }

    fn broadcast_get(&mut self, slot: u32, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.host.count_call().map_err(trap)?;
        self.host.broadcast_get(slot, &key).map_err(trap)
    }

    fn broadcast_entries(&mut self, slot: u32, after: Option<Vec<u8>>, max: u32) -> Result<Vec<MapEntry>> {
        self.host.count_call().map_err(trap)?;
        let bytes_max = PAGE_BYTES_MAX.min(self.host.limits().output_bytes_max);
        let page = self.host.broadcast_page(slot, after.as_deref(), bytes_max);
        let entries = page.map_err(trap)?.entries.into_iter().take(max as usize);
        Ok(entries.map(|(key, value)| MapEntry { key, value }).collect())
    }

    fn broadcast_put(&mut self, slot: u32, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        write(self, slot, BroadcastWrite::Put(&key, &value))
    }

    fn broadcast_remove(&mut self, slot: u32, key: Vec<u8>) -> Result<()> {
        write(self, slot, BroadcastWrite::Remove(&key))
    }

    fn broadcast_clear(&mut self, slot: u32) -> Result<()> {
        write(self, slot, BroadcastWrite::Clear)
    }

    fn next_key(&mut self, state: u32, restart: bool) -> Result<Option<Vec<u8>>> {
        self.host.count_call().map_err(trap)?;
        let key = self.host.next_key(state, restart).map_err(trap)?;
        Ok(key.map(|key| {
            self.host.record.key = key;
            self.host.keys.body(key).to_vec()
        }))
    }
}

fn write(data: &mut Data, slot: u32, write: BroadcastWrite<'_>) -> Result<()> {
    data.host.count_call().map_err(trap)?;
    data.host.broadcast_write(slot, write).map_err(trap)
}
