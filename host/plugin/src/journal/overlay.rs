//! State writes of a call that is under way: seen by its own reads, unknown to the backend.
//!
//! Invariant: reading through an overlay gives what the backend would give if the writes had been
//! applied, and [`Overlay::apply`] makes that so. Dropping an overlay undoes the call.

use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashTable;
use wasmill_state::backend::{
    KeyedStateBackend, Locator, PAGE_ENTRY_BYTES, Page, StateError, StateId, StateKey, Values, Write,
};

use super::keys::CallKeys;

/// One state of one key in one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Index in the function's `state` list.
    pub slot: u32,
    /// Index in [`CallKeys`].
    pub key: u32,
    /// Index in [`CallKeys`], or [`super::keys::NONE`].
    pub namespace: u32,
}

impl Address {
    fn hash(self) -> u64 {
        let mixed = (u64::from(self.slot) << 48) ^ (u64::from(self.namespace) << 32) ^ u64::from(self.key);
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}

enum Pending {
    Value {
        value: Option<Vec<u8>>,
        locator: Locator,
    },
    List {
        /// What the backend holds goes first.
        replaced: bool,
        appended: Vec<Vec<u8>>,
        /// How many elements the backend holds, once it is known.
        base_len: Option<u64>,
    },
    Map {
        /// What the backend holds goes first.
        cleared: bool,
        /// `None` where the entry is removed.
        entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    },
}

/// Where the backend keeps an address: how reads fall through.
pub struct Below<'a> {
    /// The backend.
    pub backend: &'a mut dyn KeyedStateBackend,
    /// The state in it.
    pub state: StateId,
    /// The key and namespace.
    pub key: StateKey<'a>,
}

/// Writes that were not applied yet.
#[derive(Default)]
pub struct Overlay {
    entries: Vec<(Address, Pending)>,
    index: HashTable<u32>,
}

impl Overlay {
    /// Forgets all writes.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }

