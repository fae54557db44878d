//! `lifecycle`: a flat-map that tells where and when it is opened and closed.

use std::cell::RefCell;

use crate::bindings::wasmill::function::types::Error;
use crate::bindings::wasmill::function::{collector, runtime};
use crate::{command, describe};

/// The level of `runtime.log`.
const INFO: u8 = 2;

#[derive(Default)]
struct Lifecycle {
    attempt: u32,
    place: String,
    task: String,
}

thread_local! {
    static STATE: RefCell<Lifecycle> = RefCell::default();
}

pub fn open(config: &str) {
    let context = runtime::context();
    let number = |name| describe::json_number(&context, name).unwrap_or_default();
    let (subtask, parallelism) = (number("subtask-index"), number("parallelism"));
    let attempt = number("attempt");
    let tag = describe::json_text(config, "tag").unwrap_or_default();
    let task = describe::json_text(&context, "task-name").unwrap_or_default();
    let state = Lifecycle {
        attempt,
        place: format!("{subtask}/{parallelism} attempt {attempt} {tag}"),
        task: task.to_owned(),
    };
    runtime::log(INFO, &format!("opened {}", state.place));
    STATE.set(state);
}

pub fn close() {
    STATE.with_borrow(|state| runtime::log(INFO, &format!("closed {}", state.place)));
}

pub fn flat_map(value: &str) -> Result<(), Error> {
    runtime::counter_add("lifecycle_values", 1);
    STATE.with_borrow(|state| {
        if value == "?" {
            collector::emit(format!("{} {}", state.place, state.task).as_bytes());
        } else if let Some(wanted) = command::until(value) {
            let attempt = state.attempt;
            if attempt < wanted {
                return Err(Error::Retry(format!("attempt {attempt} is before {wanted}")));
            }
        } else {
            collector::emit(value.as_bytes());
        }
        Ok(())
    })
}
