//! `process-join`: numbers the pairs of a key; those of equal records go to a side output.

use std::cell::Cell;

use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::{collector, keyed_state as state};

thread_local! {
    static PAIRS: Cell<u32> = const { Cell::new(0) };
}

pub fn open() {
    PAIRS.set(state::open_value("pairs"));
}

pub fn process_pair(left: &Element, right: &Element) -> Result<(), Error> {
    let before = state::value_get(PAIRS.get()).unwrap_or_default();
    let number = before.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) + 1;
    state::value_set(PAIRS.get(), &number.to_le_bytes());
    let at = |e: &Element| e.timestamp.unwrap_or_default();
    let (first, second) = (crate::text(left)?, crate::text(right)?);
    if first == second {
        collector::emit_to("same", first.as_bytes());
    }
    let line = format!("{number}:{first}|{second}@{},{}", at(left), at(right));
    collector::emit(line.as_bytes());
    Ok(())
}