    /// Whether there is no write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, address: Address) -> Option<usize> {
        let entries = &self.entries;
        self.index
            .find(address.hash(), |at| {
                entries
                    .get(*at as usize)
                    .is_some_and(|(known, _)| *known == address)
            })
            .map(|at| *at as usize)
    }

    fn entry(&mut self, address: Address, empty: impl FnOnce() -> Pending) -> &mut Pending {
        let at = match self.find(address) {
            Some(at) => at,
            None => {
                let at = self.entries.len();
                self.entries.push((address, empty()));
                let entries = &self.entries;
                self.index.insert_unique(address.hash(), at as u32, |at| {
                    entries.get(*at as usize).map_or(0, |(known, _)| known.hash())
                });
                at
            }
        };
        &mut self.entries[at].1
    }

    /// The pending value: `None` where there is no write.
    pub fn value(&self, address: Address) -> Option<Option<&[u8]>> {
        match &self.entries[self.find(address)?].1 {
            Pending::Value { value, .. } => Some(value.as_deref()),
            _ => None,
        }
    }

    /// Sets a value, or clears it by `None`.
    pub fn set_value(&mut self, address: Address, new: Option<Vec<u8>>, found_at: Locator) {
        let pending = self.entry(address, || Pending::Value {
            value: None,
            locator: found_at,
        });
        if let Pending::Value { value, .. } = pending {
            *value = new;
        }
    }

    /// Appends to a list.
    pub fn append(&mut self, address: Address, element: Vec<u8>) {
        let pending = self.entry(address, || Pending::List {
            replaced: false,
            appended: Vec::new(),
            base_len: None,
        });
        if let Pending::List { appended, .. } = pending {
            appended.push(element);
        }
    }

    /// Replaces a list as a whole.
    pub fn replace_list(&mut self, address: Address, elements: Vec<Vec<u8>>) {
        *self.entry(address, || Pending::Value {
            value: None,
            locator: Locator::UNKNOWN,
        }) = Pending::List {
            replaced: true,
            appended: elements,
            base_len: Some(0),
        };
    }

    /// Sets a map entry, or removes it by `None`.
    pub fn put(&mut self, address: Address, map_key: Vec<u8>, value: Option<Vec<u8>>) {
        let pending = self.entry(address, || Pending::Map {
            cleared: false,
            entries: BTreeMap::new(),
        });
        if let Pending::Map { entries, .. } = pending {
            entries.insert(map_key, value);
        }
    }

    /// Clears a map as a whole.
    pub fn clear_map(&mut self, address: Address) {
        *self.entry(address, || Pending::Value {
            value: None,
            locator: Locator::UNKNOWN,
        }) = Pending::Map {
            cleared: true,
            entries: BTreeMap::new(),
        };
    }

    /// The pending value under a map key: `None` where the backend must be asked.
    pub fn map_value(&self, address: Address, map_key: &[u8]) -> Option<Option<&[u8]>> {
        match &self.entries[self.find(address)?].1 {
            Pending::Map { cleared, entries } => match entries.get(map_key) {
                Some(value) => Some(value.as_deref()),
                None => cleared.then_some(None),
            },
            _ => None,
        }
    }

    /// A page of a list, pending elements included.
    pub fn list_page(
        &mut self,
        address: Address,
        below: Below<'_>,
        start: u64,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        out.entries.clear();
        out.done = false;
        let pending = self.find(address).map(|at| &mut self.entries[at].1);
        let Some(Pending::List {
            replaced,
            appended,
            base_len,
        }) = pending
        else {
            return below
                .backend
                .list_page(below.state, below.key, start, bytes_max, out);
        };
        let mut base = 0;
        if !*replaced {
            below
                .backend
                .list_page(below.state, below.key, start, bytes_max, out)?;
            if !out.done {
                return Ok(());
            }
            base = match *base_len {
                Some(known) => known,
                None if start == 0 || !out.entries.is_empty() => start + out.entries.len() as u64,
                None => list_len(below)?,
            };
            *base_len = Some(base);
        }
        out.done = false;
        let mut used: usize = out.entries.iter().map(entry_bytes).sum();
        let first = usize::try_from(start.saturating_sub(base)).unwrap_or(usize::MAX);
        for element in appended.iter().skip(first) {
            let cost = element.len() + PAGE_ENTRY_BYTES;
            if !out.entries.is_empty() && used + cost > bytes_max {
                return Ok(());
            }
            used += cost;
            out.entries.push((Vec::new(), element.clone()));
        }
        out.done = true;
        Ok(())
    }

    /// A page of a map, pending entries merged in and removed ones left out.
    pub fn map_page(
        &self,
        address: Address,
        below: Below<'_>,
        after: Option<&[u8]>,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError> {
        out.entries.clear();
        out.done = false;
        let pending = self.find(address).map(|at| &self.entries[at].1);
        let Some(Pending::Map { cleared, entries }) = pending else {
            return below
                .backend
                .map_page(below.state, below.key, after, bytes_max, out);
        };
        let mut after = after.map(<[u8]>::to_vec);
        loop {
            let mut base = Page {
                entries: Vec::new(),
                done: true,
            };
            if !*cleared {
                below
                    .backend
                    .map_page(below.state, below.key, after.as_deref(), bytes_max, &mut base)?;
            }
            let last = base.entries.last().map(|(key, _)| key.clone());
            // A page that is not the last one holds at least one entry; pending keys beyond it wait.
            let upto = if base.done { None } else { last };
            let ended = upto.is_none();
            if !merge(
                base.entries,
                entries,
                after.as_deref(),
                upto.as_deref(),
                bytes_max,
                out,
            ) {
                return Ok(());
            }
            if ended {
                out.done = true;
                return Ok(());
            }
            if !out.entries.is_empty() {
                return Ok(());
            }
            after = upto;
        }
    }

    /// Writes all to the backend, in the order in which each address was first written.
    pub fn apply(
        &mut self,
        states: &[StateId],
        keys: &CallKeys,
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<(), StateError> {
        let mut at = 0;
        while at < self.entries.len() {
            let (address, pending) = &self.entries[at];
            let Some(state) = states.get(address.slot as usize).copied() else {
                at += 1;
                continue;
            };
            let key = keys.state_key(address.key, address.namespace);
            match pending {
                Pending::Value { .. } => {
                    at += self.apply_values(at, state, keys, backend)?;
                    continue;
                }
                Pending::List {
                    replaced, appended, ..
                } => {
                    if *replaced {
                        backend.clear(state, key)?;
                    }
                    for element in appended {
                        backend.append(state, key, element)?;
                    }
                }
                Pending::Map { cleared, entries } => {
                    if *cleared {
                        backend.clear(state, key)?;
                    }
                    let writes: Vec<Write<'_>> = entries
                        .iter()
                        .map(|(map_key, value)| Write {
                            key: StateKey { map_key, ..key },
                            locator: Locator::UNKNOWN,
                            value: value.as_deref(),
                        })
                        .collect();
                    backend.write_batch(state, &writes)?;
                }
            }
            at += 1;
        }
        self.clear();
        Ok(())
    }

    /// Writes the values from entry `first` on that belong to one state, in one batch; how many.
    fn apply_values(
        &self,
        first: usize,
        state: StateId,
        keys: &CallKeys,
        backend: &mut dyn KeyedStateBackend,
    ) -> Result<usize, StateError> {
        let slot = self.entries[first].0.slot;
        let writes: Vec<Write<'_>> = self.entries[first..]
            .iter()
            .map_while(|(address, pending)| match pending {
                Pending::Value { value, locator } if address.slot == slot => Some(Write {
                    key: keys.state_key(address.key, address.namespace),
                    locator: *locator,
                    value: value.as_deref(),
                }),
                _ => None,
            })
            .collect();
        backend.write_batch(state, &writes)?;
        Ok(writes.len())
    }
}

/// Merges a page of the backend with pending entries after `after` and up to `upto`; false where `out`
/// is full before all are in it.
fn merge(
    base: Vec<(Vec<u8>, Vec<u8>)>,
    pending: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    after: Option<&[u8]>,
    upto: Option<&[u8]>,
    bytes_max: usize,
    out: &mut Page,
) -> bool {
    let low = after.map_or(Bound::Unbounded, Bound::Excluded);
    let high = upto.map_or(Bound::Unbounded, Bound::Included);
    let mut used: usize = out.entries.iter().map(entry_bytes).sum();
    let mut base = base.into_iter().peekable();
    let mut over = pending.range::<[u8], _>((low, high)).peekable();
    loop {
        let from_base = match (base.peek(), over.peek()) {
            (None, None) => return true,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((left, _)), Some((right, _))) => left < *right,
        };
        let (key, value) = if from_base {
            let Some((key, value)) = base.next() else {
                return true;
            };
            (key, Some(value))
        } else {
            let Some((key, value)) = over.next() else {
                return true;
            };
            base.next_if(|(known, _)| known == key);
            (key.clone(), value.clone())
        };
        let Some(value) = value else { continue };
        let entry = (key, value);
        if !out.entries.is_empty() && used + entry_bytes(&entry) > bytes_max {
            return false;
        }
        used += entry_bytes(&entry);
        out.entries.push(entry);
    }
}

