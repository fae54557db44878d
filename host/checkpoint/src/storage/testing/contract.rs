//! The contract of checkpoint storage, clause by clause, on whatever storage it is given: a directory, memory, a
//! bucket on a real server.
//!
//! Each clause works below a directory of its own, so that all can be checked in one bucket.

use std::io;

use super::super::{CheckpointStorage, StorageError, Written};

type Clause = fn(&dyn CheckpointStorage, &str) -> Result<(), StorageError>;

/// What every storage keeps, by name.
const CLAUSES: [(&str, Clause); 8] = [
    ("what is written is read back in any part", reads_any_part),
    ("a file that is written again is replaced", replaces),
    ("a file is created once", creates_once),
    (
        "of those who create one file at once one succeeds",
        creates_for_one,
    ),
    (
        "a list has what lies below a directory and not its neighbours",
        lists,
    ),
    (
        "a deleted file is not found, and deleting it again is no error",
        deletes,
    ),
    ("content that fails leaves no file", leaves_nothing),
    ("names that lead out of the storage are refused", refuses_names),
];

/// Bytes of a part of a large file, and some more than may be on their way at once, and no multiple of a part.
const LARGE_BYTES: usize = 5 * 8 * 1024 * 1024 + 12_345;

/// Panics where the storage breaks its contract, naming the clause. With `large`, files of many parts too.
pub fn check(storage: &dyn CheckpointStorage, large: bool) {
    for (number, (name, clause)) in CLAUSES.iter().enumerate() {
        if let Err(error) = clause(storage, &format!("clause-{number}")) {
            panic!("{}: {name}: {error}", storage.url());
        }
    }
    if large && let Err(error) = keeps_large_files(storage, "large") {
        panic!("{}: a file of many parts keeps its order: {error}", storage.url());
    }
}

fn put(storage: &dyn CheckpointStorage, name: &str, bytes: &[u8]) -> Result<Written, StorageError> {
    storage.write(name, &mut |out| out.write_all(bytes))
}

fn reads_any_part(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    let name = format!("{directory}/chk-1/a");
    let written = put(storage, &name, b"0123456789")?;
    let expected = Written {
        length: 10,
        crc32c: crc32c::crc32c(b"0123456789"),
    };
    assert_eq!(written, expected);
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (3, 4, "3456"),
        (8, 99, "89"),
        (10, 5, ""),
        (99, 1, ""),
        (2, 0, ""),
    ] {
        let read = storage.read(&name, offset, length)?;
        assert_eq!(read, expected.as_bytes(), "{offset}+{length}");
    }
    Ok(())
}

fn replaces(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    let (name, empty) = (format!("{directory}/a"), format!("{directory}/empty"));
    put(storage, &name, b"a longer content")?;
    put(storage, &name, b"short")?;
    assert_eq!(storage.read(&name, 0, 99)?, b"short");
    put(storage, &empty, b"")?;
    assert_eq!(storage.read(&empty, 0, 99)?, b"");
    Ok(())
}

fn creates_once(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    for content in [&b"first"[..], b""] {
        let name = format!("{directory}/_metadata-{}", content.len());
        storage.create(&name, content)?;
        for second in [&b"second"[..], content] {
            let error = storage.create(&name, second);
            assert!(matches!(error, Err(StorageError::Exists { .. })), "{error:?}");
        }
        assert_eq!(storage.read(&name, 0, 99)?, content);
    }
    Ok(())
}

fn creates_for_one(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    let name = format!("{directory}/epoch");
    let created = std::thread::scope(|scope| {
        let creating: Vec<_> = (0..4u8)
            .map(|host| {
                let name = &name;
                scope.spawn(move || storage.create(name, &[host]).is_ok())
            })
            .collect();
        creating
            .into_iter()
            .enumerate()
            .filter_map(|(host, thread)| thread.join().unwrap_or(false).then_some(host as u8))
            .collect::<Vec<_>>()
    });
    assert_eq!(created.len(), 1, "hosts that created it");
    assert_eq!(storage.read(&name, 0, 9)?, created);
    Ok(())
}

fn lists(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    for name in ["job/chk-1/b", "job/chk-1/a", "job/chk-10/a", "job2/chk-1/a"] {
        put(storage, &format!("{directory}/{name}"), b"xyz")?;
    }
    let named = |below: &str| -> Result<Vec<String>, StorageError> {
        let found = storage.list(&format!("{directory}/{below}"))?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    };
    let whole = |name: &str| format!("{directory}/{name}");
    assert_eq!(named("job/chk-1")?, [whole("job/chk-1/a"), whole("job/chk-1/b")]);
    assert_eq!(named("job")?.len(), 3);
    assert_eq!(named("nothing")?, [""; 0]);
    assert_eq!(storage.list(&whole("job/chk-10"))?, [(whole("job/chk-10/a"), 3)]);
    Ok(())
}

fn deletes(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    let name = format!("{directory}/a");
    put(storage, &name, b"x")?;
    storage.delete(&name)?;
    storage.delete(&name)?;
    for length in [0, 1] {
        let error = storage.read(&name, 0, length);
        assert!(matches!(error, Err(StorageError::NotFound { .. })), "{error:?}");
        let text = error.map(|_| ()).map_err(|error| error.to_string());
        assert!(text.is_err_and(|text| text.contains(&name)));
    }
    storage.prune(directory)
}

fn leaves_nothing(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    for size in [10, 4 * 1024 * 1024] {
        let failed = storage.write(&format!("{directory}/a"), &mut |out| {
            out.write_all(&vec![7; size])?;
            Err(io::Error::other("state is broken"))
        });
        let text = failed
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string());
        assert!(text.contains("state is broken"), "{text}");
        assert_eq!(storage.list(directory)?, []);
    }
    Ok(())
}

fn refuses_names(storage: &dyn CheckpointStorage, _directory: &str) -> Result<(), StorageError> {
    for name in ["../escape", "a/../../escape", "a//b", ""] {
        assert!(storage.create(name, b"x").is_err(), "{name}");
        assert!(put(storage, name, b"x").is_err(), "{name}");
    }
    Ok(())
}

fn keeps_large_files(storage: &dyn CheckpointStorage, directory: &str) -> Result<(), StorageError> {
    let name = format!("{directory}/file");
    let block: Vec<u8> = (0..65_521u32).map(|i| (i % 251) as u8).collect();
    let write = |end: &dyn Fn() -> io::Result<()>| {
        storage.write(&name, &mut |out| {
            let mut left = LARGE_BYTES;
            while left > 0 {
                let piece = left.min(block.len());
                out.write_all(&block[..piece])?;
                left -= piece;
            }
            end()
        })
    };
    assert!(write(&|| Err(io::Error::other("state is broken"))).is_err());
    assert_eq!(storage.list(directory)?, []);
    let written = write(&|| Ok(()))?;
    let content = storage.read(&name, 0, u64::MAX)?;
    let expected = Written {
        length: LARGE_BYTES as u64,
        crc32c: crc32c::crc32c(&content),
    };
    assert_eq!(written, expected);
    let in_order = |chunk: &[u8]| *chunk == block[..chunk.len()];
    assert!(content.chunks(block.len()).all(in_order));
    storage.delete(&name)
}
