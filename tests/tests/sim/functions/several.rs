//! Functions of two inputs: one whose inputs share keyed state, one whose second input is broadcast. Both tell what
//! they have at the end of input.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::broadcast::{BROADCAST_PORT, BroadcastState};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext, OperatorSnapshot};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::Barrier;
use wasmill_model::function::StateKind;
use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::{StateId, Write};
use wasmill_state::timers::{TimeDomain, Timer};

use super::{declare, emit, fail_at_times, number, state_key, text, timer_at_end};
use crate::sink::Shared;

/// What a record of the second input counts for: so the total tells how many came of each.
pub(crate) const SECOND: u64 = 1_000;

/// Adds up what both inputs give of a key.
pub(super) struct Both {
    external: Shared,
    total: StateId,
}

impl Both {
    pub(super) fn new(external: Shared) -> Self {
        let total = StateId(0);
        Self { external, total }
    }
}

impl Operator for Both {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.total = declare(context, "total", StateKind::Value)?;
        Ok(())
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        _: &mut Output,
    ) -> Result<u32, TaskError> {
        fail_at_times(&self.external, "both")?;
        for row in batch {
            let encoded = row.key().ok_or_else(|| TaskError::host("no key"))?;
            let key = state_key(KeyGroup(row.group_field() as u16), encoded);
            let (before, locator) = number(self.total, key, context)?;
            let more = if port == 0 { 1 } else { SECOND };
            let total = (before + more).to_le_bytes();
            let value = Some(&total[..]);
            context
                .state
                .write_batch(self.total, &[Write { key, locator, value }])?;
            timer_at_end(context, key.group, encoded);
        }
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
        for timer in timers {
            let (total, _) = number(self.total, state_key(timer.group, &timer.key), context)?;
            emit(
                &mut results,
                &format!("~both,{},{total}", text(key::body(&timer.key))),
            );
        }
        out.emit(0, results.finish());
        Ok(timers.len() as u32)
    }
}

const KNOWN: &str = "known";

/// Every subtask knows every record; each key tells how many different ones there are.
pub(super) struct Known {
    external: Shared,
    known: BroadcastState,
}

impl Known {
    pub(super) fn new(external: Shared) -> Result<Self, TaskError> {
        let known = BroadcastState::restored(None, &[KNOWN.to_owned()])?;
        Ok(Self { external, known })
    }
}

impl Operator for Known {
    fn open(&mut self, _: &mut OperatorContext, restored: Option<OperatorState>) -> Result<(), TaskError> {
        self.known = BroadcastState::restored(restored.as_ref(), &[KNOWN.to_owned()])?;
        Ok(())
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        _: &mut Output,
    ) -> Result<u32, TaskError> {
        fail_at_times(&self.external, "known")?;
        for row in batch {
            if port == BROADCAST_PORT {
                self.known.on(port).put(KNOWN, row.value(), b"")?;
            } else {
                let encoded = row.key().ok_or_else(|| TaskError::host("no key"))?;
                timer_at_end(context, KeyGroup(row.group_field() as u16), encoded);
            }
        }
        Ok(batch.rows())
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        let state = OperatorState {
            lists: self.known.snapshot(),
            ..OperatorState::default()
        };
        Ok(OperatorSnapshot { state, keyed: None })
    }

    fn on_timers(
        &mut self,
        _: TimeDomain,
        timers: &[Timer],
        _: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        let known = self.known.on(0).entries(KNOWN).count();
        for timer in timers {
            emit(
                &mut results,
                &format!("~known,{},{known}", text(key::body(&timer.key))),
            );
        }
        out.emit(0, results.finish());
        Ok(timers.len() as u32)
    }
}
