//! Reads a snapshot by key group.
//!
//! Invariant: no byte of the file is trusted before its checksum, and none after it either: every length is
//! held against what is left before memory is taken for it.

use std::io;

use serde::de::{DeserializeOwned, IgnoredAny};
use wasmill_model::function::StateKind;
use wasmill_model::key::KeyGroup;

use super::entries::Entries;
use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, DOMAIN_EVENT, DOMAIN_PROCESSING, END_BYTES, INDEX_ENTRY_BYTES,
    KIND_ENTRIES, KIND_HEADER, KIND_INDEX, KIND_TIMERS, MAGIC_END, MAGIC_START, START_BYTES, SnapshotHeader,
    VERSION, take_bytes,
};
use crate::backend::{SnapshotFile, StateError};
use crate::timers::{TimeDomain, Timer};

/// What one block of a group holds.
pub enum GroupBlock<'a> {
    /// Entries of one state.
    Entries {
        /// Index into the header's states.
        state: usize,
        /// The entries.
        entries: Entries<'a>,
    },
    /// Timers in firing order.
    Timers {
        /// Their clock.
        domain: TimeDomain,
        /// The timers.
        timers: Vec<Timer>,
    },
}

/// A snapshot whose header and index have been read and checked.
pub struct SnapshotReader<'a> {
    file: &'a mut dyn SnapshotFile,
    header: SnapshotHeader,
    /// Group, offset, end: ascending, one after another.
    index: Vec<(KeyGroup, u64, u64)>,
    block: Vec<u8>,
}

/// A part of the file, in bytes.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    end: u64,
}

impl<'a> SnapshotReader<'a> {
    /// Reads and checks start, end, index and header.
    pub fn open(file: &'a mut dyn SnapshotFile) -> Result<Self, StateError> {
        let (reader, IgnoredAny) = Self::open_as(file, MAGIC_START)?;
        Ok(reader)
    }

    /// The same of a file with another start, and what else its header says.
    pub(super) fn open_as<T: DeserializeOwned>(
        file: &'a mut dyn SnapshotFile,
        magic: [u8; 8],
    ) -> Result<(Self, T), StateError> {
        check_start(file, magic)?;
        let index_extent = read_end(file)?;
        let mut block = Vec::new();
        let (header, more, header_end) = read_header(file, index_extent.start, &mut block)?;
        let (head, end) = read_block(file, index_extent, &mut block)?;
        if head.kind != KIND_INDEX || end != index_extent.end {
            return Err(corrupt(format!(
                "there is no index at offset {}",
                index_extent.start
            )));
        }
        let groups = Extent {
            start: header_end,
            end: index_extent.start,
        };
        let index = decode_index(&block, groups, &header)?;
        let reader = Self {
            file,
            header,
            index,
            block,
        };
        Ok((reader, more))
    }

    /// What the snapshot says of itself.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The groups that hold anything, ascending.
    pub fn groups(&self) -> impl Iterator<Item = KeyGroup> {
        self.index.iter().map(|(group, ..)| *group)
    }

    /// Hands the blocks of one group to `visit` in the order of the file; none where the group is empty.
    pub fn read_group(
        &mut self,
        group: KeyGroup,
        visit: &mut dyn FnMut(GroupBlock<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.read_blocks(group, &mut |reader, head, offset| {
            visit(reader.decode(head, offset)?)
        })
    }

    /// The same with the blocks' heads and offsets; their bytes are [`block`](Self::block).
    pub(super) fn read_blocks(
        &mut self,
        group: KeyGroup,
        visit: &mut dyn FnMut(&Self, BlockHeader, u64) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let Ok(found) = self.index.binary_search_by_key(&group, |(group, ..)| *group) else {
            return Ok(());
        };
        let (_, mut start, end) = self.index[found];
        while start < end {
            let (head, next) = read_block(self.file, Extent { start, end }, &mut self.block)?;
            if head.group != group.0 {
                return Err(corrupt(format!(
                    "the block at offset {start} belongs to key group {}, the index says {}",
                    head.group, group.0
                )));
            }
            visit(self, head, start)?;
            start = next;
        }
        Ok(())
    }

    /// The bytes of the block that is read.
    pub(super) fn block(&self) -> &[u8] {
        &self.block
    }

    /// Which state a block belongs to.
    pub(super) fn state_of(&self, head: BlockHeader, offset: u64) -> Result<(usize, StateKind), StateError> {
        let state = usize::from(head.state);
        let declaration = self.header.states.get(state).ok_or_else(|| {
            corrupt(format!(
                "the block at offset {offset} holds state number {state}, the header has {}",
                self.header.states.len()
            ))
        })?;
        Ok((state, declaration.kind))
    }

    pub(super) fn decode(&self, head: BlockHeader, offset: u64) -> Result<GroupBlock<'_>, StateError> {
        let domain = match (head.kind, head.state) {
            (KIND_ENTRIES, _) => {
                let (state, kind) = self.state_of(head, offset)?;
                let payload = offset + BLOCK_HEADER_BYTES as u64;
                let entries = Entries::new(kind, head.count, &self.block, payload);
                return Ok(GroupBlock::Entries { state, entries });
            }
            (KIND_TIMERS, DOMAIN_EVENT) => TimeDomain::Event,
            (KIND_TIMERS, DOMAIN_PROCESSING) => TimeDomain::Processing,
            (kind, state) => {
                return Err(corrupt(format!(
                    "the block at offset {offset} is of unknown kind {kind}.{state}: a newer version may have written it"
                )));
            }
        };
        let timers = self.timers(head, offset)?;
        Ok(GroupBlock::Timers { domain, timers })
    }

