//! Keyed state of a call as a guest reaches it: through the journal, and through a state's time to live.
//!
//! Invariant: what a read of a state with time to live changes sits in the journal like any write, so that a call that
//! fails has read nothing.

use wasmill_model::function::BuiltInReduce;
use wasmill_state::backend::Page;
use wasmill_state::ttl::TimeToLive;
use wasmill_state::ttl::read::{PageBound, Reading};

use super::fold::fold_built_in;
use super::overlay::Address;
use super::scope::CallScope;
use super::stored::Journaled;

/// All that fits into so many bytes.
pub fn bytes(bytes_max: usize) -> PageBound {
    PageBound {
        entries_max: usize::MAX,
        bytes_max,
    }
}

impl CallScope {
    /// The value of a value, reducing or aggregating state, and whether it is gone with that.
    pub fn read(&mut self, address: Address) -> Result<Reading, String> {
        match self.ttl(address.slot) {
            Some(ttl) => ttl.read(&mut Journaled::new(self, address), &[]),
            None => self.stored_value(address).map(kept),
        }
    }

    /// The value of a value, reducing or aggregating state.
    pub fn value(&mut self, address: Address) -> Result<Option<Vec<u8>>, String> {
        self.read(address).map(|reading| reading.value)
    }

    /// Sets or clears the value of a value, reducing or aggregating state.
    pub fn set_value(&mut self, address: Address, value: Option<Vec<u8>>) -> Result<(), String> {
        let value = self.stamped(address.slot, value);
        self.store_value(address, value)
    }

    /// Folds an element into a reducing state by its built-in reducer.
    pub fn fold(&mut self, address: Address, reduce: BuiltInReduce, element: &[u8]) -> Result<(), String> {
        let stored = self.value(address)?;
        let folded = fold_built_in(reduce, stored.as_deref(), element)?;
        self.set_value(address, Some(folded.to_le_bytes().to_vec()))
    }

    /// Appends to a list state.
    pub fn list_append(&mut self, address: Address, element: Vec<u8>) -> Result<(), String> {
        self.need_backend()?;
        let element = match self.ttl(address.slot) {
            Some(ttl) => ttl.stamped(&element),
            None => element,
        };
        self.charge(1, element.len())?;
        self.overlay.append(address, element);
        Ok(())
    }

    /// Replaces or clears a list state.
    pub fn list_replace(&mut self, address: Address, mut elements: Vec<Vec<u8>>) -> Result<(), String> {
        if let Some(ttl) = self.ttl(address.slot) {
            elements
                .iter_mut()
                .for_each(|element| *element = ttl.stamped(element));
        }
        self.list_reading = None;
        self.store_list(address, elements)
    }

    /// Elements of a list state from `start` on.
    pub fn list_page(&mut self, address: Address, start: u64, bound: PageBound) -> Result<Page, String> {
        let Some(ttl) = self.ttl(address.slot) else {
            return self.stored_list_page(address, start, bound.bytes_max);
        };
        let reading = self.list_reading.take();
        let mut reading = reading
            .filter(|(read, _)| *read == address)
            .map(|(_, reading)| reading);
        let page = ttl.list_page(&mut Journaled::new(self, address), &mut reading, start, bound)?;
        self.list_reading = reading.map(|reading| (address, reading));
        Ok(page)
    }

    /// The value under a map key, and whether it is gone with that.
    pub fn map_read(&mut self, address: Address, map_key: &[u8]) -> Result<Reading, String> {
        match self.ttl(address.slot) {
            Some(ttl) => ttl.read(&mut Journaled::new(self, address), map_key),
            None => self.stored_map_value(address, map_key).map(kept),
        }
    }

    /// The value under a map key.
    pub fn map_value(&mut self, address: Address, map_key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.map_read(address, map_key).map(|reading| reading.value)
    }

    /// Sets or removes a map entry.
    pub fn map_put(
        &mut self,
        address: Address,
        map_key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<(), String> {
        let value = self.stamped(address.slot, value);
        self.store_map_value(address, map_key, value)
    }

    /// Clears a map state.
    pub fn map_clear(&mut self, address: Address) -> Result<(), String> {
        self.need_backend()?;
        self.charge(1, 0)?;
        self.overlay.clear_map(address);
        Ok(())
    }

    /// Entries of a map state after `after`.
    pub fn map_page(
        &mut self,
        address: Address,
        after: Option<&[u8]>,
        bound: PageBound,
    ) -> Result<Page, String> {
        match self.ttl(address.slot) {
            Some(ttl) => ttl.map_page(&mut Journaled::new(self, address), after, bound),
            None => self.stored_map_page(address, after, bound.bytes_max),
        }
    }

    /// Whether a map state holds nothing; entries whose time is over count as long as they are there, as in Flink.
    pub fn map_is_empty(&mut self, address: Address) -> Result<bool, String> {
        let page = self.stored_map_page(address, None, 1)?;
        Ok(page.entries.is_empty())
    }

    /// The time to live of a state at the clock of the call.
    fn ttl(&self, slot: u32) -> Option<TimeToLive> {
        let settings = self.states().get(slot as usize)?.ttl?;
        Some(TimeToLive::new(settings, self.clocks.processing_time))
    }

    fn stamped(&self, slot: u32, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self.ttl(slot) {
            Some(ttl) => value.map(|value| ttl.stamped(&value)),
            None => value,
        }
    }
}

fn kept(value: Option<Vec<u8>>) -> Reading {
    Reading {
        value,
        is_removed: false,
    }
}
