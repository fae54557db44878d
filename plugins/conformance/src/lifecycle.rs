//! `lifecycle`: a flat-map that tells where and when it is opened and closed.

use wasmill_sdk::prelude::*;

use crate::command;

/// See `README.md`.
#[derive(Default)]
pub struct Lifecycle {
    attempt: u32,
    place: String,
    task: String,
    values: Counter,
}

impl FlatMapFunction for Lifecycle {
    type In = str;
    type Out = str;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        let tag = ctx.config_value()["tag"].as_str().unwrap_or_default();
        let runtime = ctx.runtime();
        let (subtask, parallelism) = (runtime.subtask_index, runtime.parallelism);
        self.attempt = runtime.attempt;
        self.place = format!("{subtask}/{parallelism} attempt {} {tag}", self.attempt);
        self.task = runtime.task_name.clone();
        self.values = ctx.counter("lifecycle_values")?;
        wasmill_sdk::info!("opened {}", self.place);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        wasmill_sdk::info!("closed {}", self.place);
        Ok(())
    }

    fn flat_map(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        super::check(value)?;
        self.values.inc();
        if value == "?" {
            ctx.emit((&*self.place, ' ', &*self.task));
        } else if let Some(wanted) = command::until(value) {
            if self.attempt < wanted {
                let attempt = self.attempt;
                return Err(Error::retry(format_args!("attempt {attempt} is before {wanted}")));
            }
        } else {
            ctx.emit(value);
        }
        Ok(())
    }
}
