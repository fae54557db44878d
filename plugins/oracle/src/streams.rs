//! Reduce, side outputs and the function that does nothing. `Streams.java`.

use serde::Serialize;
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// An element and the watermark that the function saw.
#[derive(Serialize)]
struct Seen<'a> {
    key: &'a str,
    value: i64,
    n: u64,
    watermark: i64,
}

/// Odd values to `side` beside the main output, negative ones to `side` alone.
#[derive(Default)]
pub struct Split {
    side: SideOutput<str>,
}

impl FlatMapFunction for Split {
    type In = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.side = d.side_output("side");
    }

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let event = &event.0;
        if event.value < 0 || event.value % 2 != 0 {
            ctx.emit_to(self.side, json(event)?);
        }
        if event.value >= 0 {
            let line = json(&Seen {
                key: &event.key,
                value: event.value,
                n: event.n,
                watermark: ctx.current_watermark(),
            })?;
            ctx.emit(line);
        }
        Ok(())
    }
}

/// Gives each element back.
#[derive(Default)]
pub struct Pass;

impl MapFunction for Pass {
    type In = Json<Event>;
    type Out = Json<Event>;

    fn map(&mut self, event: &Json<Event>) -> Result<impl Emit<Json<Event>>> {
        Ok(Json(event.0.clone()))
    }
}

/// Timestamp + value. `Watermarks.java`
#[derive(Default)]
pub struct ShiftedTime;

impl TimestampAssigner for ShiftedTime {
    type In = Json<Event>;

    fn extract_timestamp(&mut self, event: &Json<Event>, record_timestamp: Option<i64>) -> Result<i64> {
        let ts = record_timestamp.ok_or_else(|| Error::bad_record("no timestamp"))?;
        Ok(ts.wrapping_add(event.0.value))
    }
}

/// The sum of the values, with the line of the later one.
#[derive(Default)]
pub struct Plus;

impl ReduceFunction for Plus {
    type Value = Json<Event>;

    fn reduce(&mut self, sum: &Json<Event>, later: &Json<Event>) -> Result<impl Emit<Json<Event>>> {
        Ok(Json(Event {
            key: sum.0.key.clone(),
            value: sum.0.value.wrapping_add(later.0.value),
            n: later.0.n,
            ..Event::default()
        }))
    }
}
