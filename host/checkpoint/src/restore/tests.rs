//! Finding a checkpoint whatever has happened to the directory, and dealing it out.

mod damage;
mod deal;
mod fenced;
mod power;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use wasmill_model::function::OperatorStateMode;
use wasmill_model::id::{SubtaskId, VertexId};
use wasmill_model::key::{KeyGroup, MaxParallelism};

use super::*;
use crate::coordinator::{Acknowledged, Destination};
use crate::fence::{Fence, FenceError};
use crate::handle::{
    Base64Bytes, Committable, Data, KeyedHandle, NativeState, OperatorList, OperatorState, SubtaskState,
};
use crate::layout::{Writer, checkpoint_directory, data_file_name, file_name, manifest_name};
use crate::manifest::{JobPart, ManifestKind, OperatorManifest};
use crate::retention::{delete_checkpoint, delete_job, delete_savepoint, sweep};
use crate::storage::testing::{Fault, FaultyStorage};
use crate::storage::{CheckpointStorage, LocalStorage, MemoryStorage, StorageSettings};

const JOB: JobId = JobId(7);

fn local(directory: &std::path::Path) -> Result<LocalStorage, StorageError> {
    LocalStorage::open(directory, &StorageSettings::default())
}

fn uid(name: &str) -> OperatorUid {
    OperatorUid::new(name)
}

fn job_part(epoch: u64) -> JobPart {
    JobPart {
        job_id: JOB,
        job_name: "job".to_owned(),
        epoch,
        max_parallelism: MaxParallelism(128),
        parallelism: [(uid("count"), 2)].into(),
        plugins: BTreeMap::new(),
    }
}

/// Writes checkpoint `n` as a job does: data, manifest, note.
fn checkpoint(fence: &Fence, storage: &dyn CheckpointStorage, n: u64) -> Result<(), String> {
    let directory = checkpoint_directory(JOB, CheckpointId(n));
    let mut subtasks = BTreeMap::new();
    for index in 0..2 {
        let subtask = SubtaskId {
            vertex: VertexId(0),
            index,
        };
        let name = data_file_name(
            Writer {
                epoch: fence.epoch(),
                attempt: 0,
            },
            subtask,
            0,
        );
        let content = format!("state of {index} at {n}");
        let written = storage
            .write(&file_name(&directory, &name), &mut |out| {
                out.write_all(content.as_bytes())
            })
            .map_err(|e| e.to_string())?;
        let data = Data::File {
            name,
            length: written.length,
            crc32c: written.crc32c,
        };
        let keyed = KeyedHandle {
            range: MaxParallelism(128).range_of(index, 2),
            states: Vec::new(),
            data,
            native: None,
        };
        let state = OperatorState {
            keyed: Some(keyed),
            ..OperatorState::default()
        };
        subtasks.insert(
            subtask,
            SubtaskState {
                operators: [(uid("count"), state)].into(),
            },
        );
    }
    let done = Acknowledged {
        checkpoint: CheckpointId(n),
        kind: ManifestKind::Checkpoint,
        destination: Destination::Job,
        triggered_at: 0,
        subtasks,
        size: 0,
    };
    let manifest = Manifest::new(&job_part(fence.epoch()), done);
    fence
        .write_manifest(storage, &directory, &manifest)
        .map_err(|e| e.to_string())?;
    fence.note_completed().map_err(|e| e.to_string())
}

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

fn acquire(storage: &Arc<MemoryStorage>) -> Fence {
    Fence::acquire(Arc::clone(storage) as Arc<dyn CheckpointStorage>, JOB).unwrap()
}

/// A job with checkpoints 1 to `n`.
fn job_with(n: u64) -> (Arc<MemoryStorage>, Fence) {
    let storage = memory();
    let fence = acquire(&storage);
    (1..=n).for_each(|id| checkpoint(&fence, &*storage, id).unwrap());
    (storage, fence)
}

fn latest_id(storage: &dyn CheckpointStorage) -> Option<u64> {
    latest(storage, JOB)
        .unwrap()
        .latest
        .map(|restored| restored.manifest.checkpoint.0)
}

fn data_file(n: u64, index: u32) -> String {
    let subtask = SubtaskId {
        vertex: VertexId(0),
        index,
    };
    let name = data_file_name(Writer { epoch: 1, attempt: 0 }, subtask, 0);
    file_name(&checkpoint_directory(JOB, CheckpointId(n)), &name)
}

fn manifest_file(n: u64) -> String {
    manifest_name(&checkpoint_directory(JOB, CheckpointId(n)))
}

