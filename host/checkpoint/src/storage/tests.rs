//! The seam's contract, on every storage; what local files and URLs add.

use std::io;
use std::sync::Arc;

use super::testing::{Fault, FaultyStorage};
use super::*;

/// All storages that keep the contract.
fn storages() -> (tempfile::TempDir, Vec<Arc<dyn CheckpointStorage>>) {
    let directory = tempfile::tempdir().unwrap();
    let local: Arc<dyn CheckpointStorage> = Arc::new(ObjectStorage::local(directory.path()).unwrap());
    let memory = Arc::new(MemoryStorage::new());
    let faultless = FaultyStorage::new(Arc::new(MemoryStorage::new()), |_, _, _| Fault::None);
    (
        directory,
        vec![local, open("memory:").unwrap(), memory, Arc::new(faultless)],
    )
}

fn put(storage: &dyn CheckpointStorage, name: &str, bytes: &[u8]) -> Written {
    storage.write(name, &mut |out| out.write_all(bytes)).unwrap()
}

#[test]
fn what_is_written_is_read_back_in_any_part() {
    let (_directory, storages) = storages();
    for storage in storages {
        let written = put(&*storage, "job/chk-1/a", b"0123456789");
        assert_eq!(
            written,
            Written {
                length: 10,
                crc32c: crc32c::crc32c(b"0123456789")
            }
        );
        for (offset, length, expected) in [
            (0, 10, "0123456789"),
            (3, 4, "3456"),
            (8, 99, "89"),
            (10, 5, ""),
            (99, 1, ""),
            (2, 0, ""),
        ] {
            let read = storage.read("job/chk-1/a", offset, length).unwrap();
            assert_eq!(read, expected.as_bytes(), "{} {offset}+{length}", storage.url());
        }
    }
}

#[test]
fn a_file_that_is_written_again_is_replaced() {
    let (_directory, storages) = storages();
    for storage in storages {
        put(&*storage, "a", b"a longer content");
        put(&*storage, "a", b"short");
        assert_eq!(storage.read("a", 0, 99).unwrap(), b"short");
        put(&*storage, "empty", b"");
        assert_eq!(storage.read("empty", 0, 99).unwrap(), b"");
    }
}

#[test]
fn a_file_is_created_once() {
    let (_directory, storages) = storages();
    for storage in storages {
        storage.create("job/_metadata", b"first").unwrap();
        let error = storage.create("job/_metadata", b"second").unwrap_err();
        assert!(matches!(error, StorageError::Exists { .. }), "{error}");
        assert_eq!(storage.read("job/_metadata", 0, 99).unwrap(), b"first");
    }
}

#[test]
fn a_list_has_what_lies_below_a_directory_and_not_its_neighbours() {
    let (_directory, storages) = storages();
    for storage in storages {
        for name in ["job/chk-1/b", "job/chk-1/a", "job/chk-10/a", "job2/chk-1/a"] {
            put(&*storage, name, b"xyz");
        }
        let named = |prefix: &str| {
            storage
                .list(prefix)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(named("job/chk-1"), ["job/chk-1/a", "job/chk-1/b"]);
        assert_eq!(named("job").len(), 3);
        assert_eq!(named("nothing"), [""; 0]);
        assert_eq!(
            storage.list("job/chk-10").unwrap(),
            [("job/chk-10/a".to_owned(), 3)]
        );
    }
}

#[test]
fn a_deleted_file_is_not_found_and_deleting_it_again_is_no_error() {
    let (_directory, storages) = storages();
    for storage in storages {
        put(&*storage, "job/a", b"x");
        storage.delete("job/a").unwrap();
        storage.delete("job/a").unwrap();
        let error = storage.read("job/a", 0, 1).unwrap_err();
        assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
        let error = storage.read("job/a", 0, 0).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("job/a"), "{error}");
    }
}

#[test]
fn content_that_fails_leaves_no_file() {
    let (_directory, storages) = storages();
    for storage in storages {
        for size in [10, 20 * 1024 * 1024] {
            let error = storage
                .write("job/a", &mut |out| {
                    out.write_all(&vec![7; size])?;
                    Err(io::Error::other("state is broken"))
                })
                .unwrap_err();
            assert!(error.to_string().contains("state is broken"), "{error}");
            assert_eq!(storage.list("job").unwrap(), []);
        }
    }
}

