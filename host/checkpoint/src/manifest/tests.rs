//! The format: what it keeps, what it refuses.

use proptest::prelude::*;
use wasmill_model::function::{OperatorStateMode, StateDeclaration, StateKind};
use wasmill_model::id::{SubtaskId, VertexId};
use wasmill_model::key::KeyGroupRange;

use super::*;
use crate::coordinator::Destination;
use crate::handle::{Base64Bytes, Committable, FileRef, KeyedHandle, OperatorList, SubtaskState};

/// A manifest with one of everything.
pub(crate) fn sample() -> Manifest {
    let declaration = StateDeclaration {
        name: "count".to_owned(),
        kind: StateKind::Value,
        encoding: "raw".to_owned(),
        schema: serde_json::Value::Null,
        schema_version: 3,
        migrates_from: None,
        prefetch: None,
        reduce: None,
        per_window: false,
        ttl: None,
    };
    let keyed = |index: u32, data| OperatorState {
        keyed: Some(KeyedHandle {
            range: MaxParallelism(128).range_of(index, 2),
            states: vec![declaration.clone()],
            data,
            native: None,
        }),
        ..OperatorState::default()
    };
    let file = Data::File {
        name: "e4-a0-v1-s0-o0".to_owned(),
        length: 9,
        crc32c: 0xdead_beef,
    };
    let sink = OperatorState {
        lists: vec![OperatorList {
            name: "buffer".to_owned(),
            mode: OperatorStateMode::List,
            elements: vec![Base64Bytes(vec![0, 255, 10])],
        }],
        raw: b"raw \"state\"".to_vec(),
        committables: vec![Committable {
            sink: OperatorUid::new("sink"),
            checkpoint: CheckpointId(7),
            version: 1,
            bytes: b"part-0".to_vec(),
        }],
        ..OperatorState::default()
    };
    let subtask = |vertex, index| SubtaskId {
        vertex: VertexId(vertex),
        index,
    };
    let state = |uid: &str, state| SubtaskState {
        operators: [(OperatorUid::new(uid), state)].into(),
    };
    let done = Acknowledged {
        checkpoint: CheckpointId(7),
        kind: ManifestKind::Checkpoint,
        destination: Destination::Job,
        triggered_at: 1_700_000_000_000,
        subtasks: [
            (subtask(1, 0), state("count", keyed(0, file))),
            (
                subtask(1, 1),
                state("count", keyed(1, Data::Inline(vec![1, 2, 3]))),
            ),
            (subtask(2, 0), state("sink", sink)),
        ]
        .into(),
        size: 12,
    };
    Manifest::new(&job(), done)
}

fn job() -> JobPart {
    JobPart {
        job_id: JobId(0xabc),
        job_name: "word count".to_owned(),
        epoch: 4,
        max_parallelism: MaxParallelism(128),
        parallelism: [(OperatorUid::new("count"), 2), (OperatorUid::new("sink"), 1)].into(),
        plugins: [(OperatorUid::new("count"), "sha256:00".to_owned())].into(),
    }
}

#[test]
fn a_manifest_reads_back_as_it_was_written() {
    let manifest = sample();
    assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
    assert_eq!(manifest.operators[&OperatorUid::new("count")].subtasks.len(), 2);
    assert_eq!(
        manifest.files().collect::<Vec<_>>(),
        [FileRef {
            name: "e4-a0-v1-s0-o0",
            length: 9,
            crc32c: 0xdead_beef,
            shared: false
        }]
    );
}

#[test]
fn version_1_is_read_by_this_and_every_later_host() {
    // IMPORTANT: this file is never changed. A new version gets a fixture of its own.
    let fixture = include_bytes!("../../tests/fixtures/manifest-v1");
    assert_eq!(Manifest::decode(fixture).unwrap(), sample());
}

#[test]
fn a_newer_version_is_refused_with_what_to_do() {
    let text = String::from_utf8(sample().encode().unwrap()).unwrap();
    let error = Manifest::decode(text.replace("version=1 ", "version=3 ").as_bytes()).unwrap_err();
    assert_eq!(error, ManifestError::Version(3));
    assert!(
        error.to_string().contains("restore it with a newer host"),
        "{error}"
    );
}

#[test]
fn unknown_fields_of_a_later_host_are_ignored() {
    let manifest = sample();
    let mut body = serde_json::to_value(&manifest).unwrap();
    body["new-field"] = serde_json::Value::Bool(true);
    let body = serde_json::to_vec(&body).unwrap();
    let (length, crc32c) = (body.len() as u64, crc32c::crc32c(&body));
    let mut content = Header {
        version: 1,
        epoch: 4,
        length,
        crc32c,
    }
    .encode()
    .into_bytes();
    content.extend_from_slice(&body);
    assert_eq!(Manifest::decode(&content).unwrap(), manifest);
}

#[test]
fn a_name_that_leads_out_of_the_directory_is_refused() {
    for bad in [
        "../x",
        "/etc/passwd",
        "a/b",
        "",
        ".",
        "..",
        "_metadata/../x",
        ".hidden",
    ] {
        let mut manifest = sample();
        for operator in manifest.operators.values_mut() {
            for state in operator.subtasks.values_mut() {
                if let Some(KeyedHandle {
                    data: Data::File { name, .. },
                    ..
                }) = &mut state.keyed
                {
                    bad.clone_into(name);
                }
            }
        }
        let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
        assert!(matches!(error, ManifestError::Content(_)), "{bad}: {error}");
    }
}

#[test]
fn subtasks_and_key_groups_out_of_bounds_are_refused() {
    let mut few = sample();
    few.operators
        .get_mut(&OperatorUid::new("count"))
        .unwrap()
        .parallelism = 1;
    assert!(
        Manifest::decode(&few.encode().unwrap())
            .unwrap_err()
            .to_string()
            .contains("more subtasks")
    );
    let mut wide = sample();
    wide.max_parallelism = MaxParallelism(64);
    assert!(
        Manifest::decode(&wide.encode().unwrap())
            .unwrap_err()
            .to_string()
            .contains("beyond 64")
    );
    let mut reversed = sample();
    let count = reversed.operators.get_mut(&OperatorUid::new("count")).unwrap();
    count.subtasks.get_mut(&0).unwrap().keyed.as_mut().unwrap().range = KeyGroupRange { start: 9, end: 3 };
    assert!(Manifest::decode(&reversed.encode().unwrap()).is_err());
}

proptest! {
    #[test]
    fn no_truncated_manifest_is_read(cut in any::<prop::sample::Index>()) {
        let content = sample().encode().unwrap();
        prop_assert!(Manifest::decode(&content[..cut.index(content.len())]).is_err());
    }

    #[test]
    fn no_manifest_with_a_flipped_bit_is_read(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let good = sample();
        let mut content = good.encode().unwrap();
        let at = at.index(content.len());
        content[at] ^= 1 << bit;
        // A letter's case in the checksum of the first line says the same.
        if let Ok(read) = Manifest::decode(&content) {
            prop_assert_eq!(read, good);
            prop_assert!(content[at].is_ascii_uppercase());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(content in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Manifest::decode(&content).is_err());
    }

    #[test]
    fn no_body_makes_it_panic(text in "\\PC{0,80}") {
        let (length, crc32c) = (text.len() as u64, crc32c::crc32c(text.as_bytes()));
        let content = Header { version: 1, epoch: 1, length, crc32c }.encode() + &text;
        prop_assert!(Manifest::decode(content.as_bytes()).is_err());
    }
}
