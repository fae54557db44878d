//! The registry as the API uses it.

use std::collections::BTreeSet;

use wasmill_model::function::FunctionKind;
use wasmill_plugin::registry::info::{Family, PluginDigest};

use super::components::{COUNT, Frame, good, typed_map};
use super::open;

#[test]
fn an_upload_is_described_and_survives_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let bytes = good(1);
    let info = open(data.path()).upload("count", &bytes).unwrap();
    assert_eq!(info.digest, PluginDigest::of(&bytes));
    assert_eq!(info.name, "count");
    assert_eq!(info.size, bytes.len() as u64);
    assert_eq!(info.family, Family::Frame);
    assert_eq!(info.description.functions[0].kind, FunctionKind::Process);
    assert!(info.imports.is_empty());

    let registry = open(data.path());
    assert_eq!(registry.list(), std::slice::from_ref(&info));
    assert_eq!(registry.get("count").unwrap(), info);
    assert_eq!(registry.component_bytes(info.digest).unwrap(), bytes);
    assert_eq!(registry.load(info.digest).unwrap().info, info);
}

#[test]
fn a_typed_component_is_known_by_its_exports() {
    let data = tempfile::tempdir().unwrap();
    let bytes = typed_map(r#"{"version":1,"functions":[{"name":"upper","kind":"map"}]}"#);
    let info = open(data.path()).upload("upper", &bytes).unwrap();
    assert_eq!(info.family, Family::Typed);
    assert_eq!(info.imports, ["wasmill:function/types@1.0.0"]);
}

#[test]
fn a_later_minor_version_of_the_boundary_is_accepted() {
    let data = tempfile::tempdir().unwrap();
    let text = Frame::default()
        .text()
        .replace("frame-function@1.0.0", "frame-function@1.3.0");
    let info = open(data.path())
        .upload("later", &wat::parse_str(text).unwrap())
        .unwrap();
    assert_eq!(info.family, Family::Frame);
}

#[test]
fn a_name_means_what_was_uploaded_under_it_last() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    let first = registry.upload("count", &good(1)).unwrap();
    let second = registry.upload("count", &good(2)).unwrap();
    assert_eq!(registry.get("count").unwrap().digest, second.digest);
    let by_prefix = format!("count@sha256:{}", &first.digest.hex()[..8]);
    assert_eq!(registry.get(&by_prefix).unwrap().digest, first.digest);
    assert_eq!(
        registry.get(&first.digest.to_string()).unwrap().digest,
        first.digest
    );

    let again = registry.upload("count", &good(1)).unwrap();
    assert!(again.uploaded_at > second.uploaded_at);
    assert_eq!(registry.get("count").unwrap().digest, first.digest);
    assert_eq!(registry.list().len(), 2);
    assert_eq!(open(data.path()).get("count").unwrap().digest, first.digest);
}

#[test]
fn one_component_may_have_several_names() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    let digest = registry.upload("count", &good(1)).unwrap().digest;
    assert_eq!(registry.upload("zaehler", &good(1)).unwrap().digest, digest);
    assert_eq!(registry.get("count").unwrap().digest, digest);
    let none = BTreeSet::new();
    registry.delete("count", || none.clone()).unwrap();
    assert_eq!(registry.get("zaehler").unwrap().digest, digest);
    assert!(registry.get("count").is_err());
    registry.delete("zaehler", || none.clone()).unwrap();
    assert!(registry.load(digest).is_err());
    assert!(open(data.path()).list().is_empty());
}

