//! Constants and small codecs that the writer and the reader of snapshots share.
//!
//! Invariant: nothing here changes without a new version; `tests/fixtures` holds a file of each.

use serde::{Deserialize, Serialize};
use wasmill_model::function::StateDeclaration;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};

use crate::timers::TimeDomain;

/// The version written, and the newest read.
pub const VERSION: u32 = 1;

/// A block is closed when its bytes reach this; one larger entry makes a larger block.
pub const BLOCK_BYTES: usize = 64 * 1024;

pub(super) const MAGIC_START: [u8; 8] = *b"WMSTATE\n";
/// Of a segment (`segment.rs`).
pub(super) const MAGIC_SEGMENT: [u8; 8] = *b"WMDELTA\n";
pub(super) const MAGIC_END: [u8; 8] = *b"WMEND01\n";
/// Magic and version.
pub(super) const START_BYTES: usize = 12;
/// Index offset, file length, version, checksum, magic.
pub(super) const END_BYTES: usize = 32;
/// Of a block, its checksum included.
pub(super) const BLOCK_HEADER_BYTES: usize = 20;
/// Group, offset, length.
pub(super) const INDEX_ENTRY_BYTES: usize = 20;

pub(super) const KIND_HEADER: u8 = 1;
pub(super) const KIND_ENTRIES: u8 = 2;
pub(super) const KIND_TIMERS: u8 = 3;
pub(super) const KIND_INDEX: u8 = 4;

/// Of segments only.
pub(super) const KIND_REMOVED: u8 = 5;
pub(super) const KIND_CHUNKS: u8 = 6;
pub(super) const KIND_TIMES_GONE: u8 = 7;
pub(super) const KIND_TIMERS_GONE: u8 = 8;

pub(super) const DOMAIN_EVENT: u16 = 1;
pub(super) const DOMAIN_PROCESSING: u16 = 2;

/// How blocks number a domain.
pub(super) fn domain_number(domain: TimeDomain) -> u16 {
    match domain {
        TimeDomain::Event => DOMAIN_EVENT,
        TimeDomain::Processing => DOMAIN_PROCESSING,
    }
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotHeader {
    /// The checkpoint it was taken for.
    pub checkpoint: CheckpointId,
    /// The groups it covers.
    pub range: KeyGroupRange,
    /// Number of key groups of the job: a restore needs the same.
    pub max_parallelism: MaxParallelism,
    /// The states, in the order by which blocks number them.
    pub states: Vec<StateDeclaration>,
}

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) group: u16,
    pub(super) state: u16,
    pub(super) count: u32,
    pub(super) length: u32,
    pub(super) crc32c: u32,
}

impl BlockHeader {
    /// The bytes without the checksum, which covers them.
    fn summed(self) -> [u8; BLOCK_HEADER_BYTES - 4] {
        let mut bytes = [0; BLOCK_HEADER_BYTES - 4];
        bytes[0] = self.kind;
        bytes[1] = self.flags;
        bytes[2..4].copy_from_slice(&self.group.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.state.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The checksum of a block with this head at `offset`.
    pub(super) fn checksum(self, offset: u64, payload: &[u8]) -> u32 {
        let crc = crc32c::crc32c(&offset.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &self.summed());
        crc32c::crc32c_append(crc, payload)
    }

    pub(super) fn encode(self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..16].copy_from_slice(&self.summed());
        bytes[16..].copy_from_slice(&self.crc32c.to_le_bytes());
        bytes
    }

    /// `None` where the reserved bytes are not 0: the checksum does not cover what is not decoded.
    pub(super) fn decode(bytes: [u8; BLOCK_HEADER_BYTES]) -> Option<Self> {
        let [
            kind,
            flags,
            g0,
            g1,
            s0,
            s1,
            0,
            0,
            c0,
            c1,
            c2,
            c3,
            l0,
            l1,
            l2,
            l3,
            x0,
            x1,
            x2,
            x3,
        ] = bytes
        else {
            return None;
        };
        Some(Self {
            kind,
            flags,
            group: u16::from_le_bytes([g0, g1]),
            state: u16::from_le_bytes([s0, s1]),
            count: u32::from_le_bytes([c0, c1, c2, c3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            crc32c: u32::from_le_bytes([x0, x1, x2, x3]),
        })
    }
}

/// Appends a LEB128 varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front; `None` where there is none of 32 bits.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0xf {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a length and its bytes. Whoever calls it has checked the length against its limit.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// Takes a length and its bytes off the front.
#[inline]
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_varint(bytes)? as usize;
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_reads_back_at_every_length() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = bytes.as_slice();
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_that_is_cut_or_too_large_is_none() {
        for bytes in [&[][..], &[0x80], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0xff; 6]] {
            assert_eq!(take_varint(&mut { bytes }), None);
        }
    }
}
