//! Counts by key; emits every count, and the total at the end of input.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::StateKind;
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::time::{Timestamp, WATERMARK_NONE};
use wasmill_state::backend::{StateId, Write};
use wasmill_state::timers::{TimeDomain, Timer};

use super::{declare, emit, fail_at_times, number, state_key, text, timer_at_end};
use crate::sink::Shared;

pub(super) struct Count {
    external: Shared,
    padding: usize,
    never_late: bool,
    /// The last watermark it was told.
    watermark: Timestamp,
    state: StateId,
}

impl Count {
    pub(super) fn new(external: Shared, padding: usize, never_late: bool) -> Self {
        Self {
            external,
            padding,
            never_late,
            watermark: WATERMARK_NONE,
            state: StateId(0),
        }
    }
}

impl Operator for Count {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.state = declare(context, "count", StateKind::Value)?;
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        fail_at_times(&self.external, "count")?;
        let mut results = BatchBuilder::default();
        for row in batch {
            let timestamp = row.timestamp().unwrap_or(Timestamp::MAX);
            if self.never_late && timestamp <= context.watermark {
                let watermark = context.watermark;
                return Err(TaskError::host(format!(
                    "a record of {timestamp} comes behind {watermark}"
                )));
            }
            let encoded = row.key().ok_or_else(|| TaskError::host("no key"))?;
            let group = KeyGroup(row.group_field() as u16);
            let key = state_key(group, encoded);
            let (before, locator) = number(self.state, key, context)?;
            let count = before + 1;
            let mut padded = count.to_le_bytes().to_vec();
            padded.resize(8 + self.padding, 0);
            let value = Some(&padded[..]);
            context
                .state
                .write_batch(self.state, &[Write { key, locator, value }])?;
            timer_at_end(context, group, encoded);
            emit(&mut results, &format!("{},{count}", text(key::body(encoded))));
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }

    fn on_watermark(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        if context.watermark <= self.watermark {
            let (before, now) = (self.watermark, context.watermark);
            return Err(TaskError::host(format!(
                "the watermark goes from {before} to {now}"
            )));
        }
        self.watermark = context.watermark;
        Ok(())
    }

    fn on_timers(
        &mut self,
        _: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        for timer in timers {
            let (total, _) = number(self.state, state_key(timer.group, &timer.key), context)?;
            emit(
                &mut results,
                &format!("{},total,{total}", text(key::body(&timer.key))),
            );
        }
        out.emit(0, results.finish());
        Ok(timers.len() as u32)
    }
}
