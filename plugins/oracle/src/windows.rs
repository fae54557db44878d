//! Window functions, the trigger that tells of its calls, and the gap by element. `Windows.java`, `Triggers.java`.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// count, sum, min and max of the values, without braces: [`Bounds`] puts the rest before it.
#[derive(Default)]
pub struct Stats;

/// What [`Stats`] folds into.
#[derive(Serialize, Deserialize)]
pub struct Summary {
    count: i64,
    sum: i64,
    min: i64,
    max: i64,
}

impl AggregateFunction for Stats {
    type In = Json<Event>;
    type Accumulator = Summary;
    type Out = Json<Summary>;

    fn create_accumulator(&self) -> Summary {
        Summary {
            count: 0,
            sum: 0,
            min: i64::MAX,
            max: i64::MIN,
        }
    }

    fn add(&self, event: &Json<Event>, summary: &mut Summary) -> Result<()> {
        let value = event.0.value;
        summary.count += 1;
        summary.sum += value;
        summary.min = summary.min.min(value);
        summary.max = summary.max.max(value);
        Ok(())
    }

    fn get_result(&self, summary: &Summary) -> Result<Json<Summary>> {
        Ok(Json(Summary { ..*summary }))
    }

    fn merge(&self, a: Summary, b: Summary) -> Result<Summary> {
        Ok(Summary {
            count: a.count + b.count,
            sum: a.sum + b.sum,
            min: a.min.min(b.min),
            max: a.max.max(b.max),
        })
    }
}

/// `"start":…,"end":…,` of a window that has them.
fn head(window: Window) -> String {
    match window {
        Window::Time { start, end } => format!("\"start\":{start},\"end\":{end},"),
        Window::Global => String::new(),
    }
}

/// Puts window and key before the result of [`Stats`].
#[derive(Default)]
pub struct Bounds;

impl ProcessWindowFunction for Bounds {
    type In = [u8];
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
    }

    fn process(&mut self, window: Window, results: Elements<[u8]>, ctx: &mut Context<str>) -> Result<()> {
        let key = ctx.key_str()?;
        results.try_for_each(|result| {
            let result = std::str::from_utf8(result)?;
            let fields = result.trim_start_matches('{');
            ctx.emit(format!("{{{}\"key\":\"{key}\",{fields}", head(window)));
            Ok(())
        })
    }
}

/// Sum of the values and the lines in their order.
#[derive(Default)]
pub struct Sums;

impl ProcessWindowFunction for Sums {
    type In = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
    }

    fn process(
        &mut self,
        window: Window,
        events: Elements<Json<Event>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let (mut sum, mut lines) = (0, Vec::new());
        events.try_for_each(|event| {
            sum += event.0.value;
            lines.push(event.0.n);
            Ok(())
        })?;
        lines.sort_unstable();
        let (key, lines) = (ctx.key_str()?, json(&lines)?);
        ctx.emit(format!(
            "{{{}\"key\":\"{key}\",\"sum\":{sum},\"n\":{lines}}}",
            head(window)
        ));
        Ok(())
    }
}

/// Everything that the context offers.
#[derive(Default)]
pub struct InContext {
    of_window: ValueState<i64>,
    of_key: ValueState<i64>,
    big: SideOutput<str>,
    cleared: SideOutput<str>,
}

impl InContext {
    fn plus_one(state: &ValueState<i64>, ctx: &mut Context<str>) -> Result<i64> {
        let count = state.value(ctx)?.unwrap_or(0) + 1;
        state.update(ctx, &count)?;
        Ok(count)
    }
}

impl ProcessWindowFunction for InContext {
    type In = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.of_window = d.value_state_with("of-window", StateOptions::new().per_window());
        self.of_key = d.value_state("of-key");
        self.big = d.side_output("big");
        self.cleared = d.side_output("cleared");
    }

    fn process(
        &mut self,
        window: Window,
        events: Elements<Json<Event>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let mut sum = 0;
        events.try_for_each(|event| {
            sum += event.0.value;
            Ok(())
        })?;
        let (key, watermark) = (ctx.key_str()?, ctx.current_watermark());
        let of_window = Self::plus_one(&self.of_window, ctx)?;
        let of_key = Self::plus_one(&self.of_key, ctx)?;
        ctx.emit(format!(
            "{{{}\"key\":\"{key}\",\"sum\":{sum},\"watermark\":{watermark},\"firings-of-window\":{of_window},\"firings-of-key\":{of_key}}}",
            head(window)
        ));
        if sum >= 200 {
            ctx.emit_to(self.big, format!("{{{}\"key\":\"{key}\"}}", head(window)));
        }
        Ok(())
    }

    fn clear(&mut self, window: Window, ctx: &mut Context<str>) -> Result<()> {
        let firings = json(&self.of_window.value(ctx)?)?;
        let end = window.max_timestamp();
        ctx.emit_to(
            self.cleared,
            format!("{{\"cleared\":{end},\"firings\":{firings}}}"),
        );
        self.of_window.clear(ctx)
    }
}

