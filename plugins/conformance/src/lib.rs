//! One function of every kind and state kind, with the SDK: `README.md` says what each does.

mod asynchronous;
mod buffering;
mod command;
mod lifecycle;
mod process;
mod process_join;
mod streams;
mod time;
mod window_join;
mod windows;

use wasmill_sdk::prelude::*;

use command::{Command, Failure};

fn fail(command: Command<'_>) -> Error {
    match command {
        Command::Fail(Failure::BadRecord(message)) => Error::bad_record(message),
        Command::Fail(Failure::Retry(message)) => Error::retry(message),
        Command::Fail(Failure::Failed(message)) => Error::failed(message),
        _ => panic!("trap"),
    }
}

/// Runs an error command, where the value is one.
fn check(value: &str) -> Result<()> {
    match command::failure(value) {
        Some(command) => Err(fail(command)),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Map;

impl MapFunction for Map {
    type In = str;
    type Out = str;

    fn map(&mut self, value: &str) -> Result<impl Emit<str>> {
        check(value)?;
        Ok(('<', value, '>'))
    }
}

#[derive(Default)]
struct Filter;

impl FilterFunction for Filter {
    type In = str;

    fn filter(&mut self, value: &str) -> Result<bool> {
        check(value)?;
        Ok(value.len().is_multiple_of(2))
    }
}

#[derive(Default)]
struct FlatMap {
    rejected: SideOutput<str>,
    place: String,
}

impl FlatMapFunction for FlatMap {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.rejected = d.side_output("rejected");
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        let tag = ctx.config_value()["tag"].as_str().unwrap_or_default();
        let runtime = ctx.runtime();
        self.place = format!("{}/{} {tag}", runtime.subtask_index, runtime.parallelism);
        Ok(())
    }

    fn flat_map(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        check(value)?;
        for part in value.split(' ').filter(|part| !part.is_empty()) {
            if let Some(rejected) = part.strip_prefix('-') {
                ctx.emit_to(self.rejected, rejected);
            } else if part == "?" {
                ctx.emit(&*self.place);
            } else if let Some((Ok(at), text)) = part.split_once('@').map(|(at, text)| (at.parse(), text)) {
                ctx.emit_at(text, at);
            } else {
                ctx.emit(part);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Key;

impl KeySelector for Key {
    type In = str;

    fn get_key(&mut self, value: &str) -> Result<impl Emit<[u8]>> {
        check(value)?;
        Ok(value.split(':').next().unwrap_or_default())
    }
}

#[derive(Default)]
struct Reduce;

impl ReduceFunction for Reduce {
    type Value = str;

    fn reduce(&mut self, accumulator: &str, value: &str) -> Result<impl Emit<str>> {
        check(value)?;
        Ok(command::reduced(accumulator, value))
    }
}

#[derive(Default)]
struct Aggregate;

impl AggregateFunction for Aggregate {
    type In = str;
    type Accumulator = String;
    type Out = String;

    fn create_accumulator(&self) -> String {
        "0:0".to_owned()
    }

    fn add(&self, value: &str, accumulator: &mut String) -> Result<()> {
        check(value)?;
        let number: i64 = value.parse().map_err(|_| Error::bad_record("not a number"))?;
        let (count, sum) = command::count_and_sum(accumulator);
        *accumulator = format!("{}:{}", count + 1, sum.wrapping_add(number));
        Ok(())
    }

    fn get_result(&self, accumulator: &String) -> Result<String> {
        Ok(accumulator.clone())
    }

    fn merge(&self, a: String, b: String) -> Result<String> {
        let ((a_count, a_sum), (b_count, b_sum)) = (command::count_and_sum(&a), command::count_and_sum(&b));
        Ok(format!("{}:{}", a_count + b_count, a_sum.wrapping_add(b_sum)))
    }
}

wasmill_sdk::export! {
    "map" => map Map,
    "filter" => filter Filter,
    "flat-map" => flat_map FlatMap,
    "key-selector" => key_selector Key,
    "reduce" => reduce Reduce,
    "aggregate" => aggregate Aggregate,
    "process" => process process::Process,
    "buffering" => flat_map buffering::Buffering,
    "lifecycle" => flat_map lifecycle::Lifecycle,
    "async" => asynchronous asynchronous::Asks,
    "timestamps" => timestamp_assigner time::Timestamps,
    "watermarks" => watermark_generator time::Watermarks,
    "watermarks-kept" => watermark_generator time::WatermarksKept,
    "partition" => partitioner time::Partition,
    "co-map" => co_map streams::CoMap,
    "co-flat-map" => co_flat_map streams::CoFlatMap,
    "co-process" => keyed_co_process streams::CoProcess,
    "broadcast" => keyed_broadcast_process streams::Broadcast,
    "broadcast-plain" => broadcast_process streams::BroadcastPlain,
    "process-join" => process_join process_join::ProcessJoin,
    "join" => join window_join::Join,
    "co-group" => co_group window_join::CoGroup,
    "apply" => apply windows::Joined,
    "evictor" => evictor windows::Endings,
}
