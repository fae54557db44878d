//! What a component says of itself.

use wasmill_model::function::Description;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "describe",
    run,
    seeds,
};

const ALL: &str = r#"{"version":1,"functions":[{"name":"f","kind":"process","input":"lines","output":"json",
"side-outputs":[{"name":"late","format":"lines"}],"state":[{"name":"value","kind":"value","schema-version":2},
{"name":"list","kind":"list","encoding":"u64-le"},{"name":"map","kind":"map"},
{"name":"sum","kind":"reducing","reduce":"sum"},{"name":"cold","kind":"value","prefetch":"on-demand"},
{"name":"old","kind":"value","ttl":{"ttl-ms":1000}}]},{"name":"g","kind":"window"},{"name":"h","kind":"co-group"}]}"#;

fn seeds() -> Vec<Vec<u8>> {
    vec![
        ALL.as_bytes().to_vec(),
        br#"{"version":1,"functions":[]}"#.to_vec(),
    ]
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Description::parse(text) {
        Ok(description) => {
            for function in &description.functions {
                let _ = (
                    function.ports(),
                    function.broadcast_names(),
                    function.keeps_memory(),
                );
                assert!(description.function(&function.name).is_some());
            }
            let text = serde_json::to_string(&description).expect("what was read can be written");
            assert_eq!(Description::parse(&text).as_ref(), Ok(&description));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
