//! The functions of `oracle` on the typed worlds, with a binding generator and no SDK: the same names, the same answers.
#![cfg(target_arch = "wasm32")] // The names of its exports are none that a native linker takes.

mod connected;
mod describe;
mod joins;
mod state;
mod streams;
mod timers;
mod windows;

#[allow(unsafe_code, missing_docs)] // Generated.
mod bindings {
    wit_bindgen::generate!({
        inline: r#"
            package wasmill:oracle;
            world oracle {
                include wasmill:function/%map@1.0.0;
                include wasmill:function/flat-map@1.0.0;
                include wasmill:function/reduce@1.0.0;
                include wasmill:function/aggregate@1.0.0;
                include wasmill:function/process@1.0.0;
                include wasmill:function/co-process@1.0.0;
                include wasmill:function/broadcast-process@1.0.0;
                include wasmill:function/assign-timestamps@1.0.0;
                include wasmill:function/process-join@1.0.0;
                include wasmill:function/window-join@1.0.0;
                include wasmill:function/co-group@1.0.0;
                include wasmill:function/window@1.0.0;
                include wasmill:function/window-trigger@1.0.0;
                include wasmill:function/assigner@1.0.0;
            }
        "#,
        path: "../../wit",
        world: "wasmill:oracle/oracle",
        generate_all,
        pub_export_macro: true,
    });
}

use std::cell::RefCell;

use bindings::exports::wasmill::function::lifecycle;
use bindings::wasmill::function::types::Error;
use serde::{Deserialize, Serialize};

/// The component: an instance serves the one function that `open` named.
struct Component;

thread_local! {
    static FUNCTION: RefCell<String> = const { RefCell::new(String::new()) };
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whether the instance serves a function.
fn serves(name: &str) -> bool {
    FUNCTION.with_borrow(|function| function == name)
}

/// A record of a tape. `n` is its line; `op` and `arg` are there where a tape names operations.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Event {
    key: String,
    value: i64,
    #[serde(default, skip_serializing)]
    op: String,
    #[serde(default, skip_serializing)]
    arg: i64,
    n: u64,
}

/// Reads a record.
fn event(value: &[u8]) -> Result<Event, Error> {
    serde_json::from_slice(value).map_err(|error| Error::BadRecord(format!("no event: {error}")))
}

/// A result as one line.
fn json(result: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(result)
        .map_err(|error| Error::Failed(format!("the result cannot be JSON: {error}")))
}

/// The integer in 8 bytes of state.
fn number(bytes: &[u8]) -> Result<i64, Error> {
    let bytes = bytes
        .try_into()
        .map_err(|_| Error::Failed("a state of 8 bytes has another length".to_owned()))?;
    Ok(i64::from_le_bytes(bytes))
}

impl lifecycle::Guest for Component {
    fn describe() -> String {
        describe::DESCRIPTION.to_owned()
    }

    fn open(function: String, config: String) -> Result<(), Error> {
        FUNCTION.set(function);
        CONFIG.set(config);
        Ok(())
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

#[allow(unsafe_code)] // Generated.
mod exported {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
