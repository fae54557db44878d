//! What is stored for a key: its slices, and the running aggregates of those that a window has seen.
//!
//! Slices that no fired window held are *open*, each with its accumulator. The others are two stacks: the *front*
//! has for each slice the aggregate from it to the last of the front, the *back* has accumulators, and their
//! aggregate beside them. So the aggregate of a window is that of the first slice of the front that is in it, merged
//! with the back's. Invariant: all slices of the front are before those of the back; slices are in order; the back
//! is empty where the front is.
//!
//! The bytes are part of the checkpoint format: `base i64` and `flags u8`, then numbers as LEB128, signed ones
//! zigzag and from `base`; lengths before front and back; each slice is its number and an accumulator. An
//! accumulator of 8 bytes is stored without the zeros behind it, for it is a counter as a rule.

use super::slicing::SliceNumber;

/// The bytes of a key, parted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    /// Numbers of slices are stored as differences from it.
    pub(super) base: SliceNumber,
    /// The first slice of the window that fires next.
    pub(super) due: SliceNumber,
    /// The first slice of the last window that fired.
    pub(super) fired: Option<SliceNumber>,
    /// The aggregate of the back; `None` where that is empty.
    pub(super) aggregate: Option<Accumulator<'a>>,
    /// Slices with the aggregate from them on.
    pub(super) front: &'a [u8],
    /// Slices.
    pub(super) back: &'a [u8],
    /// Slices.
    pub(super) open: &'a [u8],
}

const HAS_FIRED: u8 = 1;
const HAS_AGGREGATE: u8 = 2;

/// Accumulators of other lengths are stored behind their length and this.
const LENGTHS: u64 = 9;

impl<'a> Stored<'a> {
    /// `None` where the bytes are damaged.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (base, rest) = bytes.split_first_chunk()?;
        let (flags, mut rest) = rest.split_first()?;
        let base = i64::from_le_bytes(*base);
        let due = base.wrapping_add(signed(&mut rest)?);
        let mut stored = Self {
            base,
            due,
            ..Self::default()
        };
        if flags & HAS_FIRED != 0 {
            stored.fired = Some(base.wrapping_add(signed(&mut rest)?));
        }
        if flags & HAS_AGGREGATE != 0 {
            stored.aggregate = Some(accumulator(&mut rest)?);
        }
        let (front, back) = (unsigned(&mut rest)?, unsigned(&mut rest)?);
        (stored.front, rest) = rest.split_at_checked(usize::try_from(front).ok()?)?;
        (stored.back, stored.open) = rest.split_at_checked(usize::try_from(back).ok()?)?;
        Some(stored)
    }

    /// Appends the bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.base.to_le_bytes());
        let aggregate = if self.aggregate.is_some() {
            HAS_AGGREGATE
        } else {
            0
        };
        out.push(aggregate | if self.fired.is_some() { HAS_FIRED } else { 0 });
        put_signed(out, self.due.wrapping_sub(self.base));
        if let Some(fired) = self.fired {
            put_signed(out, fired.wrapping_sub(self.base));
        }
        if let Some(aggregate) = &self.aggregate {
            put_accumulator(out, aggregate.bytes());
        }
        put_unsigned(out, self.front.len() as u64);
        put_unsigned(out, self.back.len() as u64);
        for part in [self.front, self.back, self.open] {
            out.extend_from_slice(part);
        }
    }

    /// Slices of one of the parts.
    pub(super) fn entries(&self, part: &'a [u8]) -> Entries<'a> {
        Entries {
            base: self.base,
            rest: part,
        }
    }
}

/// Appends a slice to a part whose numbers count from `base`.
pub(super) fn put_entry(out: &mut Vec<u8>, base: SliceNumber, slice: SliceNumber, accumulator: &[u8]) {
    put_signed(out, slice.wrapping_sub(base));
    put_accumulator(out, accumulator);
}

/// Reads slices from the front of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    base: SliceNumber,
    rest: &'a [u8],
}

