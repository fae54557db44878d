//! Each file of a checkpoint damaged in each way, in a real directory: an older good checkpoint is restored, or one error
//! says which file is wrong and what to do, and nothing that is good is deleted.

use std::path::{Path, PathBuf};

use super::*;

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Cut off to so many parts of four.
    Cut(usize),
    OneByteShort,
    /// The lowest bit of a byte at so many parts of four of the file.
    Flipped(usize),
    Longer,
    Missing,
    /// Replaced by the file of checkpoint 1 that is like it.
    OfCheckpointOne,
    /// Replaced by the same file of another job.
    OfAnotherJob,
}

const HARMS: [Harm; 11] = [
    Harm::Cut(0),
    Harm::Cut(2),
    Harm::OneByteShort,
    Harm::Flipped(0),
    Harm::Flipped(1),
    Harm::Flipped(2),
    Harm::Flipped(4),
    Harm::Longer,
    Harm::Missing,
    Harm::OfCheckpointOne,
    Harm::OfAnotherJob,
];

const OTHER: JobId = JobId(8);

/// A job whose checkpoints hold everything that a checkpoint can hold.
struct Victim {
    directory: tempfile::TempDir,
    storage: Arc<dyn CheckpointStorage>,
    fence: Fence,
}

/// Names of the files of checkpoint `n` and the checkpoint that is restored where one is damaged, of three.
fn files(job: JobId, n: u64) -> [(String, u64); 6] {
    let own = |name: &str| format!("{job}/chk-{n}/{name}");
    let shared = |since: u64, number: u32| format!("{job}/shared/e1-a0-v1-s0-o0-c{since}-{number}");
    [
        (own("_metadata"), 2),
        (own("e1-a0-v0-s0-o0"), 2),
        (own("e1-a0-v0-s0-f0"), 2),
        (own("e1-a0-v1-s0-o0-0"), 2),
        (shared(n, 1), 2),
        // Of the second and the third.
        (shared(n.min(2), 0), 1),
    ]
}

impl Victim {
    /// With checkpoints 1 to `n`.
    fn new(n: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn CheckpointStorage> = Arc::new(local(directory.path()).unwrap());
        let other = Fence::acquire(Arc::clone(&storage), OTHER).unwrap();
        let fence = Fence::acquire(Arc::clone(&storage), JOB).unwrap();
        for fence in [&other, &fence] {
            (1..=n).for_each(|id| take(fence, id));
        }
        Self {
            directory,
            storage,
            fence,
        }
    }

