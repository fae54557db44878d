//! Uploads that say of a state from which versions it migrates: what they say must be so.

use super::components::Frame;
use super::open;

fn uploaded(json: &str, exports: &str) -> Result<(), String> {
    let data = tempfile::tempdir().unwrap();
    let component = Frame {
        json,
        imports: exports,
        ..Frame::default()
    };
    let uploaded = open(data.path()).upload("count", &component.bytes());
    uploaded.map(drop).map_err(|error| error.to_string())
}

fn description(versions: &str) -> String {
    format!(
        r#"{{"version":1,"functions":[{{"name":"count","kind":"process","state":[{{"name":"count","kind":"value",{versions}}}]}}]}}"#
    )
}

#[test]
fn a_state_that_migrates_needs_the_export() {
    let message = uploaded(&description(r#""schema-version":2,"migrates-from":1"#), "").unwrap_err();
    assert!(
        message.contains("`migrates-from` of state `count`, for which the component must export `wasmill:function/migration@1.0.0`"),
        "{message}"
    );
}

#[test]
fn a_migration_of_another_type_is_refused() {
    let exports = r#"
      (core module $n (func (export "migrate")))
      (core instance $j (instantiate $n))
      (func $migrate (canon lift (core func $j "migrate")))
      (instance $migration (export "migrate" (func $migrate)))
      (export "wasmill:function/migration@1.0.0" (instance $migration))"#;
    let message = uploaded(&description(r#""schema-version":2"#), exports).unwrap_err();
    assert!(
        message.contains("the export `migrate` of `wasmill:function/migration@1.0.0` must be `func(string, string, u32, u32, list<"),
        "{message}"
    );
}

#[test]
fn a_state_migrates_from_versions_before_its_own() {
    for versions in [
        r#""migrates-from":1"#,
        r#""schema-version":2,"migrates-from":2"#,
        r#""schema-version":2,"migrates-from":0"#,
    ] {
        let message = uploaded(&description(versions), "").unwrap_err();
        assert!(
            message.contains("state `count`: `migrates-from` is ")
                && message.contains("from 1 to the one before"),
            "{message}"
        );
    }
}
