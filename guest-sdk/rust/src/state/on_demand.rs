//! The operations behind the handles, on the call that is under way.
//!
//! Values that travel are read and set in the frame. For the others, writes are collected in the
//! answer's WRITES and noted in the overlay; before a scan they are sent to the host, so that a
//! function always reads what it wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Slot, codec};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::frame::{NONE, read_u32};
use crate::host::{self, op};
use crate::overlay::{Known, Place};

/// Operations of a WRITES entry.
pub(super) mod write {
    pub(crate) const SET: u8 = 1;
    pub(crate) const CLEAR: u8 = 2;
    pub(crate) const APPEND: u8 = 3;
    pub(crate) const REPLACE_LIST: u8 = 4;
    pub(crate) const PUT: u8 = 5;
    pub(crate) const REMOVE: u8 = 6;
    pub(crate) const FOLD: u8 = 7;
    pub(crate) const BROADCAST_PUT: u8 = 8;
    pub(crate) const BROADCAST_REMOVE: u8 = 9;
    pub(crate) const BROADCAST_CLEAR: u8 = 10;
}

/// In the field `row` of a WRITES entry: the rest of it is a key that a scan gave.
const SCANNED_KEY: u32 = 1 << 31;

/// Bytes that one page of a scan asks for.
pub(super) const PAGE_BYTES: u32 = 64 << 10;