/// Purges on a value divisible by 7, else fires on each third element; fires at the window's middle, fires and purges
/// at its end. Tells of each call.
#[derive(Default)]
pub struct Own {
    count: ReducingState<i64>,
    calls: SideOutput<str>,
}

fn middle(window: Window) -> Result<i64> {
    match window {
        Window::Time { start, end } => Ok(start + (end - start) / 2),
        Window::Global => Err(Error::failed("a global window has no middle")),
    }
}

impl Own {
    fn tell(
        &self,
        call: &str,
        window: Window,
        result: Option<TriggerResult>,
        ctx: &mut Context<()>,
    ) -> Result<TriggerResult> {
        let name = result.map(|result| match result {
            TriggerResult::Continue => "CONTINUE",
            TriggerResult::Fire => "FIRE",
            TriggerResult::Purge => "PURGE",
            TriggerResult::FireAndPurge => "FIRE_AND_PURGE",
        });
        let (count, name) = (json(&self.count.get(ctx)?)?, json(&name)?);
        let head = head(window);
        ctx.emit_to(
            self.calls,
            format!("{{{head}\"call\":\"{call}\",\"count\":{count},\"result\":{name}}}"),
        );
        Ok(result.unwrap_or_default())
    }
}

impl Trigger for Own {
    type In = Json<Event>;

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.reducing_state("count", |a, b| a + b);
        self.calls = d.side_output("calls");
        d.merges();
    }

    fn on_element(
        &mut self,
        event: &Json<Event>,
        window: Window,
        ctx: &mut Context<()>,
    ) -> Result<TriggerResult> {
        self.count.add(ctx, 1)?;
        ctx.register_event_timer(window.max_timestamp());
        ctx.register_event_timer(middle(window)?);
        let count = self.count.get(ctx)?.unwrap_or(0);
        let result = match () {
            () if event.0.value % 7 == 0 => TriggerResult::Purge,
            () if count % 3 == 0 => TriggerResult::Fire,
            () => TriggerResult::Continue,
        };
        self.tell("on-element", window, Some(result), ctx)
    }

    fn on_timer(&mut self, timer: Timer, window: Window, ctx: &mut Context<()>) -> Result<TriggerResult> {
        let result = match () {
            () if timer.at == window.max_timestamp() => TriggerResult::FireAndPurge,
            () if timer.at == middle(window)? => TriggerResult::Fire,
            () => TriggerResult::Continue,
        };
        self.tell("on-event-time", window, Some(result), ctx)
    }

    fn on_merge(&mut self, window: Window, ctx: &mut Context<()>) -> Result<()> {
        self.count.merge(ctx)?;
        ctx.register_event_timer(window.max_timestamp());
        self.tell("on-merge", window, None, ctx).map(drop)
    }

    fn clear(&mut self, window: Window, ctx: &mut Context<()>) -> Result<()> {
        self.tell("clear", window, None, ctx)?;
        self.count.clear(ctx)?;
        ctx.delete_event_timer(window.max_timestamp());
        ctx.delete_event_timer(middle(window)?);
        Ok(())
    }
}

/// Sessions with a gap of 60 * (1 + value mod 8) ms.
#[derive(Default)]
pub struct DynamicGap;

impl WindowAssigner for DynamicGap {
    type In = Json<Event>;

    fn declare(&mut self, d: &mut Declare) {
        d.merges();
    }

    fn assign_windows(
        &mut self,
        event: &Json<Event>,
        ctx: &mut Context<()>,
        windows: &mut Vec<Window>,
    ) -> Result<()> {
        let start = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
        let gap = 60 * (1 + event.0.value.rem_euclid(8));
        windows.push(Window::Time {
            start,
            end: start + gap,
        });
        Ok(())
    }
}