fn entry_bytes((key, value): &(Vec<u8>, Vec<u8>)) -> usize {
    key.len() + value.len() + PAGE_ENTRY_BYTES
}

/// Counts a list page by page: only for a page far behind its end while writes are pending.
fn list_len(below: Below<'_>) -> Result<u64, StateError> {
    const PAGE_BYTES: usize = 1 << 20;
    let mut page = Page::default();
    let mut length = 0;
    loop {
        page.entries.clear();
        page.done = false;
        below
            .backend
            .list_page(below.state, below.key, length, PAGE_BYTES, &mut page)?;
        length += page.entries.len() as u64;
        if page.done || page.entries.is_empty() {
            return Ok(length);
        }
    }
}

/// Reads one value, pending or stored, and where it was found.
pub fn read_value(
    overlay: &Overlay,
    address: Address,
    below: Below<'_>,
) -> Result<Option<Vec<u8>>, StateError> {
    if let Some(pending) = overlay.value(address) {
        return Ok(pending.map(<[u8]>::to_vec));
    }
    read_stored(below).map(|(value, _)| value)
}

/// Reads one value or map entry of the backend, and where it was found.
pub fn read_stored(below: Below<'_>) -> Result<(Option<Vec<u8>>, Locator), StateError> {
    let mut values = Values::default();
    below.backend.get_many(below.state, &[below.key], &mut values)?;
    let present = values
        .lengths
        .first()
        .is_some_and(|length| *length != wasmill_state::backend::NONE);
    let locator = values.locators.first().copied().unwrap_or(Locator::UNKNOWN);
    Ok((present.then_some(values.bytes), locator))
}
