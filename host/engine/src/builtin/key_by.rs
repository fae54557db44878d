//! Computes the key of each record natively (G6), at the end of the chain before a hash edge.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::key::MaxParallelism;

use super::field::KeyReader;
use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;

/// Sets key, hash and key group of every row.
pub struct KeyByOperator {
    reader: KeyReader,
    max_parallelism: MaxParallelism,
}

impl KeyByOperator {
    /// Reads keys by `reader`.
    pub fn new(reader: KeyReader) -> Self {
        Self {
            reader,
            max_parallelism: MaxParallelism::DEFAULT,
        }
    }
}

impl Operator for KeyByOperator {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.max_parallelism = context.runtime.max_parallelism;
        Ok(())
    }

    fn process(
        &mut self,
        _port: u16,
        batch: &Batch,
        _context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        // Keys are mostly a part of the value: half as much again is room enough.
        let mut keyed = BatchBuilder::with_capacity(batch.bytes().len() * 3 / 2);
        let (reader, max_parallelism) = (&mut self.reader, self.max_parallelism);
        for row in batch {
            let pushed = keyed.push_under_key(row, max_parallelism, |key| reader.read(row.value(), key));
            pushed.map_err(|error| {
                let record: String = String::from_utf8_lossy(row.value()).chars().take(200).collect();
                TaskError::user(format!("no key: {error}; record {record:?}"))
            })?;
        }
        out.emit(0, keyed.finish());
        Ok(batch.rows())
    }
}
