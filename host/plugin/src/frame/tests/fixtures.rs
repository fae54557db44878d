//! Frames and answers of version 1, kept for ever.

use super::*;

fn fixture_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/frame-v1")
        .join(name)
}

/// Compares bytes with a fixture of version 1. WASMILL_BLESS makes a missing one; those that
/// are there are never changed.
fn check_fixture(name: &str, bytes: &[u8]) {
    let path = fixture_path(name);
    if std::env::var_os("WASMILL_BLESS").is_some() && !path.exists() {
        std::fs::write(&path, bytes).unwrap();
    }
    let known = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(
        known == bytes,
        "{name} is no longer what version 1 was: {known:?}\nnow {bytes:?}"
    );
}

#[test]
fn frames_of_version_1_are_as_they_were() {
    let mut call = Call::new();
    call.ask(&batch(&["a"]));
    let set = answer(1, &[(SECTION_STATE_WRITES, state_block(0, &[(2, "stored")]))]);
    let Verdict::Answer(set) = call.decode(1, None, set).unwrap() else {
        panic!("a refusal");
    };
    call.apply(&set);
    call.ask(&batch(&["a", "bb", "a"]));
    check_fixture("host-keyed.frame.bin", call.encoder.frame());

    let mut call = Call::new();
    let timers = [(1i64, &b""[..]), (2, b"window")].map(|(timestamp, namespace)| Timer {
        timestamp,
        group: key::KeyGroup(0),
        key: b"ba"[..].into(),
        namespace: namespace.into(),
    });
    call.encoder
        .timers(&timers, TimeDomain::Processing, 10, &mut call.scope.keys);
    let (keys, clocks) = (&call.scope.keys, call.scope.clocks);
    call.encoder
        .finish(keys, clocks, &call.prefetched, &mut *call.context.state)
        .unwrap();
    check_fixture("host-timers.frame.bin", call.encoder.frame());
}

#[test]
fn an_answer_of_version_1_is_still_read() {
    check_fixture("host-full.answer.bin", &full_answer());
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a", "b", "a"]));
    assert!(matches!(
        call.decode(rows, None, full_answer()),
        Ok(Verdict::Answer(_))
    ));
}

/// The function by which the SDK made its fixtures, as far as its answers need it.
fn function_of_the_sdk() -> FunctionDescription {
    let json = r#"{"version":1,"functions":[{"name":"f","kind":"process","side-outputs":[{"name":"side"}],
        "state":[{"name":"a","kind":"value"},{"name":"b","kind":"value"},{"name":"c","kind":"list"},
                 {"name":"d","kind":"map"}]}]}"#;
    Description::parse(json).unwrap().functions[0].clone()
}

#[test]
fn answers_that_the_sdk_wrote_are_read_and_applied() {
    for (name, keys) in [
        ("elements", ["alpha", "b", "alpha"]),
        ("timers", ["b", "alpha", "b"]),
    ] {
        let mut call = Call::of(function_of_the_sdk());
        let rows = call.ask(&batch(&keys));
        let answer = std::fs::read(fixture_path(&format!("{name}.answer.bin"))).unwrap();
        let Ok(Verdict::Answer(answer)) = call.decode(rows, None, answer) else {
            panic!("{name}: not read as an answer");
        };
        assert!(answer.consumed >= 1 && answer.output.rows() >= 1, "{name}");
        call.apply(&answer);
    }
    let mut call = Call::of(function_of_the_sdk());
    let rows = call.ask(&batch(&["b", "b"]));
    let answer = std::fs::read(fixture_path("error.answer.bin")).unwrap();
    assert!(matches!(call.decode(rows, None, answer), Ok(Verdict::Refusal(_))));
}
