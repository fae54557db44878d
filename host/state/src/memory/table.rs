//! Entries of one value, reducing or aggregating state in one key group.
//!
//! Invariants: every live slot has one entry in the index and no other points at it; no slot moves unless
//! the table takes a new epoch, so a location of the present epoch always lies at a slot.

mod changes;
mod clean;
mod grow;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use self::changes::{CHANGED, NEW, TableLot};
pub(super) use self::changes::{FrozenTable, TableChanges};
pub(super) use self::clean::{Walked, address_of_key};
pub(super) use self::grow::Grown;
use self::update::{Updated, update_rare, update_slot};
use super::changes::Changes;
use super::index::{Index, Location, PAGES_MAX};
use super::page::{
    ENTRY_BYTES_SHARED_MAX, Header, PAGE_BYTES, PAGE_BYTES_MIN, Page, PageBytes, Slot, holds, large_page,
    read_slot, slot_capacity, value_offset, walk, write_slot,
};
use crate::backend::Locator;

/// Numbers that no two tables of a backend ever share: a locator of another table, or from before a
/// compaction, is told by it.
#[derive(Clone, Default)]
pub(super) struct Epochs(Arc<AtomicU32>);

impl Epochs {
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The table is full: 32 GiB of pages.
#[derive(Debug)]
pub(super) struct TableFull;

/// A key and namespace with their hash.
#[derive(Clone, Copy)]
pub(crate) struct TableKey<'a> {
    pub(crate) hash: u32,
    pub(crate) key: &'a [u8],
    pub(crate) namespace: &'a [u8],
}

impl<'a> TableKey<'a> {
    /// Of no entry.
    pub(super) const NONE: Self = Self {
        hash: 0,
        key: &[],
        namespace: &[],
    };

    /// Of the lower half of the key's hash.
    #[inline]
    pub(crate) fn new(key_hash: u32, key: &'a [u8], namespace: &'a [u8]) -> Self {
        let hash = if namespace.is_empty() {
            key_hash
        } else {
            key_hash ^ xxh3_64(namespace) as u32
        };
        Self { hash, key, namespace }
    }
}

pub(super) struct Table {
    index: Index,
    pages: Vec<Page>,
    epoch: u32,
    /// Where slots are cut off next: page number and offset. No page yet where `pages` has no such number.
    cut_page: usize,
    cut_offset: usize,
    /// Freed slots by capacity.
    free: BTreeMap<u16, Vec<Location>>,
    /// Numbers of pages whose one large entry is gone.
    vacant: Vec<usize>,
    /// Bytes of all pages.
    page_bytes: usize,
    /// Bytes of shared pages that hold no entry and were cut off: freed slots and ends of pages.
    waste_bytes: usize,
    epochs: Epochs,
    /// A value that grows is put together here.
    scratch: Vec<u8>,
    /// Once a checkpoint may be built on.
    changes: Option<Box<Changes<TableLot>>>,
    /// Where the cleanup goes on.
    cleaned: Location,
}

