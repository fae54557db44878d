//! The functions of `conformance` on the typed worlds, with a binding generator and no SDK.
#![cfg(target_arch = "wasm32")] // The names of its exports are none that a native linker takes.

mod asynchronous;
mod buffering;
#[path = "../../conformance/src/command.rs"]
mod command;
mod describe;
mod lifecycle_function;
mod process;
mod process_join;
mod streams;
mod time;
mod window_join;
mod windows;

#[allow(unsafe_code, missing_docs)] // Generated.
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package wasmill:conformance;
            world conformance {
                include wasmill:function/all@1.0.0;
                include wasmill:function/%async@1.0.0;
                include wasmill:function/process-join@1.0.0;
                include wasmill:function/window-join@1.0.0;
                include wasmill:function/co-group@1.0.0;
                include wasmill:function/window@1.0.0;
                include wasmill:function/window-evictor@1.0.0;
                include wasmill:function/co-map@1.0.0;
                include wasmill:function/co-flat-map@1.0.0;
                include wasmill:function/co-process@1.0.0;
                include wasmill:function/broadcast-process@1.0.0;
                include wasmill:function/assign-timestamps@1.0.0;
                include wasmill:function/generate-watermarks@1.0.0;
                include wasmill:function/partition-custom@1.0.0;
            }
        ",
        world: "wasmill:conformance/conformance",
        generate_all,
        pub_export_macro: true,
    });
}

use std::cell::{Cell, RefCell};

use bindings::exports::wasmill::function::{
    aggregate_function, checkpointed, co_group_function, filter_function, flat_map_function, join_function,
    key_selector, lifecycle, map_function, process_function, process_join_function, reduce_function,
};
use bindings::wasmill::function::types::{Element, Error};
use bindings::wasmill::function::{collector, runtime};
use command::{Command, Failure};

/// The component: an instance serves the one function that `open` named.
struct Component;

/// The function that `open` named, as far as several share an export.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Serves {
    Buffering,
    Lifecycle,
    Watermarks,
    Other,
}

thread_local! {
    static SERVES: Cell<Serves> = const { Cell::new(Serves::Other) };
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
}

fn fail(command: Command<'_>) -> Error {
    match command {
        Command::Fail(Failure::BadRecord(message)) => Error::BadRecord(message.to_owned()),
        Command::Fail(Failure::Retry(message)) => Error::Retry(message.to_owned()),
        Command::Fail(Failure::Failed(message)) => Error::Failed(message.to_owned()),
        _ => panic!("trap"),
    }
}

/// The record's text, unless it is an error command.
fn text(e: &Element) -> Result<&str, Error> {
    let text = std::str::from_utf8(&e.value).map_err(|error| Error::BadRecord(error.to_string()))?;
    match command::failure(text) {
        Some(command) => Err(fail(command)),
        None => Ok(text),
    }
}

impl lifecycle::Guest for Component {
    fn describe() -> String {
        describe::DESCRIPTION.to_owned()
    }

    fn open(function: String, config: String) -> Result<(), Error> {
        match function.as_str() {
            "process" => process::open(),
            "process-join" => process_join::open(),
            "buffering" => {
                SERVES.set(Serves::Buffering);
                buffering::open();
            }
            "lifecycle" => {
                SERVES.set(Serves::Lifecycle);
                lifecycle_function::open(&config);
            }
            "watermarks-kept" => SERVES.set(Serves::Watermarks),
            other => streams::open(other),
        }
        CONFIG.set(config);
        Ok(())
    }

    fn close() -> Result<(), Error> {
        if SERVES.get() == Serves::Lifecycle {
            lifecycle_function::close();
        }
        Ok(())
    }
}

impl map_function::Guest for Component {
    fn map(e: Element) -> Result<Vec<u8>, Error> {
        Ok(format!("<{}>", text(&e)?).into_bytes())
    }
}

impl filter_function::Guest for Component {
    fn filter(e: Element) -> Result<bool, Error> {
        Ok(text(&e)?.len().is_multiple_of(2))
    }
}

