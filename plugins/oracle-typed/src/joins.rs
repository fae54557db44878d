//! What joins give their pairs to. `Joins.java`.

use serde::Serialize;

use super::bindings::exports::wasmill::function::process_join_function;
use super::bindings::wasmill::function::collector;
use super::bindings::wasmill::function::types::{Element, Error};
use super::{Component, event, json};

/// A pair with both timestamps.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Times<'a> {
    key: &'a str,
    left: u64,
    right: u64,
    left_ts: i64,
    right_ts: i64,
}

impl process_join_function::Guest for Component {
    fn process_pair(left: Element, right: Element) -> Result<(), Error> {
        let at = |e: &Element| {
            e.timestamp
                .ok_or_else(|| Error::BadRecord("no timestamp".to_owned()))
        };
        let (first, second) = (event(&left.value)?, event(&right.value)?);
        let line = json(&Times {
            key: &first.key,
            left: first.n,
            right: second.n,
            left_ts: at(&left)?,
            right_ts: at(&right)?,
        })?;
        collector::emit(line.as_bytes());
        Ok(())
    }
}