impl Table {
    pub(super) fn new(epochs: &Epochs) -> Self {
        Self {
            index: Index::default(),
            pages: Vec::new(),
            epoch: epochs.next(),
            cut_page: usize::MAX,
            cut_offset: 0,
            free: BTreeMap::new(),
            vacant: Vec::new(),
            page_bytes: 0,
            waste_bytes: 0,
            epochs: epochs.clone(),
            scratch: Vec::new(),
            changes: None,
            cleaned: Location::FIRST,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Memory taken, all overhead included.
    pub(super) fn bytes(&self) -> usize {
        let free: usize = self.free.values().map(|slots| 32 + slots.capacity() * 4).sum();
        size_of::<Self>()
            + self.page_bytes
            + self.pages.capacity() * size_of::<Page>()
            + self.index.bytes()
            + free
            + self.vacant.capacity() * 8
            + self.changes.as_ref().map_or(0, |changes| changes.bytes())
    }

    /// Where the index entry at the key's home lies: what the first stage of a lookup loads.
    #[inline]
    pub(super) fn home(&self, hash: u32) -> &[u64] {
        self.index.home(hash)
    }

    /// The likely location, and the page from there: what the second stage loads.
    #[inline]
    pub(super) fn likely(&self, hash: u32, home: u64) -> (Location, &[u8]) {
        let location = self.index.first(hash, home).unwrap_or(Location::NONE);
        let page = self.pages.get(location.page());
        (
            location,
            page.map_or(&[], |page| page.bytes_from(location.offset())),
        )
    }

    /// The value of the slot that `slot` begins with if it is the key's; else the whole search.
    #[inline]
    pub(super) fn value<'t>(
        &'t self,
        key: TableKey<'_>,
        location: Location,
        slot: &'t [u8],
        header: Header,
    ) -> Option<(Location, &'t [u8])> {
        if header.identity() == Header::wanted(key.key.len(), key.namespace.len())
            && holds(slot, 0, key.key, key.namespace)
        {
            let start = value_offset(0, key.key, key.namespace);
            return Some((location, slot.get(start..start + header.value_length())?));
        }
        if location == Location::NONE {
            None
        } else {
            self.search(key)
        }
    }

    /// What tells a later write where the entry lies.
    #[inline]
    pub(super) fn locator(&self, location: Location) -> Locator {
        Locator(u64::from(self.epoch) << 32 | u64::from(location.0))
    }

    /// Sets a value: in its place where the locator holds or the search finds it and it fits.
    #[inline]
    pub(super) fn put(&mut self, key: TableKey<'_>, locator: Locator, value: &[u8]) -> Result<(), TableFull> {
        if (locator.0 >> 32) as u32 == self.epoch && self.update(Location(locator.0 as u32), key, value) {
            return Ok(());
        }
        self.put_by_search(key, value, 0)
    }

    /// A value.
    pub(super) fn get(&self, key: TableKey<'_>) -> Option<&[u8]> {
        let (_, location) = self.find(key)?;
        self.slot(location).map(|slot| slot.value)
    }

    /// Loads what a search for each of the keys will look at: all of one stage before the next, so that the memory
    /// is asked for many at once.
    pub(super) fn touch<'t>(lookups: impl Iterator<Item = &'t (&'t Self, u32)> + Clone) {
        let mut first = 0u64;
        for (table, hash) in lookups.clone() {
            first ^= table.home(*hash).first().copied().unwrap_or_default();
        }
        std::hint::black_box(first);
        let mut bytes = 0u8;
        for (table, hash) in lookups {
            let home = table.home(*hash).first().copied().unwrap_or_default();
            let (_, slot) = table.likely(*hash, home);
            bytes ^= slot.first().copied().unwrap_or_default();
        }
        std::hint::black_box(bytes);
    }

    /// Removes an entry; false where there was none.
    pub(super) fn remove(&mut self, key: TableKey<'_>) -> bool {
        self.take_out(key, true)
    }

    /// The same where whoever reads the changes knows of it otherwise.
    pub(super) fn remove_unnoted(&mut self, key: TableKey<'_>) -> bool {
        self.take_out(key, false)
    }

    fn take_out(&mut self, key: TableKey<'_>, noted: bool) -> bool {
        let Some((at, location)) = self.find(key) else {
            return false;
        };
        if noted {
            self.note_removed(key, location);
        }
        self.index.remove(at);
        self.release(location);
        self.tidy();
        true
    }

    /// After entries have gone.
    fn tidy(&mut self) {
        if self.index.len() == 0 {
            self.reset();
        } else {
            self.compact_if_wasteful();
        }
    }

    /// All entries, as they lie.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.pages.iter().flat_map(|page| walk(page.bytes()))
    }

    /// The pages, shared with whoever writes the snapshot.
    pub(super) fn share(&mut self) -> Vec<Arc<PageBytes>> {
        self.pages.iter_mut().map(Page::share).collect()
    }

