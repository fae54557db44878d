//! Windows over the readings of sensors and over words, and a reading that rises for a second.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

/// A reading.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    sensor: String,
    value: i64,
    at: i64,
}

/// A line of text and when it was written.
#[derive(Deserialize)]
pub struct Line {
    text: String,
}

/// The words of a line, in lower case, at the line's time.
#[derive(Default)]
pub struct Words;

impl FlatMapFunction for Words {
    type In = Json<Line>;
    type Out = str;

    fn flat_map(&mut self, line: &Json<Line>, ctx: &mut Context<str>) -> Result<()> {
        let words = line.0.text.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            ctx.emit(word.to_lowercase());
        }
        Ok(())
    }
}

/// The sum of the readings, at the time of the last one.
#[derive(Default)]
pub struct Sum;

impl ReduceFunction for Sum {
    type Value = Json<Reading>;

    fn reduce(&mut self, sum: &Json<Reading>, later: &Json<Reading>) -> Result<impl Emit<Json<Reading>>> {
        Ok(Json(Reading {
            sensor: sum.0.sensor.clone(),
            value: sum.0.value + later.0.value,
            at: sum.0.at.max(later.0.at),
        }))
    }
}

/// The average of a window's readings.
#[derive(Default)]
pub struct Average;

impl ProcessWindowFunction for Average {
    type In = Json<Reading>;
    type Out = str;

    fn process(
        &mut self,
        _: Window,
        readings: Elements<Json<Reading>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let mut sum = 0;
        readings.try_for_each(|reading| {
            sum += reading.0.value;
            Ok(())
        })?;
        let average = sum as f64 / readings.len() as f64;
        ctx.emit(format!("{},{average:.2}", ctx.key_str()?));
        Ok(())
    }
}

/// How long a sensor has to rise, in ms.
const RISING_MS: i64 = 1_000;

/// Tells of a sensor whose readings have risen for a second, by event time; once for each rise.
#[derive(Default)]
pub struct Rising {
    last: ValueState<i64>,
    /// When it is to tell, while readings rise.
    alarm: ValueState<i64>,
}

impl KeyedProcessFunction for Rising {
    type In = Json<Reading>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.last = d.value_state("last");
        self.alarm = d.value_state("alarm");
    }

    fn process_element(&mut self, reading: &Json<Reading>, ctx: &mut Context<str>) -> Result<()> {
        let Reading { value, at, .. } = reading.0;
        // The watermark lags behind: a reading may say before it does that the time is over.
        if let Some(alarm) = self.alarm.value(ctx)?.filter(|alarm| at >= *alarm) {
            ctx.delete_event_timer(alarm);
            self.tell(alarm, ctx)?;
        }
        let rises = self.last.value(ctx)?.is_some_and(|last| value > last);
        self.last.update(ctx, &value)?;
        match (rises, self.alarm.value(ctx)?) {
            (true, None) => {
                ctx.register_event_timer(at + RISING_MS);
                self.alarm.update(ctx, &(at + RISING_MS))?;
            }
            (false, Some(alarm)) => {
                ctx.delete_event_timer(alarm);
                self.alarm.clear(ctx)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        self.tell(timer.at, ctx)
    }
}

impl Rising {
    fn tell(&self, alarm: i64, ctx: &mut Context<str>) -> Result<()> {
        self.alarm.clear(ctx)?;
        ctx.emit(format!("{},{}", ctx.key_str()?, alarm - RISING_MS));
        Ok(())
    }
}

wasmill_sdk::export! {
    "words" => flat_map Words,
    "sum" => reduce Sum,
    "average" => window Average,
    "rising" => process Rising,
}
