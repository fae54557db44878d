//! Functions beside operators: timestamps, watermarks and partitions.

use std::cell::Cell;

use crate::bindings::exports::wasmill::function::{partitioner, timestamp_assigner, watermark_generator};
use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::watermark_output as out;
use crate::{Component, text};

thread_local! {
    static HIGHEST: Cell<Option<i64>> = const { Cell::new(None) };
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::BadRecord("not a number".to_owned()))
}

impl timestamp_assigner::Guest for Component {
    fn extract_timestamp(e: Element) -> Result<i64, Error> {
        let value = text(&e)?;
        match value.strip_prefix('+') {
            Some(more) => Ok(e.timestamp.unwrap_or(0).wrapping_add(number(more)?)),
            None => number(value),
        }
    }
}

impl watermark_generator::Guest for Component {
    fn on_event(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        let timestamp = e.timestamp.unwrap_or(i64::MIN);
        HIGHEST.set(HIGHEST.get().max(Some(timestamp)));
        for part in value.split(' ') {
            match part {
                "idle" => out::mark_idle(),
                "active" => out::mark_active(),
                "now" => out::emit_watermark(out::processing_time()),
                _ => {
                    if let Ok(watermark) = part.parse() {
                        out::emit_watermark(watermark);
                    }
                }
            }
        }
        Ok(())
    }

    fn on_periodic_emit() -> Result<(), Error> {
        if let Some(highest) = HIGHEST.get() {
            out::emit_watermark(highest.saturating_sub(10));
        }
        Ok(())
    }
}

impl partitioner::Guest for Component {
    fn partition(e: Element, channels: u32) -> Result<u32, Error> {
        let value = text(&e)?;
        match value.strip_prefix('=') {
            Some(channel) => number(channel),
            None => Ok(value.len() as u32 % channels),
        }
    }
}

pub fn restore(raw: &[u8]) {
    HIGHEST.set(<[u8; 8]>::try_from(raw).ok().map(i64::from_le_bytes));
}

pub fn snapshot() -> Vec<u8> {
    HIGHEST
        .get()
        .map_or_else(Vec::new, |highest| highest.to_le_bytes().to_vec())
}
