//! Segments of a memory backend's checkpoint, version 1 (`memory-delta-1`): what has changed since an earlier segment.
//!
//! A segment is a file of blocks as a canonical snapshot is, with another magic at its start (`WMDELTA\n`) and these
//! additions. Segments are applied in their order, each group after group, and in a group block after block: so what is
//! removed goes before anything is put.
//!
//! | part | content |
//! |---|---|
//! | header | beside what that of a snapshot says: [`Continues`] |
//! | blocks 5, removed | by state, first in a group: `key, namespace` and for maps `map key`; of a list all of it |
//! | blocks 2, entries | by state: as in a snapshot, but not of lists; they replace those of before |
//! | blocks 6, chunks | by state of kind list: `key, namespace, open u8, number u32, first u64, count u32`, the elements as one varint length and the elements of a run |
//! | blocks 7, times gone | by domain: `timestamp i64`, of which no timer is left |
//! | blocks 8, timers gone | by domain: as timers |
//! | blocks 3, timers | by domain: as in a snapshot, those that are new |
//!
//! A chunk holds `count` elements of a list from number `first` on. An open one (1) is the list's last, behind `number`
//! closed ones; a closed one (0) is that of this number, and never changes.

use std::io;

use serde::{Deserialize, Serialize};
use wasmill_model::function::StateKind;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::KeyGroup;

use super::entries::Entries;
use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, KIND_CHUNKS, KIND_REMOVED, KIND_TIMERS_GONE, KIND_TIMES_GONE,
    MAGIC_SEGMENT, SnapshotHeader, domain_number, put_bytes, take_bytes,
};
use super::reader::{GroupBlock, SnapshotReader, corrupt};
use super::writer::SnapshotWriter;
use crate::backend::{SnapshotFile, StateError};
use crate::timers::{TimeDomain, Timer, TimerRef};

/// What a segment continues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Continues {
    /// The checkpoint whose segment comes before it; `None`: it is the first, and holds everything.
    pub(crate) after: Option<CheckpointId>,
    /// What earlier segments hold of these is void.
    pub(crate) replaced: Vec<Replaced>,
    /// So are the timers that they hold.
    pub(crate) timers_replaced: bool,
}

/// Groups of a state that a segment holds whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Replaced {
    /// Its number in the header.
    pub(crate) state: u16,
    /// The groups, ascending.
    pub(crate) groups: Vec<KeyGroup>,
}

/// A header as it is written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    snapshot: &'a SnapshotHeader,
    #[serde(flatten)]
    continues: &'a Continues,
}

/// A chunk of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) namespace: &'a [u8],
    pub(crate) is_open: bool,
    pub(crate) number: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// `count` elements, each as [`append_element`](super::append_element) writes it.
    pub(crate) run: &'a [u8],
}

