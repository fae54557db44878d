//! Reads a connector's settings: unknown and missing ones are errors that name it.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The settings, or what is wrong with them; no settings at all are an empty object.
pub(crate) fn read<T: DeserializeOwned>(connector: &str, config: &Value) -> Result<T, String> {
    let config = if config.is_null() {
        Value::Object(serde_json::Map::new())
    } else {
        config.clone()
    };
    serde_json::from_value(config).map_err(|e| format!("settings of `{connector}`: {e}"))
}
