//! Functions with two inputs: connected streams and broadcast state.

use wasmill_sdk::prelude::*;

use crate::check;

#[derive(Default)]
pub struct CoMap;

impl CoMapFunction for CoMap {
    type In1 = str;
    type In2 = str;
    type Out = str;

    fn map1(&mut self, value: &str) -> Result<impl Emit<str>> {
        check(value)?;
        Ok(("1:", value))
    }

    fn map2(&mut self, value: &str) -> Result<impl Emit<str>> {
        check(value)?;
        Ok(("2:", value))
    }
}

#[derive(Default)]
pub struct CoFlatMap;

impl CoFlatMapFunction for CoFlatMap {
    type In1 = str;
    type In2 = str;
    type Out = str;

    fn flat_map1(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        value.split_whitespace().for_each(|part| ctx.emit(part));
        Ok(())
    }

    fn flat_map2(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        value.split_whitespace().for_each(|part| ctx.emit(("2:", part)));
        Ok(())
    }
}

#[derive(Default)]
pub struct CoProcess {
    seen: ValueState<String>,
}

impl CoProcess {
    fn seen(&self, ctx: &mut Context<str>) -> Result<String> {
        Ok(self.seen.value(ctx)?.unwrap_or_else(|| "none".to_owned()))
    }
}

impl KeyedCoProcessFunction for CoProcess {
    type In1 = str;
    type In2 = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.seen = d.value_state("seen");
    }

    fn process_element1(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        let seen = match self.seen.value(ctx)? {
            Some(seen) => format!("{seen},{value}"),
            None => value.to_owned(),
        };
        self.seen.update(ctx, &seen)
    }

    fn process_element2(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        let seen = self.seen(ctx)?;
        ctx.emit((ctx.key_str()?, ' ', value, " seen=", &*seen));
        if let Some(timestamp) = ctx.timestamp() {
            ctx.register_event_timer(timestamp.saturating_add(10));
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let seen = self.seen(ctx)?;
        ctx.emit(("timer ", timer.at, " seen=", &*seen));
        self.seen.clear(ctx)
    }
}

type Rules = BroadcastState<String, String>;

fn shown(rules: &Rules, ctx: &mut Context<str>) -> Result<String> {
    let rules = rules.entries(ctx)?.into_iter();
    let rules: Vec<String> = rules.map(|(key, value)| format!("{key}={value}")).collect();
    Ok(format!("{{{}}}", rules.join(",")))
}

/// Whether the command was one of broadcast state.
fn write(rules: &Rules, command: &str, ctx: &mut Context<str>) -> Result<bool> {
    if let Some((key, value)) = command.split_once('=') {
        rules.put(ctx, &key.to_owned(), &value.to_owned())?;
    } else if let Some(key) = command.strip_prefix('-') {
        rules.remove(ctx, &key.to_owned())?;
    } else if command == "clear" {
        rules.clear(ctx)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

#[derive(Default)]
pub struct Broadcast {
    rules: Rules,
    count: ValueState<u64>,
    last: MapState<String, String>,
}

impl KeyedBroadcastProcessFunction for Broadcast {
    type In = str;
    type Broadcast = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.rules = d.broadcast_state("rules");
        self.count = d.value_state("count");
        self.last = d.map_state("last");
    }

    fn process_element(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        if write(&self.rules, value, ctx)? {
            return Ok(());
        }
        if let Some(at) = value.strip_prefix("t ") {
            ctx.register_event_timer(at.parse()?);
        }
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        self.last.put(ctx, &"last".to_owned(), &value.to_owned())?;
        let rules = shown(&self.rules, ctx)?;
        let line = format!("{} {value} {count} {rules}", ctx.key_str()?);
        ctx.emit(line);
        Ok(())
    }

    fn process_broadcast_element(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        let (count, last) = (&self.count, &self.last);
        for command in value.split(';') {
            check(command)?;
            match command {
                "each" => ctx.apply_to_keyed_state(count, |key, ctx| {
                    let number = count.value(ctx)?.unwrap_or(0);
                    let value = last.get(ctx, &"last".to_owned())?.unwrap_or_default();
                    let key = String::from_utf8_lossy(key);
                    ctx.emit((&*key, '=', number, ' ', &*value));
                    Ok(())
                })?,
                "reset" => ctx.apply_to_keyed_state(last, |_, ctx| {
                    count.clear(ctx)?;
                    last.clear(ctx)
                })?,
                "double" => ctx.apply_to_keyed_state(count, |_, ctx| {
                    let number = count.value(ctx)?.unwrap_or(0);
                    count.update(ctx, &(number * 2))
                })?,
                "key" => ctx.emit(("key=", ctx.key_str()?)),
                _ => drop(write(&self.rules, command, ctx)?),
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let rules = shown(&self.rules, ctx)?;
        ctx.emit(("timer ", timer.at, ' ', &*rules));
        Ok(())
    }
}

#[derive(Default)]
pub struct BroadcastPlain {
    rules: Rules,
}

impl BroadcastProcessFunction for BroadcastPlain {
    type In = str;
    type Broadcast = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.rules = d.broadcast_state("rules");
    }

    fn process_element(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        if !write(&self.rules, value, ctx)? {
            let rules = shown(&self.rules, ctx)?;
            ctx.emit((value, ' ', &*rules));
        }
        Ok(())
    }

    fn process_broadcast_element(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        for command in value.split(';') {
            check(command)?;
            write(&self.rules, command, ctx)?;
        }
        Ok(())
    }
}