#[test]
fn a_file_of_many_parts_keeps_its_order_and_checksum() {
    let (_directory, storages) = storages();
    for storage in &storages[..2] {
        // Longer than the parts that may be on their way at once, and no multiple of a part.
        let length = 5 * 8 * 1024 * 1024 + 12_345;
        let block: Vec<u8> = (0..65_521u32).map(|i| (i % 251) as u8).collect();
        let written = storage
            .write("big", &mut |out| {
                let mut left = length;
                while left > 0 {
                    let piece = left.min(block.len());
                    out.write_all(&block[..piece])?;
                    left -= piece;
                }
                Ok(())
            })
            .unwrap();
        let content = storage.read("big", 0, u64::MAX).unwrap();
        assert_eq!(
            written,
            Written {
                length: length as u64,
                crc32c: crc32c::crc32c(&content)
            }
        );
        assert!(
            content
                .chunks(block.len())
                .all(|chunk| *chunk == block[..chunk.len()])
        );
    }
}

#[test]
fn names_that_lead_out_of_the_storage_are_refused() {
    let (directory, storages) = storages();
    for storage in &storages[..2] {
        for name in ["../escape", "a/../../escape", "a//b", ""] {
            assert!(storage.create(name, b"x").is_err(), "{name}");
            assert!(
                storage.write(name, &mut |out| out.write_all(b"x")).is_err(),
                "{name}"
            );
        }
    }
    assert!(!directory.path().parent().unwrap().join("escape").exists());
}

#[test]
fn calls_from_another_runtimes_thread_work() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(directory.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { storage.create("a", b"x").unwrap() });
    assert_eq!(storage.read("a", 0, 9).unwrap(), b"x");
}

#[test]
fn a_directory_is_opened_by_path_or_url_and_made_where_it_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("not yet/there");
    let by_path = open(below.to_str().unwrap()).unwrap();
    by_path.create("a", b"x").unwrap();
    let by_url = open(&by_path.url()).unwrap();
    assert!(by_path.url().starts_with("file:///"), "{}", by_path.url());
    assert_eq!(by_url.read("a", 0, 9).unwrap(), b"x");
}

#[test]
fn a_store_that_this_host_has_not_is_named_with_what_it_has() {
    for url in [
        "s3://bucket/path",
        "gs://bucket/x",
        "abfs://c@a.example/x",
        "hdfs://node/x",
        "http://example/x",
    ] {
        let error = open(url).err().unwrap();
        assert!(matches!(error, StorageError::Unsupported { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(url) && text.contains("`file:///path`"), "{text}");
    }
}

#[test]
fn a_file_where_a_directory_should_be_is_named_with_the_mend() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let error = open(file.join("below").to_str().unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("file/below") && error.contains("a file stands where a directory is needed"),
        "{error}"
    );

    let storage = ObjectStorage::local(directory.path()).unwrap();
    let error = storage.create("file/_metadata", b"x").unwrap_err().to_string();
    assert!(
        error.contains("file/_metadata") && error.contains("a directory is needed"),
        "{error}"
    );
}

#[test]
fn full_read_only_and_forbidden_disks_have_one_clear_error_each() {
    let kinds = [
        (io::ErrorKind::StorageFull, "the disk is full: free space"),
        (io::ErrorKind::QuotaExceeded, "the quota is used up"),
        (io::ErrorKind::ReadOnlyFilesystem, "the file system is read-only"),
        (io::ErrorKind::PermissionDenied, "the host may not write there"),
    ];
    for (kind, mend) in kinds {
        let wrapped = object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::from(kind)),
        };
        let error = object::with_mend(object::to_io(wrapped));
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(mend), "{error}");
    }
}

#[test]
fn pruning_removes_what_a_crash_left_and_nothing_that_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(directory.path()).unwrap();
    put(&storage, "job/chk-1/a", b"x");
    std::fs::write(directory.path().join("job/chk-1/b#1"), b"half of a write").unwrap();
    storage.prune("job/chk-1").unwrap();
    assert_eq!(storage.read("job/chk-1/a", 0, 9).unwrap(), b"x");
    storage.delete("job/chk-1/a").unwrap();
    storage.prune("job/chk-1").unwrap();
    storage.prune("job/chk-1").unwrap();
    assert!(!directory.path().join("job/chk-1").exists());
    assert!(directory.path().exists());
}

#[test]
fn faults_hit_the_write_that_they_are_meant_for() {
    let memory = Arc::new(MemoryStorage::new());
    let torn = FaultyStorage::nth(Arc::clone(&memory), 1, Fault::Tear);
    put(&torn, "a", b"whole");
    assert!(torn.write("b", &mut |out| out.write_all(b"whole")).is_err());
    assert_eq!(memory.read("b", 0, 99).unwrap(), b"wh");
    let lost = FaultyStorage::nth(Arc::clone(&memory), 0, Fault::LoseAnswer);
    assert!(lost.create("c", b"whole").is_err());
    assert_eq!(memory.read("c", 0, 99).unwrap(), b"whole");
    let failed = FaultyStorage::nth(Arc::clone(&memory), 0, Fault::Fail);
    assert!(failed.create("d", b"whole").is_err());
    assert!(memory.read("d", 0, 99).is_err());
    assert_eq!(failed.writes(), 1);
}
