//! Passes records on, behind a partition that is drawn anew for every start; and a partitioner of its own.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext};
use wasmill_engine::output::Output;
use wasmill_engine::registry::CustomPartitioner;
use wasmill_model::batch::Batch;
use wasmill_model::key;

pub(super) struct Pass;

impl Operator for Pass {
    fn open(&mut self, _: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        _: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        out.emit(0, batch.clone());
        Ok(batch.rows())
    }
}

/// The same target for the same record.
pub(super) struct ByRecord;

impl CustomPartitioner for ByRecord {
    fn partition(&mut self, rows: &Batch, targets: u32, out: &mut Vec<u32>) -> Result<(), TaskError> {
        let target = |value: &[u8]| (key::hash(value) % u64::from(targets)) as u32;
        out.extend(rows.iter().map(|row| target(row.value())));
        Ok(())
    }
}
