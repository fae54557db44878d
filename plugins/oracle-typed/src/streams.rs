//! Functions without keyed state but a reduction. `Streams.java`.

use serde::Serialize;

use super::bindings::exports::wasmill::function::{flat_map_function, map_function, reduce_function};
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{collector, timers};
use super::{Component, Event, event, json};

/// An element and the watermark that the function saw.
#[derive(Serialize)]
struct Seen<'a> {
    key: &'a str,
    value: i64,
    n: u64,
    watermark: i64,
}

impl map_function::Guest for Component {
    fn map(e: Element) -> Result<Vec<u8>, Error> {
        json(&event(&e.value)?).map(String::into_bytes)
    }
}

impl flat_map_function::Guest for Component {
    fn flat_map(e: Element) -> Result<(), Error> {
        let event = event(&e.value)?;
        if event.value < 0 || event.value % 2 != 0 {
            collector::emit_to("side", json(&event)?.as_bytes());
        }
        if event.value >= 0 {
            let line = json(&Seen {
                key: &event.key,
                value: event.value,
                n: event.n,
                watermark: timers::current_watermark(),
            })?;
            collector::emit(line.as_bytes());
        }
        Ok(())
    }
}

impl reduce_function::Guest for Component {
    fn reduce(accumulator: Vec<u8>, value: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (sum, later) = (event(&accumulator)?, event(&value)?);
        let sum = Event {
            key: sum.key,
            value: sum.value.wrapping_add(later.value),
            n: later.n,
            ..Event::default()
        };
        json(&sum).map(String::into_bytes)
    }
}
