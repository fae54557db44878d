//! A function whose tape says which timers to register and delete; each call is emitted. `Timers.java`.

use serde::{Deserialize, Serialize};

use super::bindings::exports::wasmill::function::process_function;
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{collector, keyed_state, timers};
use super::{CONFIG, Component, event, json, number, serves, state};

/// What is emitted for a record.
#[derive(Serialize)]
struct Done<'a> {
    key: &'a str,
    op: &'a str,
    watermark: i64,
    now: i64,
}

/// What is emitted for a timer.
#[derive(Serialize)]
struct Fired<'a> {
    key: &'a str,
    timer: i64,
    domain: &'static str,
    fired: i64,
    watermark: i64,
    now: i64,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    chain: bool,
}

impl process_function::Guest for Component {
    fn process_element(e: Element) -> Result<(), Error> {
        if serves("state") {
            return state::process_element(&e);
        }
        let event = event(&e.value)?;
        let ts = e
            .timestamp
            .ok_or_else(|| Error::BadRecord("no timestamp".to_owned()))?;
        let (watermark, now) = (timers::current_watermark(), timers::current_processing_time());
        let coarse = (ts + event.arg).div_euclid(200) * 200;
        match event.op.as_str() {
            "register" => timers::register_event_timer(ts + event.arg),
            "delete" => timers::delete_event_timer(ts + event.arg),
            "register-at-watermark" => {
                timers::register_event_timer(watermark.max(-9000) + event.arg % 3 - 1);
            }
            "register-coarse" => timers::register_event_timer(coarse),
            "delete-coarse" => timers::delete_event_timer(coarse),
            "register-processing" => timers::register_processing_timer(now + event.arg),
            "delete-processing" => timers::delete_processing_timer(now + event.arg),
            other => return Err(Error::BadRecord(format!("no such operation: {other}"))),
        }
        let line = json(&Done {
            key: &event.key,
            op: &event.op,
            watermark,
            now,
        })?;
        collector::emit(line.as_bytes());
        Ok(())
    }

    fn on_timer(at: i64, processing_time: bool) -> Result<(), Error> {
        let slot = keyed_state::open_value("fired");
        let before = keyed_state::value_get(slot)
            .map(|bytes| number(&bytes))
            .transpose()?;
        let fired = before.unwrap_or(0) + 1;
        keyed_state::value_set(slot, &fired.to_le_bytes());
        let key = timers::current_key();
        let line = json(&Fired {
            key: &String::from_utf8_lossy(&key),
            timer: at,
            domain: if processing_time {
                "PROCESSING_TIME"
            } else {
                "EVENT_TIME"
            },
            fired,
            watermark: timers::current_watermark(),
            now: timers::current_processing_time(),
        })?;
        collector::emit(line.as_bytes());
        let chain = CONFIG.with_borrow(|config| serde_json::from_str::<Config>(config));
        if !chain.is_ok_and(|config| config.chain) {
            return Ok(());
        }
        if at % 5 == 0 {
            timers::register_event_timer(at + 7);
        }
        if at % 11 == 0 {
            timers::register_event_timer(at - 3);
        }
        if at % 4 == 0 {
            timers::delete_event_timer(at + 2);
        }
        Ok(())
    }
}