    /// Overwrites the value of the slot at a location, if that slot is the key's and has room.
    #[inline]
    fn update(&mut self, location: Location, key: TableKey<'_>, value: &[u8]) -> bool {
        let flags = self.flags();
        let Some(page) = self.pages.get_mut(location.page()) else {
            return false;
        };
        let updated = match page.owned_mut() {
            Some(bytes) => match update_slot(bytes, location.offset(), key, value, flags) {
                Updated::No => update_rare(page, location, key, value, flags),
                updated => updated,
            },
            None => update_rare(page, location, key, value, flags),
        };
        if updated == Updated::Flagged {
            self.note(location);
        }
        updated != Updated::No
    }

    fn put_by_search(&mut self, key: TableKey<'_>, value: &[u8], room: usize) -> Result<(), TableFull> {
        let slot = Slot {
            key: key.key,
            namespace: key.namespace,
            value,
        };
        match self.find(key) {
            Some((_, location)) if self.update(location, key, value) => {}
            Some((at, location)) => {
                let moved = self.store(slot, room, self.flags_of(location))?;
                self.index.set(at, moved);
                self.release(location);
                self.compact_if_wasteful();
            }
            None => {
                let flags = match self.flags() {
                    0 => 0,
                    flags => flags | NEW,
                };
                let location = self.store(slot, room, flags)?;
                self.index.insert(key.hash, location);
            }
        }
        Ok(())
    }

    #[cold]
    pub(super) fn search(&self, key: TableKey<'_>) -> Option<(Location, &[u8])> {
        let (_, location) = self.find(key)?;
        self.slot(location).map(|slot| (location, slot.value))
    }

    fn find(&self, key: TableKey<'_>) -> Option<(usize, Location)> {
        let wanted = Header::wanted(key.key.len(), key.namespace.len());
        self.index.find(key.hash, |location| {
            let Some(page) = self.pages.get(location.page()).map(Page::bytes) else {
                return false;
            };
            let (offset, header) = (location.offset(), Header::read(page, location.offset()));
            if header.identity() == wanted {
                return holds(page, offset, key.key, key.namespace);
            }
            header.is_large() && read_slot(page, offset).is_some_and(|slot| is(slot, key.key, key.namespace))
        })
    }