#[test]
fn a_job_without_checkpoints_starts_afresh_with_number_one() {
    let recovered = latest(&*memory(), JOB).unwrap();
    assert!(recovered.latest.is_none() && recovered.skipped.is_empty() && recovered.stopped.is_none());
    assert_eq!(recovered.next_id, CheckpointId(1));
}

#[test]
fn the_newest_complete_checkpoint_is_restored() {
    let (storage, _fence) = job_with(3);
    // A checkpoint that was under way when the host died.
    storage.create(&data_file(4, 0), b"half").unwrap();
    let recovered = latest(&*storage, JOB).unwrap();
    let restored = recovered.latest.unwrap();
    assert_eq!(
        (restored.manifest.checkpoint, recovered.next_id),
        (CheckpointId(3), CheckpointId(5))
    );
    assert_eq!(
        recovered.retained.into_keys().collect::<Vec<_>>(),
        [CheckpointId(1), CheckpointId(2), CheckpointId(3)]
    );
    assert_eq!(recovered.skipped, []);
}

#[test]
fn a_first_checkpoint_that_was_not_completed_is_no_reason_to_refuse_a_start() {
    let storage = memory();
    storage.create(&data_file(1, 0), b"half").unwrap();
    let recovered = latest(&*storage, JOB).unwrap();
    assert!(recovered.latest.is_none());
    assert_eq!(recovered.next_id, CheckpointId(2));
}

#[test]
fn a_checkpoint_of_a_newer_host_is_neither_passed_over_nor_deleted() {
    let (storage, fence) = job_with(3);
    let newer = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text.replacen("version=1 ", "version=3 ", 1).into_bytes();
    };
    storage.damage(&manifest_file(3), newer).unwrap();
    let error = latest(&*storage, JOB).unwrap_err();
    assert!(matches!(error, RestoreError::Newer { version: 3, .. }), "{error}");
    assert!(
        error.to_string().contains("restore it with a newer host"),
        "{error}"
    );
    sweep(&fence, &BTreeMap::new()).unwrap();
    assert!(storage.read(&manifest_file(2), 0, 1).is_err());
    assert!(storage.read(&manifest_file(3), 0, 1).is_ok());
    assert_eq!(
        storage.read(&data_file(3, 0), 0, 100).unwrap(),
        b"state of 0 at 3"
    );
}

#[test]
fn where_none_is_good_the_job_is_refused_with_all_reasons() {
    let (storage, _fence) = job_with(2);
    storage.damage(&data_file(1, 0), |b| b.clear()).unwrap();
    storage.delete(&manifest_file(2)).unwrap();
    let error = latest(&*storage, JOB).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RestoreError::NoneGood { .. }), "{text}");
    assert!(
        text.contains("chk-1: file `e1-a0-v0-s0-o0`") && text.contains("chk-2: it has no manifest"),
        "{text}"
    );
}

#[test]
fn a_job_whose_only_manifest_was_lost_does_not_start_afresh() {
    let (storage, _fence) = job_with(1);
    storage.delete(&manifest_file(1)).unwrap();
    assert!(matches!(
        latest(&*storage, JOB),
        Err(RestoreError::NoneGood { .. })
    ));
}

#[test]
fn a_checkpoint_is_loaded_wherever_its_directory_was_moved() {
    let (storage, _fence) = job_with(1);
    let moved = memory();
    for (name, length) in storage.list(&checkpoint_directory(JOB, CheckpointId(1))).unwrap() {
        let content = storage.read(&name, 0, length).unwrap();
        moved.create(name.rsplit('/').next().unwrap(), &content).unwrap();
    }
    let restored = load(&*moved, "").unwrap();
    let count = &restored.manifest.operators[&uid("count")];
    let data = &count.subtasks[&1].keyed.as_ref().unwrap().data;
    let mut file = open_data(moved, &restored.directory, data).unwrap();
    let mut content = vec![0; file.len() as usize];
    file.read_at(0, &mut content).unwrap();
    assert_eq!(content, b"state of 1 at 1");
    assert!(
        file.read_at(1, &mut content).is_err(),
        "nothing is read past the end"
    );
    let error = load(&*storage, "elsewhere").unwrap_err().to_string();
    assert!(
        error.contains("elsewhere") && error.contains("no manifest"),
        "{error}"
    );
}

