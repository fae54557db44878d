//! What joins give their pairs and groups to. `Joins.java`.

use serde::Serialize;

use super::bindings::exports::wasmill::function::{co_group_function, join_function, process_join_function};
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{co_group_context, collector};
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

/// A pair.
#[derive(Serialize)]
struct Lines<'a> {
    key: &'a str,
    left: u64,
    right: u64,
}

impl join_function::Guest for Component {
    fn join(left: Element, right: Element) -> Result<(), Error> {
        let (left, right) = (event(&left.value)?, event(&right.value)?);
        let line = json(&Lines {
            key: &left.key,
            left: left.n,
            right: right.n,
        })?;
        collector::emit(line.as_bytes());
        Ok(())
    }
}

/// Bytes of elements that are asked for at a time: few, so that there are several pages.
const PAGE_BYTES: u32 = 512;

/// What a window has of both sides.
#[derive(Serialize)]
struct Sides {
    key: String,
    left: Vec<u64>,
    right: Vec<u64>,
}

/// The lines of a side's elements, sorted; the key of one of them.
fn lines(next: fn(u32) -> Vec<Element>, key: &mut String) -> Result<Vec<u64>, Error> {
    let mut lines = Vec::new();
    loop {
        let page = next(PAGE_BYTES);
        if page.is_empty() {
            break;
        }
        for element in page {
            let event = event(&element.value)?;
            *key = event.key;
            lines.push(event.n);
        }
    }
    lines.sort_unstable();
    Ok(lines)
}

impl co_group_function::Guest for Component {
    fn co_group() -> Result<(), Error> {
        let mut key = String::new();
        let left = lines(co_group_context::next_left, &mut key)?;
        let right = lines(co_group_context::next_right, &mut key)?;
        let line = json(&Sides { key, left, right })?;
        collector::emit(line.as_bytes());
        Ok(())
    }
}
