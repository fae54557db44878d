//! The five kinds of keyed state under a tape of operations; each result is emitted. `States.java`.

use serde::Serialize;
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// What is emitted for a record.
#[derive(Serialize)]
struct Done<'a> {
    key: &'a str,
    op: &'a str,
    arg: i64,
    result: Answer,
}

/// What an operation gives.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Done(&'static str),
    Number(Option<i64>),
    Numbers(Vec<i64>),
    Text(Option<String>),
    Texts(Vec<String>),
    Truth(bool),
}

/// "Contains-3-5-7": the values in the order they were added.
#[derive(Default)]
struct Contains;

impl AggregateFunction for Contains {
    type In = i64;
    type Accumulator = String;
    type Out = String;

    fn create_accumulator(&self) -> String {
        "Contains".to_owned()
    }

    fn add(&self, value: &i64, accumulator: &mut String) -> Result<()> {
        accumulator.push_str(&format!("-{value}"));
        Ok(())
    }

    fn get_result(&self, accumulator: &String) -> Result<String> {
        Ok(accumulator.clone())
    }

    fn merge(&self, a: String, b: String) -> Result<String> {
        Ok(a + &b)
    }
}

/// See the module.
#[derive(Default)]
pub struct States {
    value: ValueState<i64>,
    list: ListState<i64>,
    map: MapState<i64, Option<i64>>,
    reducing: ReducingState<i64>,
    aggregating: AggregatingState<Contains>,
}

impl KeyedProcessFunction for States {
    type In = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
        self.value = d.value_state("value");
        self.list = d.list_state("list");
        self.map = d.map_state("map");
        self.reducing = d.reducing_state("reducing", i64::wrapping_add);
        self.aggregating = d.aggregating_state("aggregating");
    }

    fn process_element(&mut self, event: &Json<Event>, ctx: &mut Context<str>) -> Result<()> {
        let Event { key, op, arg, .. } = &event.0;
        let result = match op.split_once('-').map(|(state, _)| state) {
            Some("value") => self.on_value(op, *arg, ctx)?,
            Some("list") => self.on_list(op, *arg, ctx)?,
            Some("map") => self.on_map(op, *arg, ctx)?,
            _ => self.on_folded(op, *arg, ctx)?,
        };
        let line = json(&Done {
            key,
            op,
            arg: *arg,
            result,
        })?;
        ctx.emit(line);
        Ok(())
    }
}

const DONE: Answer = Answer::Done("done");

fn unknown(op: &str) -> Error {
    Error::bad_record(format_args!("no such operation: {op}"))
}

impl States {
    fn on_value(&self, op: &str, arg: i64, ctx: &mut Context<str>) -> Result<Answer> {
        match op {
            "value-get" => return Ok(Answer::Number(self.value.value(ctx)?)),
            "value-update" => self.value.update(ctx, &arg)?,
            // No value is what clearing leaves.
            "value-update-null" | "value-clear" => self.value.clear(ctx)?,
            _ => return Err(unknown(op)),
        }
        Ok(DONE)
    }

    fn on_list(&self, op: &str, arg: i64, ctx: &mut Context<str>) -> Result<Answer> {
        match op {
            "list-get" => return Ok(Answer::Numbers(self.list.get(ctx)?)),
            "list-add" => self.list.add(ctx, &arg)?,
            "list-add-all" => self.list.add_all(ctx, &[arg, arg + 1])?,
            "list-update" => self.list.update(ctx, &[arg, -arg])?,
            "list-update-empty" => self.list.update(ctx, &[])?,
            "list-clear" => self.list.clear(ctx)?,
            _ => return Err(unknown(op)),
        }
        Ok(DONE)
    }

    fn on_map(&self, op: &str, arg: i64, ctx: &mut Context<str>) -> Result<Answer> {
        let entry = arg % 4;
        match op {
            "map-get" => return Ok(Answer::Number(self.map.get(ctx, &entry)?.flatten())),
            "map-put" => self.map.put(ctx, &entry, &Some(arg))?,
            "map-put-null" => self.map.put(ctx, &entry, &None)?,
            "map-put-all" => {
                self.map.put(ctx, &entry, &Some(arg))?;
                self.map.put(ctx, &(entry + 1), &Some(arg + 1))?;
            }
            "map-contains" => return Ok(Answer::Truth(self.map.contains(ctx, &entry)?)),
            "map-remove" => self.map.remove(ctx, &entry)?,
            "map-is-empty" => return Ok(Answer::Truth(self.map.is_empty(ctx)?)),
            "map-keys" => {
                let keys = self.map.keys(ctx)?;
                return Ok(sorted(keys.iter().map(i64::to_string)));
            }
            "map-values" => {
                let values = self.map.values(ctx)?;
                return Ok(sorted(values.into_iter().map(shown)));
            }
            "map-entries" => {
                let entries = self.map.entries(ctx)?;
                let entries = entries.into_iter();
                return Ok(sorted(
                    entries.map(|(key, value)| format!("{key}={}", shown(value))),
                ));
            }
            "map-remove-odd-by-iterator" => {
                for key in self.map.keys(ctx)?.iter().filter(|key| **key % 2 == 1) {
                    self.map.remove(ctx, key)?;
                }
            }
            "map-clear" => self.map.clear(ctx)?,
            _ => return Err(unknown(op)),
        }
        Ok(DONE)
    }

    fn on_folded(&self, op: &str, arg: i64, ctx: &mut Context<str>) -> Result<Answer> {
        match op {
            "reducing-get" => return Ok(Answer::Number(self.reducing.get(ctx)?)),
            "reducing-add" => self.reducing.add(ctx, arg)?,
            "reducing-clear" => self.reducing.clear(ctx)?,
            "aggregating-get" => return Ok(Answer::Text(self.aggregating.get(ctx)?)),
            "aggregating-add" => self.aggregating.add(ctx, &arg)?,
            "aggregating-clear" => self.aggregating.clear(ctx)?,
            _ => return Err(unknown(op)),
        }
        Ok(DONE)
    }
}

/// A value as Java shows it.
fn shown(value: Option<i64>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// As texts in their own order: none is promised for a map.
fn sorted(texts: impl Iterator<Item = String>) -> Answer {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    Answer::Texts(texts)
}
