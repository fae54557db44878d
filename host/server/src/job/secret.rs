//! Secrets in connectors' settings and in grants: `{env: NAME}` and `{file: PATH}`.
//!
//! Invariant: a graph that is stored or shown holds the references; their values exist only in the copy
//! that a starting job is built from.

use std::collections::BTreeMap;

use serde_json::Value;
use wasmill_model::graph::{LogicalGraph, OperatorKind};

/// Bytes of a secret's file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Replaces the references in all connectors' settings by what they refer to. The error names operator, setting and
/// reference, never a value.
pub fn resolve(graph: &mut LogicalGraph) -> Result<(), String> {
    for operator in &mut graph.operators {
        let uid = operator.uid.clone();
        let named = |e: String| format!("operator `{uid}`: {e}");
        match &mut operator.kind {
            OperatorKind::Source { config, .. } | OperatorKind::Sink { config, .. } => {
                *config = resolved(config).map_err(named)?;
            }
            OperatorKind::Function {
                asynchronous: Some(spec),
                ..
            } => spec.grants = resolved_grants(&spec.grants).map_err(named)?,
            _ => {}
        }
    }
    Ok(())
}

/// A copy of what is granted to a function with the secrets in it.
pub fn resolved_grants(grants: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, String> {
    let resolved = grants.iter().map(|(name, grant)| {
        let grant = resolved(grant).map_err(|e| format!("grant `{name}`: {e}"))?;
        Ok((name.clone(), grant))
    });
    resolved.collect()
}

/// A copy of one connector's settings with the secrets in it. The settings as a whole are never a reference: a
/// connector may have a setting called `file`.
pub fn resolved(config: &Value) -> Result<Value, String> {
    let mut config = config.clone();
    if let Value::Object(settings) = &mut config {
        for (name, value) in settings {
            resolve_value(value).map_err(|e| format!("setting `{name}`: {e}"))?;
        }
    }
    Ok(config)
}

fn resolve_value(value: &mut Value) -> Result<(), String> {
    if let Some(secret) = reference(value) {
        *value = Value::String(secret?);
        return Ok(());
    }
    match value {
        Value::Array(elements) => elements.iter_mut().try_for_each(resolve_value),
        Value::Object(entries) => entries.values_mut().try_for_each(resolve_value),
        _ => Ok(()),
    }
}

fn reference(value: &Value) -> Option<Result<String, String>> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    let (kind, target) = entries.iter().next()?;
    match (kind.as_str(), target.as_str()?) {
        ("env", name) => Some(std::env::var(name).map_err(|_| {
            format!(
                "the environment variable `{}` is not set: set it for the host",
                name.escape_debug()
            )
        })),
        ("file", path) => Some(read(path)),
        _ => None,
    }
}

fn read(path: &str) -> Result<String, String> {
    let shown = path.escape_debug();
    let length = std::fs::metadata(path)
        .map_err(|e| format!("the secret's file `{shown}`: {e}"))?
        .len();
    if length > SECRET_BYTES_MAX {
        return Err(format!(
            "the secret's file `{shown}` is larger than {SECRET_BYTES_MAX} bytes"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("the secret's file `{shown}`: {e}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::function::Format;
    use wasmill_model::graph::{JobSettings, LogicalOperator};
    use wasmill_model::id::OperatorUid;

    fn graph(config: Value) -> LogicalGraph {
        LogicalGraph {
            name: "j".to_owned(),
            operators: vec![LogicalOperator {
                uid: OperatorUid::new("in"),
                uid_given: true,
                name: "in".to_owned(),
                kind: OperatorKind::Source {
                    connector: "files".to_owned(),
                    config,
                    format: Format::Raw,
                    watermarks: None,
                },
                inputs: Vec::new(),
                parallelism: None,
                chaining: true,
                slot_sharing_group: "default".to_owned(),
            }],
            max_parallelism: None,
            settings: JobSettings::default(),
        }
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_a_setting_called_file_is_left_alone() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "hunter2\n").unwrap();
        let config = serde_json::json!({"file": "x", "auth": {"password": {"file": secret.path()}}});
        let mut graph = graph(config);
        resolve(&mut graph).unwrap();
        let OperatorKind::Source { config, .. } = &graph.operators[0].kind else {
            panic!("a source")
        };
        assert_eq!(
            *config,
            serde_json::json!({"file": "x", "auth": {"password": "hunter2"}})
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_operator() {
        let mut graph = graph(serde_json::json!({"password": {"env": "WASMILL_NO_SUCH_SECRET"}}));
        let error = resolve(&mut graph).unwrap_err();
        assert!(
            error.contains("operator `in`: setting `password`") && error.contains("WASMILL_NO_SUCH_SECRET"),
            "{error}"
        );
    }
}
