//! The snapshot format: damage is found, and files of every released version read to known content.

#![allow(clippy::unwrap_used, reason = "functions that only tests call")]

use std::path::PathBuf;

use proptest::prelude::*;
use wasmill_model::function::StateKind;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::KeyGroupRange;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateError, Write};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::snapshot::SnapshotReader;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::operations::write;
use wasmill_state::testing::{MAX_PARALLELISM, declaration, state_key};
use wasmill_state::timers::{TimeDomain, Timer, TimerQueue};

/// What the fixture holds. IMPORTANT: it never changes; a new version of the format gets a new fixture.
fn sample(keys: u32) -> (Contents, Vec<u8>) {
    let mut backend = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    let value = backend
        .register(&declaration("count", StateKind::Value, 1))
        .unwrap();
    let sum = backend
        .register(&declaration("sum", StateKind::Reducing, 3))
        .unwrap();
    let map = backend
        .register(&declaration("entries", StateKind::Map, 1))
        .unwrap();
    let list = backend
        .register(&declaration("elements", StateKind::List, 2))
        .unwrap();
    let mut contents = Contents::default();
    let mut timers = TimerQueue::default();
    for n in 0..keys {
        let key = format!("bkey-{n}").into_bytes();
        let namespace = if n % 3 == 0 {
            vec![]
        } else {
            n.to_be_bytes().to_vec()
        };
        let place = |state: &str| (state.to_owned(), key.clone(), namespace.clone());
        let bytes = vec![n as u8; (n * n % 50) as usize];
        let put = |backend: &mut MemoryBackend, state, map_key: &[u8], bytes: &[u8]| {
            let write = Write {
                key: state_key(&key, &namespace, map_key),
                locator: Locator::UNKNOWN,
                value: Some(bytes),
            };
            backend.write_batch(state, &[write]).unwrap();
        };
        put(&mut backend, value, b"", &bytes);
        contents.values.insert(place("count"), bytes.clone());
        if n % 4 == 0 {
            put(&mut backend, sum, b"", &n.to_le_bytes());
            contents.values.insert(place("sum"), n.to_le_bytes().to_vec());
        }
        for m in 0..n % 5 {
            put(&mut backend, map, &m.to_be_bytes(), &bytes);
            let entries = contents.maps.entry(place("entries")).or_default();
            entries.insert(m.to_be_bytes().to_vec(), bytes.clone());
            backend
                .append(list, state_key(&key, &namespace, b""), &bytes)
                .unwrap();
            contents
                .lists
                .entry(place("elements"))
                .or_default()
                .push(bytes.clone());
        }
        let timer = Timer {
            timestamp: i64::from(n) * 1000 - 3000,
            group: state_key(&key, b"", b"").group,
            key: key[..].into(),
            namespace: namespace[..].into(),
        };
        let domain = if n % 2 == 0 {
            TimeDomain::Event
        } else {
            TimeDomain::Processing
        };
        timers.register(domain, &timer);
    }
    contents.set_timers(&timers);
    let file = write(keyed::freeze(&mut backend, &timers, CheckpointId(42)).unwrap()).unwrap();
    (contents, file)
}

fn restore(file: &[u8]) -> Result<(Contents, MemoryBackend), StateError> {
    let range = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = MemoryBackend::new(range, MAX_PARALLELISM);
    let mut timers = TimerQueue::default();
    keyed::restore(&mut { file }, range, &mut backend, &mut timers)?;
    let again = write(keyed::freeze(&mut backend, &timers, CheckpointId(42))?)?;
    Ok((Contents::read(&mut again.as_slice())?, backend))
}

fn fixture_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshot-v1.bin")
}

#[test]
fn a_file_of_version_1_reads_to_known_content() {
    let (contents, _) = sample(60);
    let file = std::fs::read(fixture_path()).unwrap();
    let mut source = file.as_slice();
    let reader = SnapshotReader::open(&mut source).unwrap();
    assert_eq!(reader.header().checkpoint, CheckpointId(42));
    assert_eq!(reader.header().max_parallelism, MAX_PARALLELISM);
    let states = reader
        .header()
        .states
        .iter()
        .map(|s| (s.name.as_str(), s.schema_version));
    assert_eq!(
        states.collect::<Vec<_>>(),
        [("count", 1), ("sum", 3), ("entries", 1), ("elements", 2)]
    );
    assert_eq!(Contents::read(&mut file.as_slice()).unwrap(), contents);
    assert_eq!(restore(&file).unwrap().0, contents);
}

#[test]
fn the_same_state_is_written_to_the_same_bytes() {
    assert!(sample(60).1 == sample(60).1);
    assert!(
        sample(60).1 == std::fs::read(fixture_path()).unwrap(),
        "version 1 is no longer written as it was"
    );
}