/// One change of a group.
pub(crate) enum SegmentBlock<'a> {
    /// Entries that are put.
    Entries { state: usize, entries: Entries<'a> },
    /// Key, namespace and map key, empty for all but maps, of what is no more.
    Removed {
        state: usize,
        entries: Vec<[&'a [u8]; 3]>,
    },
    /// Chunks that are put.
    Chunks {
        state: usize,
        chunks: Vec<ChunkEntry<'a>>,
    },
    /// Times of which no timer is left.
    TimesGone { domain: TimeDomain, times: Vec<i64> },
    /// Timers that are no more, or new.
    Timers {
        domain: TimeDomain,
        are_new: bool,
        timers: Vec<Timer>,
    },
}

impl<'a> SnapshotWriter<'a> {
    /// Begins a segment.
    pub(crate) fn segment(
        out: &'a mut dyn io::Write,
        snapshot: &SnapshotHeader,
        continues: &Continues,
    ) -> Result<Self, StateError> {
        let written = Written { snapshot, continues };
        let json = serde_json::to_vec(&written).map_err(io::Error::other)?;
        Self::begin(out, MAGIC_SEGMENT, &json, &snapshot.states)
    }

    /// Adds an entry that is no more: of a value state and a list (key, namespace), of a map the map key too.
    pub(crate) fn removed(&mut self, state: u16, parts: &[&[u8]]) -> Result<(), StateError> {
        self.open_section((KIND_REMOVED, state))?;
        self.put_parts(parts)
    }

    /// Adds a chunk of a list.
    pub(crate) fn chunk(&mut self, state: u16, chunk: ChunkEntry<'_>) -> Result<(), StateError> {
        self.open_section((KIND_CHUNKS, state))?;
        let block = self.block_mut();
        put_bytes(block, chunk.key);
        put_bytes(block, chunk.namespace);
        block.push(u8::from(chunk.is_open));
        block.extend_from_slice(&chunk.number.to_le_bytes());
        block.extend_from_slice(&chunk.first.to_le_bytes());
        block.extend_from_slice(&chunk.count.to_le_bytes());
        self.put_parts(&[chunk.run])
    }

    /// Adds a time of which no timer is left.
    pub(crate) fn time_gone(&mut self, domain: TimeDomain, timestamp: i64) -> Result<(), StateError> {
        self.open_section((KIND_TIMES_GONE, domain_number(domain)))?;
        self.block_mut().extend_from_slice(&timestamp.to_le_bytes());
        self.put_parts(&[])
    }

    /// Adds a timer that is no more.
    pub(crate) fn timer_gone(&mut self, domain: TimeDomain, timer: TimerRef<'_>) -> Result<(), StateError> {
        self.open_section((KIND_TIMERS_GONE, domain_number(domain)))?;
        self.block_mut().extend_from_slice(&timer.timestamp.to_le_bytes());
        self.put_parts(&[timer.key, timer.namespace])
    }
}

impl<'a> SnapshotReader<'a> {
    /// Opens a segment, as [`open`](Self::open) a snapshot.
    pub(crate) fn open_segment(file: &'a mut dyn SnapshotFile) -> Result<(Self, Continues), StateError> {
        Self::open_as(file, MAGIC_SEGMENT)
    }

    /// Hands the blocks of one group to `visit` in the order of the file.
    pub(crate) fn read_changes(
        &mut self,
        group: KeyGroup,
        visit: &mut dyn FnMut(SegmentBlock<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.read_blocks(group, &mut |reader, head, offset| {
            visit(reader.decode_change(head, offset)?)
        })
    }

    fn decode_change(&self, head: BlockHeader, offset: u64) -> Result<SegmentBlock<'_>, StateError> {
        let domain = || reader_domain(head, offset);
        let state = || self.state_of(head, offset);
        let bytes = self.block();
        let unfit = |number: u32| {
            corrupt(format!(
                "entry {number} of the block at offset {} is none of its kind: the file was not written by this format",
                offset + BLOCK_HEADER_BYTES as u64
            ))
        };
        Ok(match head.kind {
            KIND_REMOVED => {
                let (state, kind) = state()?;
                let entries = all(head.count, bytes, |rest| take_removed(kind, rest)).map_err(unfit)?;
                SegmentBlock::Removed { state, entries }
            }
            KIND_CHUNKS => {
                let (state, _) = state()?;
                let chunks = all(head.count, bytes, take_chunk).map_err(unfit)?;
                SegmentBlock::Chunks { state, chunks }
            }
            KIND_TIMES_GONE => {
                let times = all(head.count, bytes, |rest| {
                    Some(i64::from_le_bytes(*take_array(rest)?))
                });
                let (domain, times) = (domain()?, times.map_err(unfit)?);
                SegmentBlock::TimesGone { domain, times }
            }
            KIND_TIMERS_GONE => SegmentBlock::Timers {
                domain: domain()?,
                are_new: false,
                timers: self.timers(head, offset)?,
            },
            _ => match self.decode(head, offset)? {
                GroupBlock::Entries { state, entries } => SegmentBlock::Entries { state, entries },
                GroupBlock::Timers { domain, timers } => SegmentBlock::Timers {
                    domain,
                    are_new: true,
                    timers,
                },
            },
        })
    }
}

fn reader_domain(head: BlockHeader, offset: u64) -> Result<TimeDomain, StateError> {
    let domains = [TimeDomain::Event, TimeDomain::Processing];
    let found = domains
        .into_iter()
        .find(|domain| domain_number(*domain) == head.state);
    found.ok_or_else(|| {
        corrupt(format!(
            "the block at offset {offset} holds timers of no known clock"
        ))
    })
}

/// As many as the block says and nothing behind them; else the number of the one that is wrong.
fn all<'a, T>(
    count: u32,
    mut bytes: &'a [u8],
    mut take: impl FnMut(&mut &'a [u8]) -> Option<T>,
) -> Result<Vec<T>, u32> {
    let mut taken = Vec::new();
    for number in 0..count {
        taken.push(take(&mut bytes).ok_or(number)?);
    }
    match bytes.is_empty() {
        true => Ok(taken),
        false => Err(count),
    }
}

fn take_removed<'a>(kind: StateKind, rest: &mut &'a [u8]) -> Option<[&'a [u8]; 3]> {
    let (key, namespace) = (take_bytes(rest)?, take_bytes(rest)?);
    let map_key = match kind {
        StateKind::Map => take_bytes(rest)?,
        _ => &[],
    };
    Some([key, namespace, map_key])
}

fn take_chunk<'a>(rest: &mut &'a [u8]) -> Option<ChunkEntry<'a>> {
    let (key, namespace) = (take_bytes(rest)?, take_bytes(rest)?);
    let is_open = match take_array::<1>(rest)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let number = u32::from_le_bytes(*take_array(rest)?);
    let first = u64::from_le_bytes(*take_array(rest)?);
    let count = u32::from_le_bytes(*take_array(rest)?);
    let run = take_bytes(rest)?;
    first.checked_add(u64::from(count))?;
    all(count, run, take_bytes).ok()?;
    Some(ChunkEntry {
        key,
        namespace,
        is_open,
        number,
        first,
        count,
        run,
    })
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(head)
}