#[test]
fn storage_that_does_not_answer_is_no_sign_of_damage() {
    struct Dead(Arc<MemoryStorage>);
    impl CheckpointStorage for Dead {
        fn write(
            &self,
            name: &str,
            content: &mut crate::storage::Content<'_>,
        ) -> Result<crate::storage::Written, StorageError> {
            self.0.write(name, content)
        }
        fn create(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
            self.0.create(name, content)
        }
        fn read(&self, name: &str, _: u64, _: u64) -> Result<Vec<u8>, StorageError> {
            let source = std::io::Error::other("unreachable");
            Err(StorageError::Io {
                name: name.to_owned(),
                storage: self.url(),
                source,
            })
        }
        fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
            self.0.list(prefix)
        }
        fn delete(&self, name: &str) -> Result<(), StorageError> {
            self.0.delete(name)
        }
        fn url(&self) -> String {
            "memory:dead".to_owned()
        }
    }
    let (storage, _fence) = job_with(2);
    let error = latest(&Dead(storage), JOB).unwrap_err();
    assert!(matches!(error, RestoreError::Storage(_)), "{error}");
}

#[test]
fn a_sweep_removes_all_but_what_is_kept_and_nothing_that_is_not_ours() {
    let (storage, fence) = job_with(3);
    storage.create(&data_file(4, 0), b"half").unwrap();
    storage
        .create("00000000000000000000000000000007/notes.txt", b"mine")
        .unwrap();
    storage
        .create("00000000000000000000000000000008/chk-1/_metadata", b"another job")
        .unwrap();
    storage.damage(&manifest_file(3), |b| b.truncate(9)).unwrap();
    let keep = latest(&*storage, JOB).unwrap().retained;
    assert_eq!(sweep(&fence, &keep).unwrap(), [CheckpointId(3), CheckpointId(4)]);
    assert_eq!(latest_id(&*storage), Some(2));
    assert!(
        storage
            .read("00000000000000000000000000000007/notes.txt", 0, 9)
            .is_ok()
    );
    assert!(
        storage
            .read("00000000000000000000000000000008/chk-1/_metadata", 0, 9)
            .is_ok()
    );
}

#[test]
fn a_finished_job_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let storage: Arc<dyn CheckpointStorage> = Arc::new(local(directory.path()).unwrap());
    let fence = Fence::acquire(Arc::clone(&storage), JOB).unwrap();
    fence.settle(None).unwrap();
    checkpoint(&fence, &*storage, 1).unwrap();
    let note = StopNote {
        checkpoint: CheckpointId(2),
        storage: storage.url(),
        directory: "sp".to_owned(),
    };
    fence.note_stop(&note).unwrap();
    delete_job(&fence).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_stop_is_found_before_any_older_checkpoint_and_an_older_stop_is_not() {
    let (storage, fence) = job_with(2);
    let note = |n| StopNote {
        checkpoint: CheckpointId(n),
        storage: "memory:".to_owned(),
        directory: "sp".to_owned(),
    };
    fence.note_stop(&note(1)).unwrap();
    assert_eq!(latest(&*storage, JOB).unwrap().stopped, None);
    fence.note_stop(&note(9)).unwrap();
    let recovered = latest(&*storage, JOB).unwrap();
    assert_eq!(recovered.stopped, Some(note(9)));
    assert_eq!(recovered.next_id, CheckpointId(10));
}

/// A job of five checkpoints, one retained, that dies at a failing write; what was completed before.
fn run_until_failure(storage: &Arc<FaultyStorage>) -> Option<u64> {
    let storage: Arc<dyn CheckpointStorage> = Arc::clone(storage) as _;
    let fence = Fence::acquire(Arc::clone(&storage), JOB).ok()?;
    fence.settle(None).ok()?;
    let mut completed = None;
    for n in 1..=5 {
        if checkpoint(&fence, &*storage, n).is_err() {
            return completed;
        }
        completed = Some(n);
        if n > 1 && delete_checkpoint(&fence, CheckpointId(n - 1), &[]).is_err() {
            return completed;
        }
    }
    completed
}

#[test]
fn a_crash_at_any_write_leaves_the_last_completed_checkpoint_restorable() {
    let all = Arc::new(FaultyStorage::new(memory(), |_, _, _| Fault::None));
    assert_eq!(run_until_failure(&all), Some(5));
    for n in 0..all.writes() {
        for fault in [Fault::Fail, Fault::Tear, Fault::LoseAnswer] {
            let disk = memory();
            let completed = run_until_failure(&Arc::new(FaultyStorage::nth(Arc::clone(&disk), n, fault)));
            let found = latest_id(&*disk);
            assert!(
                found >= completed,
                "write {n} {fault:?}: {completed:?} was completed, {found:?} is found"
            );
        }
    }
}
