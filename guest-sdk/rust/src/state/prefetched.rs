//! Values that came with the frame, and what the call did to them.
//!
//! Invariant: an entry's bytes lie in the frame while its status is below `SET`, and in `written`
//! when it is `SET`. Only entries that were set go back.

use super::Slot;
use crate::bytes::append;
use crate::error::Result;
use crate::frame::{Frame, NONE, read_u32};

const UNTOUCHED: u8 = 0;
const READ: u8 = 1;
const SET: u8 = 2;
const CLEARED: u8 = 3;

#[derive(Clone, Copy)]
struct Entry {
    at: u32,
    len: u32,
    status: u8,
}

/// The values of one state for each pair of the frame.
#[derive(Default)]
struct Block {
    is_present: bool,
    is_touched: bool,
    entries: Vec<Entry>,
}

/// All prefetched values of a call.
#[derive(Default)]
pub(crate) struct Prefetched {
    /// By slot.
    blocks: Vec<Block>,
    written: Vec<u8>,
    /// While a key is at hand that is not of the frame.
    suspended: Vec<Block>,
}

impl Prefetched {
    /// No state travels any more, or those do again that did before.
    pub(crate) fn suspend(&mut self, suspended: bool) {
        if suspended == self.suspended.is_empty() {
            std::mem::swap(&mut self.blocks, &mut self.suspended);
        }
    }

    /// Reads the STATE section.
    pub(crate) fn load(&mut self, frame: &Frame<'_>, states: usize) -> Result<(), String> {
        self.written.clear();
        self.blocks.resize_with(states, Block::default);
        for block in &mut self.blocks {
            block.is_present = false;
        }
        let (mut at, end) = frame.state;
        while at < end {
            let too_short = || format!("STATE ends within the block at offset {at}");
            if end - at < 8 {
                return Err(too_short());
            }
            let slot = read_u32(frame.bytes, at);
            let count = read_u32(frame.bytes, at + 4) as usize;
            let table = count.checked_mul(4).ok_or_else(too_short)?;
            let values = (at + 8).checked_add(table).filter(|start| *start <= end);
            let values = values.ok_or_else(too_short)?;
            let block = self.blocks.get_mut(slot as usize).ok_or_else(|| {
                format!("STATE has a block of slot {slot}: the function declares {states} states")
            })?;
            block.is_present = true;
            block.is_touched = false;
            let lengths = &frame.bytes[at + 8..values];
            at = block
                .load(lengths, values, end)
                .ok_or_else(|| format!("STATE ends within the values of slot {slot}"))?;
        }
        Ok(())
    }

    /// Bytes of values that were set, overwritten ones included.
    pub(crate) fn set_len(&self) -> usize {
        self.written.len()
    }

    /// Whether the state's values travel in this frame.
    #[inline]
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        matches!(self.blocks.get(slot.index as usize), Some(block) if block.is_present)
    }

    /// The value of a pair; it counts as read.
    #[inline]
    pub(crate) fn get<'a>(
        &'a mut self,
        frame: &'a [u8],
        slot: Slot,
        pair: Option<u32>,
    ) -> Result<Option<&'a [u8]>> {
        let entry = entry(&mut self.blocks, slot, pair)?;
        match entry.status {
            CLEARED => Ok(None),
            SET => Ok(Some(&self.written[entry.at as usize..][..entry.len as usize])),
            _ => {
                entry.status = READ;
                let (at, len) = (entry.at as usize, entry.len as usize);
                Ok((entry.len != NONE).then(|| &frame[at..at + len]))
            }
        }
    }

    /// Sets the value of a pair to what `write` appends.
    #[inline]
    pub(crate) fn set<E>(
        &mut self,
        slot: Slot,
        pair: Option<u32>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Result<(), E>> {
        let entry = entry(&mut self.blocks, slot, pair)?;
        let start = self.written.len();
        if let Err(error) = write(&mut self.written) {
            self.written.truncate(start);
            return Ok(Err(error));
        }
        let len = self.written.len() - start;
        if entry.status == SET && entry.len as usize == len {
            // A counter's bytes stay where they are, however often its key comes.
            self.written.copy_within(start.., entry.at as usize);
            self.written.truncate(start);
        } else {
            *entry = Entry {
                at: start as u32,
                len: len as u32,
                status: SET,
            };
        }
        Ok(Ok(()))
    }

    /// Removes the value of a pair.
    #[inline]
    pub(crate) fn clear(&mut self, slot: Slot, pair: Option<u32>) -> Result<()> {
        entry(&mut self.blocks, slot, pair)?.status = CLEARED;
        Ok(())
    }

    /// Appends the answer's STATE section.
    pub(crate) fn write_answer(&self, out: &mut Vec<u8>) {
        for (slot, block) in self.blocks.iter().enumerate() {
            if !block.is_present || !block.is_touched {
                continue;
            }
            out.extend_from_slice(&(slot as u32).to_le_bytes());
            out.extend_from_slice(&(block.entries.len() as u32).to_le_bytes());
            out.extend(block.entries.iter().map(|entry| entry.status));
            let set = || block.entries.iter().filter(|entry| entry.status == SET);
            for entry in set() {
                out.extend_from_slice(&entry.len.to_le_bytes());
            }
            for entry in set() {
                let written = &self.written[entry.at as usize..][..entry.len as usize];
                match written.as_array::<8>() {
                    // A number: a store instead of a call.
                    Some(word) => out.extend_from_slice(word),
                    None => append(out, written),
                }
            }
        }
    }
}

impl Block {
    /// Lays out the entries over the values from `at` on; where the next block starts, or none where
    /// the values pass `end`.
    fn load(&mut self, lengths: &[u8], mut at: usize, end: usize) -> Option<usize> {
        self.entries.clear();
        self.entries.reserve(lengths.len() / 4);
        for length in lengths.as_chunks::<4>().0 {
            let len = u32::from_le_bytes(*length);
            self.entries.push(Entry {
                at: at as u32,
                len,
                status: UNTOUCHED,
            });
            if len != NONE {
                at = at.checked_add(len as usize).filter(|next| *next <= end)?;
            }
        }
        Some(at)
    }
}

#[inline]
fn entry(blocks: &mut [Block], slot: Slot, pair: Option<u32>) -> Result<&mut Entry> {
    if let Some(block) = blocks.get_mut(slot.index as usize)
        && let Some(pair) = pair
    {
        block.is_touched = true;
        if let Some(entry) = block.entries.get_mut(pair as usize) {
            return Ok(entry);
        }
    }
    Err(slot.unreachable(pair.is_some()))
}