    fn slot(&self, location: Location) -> Option<Slot<'_>> {
        read_slot(self.pages.get(location.page())?.bytes(), location.offset())
    }

    /// Writes an entry into a free slot, a new one, or a page of its own; with room behind it where it fits a slot.
    fn store(&mut self, slot: Slot<'_>, room: usize, flags: u64) -> Result<Location, TableFull> {
        let payload = slot.key.len() + slot.namespace.len() + slot.value.len();
        if slot_capacity(payload) > ENTRY_BYTES_SHARED_MAX {
            return self.store_large(slot, flags);
        }
        let capacity = slot_capacity(payload + room).min(ENTRY_BYTES_SHARED_MAX);
        let location = match self.free.get_mut(&(capacity as u16)).and_then(Vec::pop) {
            Some(location) => {
                self.waste_bytes -= capacity;
                location
            }
            None => self.cut(capacity)?,
        };
        let (page, offset) = (self.pages[location.page()].bytes_mut(), location.offset());
        let was_noted = Header::read(page, offset).0 & CHANGED != 0;
        write_slot(page, offset, capacity, slot, flags);
        if flags != 0 && !was_noted {
            self.note(location);
        }
        Ok(location)
    }

    /// Cuts a slot off the last page, which grows by doubling until it is full.
    fn cut(&mut self, capacity: usize) -> Result<Location, TableFull> {
        let end = self.cut_offset + capacity;
        let length = self.pages.get(self.cut_page).map_or(0, |page| page.bytes().len());
        if end > PAGE_BYTES || length == 0 {
            let first = (self.page_bytes / 8)
                .max(capacity)
                .next_power_of_two()
                .clamp(PAGE_BYTES_MIN, PAGE_BYTES);
            let page = self.add_page(Page::zeroed(first))?;
            self.waste_bytes += length.saturating_sub(self.cut_offset);
            (self.cut_page, self.cut_offset) = (page, 0);
        } else if end > length {
            let longer = end.next_power_of_two().min(PAGE_BYTES);
            self.pages[self.cut_page].grow(longer);
            self.page_bytes += longer - length;
        }
        let location = Location::new(self.cut_page, self.cut_offset);
        self.cut_offset += capacity;
        Ok(location)
    }

    fn store_large(&mut self, slot: Slot<'_>, flags: u64) -> Result<Location, TableFull> {
        let page = large_page(slot, flags);
        let location = match self.vacant.pop() {
            None => Location::new(self.add_page(page)?, 0),
            Some(number) => {
                self.page_bytes += page.bytes().len();
                self.pages[number] = page;
                Location::new(number, 0)
            }
        };
        if flags != 0 {
            self.note(location);
        }
        Ok(location)
    }

    fn add_page(&mut self, page: Page) -> Result<usize, TableFull> {
        if self.pages.len() == PAGES_MAX {
            return Err(TableFull);
        }
        self.page_bytes += page.bytes().len();
        self.pages.push(page);
        Ok(self.pages.len() - 1)
    }

    /// Gives the slot of an entry free.
    fn release(&mut self, location: Location) {
        let page = &mut self.pages[location.page()];
        let header = Header::read(page.bytes(), location.offset());
        if header.is_large() {
            self.page_bytes -= page.bytes().len();
            *page = Page::none();
            self.vacant.push(location.page());
            return;
        }
        // A slot that is noted stays so, whatever is put there: so it is noted once.
        let freed = Header(header.freed().0 | header.0 & CHANGED);
        freed.write(page.bytes_mut(), location.offset());
        self.waste_bytes += header.capacity();
        self.free
            .entry(header.capacity() as u16)
            .or_default()
            .push(location);
    }

    /// Builds the table anew when more than half of what was cut off is waste. The cost is paid by the
    /// releases since the last time.
    fn compact_if_wasteful(&mut self) {
        if self.waste_bytes <= PAGE_BYTES_MIN.max(self.page_bytes / 2) {
            return;
        }
        let mut compact = Self::new(&self.epochs);
        compact.index = Index::with_room_for(self.index.len());
        let (mut moved, mut to_clean) = (Vec::new(), Location::NONE);
        for (old, hash) in self.index.by_location() {
            // NOTE: there is always room, since the table holds less than it did.
            if let Ok(new) = compact.adopt(&mut self.pages[old.page()], old.offset()) {
                compact.index.insert(hash, new);
                if old.0 >= self.cleaned.0 {
                    to_clean = Location(to_clean.0.min(new.0));
                }
                if self.changes.is_some() {
                    moved.push((old, new));
                }
            }
        }
        compact.changes = self.changes.take();
        compact.relocate(&moved);
        compact.cleaned = to_clean;
        *self = compact;
    }

    /// Copies an entry of the table that is compacted, or takes its page over where it has one.
    fn adopt(&mut self, page: &mut Page, offset: usize) -> Result<Location, TableFull> {
        if Header::read(page.bytes(), 0).is_large() {
            let page = std::mem::replace(page, Page::none());
            return Ok(Location::new(self.add_page(page)?, 0));
        }
        let flags = Header::read(page.bytes(), offset).0 & (CHANGED | NEW);
        let slot = read_slot(page.bytes(), offset).ok_or(TableFull)?;
        self.store(slot, 0, flags)
    }

    /// Forgets all pages of an empty table, unless it is so small that it would only take them again.
    fn reset(&mut self) {
        if self.page_bytes > PAGE_BYTES_MIN {
            let changes = self.changes.take();
            *self = Self::new(&self.epochs);
            self.changes = changes;
            self.relocate(&[]);
        }
    }
}

/// Whether a slot holds the entry of a key.
fn is(slot: Slot<'_>, key: &[u8], namespace: &[u8]) -> bool {
    slot.key == key && slot.namespace == namespace
}
