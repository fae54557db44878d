//! The balances of accounts on the typed world, with a binding generator and no SDK: the first version keeps euros as a
//! number, the second cents as text.
#![cfg(target_arch = "wasm32")] // The names of its exports are none that a native linker takes.

#[allow(unsafe_code, missing_docs)] // Generated.
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package wasmill:ledger;
            world ledger {
                include wasmill:function/process@1.0.0;
                include wasmill:function/migrating@1.0.0;
            }
        ",
        world: "wasmill:ledger/ledger",
        generate_all,
        pub_export_macro: true,
    });
}

use std::cell::Cell;

use bindings::exports::wasmill::function::{lifecycle, migration, process_function};
use bindings::wasmill::function::types::{Element, Error, MapEntry};
use bindings::wasmill::function::{collector, keyed_state};

const DESCRIPTION: &str = r#"{"version":1,"functions":[
{"name":"balance-1","kind":"process","input":"csv","output":"lines",
 "state":[{"name":"balance","kind":"value","encoding":"i64-le"}]},
{"name":"balance-2","kind":"process","input":"csv","output":"lines",
 "state":[{"name":"balance","kind":"value","encoding":"utf8","schema-version":2,"migrates-from":1}]},
{"name":"balance-2-loses","kind":"process","input":"csv","output":"lines",
 "state":[{"name":"balance","kind":"value","encoding":"utf8","schema-version":2,"migrates-from":1}]},
{"name":"balance-2-spins","kind":"process","input":"csv","output":"lines",
 "state":[{"name":"balance","kind":"value","encoding":"utf8","schema-version":2,"migrates-from":1}]},
{"name":"balance-2-reads","kind":"process","input":"csv","output":"lines",
 "state":[{"name":"balance","kind":"value","encoding":"utf8","schema-version":2,"migrates-from":1}]}
]}"#;

struct Component;

thread_local! {
    static IS_FIRST: Cell<bool> = const { Cell::new(false) };
    static BALANCE: Cell<u32> = const { Cell::new(0) };
}

/// A balance in cents as it is stored.
fn cents(stored: &[u8], is_first: bool) -> Result<i64, String> {
    if is_first {
        let number = stored.try_into().map(i64::from_le_bytes);
        return number.map(|euros| euros * 100).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(stored).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("`{text}` is no balance"))
}

impl lifecycle::Guest for Component {
    fn describe() -> String {
        DESCRIPTION.to_owned()
    }

    fn open(function: String, _config: String) -> Result<(), Error> {
        IS_FIRST.set(function == "balance-1");
        BALANCE.set(keyed_state::open_value("balance"));
        Ok(())
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

impl process_function::Guest for Component {
    fn process_element(e: Element) -> Result<(), Error> {
        let line = String::from_utf8_lossy(&e.value);
        let euros = line
            .rsplit(',')
            .next()
            .and_then(|euros| euros.parse::<i64>().ok());
        let euros = euros.ok_or_else(|| Error::BadRecord("no `account,day,euros` line".to_owned()))?;
        let before = keyed_state::value_get(BALANCE.get());
        let before = before.map_or(Ok(0), |stored| cents(&stored, IS_FIRST.get()));
        let balance = before.map_err(Error::Failed)? + euros * 100;
        match IS_FIRST.get() {
            true => keyed_state::value_set(BALANCE.get(), &(balance / 100).to_le_bytes()),
            false => keyed_state::value_set(BALANCE.get(), balance.to_string().as_bytes()),
        }
        collector::emit(format!("{}: {balance}", String::from_utf8_lossy(&e.key)).as_bytes());
        Ok(())
    }

    fn on_timer(_at: i64, _processing_time: bool) -> Result<(), Error> {
        Ok(())
    }
}

impl migration::Guest for Component {
    fn migrate(
        function: String,
        state: String,
        from_version: u32,
        to_version: u32,
        entries: Vec<MapEntry>,
    ) -> Result<Vec<Option<Vec<u8>>>, String> {
        assert_eq!((state.as_str(), from_version, to_version), ("balance", 1, 2));
        match function.as_str() {
            "balance-2-loses" => return Ok(Vec::new()),
            "balance-2-spins" => loop {
                std::hint::black_box(());
            },
            "balance-2-reads" => drop(keyed_state::open_value("balance")),
            _ => {}
        }
        let migrated = entries.iter().map(|entry| cents(&entry.value, true));
        migrated
            .map(|cents| cents.map(|cents| Some(cents.to_string().into_bytes())))
            .collect()
    }
}

#[allow(unsafe_code)] // Generated.
mod exported {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