    /// One like it, which is quicker than to write it anew.
    fn twin(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in self.content() {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let storage: Arc<dyn CheckpointStorage> = Arc::new(local(directory.path()).unwrap());
        let fence = Fence::acquire(Arc::clone(&storage), JOB).unwrap();
        Self {
            directory,
            storage,
            fence,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `name` is of checkpoint `n`, and in place `at` of its files.
    fn harm(&self, harm: Harm, n: u64, at: usize) {
        let path = self.path(&files(JOB, n)[at].0);
        let mut content = std::fs::read(&path).unwrap();
        let length = content.len();
        match harm {
            Harm::Cut(part) => content.truncate(length * part / 4),
            Harm::OneByteShort => content.truncate(length - 1),
            Harm::Flipped(part) => content[(length * part / 4).min(length - 1)] ^= 1,
            Harm::Longer => content.push(0),
            Harm::Missing => return std::fs::remove_file(path).unwrap(),
            Harm::OfCheckpointOne => content = std::fs::read(self.path(&files(JOB, 1)[at].0)).unwrap(),
            Harm::OfAnotherJob => content = std::fs::read(self.path(&files(OTHER, n)[at].0)).unwrap(),
        }
        std::fs::write(path, content).unwrap();
    }

    /// All files, with what is in them.
    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.storage.list("").unwrap();
        let read = |(name, _): (String, u64)| (name.clone(), std::fs::read(self.path(&name)).unwrap());
        names.into_iter().map(read).collect()
    }
}

/// Checkpoint `n`: keyed state in a file, records in flight, operator state in the manifest; and of an operator on a
/// backend with files a small one of its own and two shared ones, of which it has the first since checkpoint 2.
fn take(fence: &Fence, n: u64) {
    let (storage, job) = (&**fence.storage(), fence.job());
    let data = |name: &str, is_shared: bool| {
        let content = format!("{name} of job {job} at {n}, {}", "and so on ".repeat(50));
        let (path, name) = match is_shared {
            true => (format!("{job}/shared/{name}"), name.to_owned()),
            false => (format!("{job}/chk-{n}/{name}"), name.to_owned()),
        };
        // A shared file is written once.
        let written = match storage.read(&path, 0, 1 << 20) {
            Ok(content) => crate::storage::Written {
                length: content.len() as u64,
                crc32c: crc32c::crc32c(&content),
            },
            Err(_) => storage
                .write(&path, &mut |out| out.write_all(content.as_bytes()))
                .unwrap(),
        };
        let (length, crc32c) = (written.length, written.crc32c);
        match is_shared {
            true => Data::Shared { name, length, crc32c },
            false => Data::File { name, length, crc32c },
        }
    };
    let last = |path: &str| path.rsplit_once('/').unwrap().1.to_owned();
    let [_, keyed, in_flight, small, new, old] = files(job, n).map(|(path, _)| last(&path));
    let handle = |data, native| KeyedHandle {
        range: MaxParallelism(128).range_of(0, 1),
        states: Vec::new(),
        data,
        native,
    };
    let count = OperatorState {
        keyed: Some(handle(data(&keyed, false), None)),
        lists: vec![OperatorList {
            name: "list".to_owned(),
            mode: OperatorStateMode::List,
            elements: vec![Base64Bytes(n.to_le_bytes().to_vec())],
        }],
        in_flight: Some(data(&in_flight, false)),
        ..OperatorState::default()
    };
    let native = NativeState {
        format: "files-1".to_owned(),
        numbers: Vec::new(),
        files: [
            ("small".to_owned(), data(&small, false)),
            ("new".to_owned(), data(&new, true)),
            ("old".to_owned(), data(&old, true)),
        ]
        .into(),
    };
    let files = OperatorState {
        keyed: Some(handle(Data::Inline(vec![1]), Some(native))),
        ..OperatorState::default()
    };
    let subtask = |vertex, uid_of: &str, state| {
        let subtask = SubtaskId {
            vertex: VertexId(vertex),
            index: 0,
        };
        let operators = [(uid(uid_of), state)].into();
        (subtask, SubtaskState { operators })
    };
    let done = Acknowledged {
        checkpoint: CheckpointId(n),
        kind: ManifestKind::Checkpoint,
        destination: Destination::Job,
        triggered_at: 0,
        subtasks: [subtask(0, "count", count), subtask(1, "files", files)].into(),
        size: 0,
    };
    let part = JobPart {
        job_id: job,
        ..job_part(fence.epoch())
    };
    let directory = checkpoint_directory(job, CheckpointId(n));
    fence
        .write_manifest(storage, &directory, &Manifest::new(&part, done))
        .unwrap();
    fence.note_completed().unwrap();
}

/// What an error or a report calls the file.
fn name_of(path: &str) -> &str {
    path.rsplit_once('/').unwrap().1
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_older_one_and_reported() {
    let whole = Victim::new(3);
    for (at, (file, expected)) in files(JOB, 3).into_iter().enumerate() {
        for harm in HARMS {
            let case = format!("{file} {harm:?}");
            let victim = whole.twin();
            let before = victim.content();
            victim.harm(harm, 3, at);
            let recovered = latest(&*victim.storage, JOB).unwrap();
            let restored = recovered.latest.unwrap();
            assert_eq!(restored.manifest.checkpoint, CheckpointId(expected), "{case}");
            // Without its manifest it was never completed.
            let reported = match (harm, at) {
                (Harm::Missing, 0) => 0,
                _ => 3 - expected as usize,
            };
            assert_eq!(recovered.skipped.len(), reported, "{case}");
            for skipped in &recovered.skipped {
                assert!(skipped.reason.contains(name_of(&file)), "{case}: {skipped:?}");
            }
            assert_eq!(
                recovered.next_id,
                CheckpointId(4),
                "its number is not used again: {case}"
            );
            assert!(
                recovered
                    .retained
                    .keys()
                    .eq(&(1..=expected).map(CheckpointId).collect::<Vec<_>>())
            );

            sweep(&victim.fence, &recovered.retained).unwrap();
            let after = victim.content();
            for id in 1..=expected {
                let directory = checkpoint_directory(JOB, CheckpointId(id));
                load(&*victim.storage, &directory).unwrap();
                for (name, _) in files(JOB, id) {
                    assert!(
                        after.get(&name) == before.get(&name),
                        "{case}: {name} has changed"
                    );
                }
            }
            let others = |name: &&String| name.starts_with(&OTHER.to_string());
            assert!(
                after.keys().filter(others).eq(before.keys().filter(others)),
                "{case}"
            );
        }
    }
}

#[test]
fn where_there_is_no_older_one_the_error_names_the_file_and_the_mend_and_all_stays() {
    let whole = Victim::new(1);
    let harms = HARMS.iter().filter(|harm| !matches!(harm, Harm::OfCheckpointOne));
    for (at, (file, _)) in files(JOB, 1).into_iter().enumerate() {
        for harm in harms.clone().copied() {
            let case = format!("{file} {harm:?}");
            let victim = whole.twin();
            victim.harm(harm, 1, at);
            let before = victim.content();
            let error = latest(&*victim.storage, JOB).unwrap_err();
            assert!(matches!(error, RestoreError::NoneGood { .. }), "{case}: {error}");
            let asked = load(&*victim.storage, &checkpoint_directory(JOB, CheckpointId(1))).unwrap_err();
            assert!(matches!(asked, RestoreError::Damaged { .. }), "{case}: {asked}");
            assert!(error.to_string().contains(name_of(&file)), "{case}: {error}");
            // Who asks for a directory does not say which job is meant: it is the files beside it that do not fit.
            let is_foreign = at == 0 && matches!(harm, Harm::OfAnotherJob);
            assert!(
                is_foreign || asked.to_string().contains(name_of(&file)),
                "{case}: {asked}"
            );
            for text in [error.to_string(), asked.to_string()] {
                assert!(text.contains("from a copy"), "{case}: {text}");
            }
            assert!(victim.content() == before, "{case}");
        }
    }
}

#[test]
fn what_stands_in_names_alone_is_not_damaged_by_content() {
    let victim = Victim::new(3);
    victim.fence.settle(Some(CheckpointId(3))).unwrap();
    for (name, _) in victim.storage.list("").unwrap() {
        let path = victim.path(&name);
        if std::fs::metadata(&path).unwrap().len() == 0 {
            std::fs::write(path, b"1").unwrap();
        }
    }
    assert_eq!(latest_id(&*victim.storage), Some(3));
    victim.fence.check().unwrap();
    victim.storage.delete(&format!("{JOB}/completed")).unwrap();
    assert_eq!(latest_id(&*victim.storage), Some(3));
}

fn note(n: u64) -> StopNote {
    StopNote {
        checkpoint: CheckpointId(n),
        storage: "file:///savepoints".to_owned(),
        directory: format!("savepoint-{n}"),
    }
}

#[test]
fn a_damaged_note_of_a_stop_is_never_passed_over() {
    let write = |path: &Path, content: &[u8]| std::fs::write(path, content).unwrap();
    let victim = Victim::new(2);
    victim.fence.note_stop(&note(8)).unwrap();
    victim.fence.note_stop(&note(9)).unwrap();
    let name = format!("{JOB}/stops/9");
    let path = victim.path(&name);
    let good = std::fs::read(&path).unwrap();
    let refused = |content: &[u8]| {
        write(&path, content);
        let error = latest(&*victim.storage, JOB).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RestoreError::Stop { .. }), "{text}");
        assert!(
            text.contains(&name) && text.contains("or delete the note"),
            "{text}"
        );
    };
    for length in 0..good.len() {
        refused(&good[..length]);
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            refused(&flipped);
        }
    }
    refused(&[&good[..], b"x"].concat());
    refused(&std::fs::read(victim.path(&format!("{JOB}/stops/8"))).unwrap());
    write(&path, &good);
    assert_eq!(latest(&*victim.storage, JOB).unwrap().stopped, Some(note(9)));
}

#[test]
fn a_stop_is_not_ended_by_another_savepoint_in_its_place() {
    let victim = Victim::new(2);
    let at = |job, id| load(&*victim.storage, &checkpoint_directory(job, CheckpointId(id))).unwrap();
    note(2).check(&at(JOB, 2), JOB, "here").unwrap();
    for (restored, expected) in [
        (at(OTHER, 2), "it belongs to job"),
        (at(JOB, 1), "it is number 1 where"),
    ] {
        let error = note(2).check(&restored, JOB, "here").unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("in here"), "{error}");
    }
}
