//! Files of keyed state: as they are, and with their checksums mended.

use wasmill_model::id::CheckpointId;
use wasmill_state::backend::{KeyedStateBackend as _, StateError};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::snapshot::{GroupBlock, SnapshotReader};
use wasmill_state::testing::MAX_PARALLELISM;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::operations::write;
use wasmill_state::timers::TimerQueue;

use crate::{Target, contents_below};

pub(crate) const TARGET: Target = Target {
    name: "snapshot",
    run,
    seeds,
};

/// Of the file, of its end, of a block's head.
const START_BYTES: usize = 12;
const END_BYTES: usize = 32;
const HEAD_BYTES: usize = 20;

fn seeds() -> Vec<Vec<u8>> {
    contents_below("host/state/tests/fixtures")
}

fn run(data: &[u8]) {
    check(data);
    let mut mended = data.to_vec();
    mend(&mut mended);
    check(&mended);
}

/// Gives each block, and the end, the checksum of what it holds now.
pub(crate) fn mend(file: &mut [u8]) {
    let length = file.len();
    let Some(end) = length.checked_sub(END_BYTES) else {
        return;
    };
    let mut at = START_BYTES;
    while at + HEAD_BYTES <= end {
        let bytes = file[at + 12..at + 16]
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let payload = at + HEAD_BYTES;
        let Some(next) = payload.checked_add(bytes as usize).filter(|next| *next <= end) else {
            break;
        };
        let sum = crc32c::crc32c(&(at as u64).to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &file[at..at + 16]);
        let sum = crc32c::crc32c_append(sum, &file[payload..next]);
        file[at + 16..payload].copy_from_slice(&sum.to_le_bytes());
        at = next;
    }
    file[end + 8..end + 16].copy_from_slice(&(length as u64).to_le_bytes());
    let sum = crc32c::crc32c(&file[end..end + 20]);
    file[end + 20..end + 24].copy_from_slice(&sum.to_le_bytes());
}

/// Goes through every entry.
fn visit(mut file: &[u8]) -> Result<(), StateError> {
    let mut reader = SnapshotReader::open(&mut file)?;
    let groups: Vec<_> = reader.groups().collect();
    for group in groups {
        reader.read_group(group, &mut |block| match block {
            GroupBlock::Entries { mut entries, .. } => entries.try_for_each(|entry| entry.map(drop)),
            GroupBlock::Timers { .. } => Ok(()),
        })?;
    }
    Ok(())
}

fn check(mut file: &[u8]) {
    if visit(file).is_err() {
        return;
    }
    let range = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = MemoryBackend::new(range, MAX_PARALLELISM);
    let mut timers = TimerQueue::default();
    if keyed::restore(&mut file, range, &mut backend, &mut timers).is_err() {
        return;
    }
    let rewritten = |backend: &mut MemoryBackend, timers: &TimerQueue| {
        write(keyed::freeze(backend, timers, CheckpointId(1)).unwrap()).unwrap()
    };
    let first = rewritten(&mut backend, &timers);
    // Panics where something is there twice or out of order.
    let contents = Contents::read(&mut &first[..]).unwrap();
    let mut again = MemoryBackend::new(backend.range(), MAX_PARALLELISM);
    let mut timers = TimerQueue::default();
    keyed::restore(&mut &first[..], range, &mut again, &mut timers).unwrap();
    assert!(contents == Contents::read(&mut &rewritten(&mut again, &timers)[..]).unwrap());
}
