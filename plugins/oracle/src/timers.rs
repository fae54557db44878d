//! A function whose tape says which timers to register and delete; each call is emitted. `Timers.java`.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// The configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    chain: bool,
}

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

/// See the module.
#[derive(Default)]
pub struct Timers {
    chain: bool,
    fired: ValueState<i64>,
}

impl KeyedProcessFunction for Timers {
    type In = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.fired = d.value_state("fired");
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.chain = ctx.config::<Config>()?.chain;
        Ok(())
    }

    fn process_element(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let event = &event.0;
        let ts = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
        let (watermark, now) = (ctx.current_watermark(), ctx.current_processing_time());
        let coarse = (ts + event.arg).div_euclid(200) * 200;
        match event.op.as_str() {
            "register" => ctx.register_event_timer(ts + event.arg),
            "delete" => ctx.delete_event_timer(ts + event.arg),
            "register-at-watermark" => ctx.register_event_timer(watermark.max(-9000) + event.arg % 3 - 1),
            "register-coarse" => ctx.register_event_timer(coarse),
            "delete-coarse" => ctx.delete_event_timer(coarse),
            "register-processing" => ctx.register_processing_timer(now + event.arg),
            "delete-processing" => ctx.delete_processing_timer(now + event.arg),
            other => return Err(Error::bad_record(format_args!("no such operation: {other}"))),
        }
        let line = json(&Done {
            key: &event.key,
            op: &event.op,
            watermark,
            now,
        })?;
        ctx.emit(line);
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let fired = self.fired.value(ctx)?.unwrap_or(0) + 1;
        self.fired.update(ctx, &fired)?;
        let line = json(&Fired {
            key: ctx.key_str()?,
            timer: timer.at,
            domain: match timer.domain {
                TimeDomain::EventTime => "EVENT_TIME",
                TimeDomain::ProcessingTime => "PROCESSING_TIME",
            },
            fired,
            watermark: ctx.current_watermark(),
            now: ctx.current_processing_time(),
        })?;
        ctx.emit(line);
        if self.chain && timer.at % 5 == 0 {
            ctx.register_event_timer(timer.at + 7);
        }
        if self.chain && timer.at % 11 == 0 {
            ctx.register_event_timer(timer.at - 3);
        }
        if self.chain && timer.at % 4 == 0 {
            ctx.delete_event_timer(timer.at + 2);
        }
        Ok(())
    }
}
