//! Compares the structure of two JSON values.

use serde_json::Value;

/// What differs between Flink's answer and ours, each with its path.
pub(crate) fn differences(flinks: &Value, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", flinks, ours, &mut found);
    found
}

/// Maps whose keys are data, not structure: all values are compared with the first of Flink's.
fn keys_are_data(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default();
    matches!(
        last,
        "user-config" | "status-duration" | "extendedResources" | "optimizer_properties"
    ) || path.ends_with(".tasks") && path != ".jobs[].tasks" && path != ".vertices[].tasks"
}

fn walk(path: &str, flinks: &Value, ours: &Value, found: &mut Vec<String>) {
    match (flinks, ours) {
        (Value::Object(theirs), Value::Object(mine)) if keys_are_data(path) => {
            if let (Some(theirs), Some(mine)) = (theirs.values().next(), mine.values().next()) {
                walk(&format!("{path}.*"), theirs, mine, found);
            }
        }
        (Value::Object(theirs), Value::Object(mine)) => {
            for (key, value) in theirs {
                match mine.get(key) {
                    Some(own) => walk(&format!("{path}.{key}"), value, own, found),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
            found.extend(
                mine.keys()
                    .filter(|key| !theirs.contains_key(*key))
                    .map(|key| format!("{path}.{key} is not Flink's")),
            );
        }
        (Value::Array(theirs), Value::Array(mine)) => {
            // Elements may differ in optional keys, such as a source's missing inputs: each must fit one of Flink's.
            for own in mine {
                let best = theirs.iter().map(|value| {
                    let mut inner = Vec::new();
                    walk(&format!("{path}[]"), value, own, &mut inner);
                    inner
                });
                found.extend(best.min_by_key(Vec::len).unwrap_or_default());
            }
        }
        // Flink knows no percentiles of so few values: its word for such a number.
        (Value::String(word), Value::Number(_)) if word == "NaN" => {}
        // Flink leaves unknown things null.
        (Value::Null, _) | (_, Value::Null) => {}
        (theirs, mine) if kind(theirs) != kind(mine) => {
            found.push(format!(
                "{path} is {} and Flink's is {}",
                kind(mine),
                kind(theirs)
            ));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[test]
fn a_missing_key_a_foreign_key_and_another_type_are_found() {
    let flinks = serde_json::json!({"a": 1, "b": [{"c": "x"}], "d": null});
    let same = serde_json::json!({"a": 2, "b": [], "d": {"e": 1}});
    assert!(differences(&flinks, &same).is_empty());
    let other = serde_json::json!({"a": "1", "b": [{"x": 1}], "f": 0});
    let found = differences(&flinks, &other);
    assert_eq!(
        found,
        [
            ".a is a text and Flink's is a number",
            ".b[].c is missing",
            ".b[].x is not Flink's",
            ".d is missing",
            ".f is not Flink's"
        ]
    );
}