/// An accumulator as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accumulator<'a> {
    Word([u8; 8]),
    Bytes(&'a [u8]),
}

impl Accumulator<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Word(word) => word,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'a> Entries<'a> {
    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Entries<'a> {
    /// `None` where the bytes are damaged; nothing follows then.
    type Item = Option<(SliceNumber, Accumulator<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let base = self.base;
        let mut read = || {
            let slice = base.wrapping_add(signed(&mut self.rest)?);
            Some((slice, accumulator(&mut self.rest)?))
        };
        let entry = read();
        if entry.is_none() {
            self.rest = &[];
        }
        Some(entry)
    }
}

fn accumulator<'a>(bytes: &mut &'a [u8]) -> Option<Accumulator<'a>> {
    let length = unsigned(bytes)?;
    let whole = length.checked_sub(LENGTHS);
    let (stored, rest) = bytes.split_at_checked(usize::try_from(whole.unwrap_or(length)).ok()?)?;
    *bytes = rest;
    if whole.is_some() {
        return Some(Accumulator::Bytes(stored));
    }
    let mut word = [0; 8];
    word.get_mut(..stored.len())?.copy_from_slice(stored);
    Some(Accumulator::Word(word))
}

fn put_accumulator(out: &mut Vec<u8>, accumulator: &[u8]) {
    if let Ok(word) = <[u8; 8]>::try_from(accumulator) {
        let length = 8 - u64::from_le_bytes(word).leading_zeros() as usize / 8;
        out.push(length as u8);
        out.extend_from_slice(&word[..length]);
        return;
    }
    put_unsigned(out, accumulator.len() as u64 + LENGTHS);
    out.extend_from_slice(accumulator);
}

/// Reads a LEB128 number.
pub(super) fn unsigned(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a LEB128 number.
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = unsigned(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_slices_are_frozen() {
        let mut open = Vec::new();
        put_entry(&mut open, 7, 6, &300u64.to_le_bytes());
        put_entry(&mut open, 7, 9, b"abc");
        let stored = Stored {
            base: 7,
            due: 5,
            fired: Some(4),
            aggregate: Some(Accumulator::Word(5u64.to_le_bytes())),
            front: &[],
            back: &[],
            open: &open,
        };
        let mut bytes = Vec::new();
        stored.encode(&mut bytes);
        // IMPORTANT: these bytes are part of the checkpoint format.
        assert_eq!(
            bytes,
            b"\x07\0\0\0\0\0\0\0\x03\x03\x05\x01\x05\0\0\x01\x02\x2c\x01\x04\x0cabc"
        );
        assert_eq!(Stored::decode(&bytes), Some(stored));
        let entries: Option<Vec<_>> = stored.entries(stored.open).collect();
        let word = Accumulator::Word(300u64.to_le_bytes());
        assert_eq!(entries, Some(vec![(6, word), (9, Accumulator::Bytes(b"abc"))]));
        assert_eq!(Stored::decode(&bytes[..12]), None);
    }

    proptest! {
        #[test]
        fn slices_are_read_back_whatever_their_numbers_and_accumulators(
            base: i64, slices in prop::collection::vec((any::<i64>(), prop::collection::vec(any::<u8>(), 0..20)), 0..9),
        ) {
            let mut part = Vec::new();
            slices.iter().for_each(|(slice, accumulator)| put_entry(&mut part, base, *slice, accumulator));
            let stored = Stored { base, ..Stored::default() };
            let entries = stored.entries(&part).map(|entry| entry.unwrap());
            let read: Vec<_> = entries.map(|(slice, accumulator)| (slice, accumulator.bytes().to_vec())).collect();
            prop_assert_eq!(read, slices);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(stored) = Stored::decode(&bytes) {
                for part in [stored.front, stored.back, stored.open] {
                    prop_assert!(stored.entries(part).count() <= part.len());
                }
            }
        }
    }
}