impl Call<'_> {
    /// The current key's value in a value, reducing or aggregating state.
    #[inline]
    pub(crate) fn value<T: DeserializeOwned + 'static>(&mut self, slot: Slot) -> Result<Option<T>> {
        if self.buffers.prefetched.holds(slot) {
            let entry = self.entry_of(slot.index);
            let bytes = self.buffers.prefetched.get(self.frame.bytes, slot, entry)?;
            return decode(slot, bytes);
        }
        self.look_up(slot, &[])
    }

    /// Sets it.
    #[inline]
    pub(crate) fn set_value<T: Serialize + 'static>(&mut self, slot: Slot, value: &T) -> Result<()> {
        if self.buffers.prefetched.holds(slot) {
            let entry = self.entry_of(slot.index);
            let prefetched = &mut self.buffers.prefetched;
            return prefetched
                .set(slot, entry, |out| codec::encode(value, out))?
                .map_err(|error| slot.codec_error(error));
        }
        self.write(slot, write::SET, &[], |out| encode(slot, value, out))
    }

    /// The bytes of a value that travels.
    pub(crate) fn value_bytes(&mut self, slot: Slot) -> Result<Option<&[u8]>> {
        let entry = self.entry_of(slot.index);
        self.buffers.prefetched.get(self.frame.bytes, slot, entry)
    }

    /// Sets them.
    pub(crate) fn set_value_bytes(&mut self, slot: Slot, value: &[u8]) -> Result<()> {
        let write = |out: &mut Vec<u8>| -> Result<()> {
            out.extend_from_slice(value);
            Ok(())
        };
        let entry = self.entry_of(slot.index);
        self.buffers.prefetched.set(slot, entry, write)?
    }

    /// Removes it.
    #[inline]
    pub(crate) fn clear_value(&mut self, slot: Slot) -> Result<()> {
        if self.buffers.prefetched.holds(slot) {
            let entry = self.entry_of(slot.index);
            return self.buffers.prefetched.clear(slot, entry);
        }
        self.clear_state(slot)
    }

    /// One value of a state that does not travel.
    pub(super) fn look_up<T: DeserializeOwned + 'static>(
        &mut self,
        slot: Slot,
        map_key: &[u8],
    ) -> Result<Option<T>> {
        let place = self.place(slot, map_key)?;
        if self.buffers.overlay.get(place) == Known::Unknown
            && let Some(last) = self.fetch(place)?
        {
            return decode(slot, Some(&last));
        }
        match self.buffers.overlay.get(place) {
            Known::Value(bytes) => decode(slot, Some(bytes)),
            Known::Absent | Known::Unknown => Ok(None),
        }
    }

    /// One value as the host has it, whatever the overlay says: the host may have folded into it.
    pub(super) fn look_up_fresh<T: DeserializeOwned + 'static>(&mut self, slot: Slot) -> Result<Option<T>> {
        let place = self.place(slot, &[])?;
        match self.fetch(place)? {
            Some(last) => decode(slot, Some(&last)),
            None => self.look_up(slot, &[]),
        }
    }

    /// Whether a map holds a key.
    pub(super) fn contains(&mut self, slot: Slot, map_key: &[u8]) -> Result<bool> {
        let place = self.place(slot, map_key)?;
        if self.buffers.overlay.get(place) == Known::Unknown && self.fetch(place)?.is_some() {
            return Ok(true);
        }
        Ok(matches!(self.buffers.overlay.get(place), Known::Value(_)))
    }

    /// Whether a map holds nothing.
    pub(super) fn is_empty(&mut self, slot: Slot) -> Result<bool> {
        let answer = self.page(slot, op::MAP_IS_EMPTY, &[])?;
        Ok(read_u32(&answer, 0) != 0)
    }

    /// Removes all that a state holds for the current key.
    pub(super) fn clear_state(&mut self, slot: Slot) -> Result<()> {
        self.write(slot, write::CLEAR, &[], |_| Ok(()))
    }

    /// Adds an entry to WRITES; `value` appends its value.
    pub(super) fn write(
        &mut self,
        slot: Slot,
        operation: u8,
        map_key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let place = self.place(slot, map_key)?;
        let row = self.scanned_key.map_or(self.row_index, |key| SCANNED_KEY | key);
        let value_start = self.push_write(row, place.slot, place.namespace, operation, map_key, value)?;
        let buffers = &mut *self.buffers;
        let written = &buffers.writes[value_start..];
        match operation {
            write::SET | write::PUT => buffers.overlay.put(place, Some(written)),
            write::REMOVE => buffers.overlay.put(place, None),
            write::CLEAR => buffers
                .overlay
                .clear_state(place.slot, place.key, place.namespace),
            _ => {}
        }
        Ok(())
    }

    /// Appends an entry to WRITES and gives where its value starts there.
    pub(super) fn push_write(
        &mut self,
        row: u32,
        slot: u32,
        namespace: u32,
        operation: u8,
        map_key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<usize> {
        let writes = &mut self.buffers.writes;
        let start = writes.len();
        writes.extend_from_slice(&[0; 4]);
        for field in [row, slot, namespace, u32::from(operation), map_key.len() as u32] {
            writes.extend_from_slice(&field.to_le_bytes());
        }
        writes.extend_from_slice(map_key);
        let value_start = writes.len();
        if let Err(error) = value(writes) {
            writes.truncate(start);
            return Err(error);
        }
        let length = (writes.len() - start) as u32;
        writes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(value_start)
    }

    /// From here on keyed states are those of a key that a scan gave: no value of it travels in the frame.
    pub(super) fn enter_key(&mut self, key: u32) {
        self.scanned_key = Some(key);
        self.buffers.prefetched.suspend(true);
    }

    /// The row has no key again.
    pub(super) fn leave_key(&mut self) {
        self.scanned_key = None;
        self.buffers.prefetched.suspend(false);
    }

    /// Hands the collected writes to the host, so that it sees them in a scan.
    pub(super) fn flush(&mut self) -> Result<()> {
        let buffers = &mut *self.buffers;
        if buffers.writes.is_empty() {
            return Ok(());
        }
        host::start_request(&mut buffers.request, op::WRITE);
        buffers.request.append(&mut buffers.writes);
        host::call(&buffers.request).map_err(Error::failed)?;
        Ok(())
    }

    /// Asks the host for one page of a list or map; `rest` is the end of the request.
    pub(super) fn page(&mut self, slot: Slot, operation: u8, rest: &[&[u8]]) -> Result<Vec<u8>> {
        let place = self.place(slot, &[])?;
        self.flush()?;
        let request = &mut self.buffers.request;
        host::start_request(request, operation);
        for field in [place.slot, place.key, place.namespace] {
            request.extend_from_slice(&field.to_le_bytes());
        }
        for part in rest {
            request.extend_from_slice(part);
        }
        host::call(request).map_err(Error::failed)
    }

    /// Asks the host for a value and notes it. A value whose time is over and which is gone with this read is given
    /// instead, this once.
    fn fetch(&mut self, place: Place<'_>) -> Result<Option<Vec<u8>>> {
        let request = &mut self.buffers.request;
        host::start_request(request, op::GET_MANY);
        let map_key_len = place.map_key.len() as u32;
        for field in [place.slot, 1, place.key, place.namespace, map_key_len] {
            request.extend_from_slice(&field.to_le_bytes());
        }
        request.extend_from_slice(place.map_key);
        let response = host::call(request).map_err(Error::failed)?;
        let wrong = || Error::failed("the host's answer to `get many` has another length");
        let (length, rest) = response.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (value, removed) = match u32::from_le_bytes(*length) {
            NONE => (None, rest),
            length => {
                let parts = rest.split_at_checked(length as usize);
                let (value, removed) = parts.ok_or_else(wrong)?;
                (Some(value), removed)
            }
        };
        match (value, removed) {
            (_, []) => {
                self.buffers.overlay.put(place, value);
                Ok(None)
            }
            // One index, of the only value that was asked for.
            (Some(value), [0, 0, 0, 0]) => {
                self.buffers.overlay.put(place, None);
                Ok(Some(value.to_vec()))
            }
            _ => Err(wrong()),
        }
    }

    fn place<'a>(&self, slot: Slot, map_key: &'a [u8]) -> Result<Place<'a>> {
        let key = self.scanned_key.unwrap_or(self.row.key);
        if slot.index == NONE || key == NONE {
            return Err(slot.unreachable(key != NONE));
        }
        Ok(Place {
            slot: slot.index,
            key,
            namespace: self.namespace_of(slot.index),
            map_key,
        })
    }
}

/// Encodes a value of a state.
#[inline]
pub(super) fn encode<T: Serialize + 'static>(slot: Slot, value: &T, out: &mut Vec<u8>) -> Result<()> {
    codec::encode(value, out).map_err(|error| slot.codec_error(error))
}

/// Decodes a value of a state.
#[inline]
pub(super) fn decode<T: DeserializeOwned + 'static>(slot: Slot, bytes: Option<&[u8]>) -> Result<Option<T>> {
    match bytes {
        None => Ok(None),
        Some(bytes) => match codec::decode(bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(slot.codec_error(error)),
        },
    }
}

/// The start of a page: how many entries, and whether they are the last.
pub(super) fn page_head(page: &[u8]) -> (u32, bool) {
    (read_u32(page, 0), read_u32(page, 4) != 0 || page.len() < 8)
}

/// Takes `len` bytes off `rest`.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let Some((taken, left)) = rest.split_at_checked(len) else {
        return Err(Error::failed("the host's page ends within an entry"));
    };
    *rest = left;
    Ok(taken)
}

/// Takes an integer off `rest`.
pub(super) fn take_u32(rest: &mut &[u8]) -> Result<usize> {
    Ok(read_u32(take(rest, 4)?, 0) as usize)
}
