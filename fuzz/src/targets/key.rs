//! Stored keys, and keys from JSON.

use serde_json::Value;
use wasmill_model::key::{self, MaxParallelism};
use wasmill_state::stored_key;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "key",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let mut stored = Vec::new();
    stored_key::encode_prefix(&mut stored, b"bkey", b"window");
    stored.extend_from_slice(b"map key");
    let json = ["null", "1.0", "\"text\"", "{\"a\":[1,2]}", "true", "-0", "1e400"];
    let json = json.map(|text| text.as_bytes().to_vec());
    [vec![stored], json.to_vec()].concat()
}

fn run(data: &[u8]) {
    if let Some(parts) = stored_key::decode(data) {
        let mut again = Vec::new();
        stored_key::encode_prefix(&mut again, parts.key, parts.namespace);
        again.extend_from_slice(parts.rest);
        assert!(again == data, "a stored key is written as it was read");
    }
    let group = MaxParallelism::DEFAULT.group_of(key::hash(data));
    assert!(MaxParallelism::DEFAULT.range_of(0, 1).contains(group));
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let encoded = |value: &Value| {
            let mut out = Vec::new();
            key::encode_json(&mut out, value);
            out
        };
        let text = serde_json::to_string(&value).expect("a value is text");
        let again: Value = serde_json::from_str(&text).expect("its text is a value");
        assert!(encoded(&value) == encoded(&again), "one value is one key");
        assert!(
            key::body(&encoded(&value)).len() < encoded(&value).len(),
            "a key has a tag"
        );
    }
}
