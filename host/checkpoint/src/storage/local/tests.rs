//! What only local storage does: windows of a large file, files left by the dead, directories that come and go.

use std::fs;

use super::whole::WINDOW_BYTES;
use super::*;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn storage(root: &tempfile::TempDir) -> LocalStorage {
    LocalStorage::open(root.path(), &StorageSettings::default()).unwrap()
}

#[test]
fn a_file_of_many_windows_reads_back_and_leaves_nothing_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let (storage, path) = (storage(&root), root.path().join("a/b/state"));
    let mut expected = Vec::new();
    let written = storage.write("a/b/state", &mut |out| {
        for number in 0..(5 * WINDOW_BYTES / 2 / 300_000) {
            let piece = vec![number as u8; 300_000 - number as usize * 1_001];
            out.write_all(&piece)?;
            expected.extend_from_slice(&piece);
            assert!(!path.exists(), "nobody sees a part of it");
        }
        Ok(())
    });
    let crc32c = crc32c::crc32c(&expected);
    let length = expected.len() as u64;
    assert_eq!(written.unwrap(), Written { length, crc32c });
    assert!(fs::read(&path).unwrap() == expected);
    assert_eq!(names(&root.path().join("a/b")), ["state"]);
}

#[test]
fn an_unfinished_file_is_removed_and_the_old_one_stays() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("state"), "old").unwrap();
    // A crash has left the first name behind.
    fs::write(root.path().join("state#1"), "half").unwrap();
    let storage = storage(&root);
    let failed = storage.write("state", &mut |out| {
        out.write_all(b"new")?;
        Err(io::Error::other("state is broken"))
    });
    assert!(failed.is_err());
    assert_eq!(storage.read("state", 0, 9).unwrap(), b"old");
    assert_eq!(storage.list("").unwrap(), [("state".to_owned(), 3)]);
    assert_eq!(names(root.path()), ["state", "state#1"]);
}

#[test]
fn a_directory_that_another_deletes_meanwhile_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (storage(&root), storage(&root));
    std::thread::scope(|scope| {
        for (storage, name) in [(&one, "shared/a"), (&other, "shared/b")] {
            scope.spawn(move || {
                for _ in 0..60 {
                    storage.create(name, b"x").unwrap();
                    storage.delete(name).unwrap();
                }
            });
        }
    });
    assert_eq!(names(root.path()), [""; 0]);
}

#[test]
fn a_full_disk_of_the_machine_is_known_by_its_kind() {
    // A file system of Linux that takes opens and no bytes.
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let mut file = fs::OpenOptions::new().write(true).open(full).unwrap();
    let error = with_mend(files::OpenFile::append(&mut file, b"x").unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(
        error.to_string().contains("the disk is full: free space"),
        "{error}"
    );
}