    /// The timers of a block.
    pub(super) fn timers(&self, head: BlockHeader, offset: u64) -> Result<Vec<Timer>, StateError> {
        let mut rest = self.block.as_slice();
        let mut timers = Vec::new();
        for number in 0..head.count {
            let timer = take_timer(&mut rest, KeyGroup(head.group)).ok_or_else(|| {
                corrupt(format!(
                    "timer {number} of the block at offset {offset} runs past its end"
                ))
            })?;
            timers.push(timer);
        }
        if !rest.is_empty() {
            return Err(corrupt(format!(
                "{} bytes at the end of the block at offset {offset} belong to no timer",
                rest.len()
            )));
        }
        Ok(timers)
    }
}

fn take_timer(rest: &mut &[u8], group: KeyGroup) -> Option<Timer> {
    let (timestamp, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(Timer {
        timestamp: i64::from_le_bytes(*timestamp),
        group,
        key: take_bytes(rest)?.into(),
        namespace: take_bytes(rest)?.into(),
    })
}

fn check_start(file: &mut dyn SnapshotFile, magic: [u8; 8]) -> Result<(), StateError> {
    let length = file.len();
    if length < (START_BYTES + END_BYTES) as u64 {
        return Err(corrupt(format!(
            "the file has {length} bytes, less than an empty snapshot: it is cut short or something else"
        )));
    }
    let mut start = [0; START_BYTES];
    read_at(file, 0, &mut start)?;
    if start[..8] != magic {
        return Err(corrupt(
            "the file does not begin as a snapshot does: it is something else".to_owned(),
        ));
    }
    let version = u32_at(&start, 8);
    if version != VERSION {
        return Err(corrupt(format!(
            "the file says version {version}, this host reads version {VERSION}: a newer host wrote it, or it is damaged"
        )));
    }
    Ok(())
}

/// Returns where the index lies.
fn read_end(file: &mut dyn SnapshotFile) -> Result<Extent, StateError> {
    let length = file.len();
    let end_offset = length - END_BYTES as u64;
    let mut end = [0; END_BYTES];
    read_at(file, end_offset, &mut end)?;
    if end[24..] != MAGIC_END {
        return Err(corrupt(format!(
            "the end of the file at offset {end_offset} is missing: it is cut short or damaged"
        )));
    }
    let (index, stored_length, version) = (u64_at(&end, 0), u64_at(&end, 8), u32_at(&end, 16));
    if crc32c::crc32c(&end[..20]) != u32_at(&end, 20) || version != VERSION {
        return Err(corrupt(format!(
            "the end of the file at offset {end_offset} is damaged"
        )));
    }
    if stored_length != length {
        return Err(corrupt(format!(
            "the file has {length} bytes, it was written with {stored_length}"
        )));
    }
    if index < START_BYTES as u64 || index > end_offset {
        return Err(corrupt(format!(
            "the index cannot lie at offset {index} of {length}"
        )));
    }
    Ok(Extent {
        start: index,
        end: end_offset,
    })
}

fn read_header<T: DeserializeOwned>(
    file: &mut dyn SnapshotFile,
    end: u64,
    block: &mut Vec<u8>,
) -> Result<(SnapshotHeader, T, u64), StateError> {
    let start = START_BYTES as u64;
    let (head, next) = read_block(file, Extent { start, end }, block)?;
    if head.kind != KIND_HEADER {
        return Err(corrupt(format!("there is no header at offset {start}")));
    }
    // Its checksum was right: it is no damage.
    let newer = |error| {
        StateError::Unsupported(format!(
            "header at offset {start}: {error}: a newer host wrote it; restore it with that one"
        ))
    };
    let header: SnapshotHeader = serde_json::from_slice(block).map_err(newer)?;
    let more = serde_json::from_slice(block).map_err(newer)?;
    if header.range.start > header.range.end || header.range.end > header.max_parallelism.0 {
        return Err(corrupt(format!(
            "header: key groups {} to {} are not a range of {}",
            header.range.start, header.range.end, header.max_parallelism.0
        )));
    }
    Ok((header, more, next))
}

fn decode_index(
    block: &[u8],
    groups: Extent,
    header: &SnapshotHeader,
) -> Result<Vec<(KeyGroup, u64, u64)>, StateError> {
    let unfit = || corrupt("the index does not fit the file".to_owned());
    let (count, entries) = block.split_first_chunk::<4>().ok_or_else(unfit)?;
    if entries.len() as u64 != u64::from(u32::from_le_bytes(*count)) * INDEX_ENTRY_BYTES as u64 {
        return Err(unfit());
    }
    let mut index: Vec<(KeyGroup, u64, u64)> = Vec::new();
    let mut position = groups.start;
    for entry in entries.chunks_exact(INDEX_ENTRY_BYTES) {
        let group = u16::try_from(u32_at(entry, 0))
            .map(KeyGroup)
            .map_err(|_| unfit())?;
        let (offset, length) = (u64_at(entry, 4), u64_at(entry, 12));
        let ascending = index.last().is_none_or(|(last, ..)| *last < group);
        if !ascending || offset != position || !header.range.contains(group) {
            return Err(corrupt(format!(
                "the index has key group {} in a wrong place",
                group.0
            )));
        }
        position = offset
            .checked_add(length)
            .filter(|end| *end <= groups.end)
            .ok_or_else(unfit)?;
        index.push((group, offset, position));
    }
    if position != groups.end {
        return Err(corrupt(format!(
            "{} bytes at offset {position} belong to no key group",
            groups.end - position
        )));
    }
    Ok(index)
}

/// Reads the payload of the block at the start of `extent` into `block`; returns where the next begins.
fn read_block(
    file: &mut dyn SnapshotFile,
    extent: Extent,
    block: &mut Vec<u8>,
) -> Result<(BlockHeader, u64), StateError> {
    let Extent { start, end } = extent;
    let room = end.saturating_sub(start).checked_sub(BLOCK_HEADER_BYTES as u64);
    let room = room.ok_or_else(|| corrupt(format!("the block at offset {start} runs past offset {end}")))?;
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    read_at(file, start, &mut bytes)?;
    let head = BlockHeader::decode(bytes).filter(|head| u64::from(head.length) <= room);
    let Some(head) = head else {
        return Err(corrupt(format!(
            "the head of the block at offset {start} is damaged"
        )));
    };
    let payload = start + BLOCK_HEADER_BYTES as u64;
    block.clear();
    block.resize(head.length as usize, 0);
    read_at(file, payload, block)?;
    let computed = head.checksum(start, block);
    if computed != head.crc32c {
        return Err(corrupt(format!(
            "the block at offset {start} (kind {}, key group {}, state {}, {} bytes) has checksum {computed:08x}, \
             {:08x} is stored: it is damaged",
            head.kind, head.group, head.state, head.length, head.crc32c
        )));
    }
    if head.flags != 0 {
        return Err(corrupt(format!(
            "the block at offset {start} has flags {:#04x} that this host does not know: a newer host wrote it",
            head.flags
        )));
    }
    Ok((head, payload + u64::from(head.length)))
}

/// A file that ends early while it is read is cut short; any other failure is the storage's.
fn read_at(file: &mut dyn SnapshotFile, offset: u64, buffer: &mut [u8]) -> Result<(), StateError> {
    file.read_at(offset, buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(format!(
            "the file ends before offset {}: it is cut short",
            offset.saturating_add(buffer.len() as u64)
        )),
        _ => StateError::Io(error),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

pub(super) fn corrupt(message: String) -> StateError {
    StateError::Corrupt(message)
}
