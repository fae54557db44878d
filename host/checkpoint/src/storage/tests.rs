//! The seam's contract, on every storage; what local files and URLs add.

use std::io;
use std::sync::Arc;

use std::path::Path;

use super::testing::{Fault, FaultyStorage, contract};
use super::*;

fn local(directory: &Path) -> Result<LocalStorage, StorageError> {
    LocalStorage::open(directory, &StorageSettings::default())
}

/// All storages that keep the contract.
fn storages() -> (tempfile::TempDir, Vec<Arc<dyn CheckpointStorage>>) {
    let directory = tempfile::tempdir().unwrap();
    let local: Arc<dyn CheckpointStorage> = Arc::new(local(directory.path()).unwrap());
    let memory = Arc::new(MemoryStorage::new());
    let faultless = FaultyStorage::new(Arc::new(MemoryStorage::new()), |_, _, _| Fault::None);
    (
        directory,
        vec![
            local,
            open("memory:", &StorageSettings::default()).unwrap(),
            memory,
            Arc::new(faultless),
        ],
    )
}

fn put(storage: &dyn CheckpointStorage, name: &str, bytes: &[u8]) -> Written {
    storage.write(name, &mut |out| out.write_all(bytes)).unwrap()
}

#[test]
fn every_storage_keeps_the_contract() {
    let (directory, storages) = storages();
    for storage in &storages {
        contract::check(&**storage, storage.url() != "memory:");
    }
    assert!(!directory.path().parent().unwrap().join("escape").exists());
}

#[test]
fn memory_takes_states_up_to_flinks_bound() {
    let storage = open("memory:", &StorageSettings::default()).unwrap();
    let largest = vec![1; MEMORY_STATE_BYTES_MAX as usize];
    put(&*storage, "largest", &largest);
    let error = storage
        .write("larger", &mut |out| {
            out.write_all(&largest)?;
            out.write_all(b"x")
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("larger in memory:")
            && error.contains("5242880 bytes")
            && error.contains("checkpoint-storage"),
        "{error}"
    );
    assert_eq!(storage.list("larger").unwrap(), []);
}

#[test]
fn calls_from_another_runtimes_thread_work() {
    let directory = tempfile::tempdir().unwrap();
    let storage = local(directory.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { storage.create("a", b"x").unwrap() });
    assert_eq!(storage.read("a", 0, 9).unwrap(), b"x");
}

#[test]
fn a_directory_is_opened_by_path_or_url_and_made_where_it_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("not yet/there");
    let settings = StorageSettings::default();
    let by_path = open(below.to_str().unwrap(), &settings).unwrap();
    by_path.create("a", b"x").unwrap();
    let by_url = open(&by_path.url(), &settings).unwrap();
    assert!(by_path.url().starts_with("file:///"), "{}", by_path.url());
    assert_eq!(by_url.read("a", 0, 9).unwrap(), b"x");
}

fn refusal(url: &str, settings: &StorageSettings) -> String {
    let error = open(url, settings).err().unwrap();
    assert!(matches!(error, StorageError::Unsupported { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_store_that_this_host_has_not_is_named_with_what_it_has() {
    for url in ["hdfs://node/x", "http://example/x"] {
        let text = refusal(url, &StorageSettings::default());
        assert!(
            text.contains(url) && text.contains("`file:///path`") && text.contains("`s3://"),
            "{text}"
        );
    }
}

#[test]
fn object_stores_are_opened_by_their_urls_and_shown_without_a_slash() {
    let mut settings = StorageSettings::default();
    settings.azure.account_key = Some(Secret::new("a2V5"));
    for url in [
        "s3://bucket/a/path",
        "s3a://bucket",
        "gs://bucket/a",
        "abfs://container@account.dfs.core.windows.net/a",
        "wasbs://container@account.blob.core.windows.net/a",
    ] {
        settings.gcs.endpoint = Some("http://127.0.0.1:1".to_owned());
        let storage = open(&format!("{url}/"), &settings).unwrap();
        assert_eq!(storage.url(), url);
    }
    assert!(refusal("az://container/a", &settings).contains("`azure-account`"));
    settings.azure.account = Some("account".to_owned());
    assert_eq!(
        open("az://container/a", &settings).unwrap().url(),
        "az://container/a"
    );
}

#[test]
fn a_url_with_credentials_is_refused_and_not_repeated() {
    for url in [
        "s3://key:hidden@bucket/x",
        "s3://bucket/x?secret=hidden",
        "gs://hidden@bucket/x",
    ] {
        let text = refusal(url, &StorageSettings::default());
        assert!(text.contains("by the host's settings"), "{text}");
        assert!(
            !text.contains("key:hidden") && !text.contains("secret=hidden"),
            "{text}"
        );
    }
}

#[test]
fn half_of_a_pair_of_keys_is_named_and_settings_never_show_keys() {
    let mut settings = StorageSettings::default();
    settings.s3.access_key = Some(Secret::new("hidden"));
    assert!(refusal("s3://bucket/x", &settings).contains("only one is set"));
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn a_file_where_a_directory_should_be_is_named_with_the_mend() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let error = open(file.join("below").to_str().unwrap(), &StorageSettings::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("file/below") && error.contains("a file stands where a directory is needed"),
        "{error}"
    );

    let storage = local(directory.path()).unwrap();
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
        let error = failure::with_mend(failure::to_io(wrapped));
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(mend), "{error}");
    }
}

#[test]
fn pruning_removes_what_a_crash_left_and_nothing_that_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = local(directory.path()).unwrap();
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
