//! Pages and the slots in them.
//!
//! A slot is a header (u64), key, namespace and value, in a multiple of 8 bytes. Invariant: slots lie one
//! after another from the start of a page, a zero header ends them, and a slot keeps its place and its
//! capacity as long as its page lives: so a page can be walked without an index, and a location that once
//! was a slot's stays one.

use std::sync::Arc;

/// Bytes of a full page; also what one write copies at most while a snapshot shares the page.
pub(crate) const PAGE_BYTES: usize = 16 * 1024;
/// The first size of a table's first page.
pub(crate) const PAGE_BYTES_MIN: usize = 256;
/// A larger entry gets a page of its own, so that a full page strands less than a quarter of itself.
pub(crate) const ENTRY_BYTES_SHARED_MAX: usize = PAGE_BYTES / 4;
/// Slots begin at multiples of this.
pub(crate) const UNIT: usize = 8;

const HEADER_BYTES: usize = 8;
/// Header, three lengths and four bytes unused.
const LARGE_HEADER_BYTES: usize = 24;

/// A page begins at a multiple of this, so that the usual small slot lies in one cache line.
const LINE: usize = 64;

/// Memory of a page, and a line more so that it can begin at a line wherever the allocator puts it.
#[derive(Default)]
pub(crate) struct PageBytes(Box<[u8]>);

impl PageBytes {
    pub(crate) fn zeroed(length: usize) -> Self {
        Self(vec![0; length + LINE].into_boxed_slice())
    }

    fn len(&self) -> usize {
        self.0.len().saturating_sub(LINE)
    }

    /// What the page holds.
    #[inline]
    pub(crate) fn get(&self) -> &[u8] {
        let start = self.0.as_ptr().align_offset(LINE);
        self.0.get(start..start + self.len()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut [u8] {
        let (start, length) = (self.0.as_ptr().align_offset(LINE), self.len());
        self.0.get_mut(start..start + length).unwrap_or_default()
    }

    /// What the page holds from an offset on, and nothing where it ends before.
    #[inline]
    pub(crate) fn get_from(&self, offset: usize) -> &[u8] {
        let start = self.0.as_ptr().align_offset(LINE);
        self.0.get(start + offset..).unwrap_or_default()
    }

    /// A copy, with zeroes after it up to `length`. Nothing is written twice: this is what a batch pays for
    /// a page that a snapshot shares.
    fn copy(&self, length: usize) -> Self {
        let mut copy: Vec<u8> = Vec::with_capacity(length + LINE);
        copy.resize(copy.as_ptr().align_offset(LINE), 0);
        copy.extend_from_slice(self.get());
        copy.resize(length + LINE, 0);
        Self(copy.into_boxed_slice())
    }
}

/// A page: ours alone, or shared with a snapshot and then copied before a write.
pub(crate) enum Page {
    Owned(PageBytes),
    Shared(Arc<PageBytes>),
}

impl Page {
    pub(crate) fn zeroed(length: usize) -> Self {
        Self::Owned(PageBytes::zeroed(length))
    }

    /// A page without bytes, in the place of one that is gone.
    pub(crate) fn none() -> Self {
        Self::Owned(PageBytes::default())
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes.get(),
            Self::Shared(bytes) => bytes.get(),
        }
    }

    /// The bytes from an offset on, and perhaps some zeroes after the page's end.
    #[inline]
    pub(crate) fn bytes_from(&self, offset: usize) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes.get_from(offset),
            Self::Shared(bytes) => bytes.get_from(offset),
        }
    }

    /// The bytes to write to, if no snapshot shares them.
    #[inline]
    pub(crate) fn owned_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Owned(bytes) => Some(bytes.get_mut()),
            Self::Shared(_) => None,
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if matches!(self, Self::Shared(_)) {
            self.own();
        }
        match self {
            Self::Owned(bytes) => bytes.get_mut(),
            // `own` has just replaced it.
            Self::Shared(_) => &mut [],
        }
    }

    /// A second owner of the bytes: what a snapshot keeps.
    pub(crate) fn share(&mut self) -> Arc<PageBytes> {
        let shared = match std::mem::replace(self, Self::none()) {
            Self::Owned(bytes) => Arc::new(bytes),
            Self::Shared(bytes) => bytes,
        };
        *self = Self::Shared(Arc::clone(&shared));
        shared
    }

    /// Makes it longer; the new bytes are zero.
    pub(crate) fn grow(&mut self, length: usize) {
        let longer = match self {
            Self::Owned(bytes) => bytes.copy(length),
            Self::Shared(bytes) => bytes.copy(length),
        };
        *self = Self::Owned(longer);
    }

    /// Takes the bytes back from a snapshot that is done with them, or copies them.
    #[cold]
    fn own(&mut self) {
        if let Self::Shared(bytes) = std::mem::replace(self, Self::none()) {
            *self = Self::Owned(Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.copy(shared.len())));
        }
    }
}

