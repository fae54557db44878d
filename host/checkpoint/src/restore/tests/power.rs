//! A job on local storage whose file system fails at any call, whose process dies at any call, and whose power is cut at
//! any call: what was reported as complete is restored whole, and what was withdrawn does not come back.

use std::io;
use std::path::Path;

use super::*;
use crate::storage::testing::power::{Call, PowerFiles};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound as u64) as usize
    }
}

fn storage_over(files: &Arc<PowerFiles>) -> Arc<dyn CheckpointStorage> {
    Arc::new(LocalStorage::over(Arc::clone(files) as _, Path::new("/")))
}

/// What a run of the host came to.
#[derive(Debug, Default)]
struct Lived {
    /// The last checkpoint that was reported as complete, in this life or before.
    completed: Option<u64>,
    /// Given up after its manifest may have been written, and so withdrawn.
    withdrawn: Vec<u64>,
    error: Option<String>,
}

/// Starts as a host does, takes three checkpoints, each with two files of its own and a shared one that the next names
/// too, and deletes all but the last.
fn live(files: &Arc<PowerFiles>, before: Option<u64>) -> Lived {
    let mut lived = Lived {
        completed: before,
        ..Lived::default()
    };
    lived.error = run(&storage_over(files), &mut lived).err();
    lived
}

