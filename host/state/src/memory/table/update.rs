//! Values that are overwritten in their place.

use super::changes::{CHANGED, NEW};
use super::{TableKey, is};
use crate::memory::index::Location;
use crate::memory::page::{Header, Page, holds, read_slot, update_large, value_offset};

/// Whether a slot took a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Updated {
    /// It is another's, or too small.
    No,
    /// It did, and flags were set that it did not have.
    Flagged,
    Yes,
}

/// Overwrites the value of a shared slot, if it is the key's and has room.
#[inline]
pub(super) fn update_slot(
    page: &mut [u8],
    offset: usize,
    key: TableKey<'_>,
    value: &[u8],
    flags: u64,
) -> Updated {
    let TableKey { key, namespace, .. } = key;
    let header = Header::read(page, offset);
    let start = value_offset(offset, key, namespace);
    if header.identity() != Header::wanted(key.len(), namespace.len())
        || start - offset + value.len() > header.capacity()
        || !holds(page, offset, key, namespace)
    {
        return Updated::No;
    }
    if header.value_length() != value.len() || header.0 & flags != flags {
        let kept = header.0 & (CHANGED | NEW);
        header.with_value(value.len(), kept | flags).write(page, offset);
    }
    match (
        page.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<8>),
        value.first_chunk::<8>(),
    ) {
        // The usual counter: a store instead of a call.
        (Some(to), Some(from)) if value.len() == 8 => *to = *from,
        _ => page[start..start + value.len()].copy_from_slice(value),
    }
    flagged(header, flags)
}

/// The same for a large entry, and for a page that a snapshot shares: that is copied only if the slot is
/// the key's and has room.
#[cold]
pub(super) fn update_rare(
    page: &mut Page,
    location: Location,
    key: TableKey<'_>,
    value: &[u8],
    flags: u64,
) -> Updated {
    let offset = location.offset();
    let header = Header::read(page.bytes(), offset);
    if !read_slot(page.bytes(), offset).is_some_and(|slot| is(slot, key.key, key.namespace)) {
        return Updated::No;
    }
    if header.is_large() {
        if !update_large(page, key.key, key.namespace, value) {
            return Updated::No;
        }
        Header(header.0 | flags).write(page.bytes_mut(), offset);
        return flagged(header, flags);
    }
    let used = value_offset(0, key.key, key.namespace) + value.len();
    if used > header.capacity() {
        return Updated::No;
    }
    update_slot(page.bytes_mut(), offset, key, value, flags)
}

fn flagged(before: Header, flags: u64) -> Updated {
    match before.0 & flags == flags {
        true => Updated::Yes,
        false => Updated::Flagged,
    }
}
