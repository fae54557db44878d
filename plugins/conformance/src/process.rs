//! `process`: runs a script of commands on every kind of keyed state, timers and outputs.

use wasmill_sdk::prelude::*;

use crate::command::{self, Command};

/// Starts as `Contains` and appends `-TEXT`.
#[derive(Default)]
struct Contains;

impl AggregateFunction for Contains {
    type In = str;
    type Accumulator = String;
    type Out = String;

    fn create_accumulator(&self) -> String {
        "Contains".to_owned()
    }

    fn add(&self, text: &str, accumulator: &mut String) -> Result<()> {
        accumulator.push('-');
        accumulator.push_str(text);
        Ok(())
    }

    fn get_result(&self, accumulator: &String) -> Result<String> {
        Ok(accumulator.clone())
    }

    fn merge(&self, a: String, b: String) -> Result<String> {
        Ok(a + b.strip_prefix("Contains").unwrap_or(&b))
    }
}

/// See `README.md`.
#[derive(Default)]
pub struct Process {
    value: ValueState<String>,
    cold: ValueState<String>,
    list: ListState<String>,
    map: MapState<String, String>,
    reducing: ReducingState<i64>,
    folded: FoldedState,
    aggregating: AggregatingState<Contains>,
    script: ValueState<String>,
    event_chain: ValueState<String>,
    processing_chain: ValueState<String>,
    side: SideOutput<str>,
    other: SideOutput<str>,
    counter: Counter,
    gauge: Gauge,
    histogram: Histogram,
}

impl KeyedProcessFunction for Process {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.value = d.value_state("value");
        self.cold = d.value_state_with("cold", StateOptions::new().on_demand());
        self.list = d.list_state("list");
        self.map = d.map_state("map");
        self.reducing = d.reducing_state("reducing", i64::wrapping_add);
        self.folded = d.folded_state("folded", Fold::Sum);
        self.aggregating = d.aggregating_state("aggregating");
        self.script = d.value_state("script");
        self.event_chain = d.value_state("event-chain");
        self.processing_chain = d.value_state("processing-chain");
        self.side = d.side_output("side");
        self.other = d.side_output("other");
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.counter = ctx.counter("conformance_counter")?;
        self.gauge = ctx.gauge("conformance_gauge")?;
        self.histogram = ctx.histogram("conformance_histogram")?;
        Ok(())
    }

    fn process_element(&mut self, script: &str, ctx: &mut Context<str>) -> Result<()> {
        let base = ctx.timestamp().unwrap_or(0);
        if ctx.value_is_null() {
            return self.run(Command::IsNull, base, ctx);
        }
        self.run_script(script, ';', base, ctx)
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let (domain, chain) = match timer.domain {
            TimeDomain::EventTime => ("event", &self.event_chain),
            TimeDomain::ProcessingTime => ("processing", &self.processing_chain),
        };
        ctx.emit(("timer ", domain, ' ', timer.at));
        if let Some((left, step)) = chain.value(ctx)?.as_deref().and_then(command::chain) {
            if left > 1 {
                chain.update(ctx, &format!("{} {step}", left - 1))?;
                let next = timer.at.saturating_add(step);
                match timer.domain {
                    TimeDomain::EventTime => ctx.register_event_timer(next),
                    TimeDomain::ProcessingTime => ctx.register_processing_timer(next),
                }
            } else {
                chain.clear(ctx)?;
            }
        }
        if let Some(script) = self.script.value(ctx)? {
            self.script.clear(ctx)?;
            self.run_script(&script, '|', timer.at, ctx)?;
        }
        Ok(())
    }
}

impl Process {
    fn run_script(&mut self, script: &str, separator: char, base: i64, ctx: &mut Context<str>) -> Result<()> {
        for text in script.split(separator) {
            let command = command::parse(text)
                .ok_or_else(|| Error::bad_record(format_args!("unknown command {text}")))?;
            self.run(command, base, ctx)?;
        }
        Ok(())
    }

