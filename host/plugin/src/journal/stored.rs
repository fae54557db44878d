//! What the journal and the backend together hold of a call's keyed state, byte for byte.

use wasmill_model::function::StateKind;
use wasmill_state::backend::{KeyedStateBackend, Locator, Page, StateError, StateId};
use wasmill_state::ttl::read::Stored;

use super::keys::{CallKeys, NONE};
use super::overlay::{Address, Below, read_stored};
use super::scope::{CallScope, ENTRY_BYTES};

impl CallScope {
    pub(super) fn stored_value(&mut self, address: Address) -> Result<Option<Vec<u8>>, String> {
        if let Some(pending) = self.overlay.value(address) {
            return Ok(pending.map(<[u8]>::to_vec));
        }
        let below = below(&mut self.backend, &self.ids, &self.keys, address)?;
        match read_stored(below) {
            Ok((value, locator)) => {
                self.last_read = Some((address, locator));
                Ok(value)
            }
            Err(error) => Err(self.failed_below(error)),
        }
    }

    pub(super) fn store_value(&mut self, address: Address, value: Option<Vec<u8>>) -> Result<(), String> {
        self.need_backend()?;
        self.charge(1, value.as_ref().map_or(0, Vec::len))?;
        let locator = match self.last_read {
            Some((read, locator)) if read == address => locator,
            _ => Locator::UNKNOWN,
        };
        self.overlay.set_value(address, value, locator);
        Ok(())
    }

    pub(super) fn store_list(&mut self, address: Address, elements: Vec<Vec<u8>>) -> Result<(), String> {
        self.need_backend()?;
        self.charge(1 + elements.len(), elements.iter().map(Vec::len).sum())?;
        self.overlay.replace_list(address, elements);
        Ok(())
    }

    pub(super) fn stored_list_page(
        &mut self,
        address: Address,
        start: u64,
        bytes_max: usize,
    ) -> Result<Page, String> {
        let mut page = Page::default();
        let below = below(&mut self.backend, &self.ids, &self.keys, address)?;
        match self
            .overlay
            .list_page(address, below, start, bytes_max, &mut page)
        {
            Ok(()) => Ok(page),
            Err(error) => Err(self.failed_below(error)),
        }
    }

    pub(super) fn stored_map_value(
        &mut self,
        address: Address,
        map_key: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some(pending) = self.overlay.map_value(address, map_key) {
            return Ok(pending.map(<[u8]>::to_vec));
        }
        let mut below = below(&mut self.backend, &self.ids, &self.keys, address)?;
        below.key.map_key = map_key;
        match read_stored(below) {
            Ok((value, _)) => Ok(value),
            Err(error) => Err(self.failed_below(error)),
        }
    }

    pub(super) fn store_map_value(
        &mut self,
        address: Address,
        map_key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<(), String> {
        self.need_backend()?;
        self.charge(1, map_key.len() + value.as_ref().map_or(0, Vec::len))?;
        self.overlay.put(address, map_key, value);
        Ok(())
    }

    pub(super) fn stored_map_page(
        &mut self,
        address: Address,
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, String> {
        let mut page = Page::default();
        let below = below(&mut self.backend, &self.ids, &self.keys, address)?;
        match self.overlay.map_page(address, below, after, bytes_max, &mut page) {
            Ok(()) => Ok(page),
            Err(error) => Err(self.failed_below(error)),
        }
    }

    pub(super) fn need_backend(&self) -> Result<(), String> {
        self.backend.as_ref().map(|_| ()).ok_or_else(no_backend)
    }
}

/// One state of one key, as its time to live reaches it.
pub(super) struct Journaled<'a> {
    scope: &'a mut CallScope,
    address: Address,
}

impl<'a> Journaled<'a> {
    pub(super) fn new(scope: &'a mut CallScope, address: Address) -> Self {
        Self { scope, address }
    }

    fn is_map(&self) -> bool {
        let state = self.scope.states().get(self.address.slot as usize);
        state.is_some_and(|state| state.kind == StateKind::Map)
    }
}

impl Stored for Journaled<'_> {
    type Error = String;

    fn get(&mut self, map_key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self.is_map() {
            true => self.scope.stored_map_value(self.address, map_key),
            false => self.scope.stored_value(self.address),
        }
    }

    fn set(&mut self, map_key: &[u8], value: Vec<u8>) -> Result<(), String> {
        match self.is_map() {
            true => self
                .scope
                .store_map_value(self.address, map_key.to_vec(), Some(value)),
            false => self.scope.store_value(self.address, Some(value)),
        }
    }

    fn remove(&mut self, map_key: &[u8]) -> Result<(), String> {
        // A map of which more is over than one call may write is cleaned by several.
        if !self.scope.has_room_for(ENTRY_BYTES + map_key.len()) {
            return Ok(());
        }
        match self.is_map() {
            true => self.scope.store_map_value(self.address, map_key.to_vec(), None),
            false => self.scope.store_value(self.address, None),
        }
    }

    fn map_page(&mut self, after: Option<&[u8]>, bytes_max: usize) -> Result<Page, String> {
        self.scope.stored_map_page(self.address, after, bytes_max)
    }

    fn list_page(&mut self, start: u64, bytes_max: usize) -> Result<Page, String> {
        self.scope.stored_list_page(self.address, start, bytes_max)
    }

    fn list_replace(&mut self, elements: Vec<Vec<u8>>) -> Result<(), String> {
        self.scope.store_list(self.address, elements)
    }

    fn corrupt(&mut self, error: StateError) -> String {
        self.scope.failed_below(error)
    }
}

fn no_backend() -> String {
    "keyed state exists only while a record or a timer is processed".to_owned()
}

fn below<'a>(
    backend: &'a mut Option<Box<dyn KeyedStateBackend>>,
    ids: &[StateId],
    keys: &'a CallKeys,
    address: Address,
) -> Result<Below<'a>, String> {
    let backend = backend.as_deref_mut().ok_or_else(no_backend)?;
    let state = ids.get(address.slot as usize).copied();
    let state = state.ok_or_else(|| format!("there is no state slot {}", address.slot))?;
    if !keys.contains(address.key, address.namespace) {
        return Err(format!(
            "there is no key {} or no namespace {} in this call",
            address.key,
            if address.namespace == NONE {
                "void".to_owned()
            } else {
                address.namespace.to_string()
            }
        ));
    }
    Ok(Below {
        backend,
        state,
        key: keys.state_key(address.key, address.namespace),
    })
}
