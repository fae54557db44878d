//! Values that grow at their end.

use std::ops::Range;

use super::{Table, TableFull, TableKey};
use crate::memory::index::Location;
use crate::memory::page::{Header, Slot, large_value_offset, value_offset};

/// What became of a value that was to grow.
pub(in crate::memory) enum Grown<'t> {
    /// There is none.
    Missing,
    /// It would be longer than it may be.
    Full,
    /// The value with as many bytes more as were asked for, at its end; what they are is open.
    Value(&'t mut [u8]),
}

impl Table {
    /// Makes a value `more` bytes longer, up to `length_max`.
    pub(in crate::memory) fn grow(
        &mut self,
        key: TableKey<'_>,
        more: usize,
        length_max: usize,
    ) -> Result<Grown<'_>, TableFull> {
        let Some((at, location)) = self.find(key) else {
            return Ok(Grown::Missing);
        };
        let length = self.slot(location).map_or(0, |slot| slot.value.len()) + more;
        if length > length_max {
            return Ok(Grown::Full);
        }
        if let Some(range) = self.room(location, key, length) {
            return Ok(Grown::Value(&mut self.pages[location.page()].bytes_mut()[range]));
        }
        let mut longer = std::mem::take(&mut self.scratch);
        longer.clear();
        longer.extend_from_slice(self.slot(location).map_or(&[], |slot| slot.value));
        longer.resize(length, 0);
        let slot = Slot {
            key: key.key,
            namespace: key.namespace,
            value: &longer,
        };
        let flags = self.flags_of(location);
        let (moved, epoch) = (self.store(slot, length, flags), self.epoch);
        self.scratch = longer;
        let moved = moved?;
        self.index.set(at, moved);
        self.release(location);
        self.compact_if_wasteful();
        let moved = match self.epoch == epoch {
            true => moved,
            false => self.find(key).map_or(moved, |(_, location)| location),
        };
        let page = self.pages[moved.page()].bytes_mut();
        Ok(Grown::Value(value_mut(page, moved, key, length)))
    }

    /// Where the value of a shared slot lies after it was made `length` bytes long; `None` where it has no room.
    fn room(&mut self, location: Location, key: TableKey<'_>, length: usize) -> Option<Range<usize>> {
        let flags = self.flags_of(location);
        let page = self.pages.get_mut(location.page())?;
        let (offset, header) = (location.offset(), Header::read(page.bytes(), location.offset()));
        let start = value_offset(offset, key.key, key.namespace);
        if header.is_large() || start - offset + length > header.capacity() {
            return None;
        }
        header.with_value(length, flags).write(page.bytes_mut(), offset);
        if header.0 & flags != flags {
            self.note(location);
        }
        Some(start..start + length)
    }

    /// Sets a value that will grow: where it needs a new slot, that has room for as much again.
    pub(in crate::memory) fn put_with_room(
        &mut self,
        key: TableKey<'_>,
        value: &[u8],
    ) -> Result<(), TableFull> {
        self.put_by_search(key, value, value.len())
    }
}

/// The value of an entry, which is so long.
fn value_mut<'p>(page: &'p mut [u8], location: Location, key: TableKey<'_>, length: usize) -> &'p mut [u8] {
    let start = match Header::read(page, location.offset()).is_large() {
        true => large_value_offset(key.key, key.namespace),
        false => value_offset(location.offset(), key.key, key.namespace),
    };
    page.get_mut(start..start + length).unwrap_or_default()
}
