//! Maps: their entries are neighbours in the store. Reads and writes of single entries go through the cache; to be read
//! in order, all of the state that is dirty goes to the store first, which costs what writing it at once had cost.

use super::StoredBackend;
use super::layout::{Layout, prefix};
use crate::backend::{PAGE_ENTRY_BYTES, Page, StateError, StateId, StateKey};
use crate::store::Column;

impl StoredBackend {
    pub(super) fn page_of_map(
        &mut self,
        id: StateId,
        key: &StateKey<'_>,
        after: Option<&[u8]>,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        self.flush(id);
        let store = self.reach()?;
        let prefix = prefix(key);
        let start = [&prefix, after.unwrap_or_default()].concat();
        let mut bytes = 0;
        out.done = true;
        store.scan(Column(id.0), &start, &mut |stored, value| {
            let Some(map_key) = stored.strip_prefix(&prefix[..]) else {
                return Ok(false);
            };
            if after == Some(map_key) {
                return Ok(true);
            }
            if bytes >= bytes_max && !out.entries.is_empty() {
                out.done = false;
                return Ok(false);
            }
            bytes += map_key.len() + value.len() + PAGE_ENTRY_BYTES;
            out.entries.push((map_key.to_vec(), value.to_vec()));
            Ok(true)
        })
    }

    /// Removes all entries of a map.
    pub(super) fn clear_map(&mut self, id: StateId, key: &StateKey<'_>) -> Result<(), StateError> {
        self.flush(id);
        let store = self.reach()?;
        let prefix = prefix(key);
        store.scan(Column(id.0), &prefix, &mut |stored, _| {
            let Some(map_key) = stored.strip_prefix(&prefix[..]) else {
                return Ok(false);
            };
            let entry = StateKey { map_key, ..*key };
            let address = Layout::Map.address(&entry, &mut self.buffers.rest);
            self.cache.forget(usize::from(id.0), address);
            let write = |out: &mut Vec<u8>| out.extend_from_slice(stored);
            self.changes.push_with(Column(id.0), write, None);
            Ok(true)
        })
    }
}
