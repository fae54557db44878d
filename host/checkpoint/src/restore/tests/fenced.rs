//! Two hosts in one directory.

use super::*;

#[test]
fn a_second_host_fences_the_first() {
    let (storage, first) = job_with(1);
    let second = acquire(&storage);
    assert_eq!((first.epoch(), second.epoch()), (1, 2));
    let error = checkpoint(&first, &*storage, 2).unwrap_err();
    assert!(
        error.contains("taken over by another host (epoch 2, ours is 1)"),
        "{error}"
    );
    assert!(matches!(
        sweep(&first, &BTreeMap::new()),
        Err(FenceError::Fenced { .. })
    ));
    assert!(matches!(delete_job(&first), Err(FenceError::Fenced { .. })));
    checkpoint(&second, &*storage, 3).unwrap();
    assert_eq!(latest_id(&*storage), Some(3));
}

#[test]
fn a_manifest_that_a_fenced_host_wrote_at_the_last_moment_is_void() {
    let (storage, first) = job_with(1);
    // The first host has looked, and writes only after the second one has gone on from checkpoint 1.
    let late = memory();
    let blind = Fence::acquire(Arc::clone(&late) as Arc<dyn CheckpointStorage>, JOB).unwrap();
    checkpoint(&blind, &*late, 2).unwrap();
    let second = acquire(&storage);
    second.settle(Some(CheckpointId(1))).unwrap();
    for (name, length) in late.list(&checkpoint_directory(JOB, CheckpointId(2))).unwrap() {
        storage
            .create(&name, &late.read(&name, 0, length).unwrap())
            .unwrap();
    }
    let recovered = latest(&*storage, JOB).unwrap();
    assert_eq!(recovered.latest.unwrap().manifest.checkpoint, CheckpointId(1));
    assert!(
        recovered.skipped[0].reason.contains("host epoch 1"),
        "{:?}",
        recovered.skipped
    );
    drop(first);
}

#[test]
fn a_manifest_whose_answer_was_lost_is_taken_back_and_a_foreign_one_is_not() {
    let disk = memory();
    let faulty = FaultyStorage::new(Arc::clone(&disk), |_, _, name| {
        if name.ends_with("chk-2/_metadata") {
            Fault::LoseAnswer
        } else {
            Fault::None
        }
    });
    let fence = acquire(&disk);
    checkpoint(&fence, &faulty, 1).unwrap();
    assert!(checkpoint(&fence, &faulty, 2).is_err());
    assert_eq!(latest_id(&*disk), Some(1));
    disk.create(&manifest_file(3), b"somebody else's").unwrap();
    assert!(checkpoint(&fence, &*disk, 3).is_err());
    assert_eq!(disk.read(&manifest_file(3), 0, 99).unwrap(), b"somebody else's");
}

#[test]
fn old_locks_do_not_pile_up() {
    let storage = memory();
    for epoch in 1..=100 {
        assert_eq!(acquire(&storage).epoch(), epoch);
    }
    assert!(storage.list("").unwrap().len() < 20);
}

#[test]
fn a_fenced_host_deletes_nothing_of_the_newer_one() {
    let (storage, first) = job_with(1);
    // It does not see the second one yet, as where both begin to delete and to write at one time.
    let late = memory();
    let blind = Fence::acquire(Arc::clone(&late) as Arc<dyn CheckpointStorage>, JOB).unwrap();
    let second = acquire(&storage);
    checkpoint(&second, &*storage, 2).unwrap();
    let refused = delete_checkpoint(&first, CheckpointId(1), &[]);
    assert!(matches!(refused, Err(FenceError::Fenced { .. })), "{refused:?}");
    assert!(storage.read(&manifest_file(1), 0, 1).is_ok());
    for (name, length) in storage.list(&checkpoint_directory(JOB, CheckpointId(2))).unwrap() {
        late.create(&name, &storage.read(&name, 0, length).unwrap())
            .unwrap();
    }
    late.create(&data_file(2, 9), b"of epoch 1").unwrap();
    delete_checkpoint(&blind, CheckpointId(2), &[]).unwrap();
    let left = late.list(&checkpoint_directory(JOB, CheckpointId(2))).unwrap();
    assert_eq!(
        left,
        storage.list(&checkpoint_directory(JOB, CheckpointId(2))).unwrap()
    );
}
