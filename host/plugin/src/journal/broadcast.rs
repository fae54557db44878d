//! Broadcast state in a call (G11), and the keys of a keyed state for the broadcast side.
//!
//! Invariant: what a call wrote is undone with the call, and only records of the broadcast input write.

use std::collections::VecDeque;

use wasmill_engine::broadcast::BroadcastState;
use wasmill_model::function::StateKind;
use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::{PAGE_ENTRY_BYTES, Page};
use wasmill_state::keyed::KeyScan;

use super::keys::NONE;
use super::overlay::Address;
use super::scope::{CallScope, ENTRY_BYTES};

/// What a call may do with broadcast state.
#[derive(Default)]
pub struct BroadcastScope {
    /// Moves in for the time of a call, as the backend does.
    pub state: BroadcastState,
    /// The input whose records the call is about; 0 for timers.
    pub port: u16,
    scan: Option<Scan>,
}

/// Where a scan of the keys of a state stands.
struct Scan {
    slot: u32,
    keys: KeyScan,
    group: KeyGroup,
    pending: VecDeque<Vec<u8>>,
}

/// One write.
#[derive(Clone, Copy, Debug)]
pub enum BroadcastWrite<'a> {
    /// Sets the value of a map key.
    Put(&'a [u8], &'a [u8]),
    /// Removes a map key.
    Remove(&'a [u8]),
    /// Removes all entries.
    Clear,
}

impl BroadcastScope {
    /// Starts a call.
    pub fn begin(&mut self) {
        self.state.begin();
        self.scan = None;
    }

    /// Undoes the call.
    pub fn undo(&mut self) {
        self.state.undo();
        self.scan = None;
    }
}

impl CallScope {
    /// The name of a declared broadcast state.
    pub fn broadcast_name(&self, slot: u32) -> Result<&str, String> {
        let mut declared = self.description().broadcast_state.iter().flatten();
        let state = declared.nth(slot as usize);
        state.map(|state| state.name.as_str()).ok_or_else(|| {
            let count = self.description().broadcast_state.iter().flatten().count();
            format!("there is no broadcast state slot {slot}; the function declares {count}")
        })
    }

    /// The value of a map key.
    pub fn broadcast_get(&mut self, slot: u32, map_key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let name = self.broadcast_name(slot)?.to_owned();
        let view = self.broadcast.state.on(0);
        Ok(view.get(&name, map_key).map(<[u8]>::to_vec))
    }

    /// Entries after `after`, until `bytes_max` is reached.
    pub fn broadcast_page(
        &mut self,
        slot: u32,
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, String> {
        let name = self.broadcast_name(slot)?.to_owned();
        let view = self.broadcast.state.on(0);
        let (mut page, mut bytes) = (Page::default(), 0);
        for (key, value) in view.entries_after(&name, after) {
            bytes += key.len() + value.len() + PAGE_ENTRY_BYTES;
            if bytes > bytes_max && !page.entries.is_empty() {
                return Ok(page);
            }
            page.entries.push((key.to_vec(), value.to_vec()));
        }
        page.done = true;
        Ok(page)
    }

    /// Checks a write before it is done, whichever input the call is about.
    pub fn check_broadcast_write(&self, slot: u32, write: BroadcastWrite<'_>) -> Result<(), String> {
        let name = self.broadcast_name(slot)?;
        if let BroadcastWrite::Put(key, value) = write {
            self.check_size("a map key of broadcast state", key.len())?;
            self.check_size("a value of broadcast state", value.len())?;
        }
        BroadcastState::check_writes(name, self.broadcast.port).map_err(|error| error.message)
    }

    /// Writes; reads of the same call see it.
    pub fn broadcast_write(&mut self, slot: u32, write: BroadcastWrite<'_>) -> Result<(), String> {
        self.check_broadcast_write(slot, write)?;
        let limit = self.limits().operator_state_bytes_max;
        if let BroadcastWrite::Put(key, value) = write
            && self.broadcast.state.bytes() + key.len() + value.len() > limit
        {
            self.hit("operator-state-bytes-max", limit as u64);
            return Err(format!(
                "the function's broadcast state exceeds {limit} bytes: raise the job's `limits.operator-state-bytes-max`"
            ));
        }
        let bytes = match write {
            BroadcastWrite::Put(key, value) => key.len() + value.len(),
            BroadcastWrite::Remove(key) => key.len(),
            BroadcastWrite::Clear => ENTRY_BYTES,
        };
        self.charge(1, bytes)?;
        let name = self.broadcast_name(slot)?.to_owned();
        let port = self.broadcast.port;
        let mut view = self.broadcast.state.on(port);
        let written = match write {
            BroadcastWrite::Put(key, value) => view.put(&name, key, value),
            BroadcastWrite::Remove(key) => view.remove(&name, key),
            BroadcastWrite::Clear => view.clear(&name),
        };
        written.map_err(|error| error.message)
    }

    /// The next key that has something in a keyed state, as an index of the call; `restart` begins anew. For the
    /// broadcast side alone, which has no key of its own: the keys are those of this subtask.
    pub fn next_key(&mut self, slot: u32, restart: bool) -> Result<Option<u32>, String> {
        let Some(state) = self.states().get(slot as usize) else {
            return Err(format!(
                "there is no state slot {slot}; the function declares {} states",
                self.states().len()
            ));
        };
        let (id, kind) = (state.id, state.kind);
        if self.description().is_keyed_on(self.broadcast.port) {
            return Err("keys are gone through for records of the broadcast input alone".to_owned());
        }
        if restart || self.broadcast.scan.as_ref().is_none_or(|scan| scan.slot != slot) {
            let Some((_, backend)) = self.keys_and_backend() else {
                return Err("keyed state exists only while a record or a timer is processed".to_owned());
            };
            let keys = KeyScan::new(backend, id).map_err(|error| self.failed_below(error))?;
            self.broadcast.scan = Some(Scan {
                slot,
                keys,
                group: KeyGroup(0),
                pending: VecDeque::new(),
            });
        }
        while let Some((group, encoded)) = self.next_scanned()? {
            let hash = key::hash(&encoded) as u32;
            let key = self.keys.scanned_key(hash, group, &encoded);
            // What the call itself has cleared, or a window alone holds, is not there.
            if self.holds(
                Address {
                    slot,
                    key,
                    namespace: NONE,
                },
                kind,
            )? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn next_scanned(&mut self) -> Result<Option<(KeyGroup, Vec<u8>)>, String> {
        let Some(scan) = &mut self.broadcast.scan else {
            return Ok(None);
        };
        loop {
            if let Some(key) = scan.pending.pop_front() {
                return Ok(Some((scan.group, key)));
            }
            match scan.keys.next_group() {
                Ok(None) => return Ok(None),
                Ok(Some((group, keys))) => {
                    scan.group = group;
                    scan.pending.extend(keys);
                }
                Err(error) => return Err(self.failed_below(error)),
            }
        }
    }

    fn holds(&mut self, address: Address, kind: StateKind) -> Result<bool, String> {
        Ok(match kind {
            StateKind::List => !self.stored_list_page(address, 0, 1)?.entries.is_empty(),
            StateKind::Map => !self.map_is_empty(address)?,
            _ => self.stored_value(address)?.is_some(),
        })
    }
}