/// The header of a slot: bit 0 live, bit 1 large, then units (12 bits), and the lengths of key, namespace
/// and value (14 bits each). A large slot has lengths of its own behind the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header(pub(crate) u64);

const LIVE: u64 = 1;
const LARGE: u64 = 2;
const LENGTH_MASK: u64 = (1 << 14) - 1;
const UNITS_SHIFT: u32 = 2;
const KEY_SHIFT: u32 = 14;
const NAMESPACE_SHIFT: u32 = 28;
const VALUE_SHIFT: u32 = 42;
const IDENTITY_MASK: u64 = LIVE | LARGE | LENGTH_MASK << KEY_SHIFT | LENGTH_MASK << NAMESPACE_SHIFT;

impl Header {
    /// Of no slot.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn live(units: usize, key: usize, namespace: usize, value: usize) -> Self {
        Self(
            LIVE | (units as u64) << UNITS_SHIFT
                | (key as u64) << KEY_SHIFT
                | (namespace as u64) << NAMESPACE_SHIFT
                | (value as u64) << VALUE_SHIFT,
        )
    }

    /// What [`Self::identity`] of a live slot with a key and namespace of these lengths is. Lengths that
    /// fit no such slot give what no slot has.
    #[inline]
    pub(crate) fn wanted(key: usize, namespace: usize) -> u64 {
        if (key | namespace) as u64 > LENGTH_MASK {
            return LARGE;
        }
        LIVE | (key as u64) << KEY_SHIFT | (namespace as u64) << NAMESPACE_SHIFT
    }

    #[inline]
    pub(crate) fn identity(self) -> u64 {
        self.0 & IDENTITY_MASK
    }

    #[inline]
    pub(crate) fn is_large(self) -> bool {
        self.0 & (LIVE | LARGE) == LIVE | LARGE
    }

    #[inline]
    pub(crate) fn value_length(self) -> usize {
        (self.0 >> VALUE_SHIFT & LENGTH_MASK) as usize
    }

    #[inline]
    pub(crate) fn capacity(self) -> usize {
        (self.0 >> UNITS_SHIFT & 0xfff) as usize * UNIT
    }

    /// Whether it is of a slot that holds an entry.
    pub(crate) fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// The same slot with a value of another length, and with flags of whoever keeps any: bits 56 to 63 are free.
    pub(crate) fn with_value(self, length: usize, flags: u64) -> Self {
        let kept = self.0 & (IDENTITY_MASK | 0xfff << UNITS_SHIFT);
        Self(kept | (length as u64) << VALUE_SHIFT | flags)
    }

    /// The same slot without an entry.
    pub(crate) fn freed(self) -> Self {
        Self(self.0 & 0xfff << UNITS_SHIFT)
    }

    /// The header at `offset`; of no slot where the page ends before.
    #[inline]
    pub(crate) fn read(page: &[u8], offset: usize) -> Self {
        let bytes = page.get(offset..).and_then(<[u8]>::first_chunk);
        Self(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    #[inline]
    pub(crate) fn write(self, page: &mut [u8], offset: usize) {
        page[offset..offset + HEADER_BYTES].copy_from_slice(&self.0.to_le_bytes());
    }
}

/// A live entry within a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) namespace: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The capacity of a slot for so many bytes of key, namespace and value. Above 256 bytes it grows in steps
/// of a sixteenth, so that free slots find an entry again.
pub(crate) fn slot_capacity(payload: usize) -> usize {
    let units = (HEADER_BYTES + payload).div_ceil(UNIT);
    let step = if units <= 32 { 1 } else { 1 << (units.ilog2() - 4) };
    units.next_multiple_of(step) * UNIT
}

/// Writes an entry into a slot of that capacity, with flags of whoever keeps any.
pub(crate) fn write_slot(page: &mut [u8], offset: usize, capacity: usize, slot: Slot<'_>, flags: u64) {
    let Slot {
        key,
        namespace,
        value,
    } = slot;
    let header = Header::live(capacity / UNIT, key.len(), namespace.len(), value.len());
    Header(header.0 | flags).write(page, offset);
    let mut at = offset + HEADER_BYTES;
    for part in [key, namespace, value] {
        page[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// A page that holds one large entry, with room to grow by an eighth.
pub(crate) fn large_page(slot: Slot<'_>, flags: u64) -> Page {
    let length = LARGE_HEADER_BYTES + slot.key.len() + slot.namespace.len() + slot.value.len();
    let mut page = PageBytes::zeroed(length + length / 8);
    let bytes = page.get_mut();
    Header(LIVE | LARGE | flags).write(bytes, 0);
    let mut at = LARGE_HEADER_BYTES;
    for (number, part) in [slot.key, slot.namespace, slot.value].into_iter().enumerate() {
        let field = HEADER_BYTES + 4 * number;
        bytes[field..field + 4].copy_from_slice(&(part.len() as u32).to_le_bytes());
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Page::Owned(page)
}

/// Overwrites the value of a large entry; false where it does not fit.
pub(crate) fn update_large(page: &mut Page, key: &[u8], namespace: &[u8], value: &[u8]) -> bool {
    let at = large_value_offset(key, namespace);
    let length = page.bytes().len();
    // A value that has become small must not hold a large page for ever.
    if at + value.len() > length || at + value.len() < length / 2 {
        return false;
    }
    let bytes = page.bytes_mut();
    bytes[16..20].copy_from_slice(&(value.len() as u32).to_le_bytes());
    bytes[at..at + value.len()].copy_from_slice(value);
    true
}

/// The live entry at `offset`, if there is one.
#[inline]
pub(crate) fn read_slot(page: &[u8], offset: usize) -> Option<Slot<'_>> {
    let header = Header::read(page, offset);
    if header.is_large() {
        return read_large(page);
    }
    if header.0 & LIVE == 0 {
        return None;
    }
    let (key, rest) = page
        .get(offset + HEADER_BYTES..)?
        .split_at_checked((header.0 >> KEY_SHIFT & LENGTH_MASK) as usize)?;
    let (namespace, rest) = rest.split_at_checked((header.0 >> NAMESPACE_SHIFT & LENGTH_MASK) as usize)?;
    let value = rest.get(..header.value_length())?;
    Some(Slot {
        key,
        namespace,
        value,
    })
}

#[cold]
fn read_large(page: &[u8]) -> Option<Slot<'_>> {
    let length = |number: usize| {
        let field = page.get(HEADER_BYTES + 4 * number..)?.first_chunk()?;
        Some(u32::from_le_bytes(*field) as usize)
    };
    let (key, rest) = page.get(LARGE_HEADER_BYTES..)?.split_at_checked(length(0)?)?;
    let (namespace, rest) = rest.split_at_checked(length(1)?)?;
    let value = rest.get(..length(2)?)?;
    Some(Slot {
        key,
        namespace,
        value,
    })
}

/// Where in the page the value of a shared slot lies.
#[inline]
pub(crate) fn value_offset(offset: usize, key: &[u8], namespace: &[u8]) -> usize {
    offset + HEADER_BYTES + key.len() + namespace.len()
}

/// Where in its page the value of a large entry lies.
pub(crate) fn large_value_offset(key: &[u8], namespace: &[u8]) -> usize {
    LARGE_HEADER_BYTES + key.len() + namespace.len()
}

/// Whether the slot at `offset`, whose header has the identity of such a slot, holds this key and namespace.
#[inline]
pub(crate) fn holds(page: &[u8], offset: usize, key: &[u8], namespace: &[u8]) -> bool {
    let start = offset + HEADER_BYTES;
    let Some(stored) = page.get(start..start + key.len() + namespace.len()) else {
        return false;
    };
    let (stored_key, stored_namespace) = stored.split_at(key.len());
    same(stored_key, key) && (namespace.is_empty() || stored_namespace == namespace)
}

/// Equality of two slices of one length: without a call for the usual lengths of keys.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if let (8..=16, Some(a_head), Some(b_head), Some(a_tail), Some(b_tail)) = (
        a.len(),
        a.first_chunk::<8>(),
        b.first_chunk::<8>(),
        a.last_chunk::<8>(),
        b.last_chunk::<8>(),
    ) {
        return u64::from_ne_bytes(*a_head) == u64::from_ne_bytes(*b_head)
            && u64::from_ne_bytes(*a_tail) == u64::from_ne_bytes(*b_tail);
    }
    a == b
}

/// The live entries of a page.
pub(crate) fn walk(page: &[u8]) -> impl Iterator<Item = Slot<'_>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        loop {
            let offset = next?;
            let header = Header::read(page, offset);
            next = (header.0 != 0 && !header.is_large() && header.capacity() > 0)
                .then(|| offset + header.capacity());
            if let Some(slot) = read_slot(page, offset) {
                return Some(slot);
            }
        }
    })
}
