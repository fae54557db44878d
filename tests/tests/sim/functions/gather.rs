//! Keeps the records of a key in a map and in a list; emits how often each was seen and how many there
//! are, and all of them at the end of input.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::StateKind;
use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::{Page, StateId, StateKey, Write};
use wasmill_state::timers::{TimeDomain, Timer};

use super::{declare, emit, fail_at_times, number, state_key, text, timer_at_end};
use crate::sink::Shared;

/// Small, so that there are several pages.
const PAGE_BYTES: usize = 20;

pub(super) struct Gather {
    external: Shared,
    /// Record → how often.
    times: StateId,
    /// Records.
    seen: StateId,
}

impl Gather {
    pub(super) fn new(external: Shared) -> Self {
        let (times, seen) = (StateId(0), StateId(0));
        Self {
            external,
            times,
            seen,
        }
    }

    fn length(&self, key: StateKey<'_>, context: &mut OperatorContext) -> Result<u64, TaskError> {
        let (mut length, mut page) = (0, Page::default());
        while !page.done {
            page = Page::default();
            context
                .state
                .list_page(self.seen, key, length, PAGE_BYTES, &mut page)?;
            length += page.entries.len() as u64;
        }
        Ok(length)
    }

    fn records(&self, key: StateKey<'_>, context: &mut OperatorContext) -> Result<Vec<String>, TaskError> {
        let (mut records, mut page) = (Vec::new(), Page::default());
        let mut after: Option<Vec<u8>> = None;
        while !page.done {
            page = Page::default();
            context
                .state
                .map_page(self.times, key, after.as_deref(), PAGE_BYTES, &mut page)?;
            records.extend(page.entries.iter().map(|(record, _)| text(record)));
            after = page.entries.last().map(|(record, _)| record.clone());
        }
        Ok(records)
    }
}

impl Operator for Gather {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.times = declare(context, "times", StateKind::Map)?;
        self.seen = declare(context, "seen", StateKind::List)?;
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        fail_at_times(&self.external, "gather")?;
        let mut results = BatchBuilder::default();
        for row in batch {
            let encoded = row.key().ok_or_else(|| TaskError::host("no key"))?;
            let key = state_key(KeyGroup(row.group_field() as u16), encoded);
            let record = StateKey {
                map_key: row.value(),
                ..key
            };
            let (before, locator) = number(self.times, record, context)?;
            let value = (before + 1).to_le_bytes();
            let write = Write {
                key: record,
                locator,
                value: Some(&value),
            };
            context.state.write_batch(self.times, &[write])?;
            context.state.append(self.seen, key, row.value())?;
            timer_at_end(context, key.group, encoded);
            emit(&mut results, &format!("{}*{}", text(row.value()), before + 1));
            let length = self.length(key, context)?;
            emit(&mut results, &format!("{}#{length}", text(key::body(encoded))));
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }

    fn on_timers(
        &mut self,
        _: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        // One at a time: those that are not taken come again.
        let timer = &timers[0];
        let records = self.records(state_key(timer.group, &timer.key), context)?;
        let key = text(key::body(&timer.key));
        emit(&mut results, &format!("{key}=[{}]", records.join(" ")));
        out.emit(0, results.finish());
        Ok(1)
    }
}
