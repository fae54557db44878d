//! Machine code on disk: made once, checked each time, made anew where it is damaged.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::registry::info::PluginDigest;
use wasmill_plugin::sandbox::limits::HostLimits;

use super::components::good;
use super::open;

/// A host that could not compile anything.
fn open_without_compiler(data: &Path) -> PluginRegistry {
    let nothing = CompileIn::Child(PathBuf::from("/nonexistent/wasmill"));
    PluginRegistry::open(data, nothing, HostLimits::default()).unwrap()
}

fn machine_code(data: &Path, digest: PluginDigest) -> PathBuf {
    let files = std::fs::read_dir(data.join("compiled").join(digest.hex())).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_component_is_compiled_once() {
    let data = tempfile::tempdir().unwrap();
    let digest = open(data.path()).upload("count", &good(1)).unwrap().digest;
    let registry = open_without_compiler(data.path());
    let started = Instant::now();
    registry.load(digest).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn all_who_have_a_component_share_it() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path());
    let digest = registry.upload("count", &good(1)).unwrap().digest;
    let first = registry.load(digest).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &registry.load(digest).unwrap()));
}

#[test]
fn damaged_machine_code_is_never_loaded_but_made_anew() {
    let data = tempfile::tempdir().unwrap();
    let digest = open(data.path()).upload("count", &good(1)).unwrap().digest;
    let file = machine_code(data.path(), digest);
    let good_code = std::fs::read(&file).unwrap();
    for damage in [
        good_code[..good_code.len() - 1].to_vec(),
        Vec::new(),
        good_code
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ u8::from(i == good_code.len() / 2))
            .collect(),
    ] {
        std::fs::write(machine_code(data.path(), digest), damage).unwrap();
        open(data.path()).load(digest).unwrap();
        let code = std::fs::read(machine_code(data.path(), digest)).unwrap();
        assert_eq!(code.len(), good_code.len());
    }
    std::fs::write(machine_code(data.path(), digest), b"damaged").unwrap();
    let message = open_without_compiler(data.path())
        .load(digest)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.starts_with("cannot load count@sha256:")
            && message.contains("cannot run the compile process /nonexistent/wasmill"),
        "{message}"
    );
}

#[test]
fn machine_code_of_another_engine_is_not_looked_at() {
    let data = tempfile::tempdir().unwrap();
    let digest = open(data.path()).upload("count", &good(1)).unwrap().digest;
    let file = machine_code(data.path(), digest);
    let name = file.file_name().unwrap().to_str().unwrap();
    let other = file.with_file_name(format!("0000000000000000{}", &name[16..]));
    std::fs::rename(&file, &other).unwrap();
    open(data.path()).load(digest).unwrap();
    let made_anew = machine_code(data.path(), digest);
    let engine = |file: &Path| file.file_name().unwrap().to_str().unwrap()[..16].to_owned();
    assert_eq!(engine(&made_anew), engine(&file));
}

#[test]
fn a_component_that_was_damaged_on_disk_is_not_compiled() {
    let data = tempfile::tempdir().unwrap();
    let digest = open(data.path()).upload("count", &good(1)).unwrap().digest;
    std::fs::remove_dir_all(data.path().join("compiled")).unwrap();
    let component = data
        .path()
        .join("plugins")
        .join(digest.hex())
        .join("component.wasm");
    std::fs::write(&component, good(2)).unwrap();
    let registry = open(data.path());
    let message = registry.load(digest).err().unwrap().to_string();
    assert!(
        message.ends_with("component.wasm is damaged: upload it again"),
        "{message}"
    );
    registry.upload("count", &good(1)).unwrap();
    registry.load(digest).unwrap();
}
