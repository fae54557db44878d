//! `join` and `co-group`: number what they are given of a key; equal records, and windows with one side alone, go to a side
//! output.

use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::{co_group_context, collector, keyed_state as state, window_context};

/// Few, so that there are several pages.
const PAGE_BYTES: u32 = 200;

/// The next number of the key.
fn number(name: &str) -> u64 {
    let slot = state::open_value(name);
    let before = state::value_get(slot).unwrap_or_default();
    let number = before.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) + 1;
    state::value_set(slot, &number.to_le_bytes());
    number
}

fn max_timestamp() -> i64 {
    match (window_context::window_start(), window_context::window_end()) {
        (i64::MIN, i64::MAX) => i64::MAX,
        (_, end) => end - 1,
    }
}

pub fn join(left: &Element, right: &Element) -> Result<(), Error> {
    let number = number("pairs");
    let (left, right) = (crate::text(left)?, crate::text(right)?);
    if left == right {
        collector::emit_to("same", left.as_bytes());
    }
    collector::emit(format!("{number}:{left}|{right}@{}", max_timestamp()).as_bytes());
    Ok(())
}

pub fn co_group() -> Result<(), Error> {
    let number = number("groups");
    let left = listed(co_group_context::next_left)?;
    let right = listed(co_group_context::next_right)?;
    if left.is_empty() || right.is_empty() {
        collector::emit_to("alone", format!("{left}{right}").as_bytes());
    }
    collector::emit(format!("{number}:{left}|{right}@{}", max_timestamp()).as_bytes());
    Ok(())
}

fn listed(next: fn(u32) -> Vec<Element>) -> Result<String, Error> {
    let mut all = Vec::new();
    loop {
        let page = next(PAGE_BYTES);
        if page.is_empty() {
            return Ok(all.join("+"));
        }
        for element in &page {
            all.push(crate::text(element)?.to_owned());
        }
    }
}
