//! Segments of a checkpoint of the memory backend, one after another: as they are, and with their checksums mended.
//!
//! Input: `length u32 little-endian, segment`, one after another; they are numbered from 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::element::StateFormat;
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::CheckpointId;
use wasmill_state::backend::{KeyedStateBackend as _, Locator, StateId, Write};
use wasmill_state::keyed;
use wasmill_state::memory::{MemoryBackend, SEGMENTS, SegmentRule, read_segments};
use wasmill_state::native::{FilesWanted, NativeState};
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::operations::write;
use wasmill_state::testing::{MAX_PARALLELISM, declaration, state_key};
use wasmill_state::timers::{TimeDomain, Timer, TimerQueue};

use super::snapshot::mend;
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "segments",
    run,
    seeds,
};

fn states() -> [StateDeclaration; 3] {
    [StateKind::Value, StateKind::Map, StateKind::List].map(|kind| declaration(&format!("{kind:?}"), kind, 1))
}

/// A checkpoint of three segments: what is there, what is put and removed, and what replaces it.
fn seeds() -> Vec<Vec<u8>> {
    let range = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = MemoryBackend::new(range, MAX_PARALLELISM).with_segments(SegmentRule::ALWAYS);
    let [value, map, list] = states().map(|state| backend.register(&state).unwrap());
    let mut timers = TimerQueue::default();
    let mut files = BTreeMap::new();
    let mut all = vec![Vec::new()];
    for checkpoint in 1..=3u64 {
        for (number, name) in (1u64..).zip([&b"bkey"[..], b"n1", b"btwo"]) {
            for (id, rest) in [(value, &b""[..]), (map, b"map key")] {
                let write = Write {
                    key: state_key(name, b"window", rest),
                    locator: Locator::UNKNOWN,
                    value: (number != checkpoint).then_some(b"a value"),
                };
                backend.write_batch(id, &[write]).unwrap();
            }
            let key = state_key(name, b"", b"");
            backend.append(list, key, b"an element").unwrap();
            let timer = Timer {
                timestamp: (checkpoint * number) as i64,
                group: key.group,
                key: name.into(),
                namespace: Default::default(),
            };
            timers.register(TimeDomain::Event, &timer);
        }
        let base = (checkpoint > 1).then(|| CheckpointId(checkpoint - 1));
        let wanted = FilesWanted {
            checkpoint: CheckpointId(checkpoint),
            format: StateFormat::Incremental { base },
            timers: &timers,
        };
        let frozen = keyed::freeze_files(&mut backend, wanted).unwrap();
        let (native, _) = frozen.expect("segments are files");
        let mut out = MemoryFiles::on(&files);
        native.files.write(&mut out).unwrap();
        files = out.files;
        let with_length =
            |content: &Arc<Vec<u8>>| [&(content.len() as u32).to_le_bytes()[..], content].concat();
        all.push(files.values().flat_map(with_length).collect());
    }
    all
}

fn run(data: &[u8]) {
    let mut files = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        let (file, after) = after.split_at(length);
        files.push(file.to_vec());
        rest = after;
    }
    check(&files);
    files.iter_mut().for_each(|file| mend(file));
    check(&files);
}

/// Both readers refuse them, or both read the same.
fn check(files: &[Vec<u8>]) {
    let numbered = (1u64..).zip(files);
    let mut source = MemoryFiles {
        files: numbered
            .map(|(number, file)| (number.to_string(), Arc::new(file.clone())))
            .collect(),
        ..MemoryFiles::default()
    };
    let states = states();
    let numbers = [0, 1, 2].map(StateId);
    let native = NativeState {
        format: SEGMENTS,
        range: MAX_PARALLELISM.range_of(0, 1),
        states: &states,
        numbers: &numbers,
        files: &mut source,
    };
    let mut timers = TimerQueue::default();
    let whole = MemoryBackend::of_segments(MAX_PARALLELISM, &native, &mut timers);
    let mut by_groups = MemoryBackend::new(native.range, MAX_PARALLELISM);
    let mut timers_by_groups = TimerQueue::default();
    let read = read_segments(&native, &mut by_groups, &mut timers_by_groups);
    match (whole, read) {
        (Ok(mut whole), Ok(())) => {
            let contents = |backend: &mut MemoryBackend, timers: &TimerQueue| {
                let file = write(keyed::freeze(backend, timers, CheckpointId(1)).unwrap()).unwrap();
                Contents::read(&mut &file[..]).unwrap()
            };
            assert!(contents(&mut whole, &timers) == contents(&mut by_groups, &timers_by_groups));
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (whole, read) => panic!("{:?} by the memory backend, {read:?} by groups", whole.map(drop)),
    }
}
