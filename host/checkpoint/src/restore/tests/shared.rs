//! Files that several checkpoints name: which are swept, and which stay.

use super::*;

/// The same with a file of its backend that other checkpoints may name; `names` are all that it names.
fn sharing(fence: &Fence, storage: &dyn CheckpointStorage, id: u64, names: &[&str]) {
    let files = names.iter().map(|name| {
        let path = format!("{JOB}/shared/{name}");
        let written = storage
            .write(&path, &mut |out| out.write_all(name.as_bytes()))
            .unwrap();
        let data = Data::Shared {
            name: (*name).to_owned(),
            length: written.length,
            crc32c: written.crc32c,
        };
        ((*name).to_owned(), data)
    });
    let keyed = KeyedHandle {
        range: MaxParallelism(128).range_of(0, 1),
        states: Vec::new(),
        data: Data::Inline(Vec::new()),
        native: Some(NativeState {
            format: "files-1".to_owned(),
            numbers: Vec::new(),
            files: files.collect(),
        }),
    };
    let state = OperatorState {
        keyed: Some(keyed),
        ..OperatorState::default()
    };
    let mut manifest = latest(storage, JOB).unwrap().latest.unwrap().manifest;
    manifest.checkpoint = CheckpointId(id);
    let operator = OperatorManifest {
        parallelism: 1,
        subtasks: [(0, state)].into(),
    };
    manifest.operators = [(uid("count"), operator)].into();
    let directory = checkpoint_directory(JOB, CheckpointId(id));
    fence.write_manifest(storage, &directory, &manifest).unwrap();
}

fn shared(storage: &dyn CheckpointStorage) -> Vec<String> {
    let files = storage.list(&format!("{JOB}/shared")).unwrap();
    files
        .into_iter()
        .map(|(name, _)| name.rsplit_once('/').unwrap().1.to_owned())
        .collect()
}

#[test]
fn a_sweep_keeps_shared_files_that_a_kept_checkpoint_names_and_nothing_else_of_ours() {
    let (storage, fence) = job_with(1);
    let (a, b, c) = (
        "e1-a0-v1-s0-o0-c2-0",
        "e1-a0-v1-s0-o0-c3-0",
        "e1-a0-v1-s0-o0-c3-1",
    );
    sharing(&fence, &*storage, 2, &[a]);
    sharing(&fence, &*storage, 3, &[a, b]);
    let newer = "e99-a0-v1-s0-o0-c3-1";
    for name in [c, newer, "notes.txt"] {
        storage.create(&format!("{JOB}/shared/{name}"), b"x").unwrap();
    }
    let found = latest(&*storage, JOB).unwrap();
    let named = |id: u64| {
        found.retained[&CheckpointId(id)]
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!((named(1), named(2), named(3)), (vec![], vec![a], vec![a, b]));
    sweep(&fence, &found.retained).unwrap();
    assert_eq!(shared(&*storage), [a, b, newer, "notes.txt"]);
    // Of the newest a file is gone: the one before is restored.
    storage.delete(&format!("{JOB}/shared/{b}")).unwrap();
    assert_eq!(latest_id(&*storage), Some(2));
    storage.delete(&format!("{JOB}/shared/{a}")).unwrap();
    assert_eq!(latest_id(&*storage), Some(1));
}

#[test]
fn what_a_newer_host_shares_is_not_swept() {
    let (storage, fence) = job_with(1);
    let name = "e1-a0-v1-s0-o0-c2-0";
    sharing(&fence, &*storage, 2, &[name]);
    checkpoint(&fence, &*storage, 3).unwrap();
    let newer = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text.replacen("version=2 ", "version=3 ", 1).into_bytes();
    };
    storage.damage(&manifest_file(2), newer).unwrap();
    let found = latest(&*storage, JOB).unwrap();
    sweep(&fence, &found.retained).unwrap();
    assert_eq!(shared(&*storage), [name]);
}

#[test]
fn a_checkpoint_that_is_disposed_of_leaves_what_another_beside_it_names() {
    let (storage, fence) = job_with(1);
    let (a, b) = ("e1-a0-v1-s0-o0-c2-0", "e1-a0-v1-s0-o0-c3-0");
    sharing(&fence, &*storage, 2, &[a]);
    sharing(&fence, &*storage, 3, &[a, b]);
    let of = |id: u64| {
        let directory = checkpoint_directory(JOB, CheckpointId(id));
        let restored = load(&*storage, &directory).unwrap();
        (directory, restored.manifest)
    };
    let (directory, manifest) = of(3);
    delete_savepoint(&*storage, &directory, &manifest).unwrap();
    assert_eq!(shared(&*storage), [a]);
    let (directory, manifest) = of(2);
    delete_savepoint(&*storage, &directory, &manifest).unwrap();
    assert_eq!(shared(&*storage), [""; 0]);
}
