//! Checkpoints of the memory backend as segments (S7).

mod drawn;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use wasmill_model::element::StateFormat;
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateError, StateId, Write};
use wasmill_state::backends::{MemoryBackends, NativeReader, Place, StateBackends};
use wasmill_state::keyed;
use wasmill_state::memory::{MemoryBackend, SEGMENTS, SegmentRule};
use wasmill_state::native::{FilesWanted, NativeState};
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::operations::{self, Fate, Operation, Run};
use wasmill_state::testing::plain_store::PlainBackends;
use wasmill_state::testing::{MAX_PARALLELISM, declaration, migration, state_key};
use wasmill_state::timers::{TimeDomain, Timer, TimerQueue};

/// Small state, too.
fn make(range: KeyGroupRange) -> Box<dyn KeyedStateBackend> {
    let rule = SegmentRule {
        bytes_min: 0,
        ..SegmentRule::default()
    };
    Box::new(MemoryBackend::new(range, MAX_PARALLELISM).with_segments(rule))
}

fn make_deltas(range: KeyGroupRange) -> Box<dyn KeyedStateBackend> {
    Box::new(MemoryBackend::new(range, MAX_PARALLELISM).with_segments(SegmentRule::ALWAYS))
}

/// Any of them, or a step of a checkpoint in files.
fn operation_or_checkpoint() -> impl Strategy<Value = Operation> {
    let fate = prop_oneof![
        4 => Just(Fate::Completed),
        1 => Just(Fate::Aborted),
        1 => Just(Fate::Lost),
    ];
    prop_oneof![
        36 => drawn::operation(),
        8 => Just(Operation::Checkpoint),
        9 => fate.prop_map(Operation::End),
        1 => (1u8..6, prop::bool::weighted(0.3)).prop_map(|(parallelism, other)| Operation::Restore(parallelism, other)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_checkpoints_restores_to_what_was_frozen_on_any_backend(
        operations in prop::collection::vec(operation_or_checkpoint(), 0..250),
    ) {
        let plain = Arc::new(PlainBackends { cache_bytes: 100_000 });
        let memory = MemoryBackends::reading(plain.clone()).with_segments(SegmentRule::ALWAYS);
        let mut run = Run::of_files(&make_deltas, [Arc::new(memory), plain]).unwrap();
        run.each(&operations).unwrap();
        run.all(&[operations::Operation::Restore(2, false)]).unwrap();
    }
}

/// A backend of all groups with a state of each layout, its timers, and its checkpoints.
struct Job {
    backend: Box<dyn KeyedStateBackend>,
    timers: TimerQueue,
    checkpoint: u64,
    /// Of the checkpoint before.
    files: BTreeMap<String, Arc<Vec<u8>>>,
    states: Vec<StateDeclaration>,
}

const VALUE: StateId = StateId(0);
const LIST: StateId = StateId(1);
const MAP: StateId = StateId(2);

impl Job {
    fn new() -> Result<Self, StateError> {
        let mut backend = make(MAX_PARALLELISM.range_of(0, 1));
        let kinds = [StateKind::Value, StateKind::List, StateKind::Map];
        let states = kinds.map(|kind| declaration(&format!("{kind:?}"), kind, 1));
        for state in &states {
            backend.register(state)?;
        }
        Ok(Self {
            backend,
            timers: TimerQueue::default(),
            checkpoint: 0,
            files: BTreeMap::new(),
            states: states.to_vec(),
        })
    }

    fn put(&mut self, state: StateId, number: u32, value: Option<&[u8]>) -> Result<(), StateError> {
        let name = number.to_be_bytes();
        let key = match state {
            MAP => state_key(b"bmap", b"window", &name),
            _ => state_key(&name, b"", b""),
        };
        let locator = Locator::UNKNOWN;
        let write = Write { key, locator, value };
        self.backend.write_batch(state, &[write])
    }

    fn append(&mut self, number: u32, element: &[u8]) -> Result<bool, StateError> {
        let name = number.to_be_bytes();
        self.backend.append(LIST, state_key(&name, b"", b""), element)
    }

    fn timer(&mut self, number: u32, timestamp: i64) -> Timer {
        let name = number.to_be_bytes();
        Timer {
            timestamp,
            group: state_key(&name, b"", b"").group,
            key: name[..].into(),
            namespace: Default::default(),
        }
    }

    /// Takes a checkpoint on the one before; bytes that it has written.
    fn checkpoint(&mut self) -> Result<usize, StateError> {
        let base = (self.checkpoint > 0).then_some(CheckpointId(self.checkpoint));
        self.checkpoint += 1;
        let wanted = FilesWanted {
            checkpoint: CheckpointId(self.checkpoint),
            format: StateFormat::Incremental { base },
            timers: &self.timers,
        };
        let frozen = keyed::freeze_files(&mut *self.backend, wanted)?;
        let (native, timers) = frozen.ok_or_else(|| StateError::Unsupported("no files".to_owned()))?;
        let mut out = MemoryFiles::on(&self.files);
        native.files.write(&mut out)?;
        self.files = out.files;
        Ok(out.bytes_written + operations::write(timers)?.len())
    }

    fn contents(&mut self) -> Result<Contents, StateError> {
        contents(&mut *self.backend, &self.timers)
    }

    fn restore(
        &self,
        files: &mut MemoryFiles,
    ) -> Result<(Box<dyn KeyedStateBackend>, TimerQueue), StateError> {
        let range = MAX_PARALLELISM.range_of(0, 1);
        let operator = OperatorUid::new("operator");
        let place = Place {
            operator: &operator,
            subtask: 0,
            attempt: 1,
        };
        let mut native = NativeState {
            format: SEGMENTS,
            range,
            states: &self.states,
            numbers: &[VALUE, LIST, MAP],
            files,
        };
        let (mut backend, mut timers) = (make(range), TimerQueue::default());
        let read = MemoryBackends::default().read_native(place, &mut native, &mut *backend, &mut timers);
        let mut of_adopted = TimerQueue::default();
        let adopted = MemoryBackends::default().adopt(place, MAX_PARALLELISM, &mut native, &mut of_adopted);
        assert_eq!(read.is_ok(), adopted.is_ok());
        read?;
        let mut adopted = adopted?.ok_or_else(|| StateError::Unsupported("not adopted".to_owned()))?;
        assert!(
            contents(&mut *adopted, &of_adopted)? == contents(&mut *backend, &timers)?,
            "a backend that is adopted holds something else"
        );
        Ok((backend, timers))
    }
}

fn contents(backend: &mut dyn KeyedStateBackend, timers: &TimerQueue) -> Result<Contents, StateError> {
    let frozen = keyed::freeze(backend, timers, CheckpointId(1))?;
    let file = operations::write(frozen)?;
    Contents::read(&mut file.as_slice())
}

#[test]
fn what_a_checkpoint_writes_is_in_proportion_to_what_changed() {
    let mut job = Job::new().unwrap();
    for number in 0..20_000 {
        job.put(VALUE, number, Some(&[7; 100])).unwrap();
        job.put(MAP, number, Some(&[7; 100])).unwrap();
        job.append(number % 2_000, &[7; 200]).unwrap();
        let timer = job.timer(number, i64::from(number % 10));
        job.timers.register(TimeDomain::Event, &timer);
    }
    let whole = job.checkpoint().unwrap();
    assert!(whole > 20_000 * 400, "{whole}");
    assert!(job.checkpoint().unwrap() < whole / 200, "nothing has changed");
    // One in a hundred of everything, spread over all pages and groups.
    for round in 0..20 {
        for number in (round..20_000).step_by(100) {
            job.put(VALUE, number, Some(&[8; 100])).unwrap();
            let removed = (number % 200 >= 100).then_some(&[8; 90][..]);
            job.put(MAP, number, removed).unwrap();
            let timer = job.timer(number, i64::from(number % 10));
            job.timers.delete(TimeDomain::Event, &timer);
        }
        for number in (round..2_000).step_by(100) {
            job.append(number, &[8; 200]).unwrap();
        }
        let bytes = job.checkpoint().unwrap();
        assert!(bytes < whole / 50, "{bytes} of {whole} in round {round}");
    }
    // A long list grows by a chunk of it.
    for _ in 0..10_000 {
        job.append(1, &[9; 100]).unwrap();
    }
    job.checkpoint().unwrap();
    job.append(1, &[9; 100]).unwrap();
    let bytes = job.checkpoint().unwrap();
    assert!(bytes < 30_000, "{bytes}");
    let (expected, mut files) = (job.contents().unwrap(), MemoryFiles::default());
    files.files = job.files.clone();
    let (mut backend, timers) = job.restore(&mut files).unwrap();
    assert!(contents(&mut *backend, &timers).unwrap() == expected);
}

#[test]
fn segments_are_bounded_by_writing_everything_anew() {
    let mut job = Job::new().unwrap();
    for number in 0..1_000 {
        job.put(VALUE, number, Some(&[7; 100])).unwrap();
    }
    let whole = job.checkpoint().unwrap();
    let mut wholes = 0;
    for round in 0..200 {
        for number in 0..50 {
            job.put(VALUE, (round * 50 + number) % 1_000, Some(&[8; 100]))
                .unwrap();
        }
        wholes += usize::from(job.checkpoint().unwrap() > whole / 2);
        let stored: usize = job.files.values().map(|file| file.len()).sum();
        assert!(stored < whole * 2 && job.files.len() <= 64, "{stored} of {whole}");
    }
    assert!((5..50).contains(&wholes), "{wholes} were whole");
}

#[test]
fn a_job_that_is_not_incremental_notes_nothing() {
    let mut job = Job::new().unwrap();
    let fill = |job: &mut Job| {
        for number in 0..10_000 {
            job.put(VALUE, number, Some(&[7; 100])).unwrap();
            job.put(MAP, number, Some(&[7; 100])).unwrap();
        }
    };
    fill(&mut job);
    let before = job.backend.size();
    drop(keyed::freeze(&mut *job.backend, &job.timers, CheckpointId(1)).unwrap());
    fill(&mut job);
    assert_eq!(job.backend.size(), before);
    job.checkpoint().unwrap();
    fill(&mut job);
    assert!(job.backend.size().bytes > before.bytes);
}

#[test]
fn small_state_is_written_whole_in_the_canonical_format() {
    let mut backend = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    backend
        .register(&declaration("value", StateKind::Value, 1))
        .unwrap();
    let wanted = FilesWanted {
        checkpoint: CheckpointId(1),
        format: StateFormat::Incremental { base: None },
        timers: &TimerQueue::default(),
    };
    assert!(keyed::freeze_files(&mut backend, wanted).unwrap().is_none());
}

#[test]
fn a_base_whose_segments_are_not_known_fails_one_checkpoint_and_the_next_is_whole() {
    let mut job = Job::new().unwrap();
    for number in 0..1_000 {
        job.put(VALUE, number, Some(&[7; 100])).unwrap();
    }
    let whole = job.checkpoint().unwrap();
    let wanted = FilesWanted {
        checkpoint: CheckpointId(2),
        format: StateFormat::Incremental {
            base: Some(CheckpointId(1)),
        },
        timers: &job.timers,
    };
    let (native, _) = keyed::freeze_files(&mut *job.backend, wanted).unwrap().unwrap();
    let error = native.files.write(&mut MemoryFiles::default()).unwrap_err();
    assert!(error.to_string().contains("segment 1"), "{error}");
    assert!(job.checkpoint().unwrap() >= whole, "the next is whole");
}

#[test]
fn segments_that_are_missing_changed_or_of_another_checkpoint_are_an_error() {
    let mut job = Job::new().unwrap();
    for checkpoint in 0..3u8 {
        for number in 0..1_000u32 {
            if number % 10 == u32::from(checkpoint) || checkpoint == 0 {
                job.put(VALUE, number, Some(&[checkpoint; 100])).unwrap();
                job.append(number, &[checkpoint; 300]).unwrap();
            }
        }
        job.checkpoint().unwrap();
    }
    let good = MemoryFiles {
        files: job.files.clone(),
        ..MemoryFiles::default()
    };
    assert_eq!(good.files.len(), 3);
    assert!(job.restore(&mut good.clone()).is_ok());
    for missing in ["1", "2"] {
        let mut files = good.clone();
        files.files.remove(missing);
        let error = job.restore(&mut files).map(drop).unwrap_err();
        assert!(error.to_string().contains("one is missing"), "{error}");
    }
    let mut files = good.clone();
    files.files.insert("x".to_owned(), Arc::default());
    let error = job.restore(&mut files).map(drop).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");
    assert!(job.restore(&mut MemoryFiles::default()).is_err());
    let name = "2".to_owned();
    let content = good.files[&name].to_vec();
    for at in (0..content.len()).step_by(1_009) {
        let mut damaged = content.clone();
        damaged[at] ^= 0x10;
        let mut files = good.clone();
        files.files.insert(name.clone(), Arc::new(damaged));
        let error = job.restore(&mut files).map(drop).unwrap_err();
        assert!(
            matches!(error, StateError::Corrupt(_) | StateError::Unsupported(_)),
            "{error}"
        );
    }
}

#[test]
fn files_of_a_checkpoint_of_an_older_version_are_migrated_wherever_they_are_restored_to() {
    let plain = Arc::new(PlainBackends { cache_bytes: 100_000 });
    let memory = MemoryBackends::reading(plain.clone()).with_segments(SegmentRule::ALWAYS);
    migration::check_files(&memory, &*plain).unwrap();
    migration::check_files(&*plain, &memory).unwrap();
}