#[test]
fn deleting_a_digest_deletes_all_its_names() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    let digest = registry.upload("count", &good(1)).unwrap().digest;
    registry.upload("zaehler", &good(1)).unwrap();
    registry.delete(&digest.to_string(), BTreeSet::new).unwrap();
    assert!(registry.list().is_empty());
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    assert_eq!(
        registry.get("count").unwrap_err().to_string(),
        "there is no plugin `count`; none was uploaded yet (wasmill plugin upload FILE)"
    );
    let digest = registry.upload("count", &good(1)).unwrap().digest;
    for wrong in ["other", "count@sha256:000000000", "count\x1b"] {
        let message = registry.get(wrong).unwrap_err().to_string();
        assert!(message.ends_with("; uploaded are count"), "{message}");
        assert!(!message.contains('\x1b'));
    }
    let short = format!("count@sha256:{}", &digest.hex()[..5]);
    assert_eq!(
        registry.get(&short).unwrap_err().to_string(),
        format!("`{short}` does not say which version: give more digits of its digest, at least 6")
    );
}

#[test]
fn a_digest_that_is_not_there_leaves_the_registry_at_work() {
    let data = tempfile::tempdir().unwrap();
    let registry = std::sync::Arc::new(open(data.path()));
    registry.upload("count", &good(1)).unwrap();
    let nobody = PluginDigest::of(b"nobody").to_string();
    // On a thread of its own: where the registry waited for itself, it would for ever.
    let (tell, told) = std::sync::mpsc::channel();
    let asked = std::sync::Arc::clone(&registry);
    std::thread::spawn(move || {
        let answers = [
            asked.get(&nobody).map(drop),
            asked.delete(&nobody, BTreeSet::new).map(drop),
        ];
        tell.send(answers.map(|answer| answer.unwrap_err().to_string()))
            .unwrap();
    });
    let errors = told
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("the registry answers");
    for error in errors {
        assert!(error.contains("count"), "{error}");
    }
    assert_eq!(registry.list().len(), 1);
}

#[test]
fn a_plugin_in_use_is_not_deleted() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    let info = registry.upload("count", &good(1)).unwrap();
    let message = registry
        .delete("count", || BTreeSet::from([info.digest]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        format!("{} is in use by a job: cancel the job first", info.reference())
    );
    assert_eq!(registry.list().len(), 1);
    registry.delete("count", BTreeSet::new).unwrap();
    assert!(registry.list().is_empty());
    assert!(!data.path().join("plugins").join(info.digest.hex()).exists());
    assert!(!data.path().join("compiled").join(info.digest.hex()).exists());
}

#[test]
fn a_name_that_could_be_a_path_or_a_version_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    for name in [
        "",
        "../count",
        "count@1",
        "sha256:00",
        ".hidden",
        "a b",
        &"x".repeat(65),
    ] {
        let message = registry.upload(name, &good(1)).unwrap_err().to_string();
        assert!(message.contains("cannot be a plugin's name"), "{message}");
    }
}

#[test]
fn what_a_crash_left_of_an_upload_is_swept() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path()));
    let left = data.path().join("plugins/.unfinished-0123");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("component.wasm"), b"half").unwrap();
    assert!(open(data.path()).list().is_empty());
    assert!(!left.exists());
}

#[test]
fn a_plugin_whose_files_are_damaged_is_left_out_and_mended_by_an_upload() {
    let data = tempfile::tempdir().unwrap();
    let info = open(data.path()).upload("count", &good(1)).unwrap();
    open(data.path()).upload("other", &good(2)).unwrap();
    let meta = data
        .path()
        .join("plugins")
        .join(info.digest.hex())
        .join("meta.json");
    std::fs::write(meta, "{").unwrap();
    let registry = open(data.path());
    assert_eq!(
        registry
            .list()
            .iter()
            .map(|info| info.name.as_str())
            .collect::<Vec<_>>(),
        ["other"]
    );
    registry.upload("count", &good(1)).unwrap();
    assert_eq!(open(data.path()).get("count").unwrap().digest, info.digest);
}

#[test]
fn a_description_may_have_fields_that_we_do_not_know() {
    let data = tempfile::tempdir().unwrap();
    let json = COUNT.replace("\"version\":1,", "\"version\":1,\"author\":\"someone\",");
    let component = Frame {
        json: &json,
        ..Frame::default()
    };
    open(data.path()).upload("count", &component.bytes()).unwrap();
}