    fn run(&mut self, command: Command<'_>, base: i64, ctx: &mut Context<str>) -> Result<()> {
        match command {
            Command::ValueSet(text) => self.value.update(ctx, &text.to_owned())?,
            Command::ValueClear => self.value.clear(ctx)?,
            Command::ValueGet => emit_option('v', self.value.value(ctx)?, ctx),
            Command::ColdSet(text) => self.cold.update(ctx, &text.to_owned())?,
            Command::ColdClear => self.cold.clear(ctx)?,
            Command::ColdGet => emit_option('c', self.cold.value(ctx)?, ctx),
            Command::ListAdd(text) => self.list.add(ctx, &text.to_owned())?,
            Command::ListUpdate(text) => self.list.update(ctx, &command::elements(text))?,
            Command::ListClear => self.list.clear(ctx)?,
            Command::ListGet => {
                let list = self.list.get(ctx)?.join(",");
                ctx.emit(("l=[", list, ']'));
            }
            Command::ReducingAdd(number) => self.reducing.add(ctx, number)?,
            Command::ReducingClear => self.reducing.clear(ctx)?,
            Command::ReducingGet => emit_option('r', self.reducing.get(ctx)?, ctx),
            Command::FoldedAdd(number) => self.folded.add(ctx, number)?,
            Command::FoldedClear => self.folded.clear(ctx)?,
            Command::FoldedGet => emit_option('f', self.folded.get(ctx)?, ctx),
            Command::AggregatingAdd(text) => self.aggregating.add(ctx, text)?,
            Command::AggregatingClear => self.aggregating.clear(ctx)?,
            Command::AggregatingGet => emit_option('a', self.aggregating.get(ctx)?, ctx),
            Command::Fail(_) | Command::Trap => return Err(super::fail(command)),
            other => return self.run_on_map(other, base, ctx),
        }
        Ok(())
    }

    fn run_on_map(&mut self, command: Command<'_>, base: i64, ctx: &mut Context<str>) -> Result<()> {
        match command {
            Command::MapPut(key, value) => self.map.put(ctx, &key.to_owned(), &value.to_owned())?,
            Command::MapRemove(key) => self.map.remove(ctx, &key.to_owned())?,
            Command::MapClear => self.map.clear(ctx)?,
            Command::MapGet(key) => match self.map.get(ctx, &key.to_owned())? {
                Some(value) => ctx.emit(("m ", key, '=', value)),
                None => ctx.emit(("m ", key, " none")),
            },
            Command::MapContains(key) => {
                let contains = self.map.contains(ctx, &key.to_owned())?;
                ctx.emit(format_args!("m {key} {contains}"));
            }
            Command::MapEntries => {
                let entries = self.map.entries(ctx)?;
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                ctx.emit(("m={", entries.join(","), '}'));
            }
            Command::MapIsEmpty => {
                let is_empty = self.map.is_empty(ctx)?;
                ctx.emit(format_args!("m empty {is_empty}"));
            }
            other => return self.run_effect(other, base, ctx),
        }
        Ok(())
    }

    fn run_effect(&mut self, command: Command<'_>, base: i64, ctx: &mut Context<str>) -> Result<()> {
        match command {
            Command::RegisterEvent(time) => ctx.register_event_timer(time.resolve(base)),
            Command::DeleteEvent(time) => ctx.delete_event_timer(time.resolve(base)),
            Command::RegisterProcessing(time) => ctx.register_processing_timer(time.resolve(base)),
            Command::DeleteProcessing(time) => ctx.delete_processing_timer(time.resolve(base)),
            Command::OnTimer(script) => self.script.update(ctx, &script.to_owned())?,
            Command::EventChain(chain) => {
                self.event_chain.update(ctx, &chain.to_owned())?;
                let step = command::chain(chain).map_or(0, |(_, step)| step);
                ctx.register_event_timer(base.saturating_add(step));
            }
            Command::ProcessingChain(chain) => {
                self.processing_chain.update(ctx, &chain.to_owned())?;
                let step = command::chain(chain).map_or(0, |(_, step)| step);
                ctx.register_processing_timer(base.saturating_add(step));
            }
            Command::Emit(text) => ctx.emit(text),
            Command::EmitAt(at, text) => ctx.emit_at(text, at),
            Command::Side(text) => ctx.emit_to(self.side, text),
            Command::Other(text) => ctx.emit_to(self.other, text),
            Command::Key => ctx.emit(("k=", ctx.key_str()?)),
            Command::Watermark => ctx.emit(("w=", ctx.current_watermark())),
            Command::ProcessingTime => ctx.emit(("p=", ctx.current_processing_time())),
            Command::Timestamp => emit_option('t', ctx.timestamp(), ctx),
            Command::IsNull => ctx.emit(format_args!("n {}", ctx.value_is_null())),
            Command::Header(name) => match ctx.header(name) {
                Some(value) => ctx.emit(format_args!("h {name}={}", String::from_utf8_lossy(value))),
                None => ctx.emit(("h ", name, " none")),
            },
            Command::Log(text) => wasmill_sdk::info!("{text}"),
            Command::Counter(count) => self.counter.add(count),
            Command::Gauge(value) => self.gauge.set(value),
            Command::Histogram(value) => self.histogram.record(value),
            // All others are taken by `run` and `run_on_map`.
            _ => {}
        }
        Ok(())
    }
}

/// `NAME=VALUE` or `NAME none`.
fn emit_option(name: char, value: Option<impl Emit<str>>, ctx: &mut Context<str>) {
    match value {
        Some(value) => ctx.emit((name, '=', value)),
        None => ctx.emit((name, " none")),
    }
}
