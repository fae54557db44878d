//! Connected streams and broadcast state. `Streams.java`.

use serde::Serialize;
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// A total and the watermark that the function saw.
#[derive(Serialize)]
struct Read<'a> {
    key: &'a str,
    total: Option<i64>,
    watermark: i64,
}

/// What a timer finds.
#[derive(Serialize)]
struct Fired<'a> {
    key: &'a str,
    timer: i64,
    total: Option<i64>,
    watermark: i64,
}

fn add(total: &ValueState<i64>, value: i64, ctx: &mut Context<str>) -> Result<i64> {
    let sum = total.value(ctx)?.unwrap_or(0).wrapping_add(value);
    total.update(ctx, &sum)?;
    Ok(sum)
}

/// Input 1 adds to a total that input 2 reads; input 2 sets a timer 100 ms on that reports and clears it.
#[derive(Default)]
pub struct Shared {
    total: ValueState<i64>,
}

impl KeyedCoProcessFunction for Shared {
    type In1 = Json<Event>;
    type In2 = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.total = d.value_state("total");
    }

    fn process_element1(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        add(&self.total, event.0.value, ctx)?;
        Ok(())
    }

    fn process_element2(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let ts = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
        ctx.register_event_timer(ts + 100);
        let line = json(&Read {
            key: &event.0.key,
            total: self.total.value(ctx)?,
            watermark: ctx.current_watermark(),
        })?;
        ctx.emit(line);
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let line = json(&Fired {
            key: ctx.key_str()?,
            timer: timer.at,
            total: self.total.value(ctx)?,
            watermark: ctx.current_watermark(),
        })?;
        ctx.emit(line);
        self.total.clear(ctx)
    }
}

/// An element and the rules that it reaches.
#[derive(Serialize)]
struct Reached<'a> {
    key: &'a str,
    value: i64,
    n: u64,
    rules: Vec<String>,
    watermark: i64,
    total: i64,
}

/// The total of a key.
#[derive(Serialize)]
struct Total<'a> {
    key: &'a str,
    total: Option<i64>,
}

/// A broadcast element names a rule by its key and gives its value, a negative value removes it, one divisible by 10
/// also reports the total of each key: how many rules its elements have reached.
#[derive(Default)]
pub struct KeyedRules {
    rules: BroadcastState<String, i64>,
    total: ValueState<i64>,
}

impl KeyedBroadcastProcessFunction for KeyedRules {
    type In = Json<Event>;
    type Broadcast = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.rules = d.broadcast_state("rules");
        self.total = d.value_state("total");
    }

    fn process_element(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let Event { key, value, n, .. } = &event.0;
        let rules = self.rules.entries(ctx)?.into_iter();
        let rules: Vec<String> = rules
            .filter(|(_, rule)| value >= rule)
            .map(|(name, _)| name)
            .collect();
        let total = add(&self.total, rules.len() as i64, ctx)?;
        let line = json(&Reached {
            key,
            value: *value,
            n: *n,
            rules,
            watermark: ctx.current_watermark(),
            total,
        })?;
        ctx.emit(line);
        Ok(())
    }

    fn process_broadcast_element(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let Event { key, value, .. } = &event.0;
        if *value < 0 {
            self.rules.remove(ctx, key)?;
        } else {
            self.rules.put(ctx, key, value)?;
        }
        if value % 10 == 0 {
            let total = &self.total;
            ctx.apply_to_keyed_state(total, |key, ctx| {
                let key = std::str::from_utf8(key)?;
                let total = total.value(ctx)?;
                ctx.emit(json(&Total { key, total })?);
                Ok(())
            })?;
        }
        Ok(())
    }
}