impl flat_map_function::Guest for Component {
    fn flat_map(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        match SERVES.get() {
            Serves::Buffering => {
                buffering::flat_map(value);
                return Ok(());
            }
            Serves::Lifecycle => return lifecycle_function::flat_map(value),
            Serves::Watermarks | Serves::Other => {}
        }
        for part in value.split(' ').filter(|part| !part.is_empty()) {
            if let Some(rejected) = part.strip_prefix('-') {
                collector::emit_to("rejected", rejected.as_bytes());
            } else if part == "?" {
                collector::emit(place().as_bytes());
            } else if let Some((Ok(at), text)) = part.split_once('@').map(|(at, text)| (at.parse(), text)) {
                collector::emit_at(text.as_bytes(), at);
            } else {
                collector::emit(part.as_bytes());
            }
        }
        Ok(())
    }
}

/// `SUBTASK/PARALLELISM TAG`.
fn place() -> String {
    let context = runtime::context();
    let number = |name| describe::json_number(&context, name).unwrap_or_default();
    let tag = CONFIG.with_borrow(|config| describe::json_text(config, "tag").unwrap_or_default().to_owned());
    format!("{}/{} {tag}", number("subtask-index"), number("parallelism"))
}

impl key_selector::Guest for Component {
    fn get_key(e: Element) -> Result<Vec<u8>, Error> {
        let key = text(&e)?.split(':').next().unwrap_or_default();
        Ok(key.as_bytes().to_vec())
    }
}

impl reduce_function::Guest for Component {
    fn reduce(accumulator: Vec<u8>, value: Vec<u8>) -> Result<Vec<u8>, Error> {
        let value = String::from_utf8_lossy(&value);
        if let Some(command) = command::failure(&value) {
            return Err(fail(command));
        }
        let accumulator = String::from_utf8_lossy(&accumulator);
        Ok(command::reduced(&accumulator, &value).into_bytes())
    }
}

impl aggregate_function::Guest for Component {
    fn create_accumulator() -> Result<Vec<u8>, Error> {
        Ok(b"0:0".to_vec())
    }

    fn add(accumulator: Vec<u8>, e: Element) -> Result<Vec<u8>, Error> {
        let number: i64 = text(&e)?
            .parse()
            .map_err(|_| Error::BadRecord("not a number".to_owned()))?;
        let (count, sum) = command::count_and_sum(&String::from_utf8_lossy(&accumulator));
        Ok(format!("{}:{}", count + 1, sum.wrapping_add(number)).into_bytes())
    }

    fn get_result(accumulator: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(accumulator)
    }

    fn merge(a: Vec<u8>, b: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (a_count, a_sum) = command::count_and_sum(&String::from_utf8_lossy(&a));
        let (b_count, b_sum) = command::count_and_sum(&String::from_utf8_lossy(&b));
        Ok(format!("{}:{}", a_count + b_count, a_sum.wrapping_add(b_sum)).into_bytes())
    }
}

impl process_function::Guest for Component {
    fn process_element(e: Element) -> Result<(), Error> {
        process::process_element(&e)
    }

    fn on_timer(at: i64, processing_time: bool) -> Result<(), Error> {
        process::on_timer(at, processing_time)
    }
}

impl process_join_function::Guest for Component {
    fn process_pair(left: Element, right: Element) -> Result<(), Error> {
        process_join::process_pair(&left, &right)
    }
}

impl join_function::Guest for Component {
    fn join(left: Element, right: Element) -> Result<(), Error> {
        window_join::join(&left, &right)
    }
}

impl co_group_function::Guest for Component {
    fn co_group() -> Result<(), Error> {
        window_join::co_group()
    }
}

impl checkpointed::Guest for Component {
    fn restore_state(restored: bool, raw: Vec<u8>) -> Result<(), Error> {
        if SERVES.get() == Serves::Buffering {
            let subtask = describe::json_number(&runtime::context(), "subtask-index");
            buffering::restore(restored, raw, subtask == Some(0));
        } else if SERVES.get() == Serves::Watermarks {
            time::restore(&raw);
        }
        Ok(())
    }

    fn snapshot_state() -> Result<Vec<u8>, Error> {
        Ok(match SERVES.get() {
            Serves::Buffering => buffering::snapshot(),
            Serves::Watermarks => time::snapshot(),
            _ => Vec::new(),
        })
    }
}

#[allow(unsafe_code)] // Generated.
mod exported {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