fn run(storage: &Arc<dyn CheckpointStorage>, lived: &mut Lived) -> Result<(), String> {
    fn said(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let fence = Fence::acquire(Arc::clone(storage), JOB).map_err(said)?;
    let found = latest(&**storage, JOB).map_err(said)?;
    let restored = found.latest.as_ref().map(|restored| restored.manifest.checkpoint);
    assert!(
        restored.map(|id| id.0) >= lived.completed,
        "{restored:?} of {lived:?}"
    );
    // What was found is what the job goes on from: it is never to be lost again.
    lived.completed = restored.map(|id| id.0);
    sweep(&fence, &found.retained).map_err(said)?;
    fence.settle(restored).map_err(said)?;
    let first = found.next_id.0;
    let shared: Vec<String> = (first..first + 3)
        .map(|id| format!("e{}-a0-v1-s0-o0-c{id}-0", fence.epoch()))
        .collect();
    for (at, id) in (0..).zip(first..first + 3) {
        let named: &[String] = &shared[at.max(1) - 1..=at];
        if let Err(error) = checkpoint_of_files(&fence, id, named) {
            // What is not there is given up, and the job goes on from the one before.
            let left = storage.read(&manifest_name(&checkpoint_directory(JOB, CheckpointId(id))), 0, 1);
            if left.is_err() {
                lived.withdrawn.push(id);
            }
            return Err(error);
        }
        lived.completed = Some(id);
        if at > 0 {
            let unneeded = &shared[at.max(2) - 2..at - 1];
            delete_checkpoint(&fence, CheckpointId(id - 1), unneeded).map_err(said)?;
        }
    }
    Ok(())
}

/// Checkpoint `id` with files of its own and these shared ones, of which the last is new.
fn checkpoint_of_files(fence: &Fence, id: u64, shared: &[String]) -> Result<(), String> {
    let storage = &**fence.storage();
    let directory = checkpoint_directory(JOB, CheckpointId(id));
    let put = |path: String, content: &str| {
        let (length, crc32c) = (content.len() as u64, crc32c::crc32c(content.as_bytes()));
        // One that is there is named again.
        if storage.read(&path, 0, 1).is_err() {
            let written = storage
                .write(&path, &mut |out| out.write_all(content.as_bytes()))
                .map_err(|error| error.to_string())?;
            assert_eq!((written.length, written.crc32c), (length, crc32c));
        }
        Ok::<_, String>((length, crc32c))
    };
    let mut files = BTreeMap::new();
    for name in shared {
        let (length, crc32c) = put(format!("{JOB}/shared/{name}"), name)?;
        let name = name.clone();
        files.insert(name.clone(), Data::Shared { name, length, crc32c });
    }
    let name = format!("e{}-a0-v1-s0-o0", fence.epoch());
    let (length, crc32c) = put(
        file_name(&directory, &name),
        &format!("own of {id} {}", "x".repeat(300)),
    )?;
    let keyed = KeyedHandle {
        range: MaxParallelism(128).range_of(0, 1),
        states: Vec::new(),
        data: Data::File { name, length, crc32c },
        native: Some(NativeState {
            format: "files-1".to_owned(),
            numbers: Vec::new(),
            files,
        }),
    };
    let state = OperatorState {
        keyed: Some(keyed),
        ..OperatorState::default()
    };
    let subtask = SubtaskId {
        vertex: VertexId(1),
        index: 0,
    };
    let done = Acknowledged {
        checkpoint: CheckpointId(id),
        kind: ManifestKind::Checkpoint,
        destination: Destination::Job,
        triggered_at: 0,
        subtasks: [(
            subtask,
            SubtaskState {
                operators: [(uid("count"), state)].into(),
            },
        )]
        .into(),
        size: 0,
    };
    let manifest = Manifest::new(&job_part(fence.epoch()), done);
    fence
        .write_manifest(storage, &directory, &manifest)
        .and_then(|()| fence.note_completed())
        .map_err(|error| error.to_string())
}

/// What a restore finds on a machine that works again.
fn found(files: &Arc<PowerFiles>) -> Option<u64> {
    files.restart(|_| Call::Done);
    latest_id(&*storage_over(files))
}

/// Nothing happens any more from this call on.
fn dies_at(call: u64) -> impl FnMut(u64) -> Call {
    move |number| match number.cmp(&call) {
        std::cmp::Ordering::Less => Call::Done,
        std::cmp::Ordering::Equal => Call::Half(io::ErrorKind::Other),
        std::cmp::Ordering::Greater => Call::Fails(io::ErrorKind::Other),
    }
}

fn calls_of_a_life() -> u64 {
    let files = Arc::new(PowerFiles::new(|_| Call::Done));
    let lived = live(&files, None);
    assert_eq!((lived.completed, lived.error), (Some(3), None));
    files.calls()
}

#[test]
fn a_power_cut_at_any_call_leaves_what_was_complete() {
    for call in 0..calls_of_a_life() {
        for seed in 0..12 {
            let mut random = Random(seed * 1_000 + call);
            let files = Arc::new(PowerFiles::new(dies_at(call)));
            let lived = live(&files, None);
            files.lose_power(&mut |bound| random.below(bound));
            let found = found(&files);
            assert!(
                found >= lived.completed,
                "call {call}, seed {seed}: {found:?} of {lived:?}"
            );
            assert!(
                found <= lived.completed.map(|id| id + 1).or(Some(1)),
                "call {call}: {found:?}"
            );
        }
    }
}

#[test]
fn a_power_cut_after_any_number_of_dead_processes_leaves_what_was_complete() {
    for seed in 0..2_500 {
        let mut random = Random(seed);
        let files = Arc::new(PowerFiles::new(dies_at(0)));
        let mut completed = None;
        for _ in 0..1 + random.below(4) {
            files.restart(dies_at(random.below(150) as u64));
            completed = live(&files, completed).completed;
            if random.below(3) == 0 {
                files.lose_power(&mut |bound| random.below(bound));
            }
        }
        files.lose_power(&mut |bound| random.below(bound));
        let found = found(&files);
        assert!(found >= completed, "seed {seed}: {found:?} of {completed:?}");
    }
}

#[test]
fn a_call_that_fails_is_one_clear_error_and_harms_nothing_that_was_complete() {
    let kinds = [
        (io::ErrorKind::StorageFull, "the disk is full: free space"),
        (io::ErrorKind::ReadOnlyFilesystem, "the file system is read-only"),
        (io::ErrorKind::PermissionDenied, "the host may not write there"),
    ];
    let mut failed = 0;
    for call in 0..calls_of_a_life() {
        for (kind, mend) in kinds {
            // From this call on, until somebody mends it.
            let fails = move |number| {
                if number < call {
                    Call::Done
                } else {
                    Call::Half(kind)
                }
            };
            let files = Arc::new(PowerFiles::new(fails));
            let lived = live(&files, None);
            let Some(error) = &lived.error else { continue };
            failed += 1;
            assert!(
                error.contains(mend) && error.contains("file:///"),
                "call {call}: {error}"
            );
            let found = found(&files);
            assert!(
                found >= lived.completed,
                "call {call} {kind:?}: {found:?} of {lived:?}"
            );
            // And the job goes on once it is mended.
            assert!(
                live(&files, lived.completed).error.is_none(),
                "call {call} {kind:?}"
            );
        }
    }
    assert!(failed > 100, "{failed} calls failed");
}

#[test]
fn a_manifest_that_was_withdrawn_does_not_come_back_with_the_power() {
    let mut withdrawn = 0;
    for call in 0..calls_of_a_life() {
        for seed in 0..8 {
            let mut random = Random(seed * 1_000 + call);
            // One call fails, and the process lives on.
            let fails = move |number| match number == call {
                true => Call::Fails(io::ErrorKind::Other),
                false => Call::Done,
            };
            let files = Arc::new(PowerFiles::new(fails));
            let lived = live(&files, None);
            files.lose_power(&mut |bound| random.below(bound));
            let found = found(&files);
            for id in &lived.withdrawn {
                withdrawn += 1;
                assert_ne!(found, Some(*id), "call {call}, seed {seed}: {lived:?}");
            }
        }
    }
    assert!(withdrawn > 10, "{withdrawn} were withdrawn");
}