#[test]
fn a_file_cut_short_anywhere_is_corrupt() {
    let (_, file) = sample(8);
    for length in 0..file.len() {
        let read = Contents::read(&mut &file[..length]);
        assert!(
            matches!(read, Err(StateError::Corrupt(_))),
            "{length} of {} bytes",
            file.len()
        );
        assert!(matches!(restore(&file[..length]), Err(StateError::Corrupt(_))));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_corrupt() {
    let (_, file) = sample(8);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let read = Contents::read(&mut damaged.as_slice());
            assert!(
                matches!(read, Err(StateError::Corrupt(_))),
                "bit {bit} of byte {at} of {}",
                file.len()
            );
        }
    }
}

#[test]
fn bytes_added_or_moved_are_corrupt() {
    let (_, file) = sample(8);
    for at in 0..=file.len() {
        let mut damaged = file.clone();
        damaged.insert(at, 0);
        assert!(
            matches!(
                Contents::read(&mut damaged.as_slice()),
                Err(StateError::Corrupt(_))
            ),
            "at {at}"
        );
    }
}

#[test]
fn an_error_names_the_block_that_is_damaged() {
    let (_, mut file) = sample(400);
    let at = file.len() / 2;
    file[at] ^= 1;
    let Err(error) = restore(&file) else {
        panic!("the damage was not found")
    };
    let text = error.to_string();
    assert!(
        text.contains("offset") && text.contains("key group") && text.contains("damaged"),
        "{text}"
    );
}

#[test]
fn a_foreign_file_and_a_newer_version_are_told_apart() {
    let foreign =
        Contents::read(&mut &b"PK\x03\x04 this is an archive and no snapshot at all, but long enough"[..]);
    assert!(foreign.unwrap_err().to_string().contains("something else"));
    let (_, mut file) = sample(1);
    file[8] = 2;
    assert!(
        Contents::read(&mut file.as_slice())
            .unwrap_err()
            .to_string()
            .contains("newer host")
    );
}

#[test]
fn another_max_parallelism_is_refused_with_the_mend() {
    let (_, file) = sample(3);
    let max = wasmill_model::key::MaxParallelism(64);
    let mut backend = MemoryBackend::new(max.range_of(0, 1), max);
    let range = backend.range();
    let refused = keyed::restore(
        &mut file.as_slice(),
        range,
        &mut backend,
        &mut TimerQueue::default(),
    );
    assert!(refused.unwrap_err().to_string().contains("set it to 128 again"));
}

#[test]
fn damage_in_groups_that_are_not_asked_for_is_not_touched() {
    let (contents, mut file) = sample(60);
    let mut source = file.as_slice();
    let first = SnapshotReader::open(&mut source)
        .unwrap()
        .groups()
        .next()
        .unwrap();
    // The last byte before index and end lies in the last group.
    let index = u64::from_le_bytes(*file[file.len() - 32..].first_chunk().unwrap()) as usize;
    file[index - 1] ^= 1;
    let mut backend = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    let range = KeyGroupRange {
        start: 0,
        end: first.0 + 1,
    };
    keyed::restore(
        &mut file.as_slice(),
        range,
        &mut backend,
        &mut TimerQueue::default(),
    )
    .unwrap();
    assert!(backend.size().entries > 0 && backend.size().entries < contents.values.len() as u64);
    assert!(restore(&file).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Contents::read(&mut bytes.as_slice()).is_err());
    }

    /// Damage that a checksum would hide: contents of blocks are broken and their checksums made right again.
    #[test]
    fn a_block_of_lies_with_a_right_checksum_is_no_panic(
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (_, mut file) = sample(5);
        let at = at.index(file.len());
        file[at] = byte;
        mend_checksums(&mut file);
        // Either an error or other content: but no panic and no endless work.
        let _ = restore(&file);
    }
}

/// Walks the blocks as the format says and writes the checksum each of them should have.
fn mend_checksums(file: &mut [u8]) {
    let mut at = 12;
    while at + 20 + 32 <= file.len() {
        let length = u32::from_le_bytes(*file[at + 12..].first_chunk().unwrap()) as usize;
        let Some(end) = (at + 20)
            .checked_add(length)
            .filter(|end| *end <= file.len() - 32)
        else {
            return;
        };
        let crc = crc32c::crc32c(&(at as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &file[at..at + 16]);
        let crc = crc32c::crc32c_append(crc, &file[at + 20..end]);
        file[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
    let end = file.len() - 32;
    let crc = crc32c::crc32c(&file[end..end + 20]);
    file[end + 20..end + 24].copy_from_slice(&crc.to_le_bytes());
}
