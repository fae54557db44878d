//! A sink that throws everything away: for benchmarks.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter};
use wasmill_model::batch::Batch;
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;

use crate::settings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// Makes the sink; it has no settings.
pub fn sink(config: &Value, _format: Format) -> Result<Arc<dyn Sink>, String> {
    settings::read::<Settings>("discard", config)?;
    Ok(Arc::new(Discard))
}

struct Discard;

impl Sink for Discard {
    fn writer(&self, _runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(Discard))
    }

    fn recover(&self, _context: &SinkRecovery) -> Result<(), TaskError> {
        Ok(())
    }

    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::Idempotent
    }
}

impl SinkWriter for Discard {
    fn write(&mut self, _batch: &Batch) -> Result<(), TaskError> {
        Ok(())
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        Ok(Vec::new())
    }

    fn commit(
        &mut self,
        _committable: &wasmill_checkpoint::handle::Committable,
    ) -> Result<Commit, TaskError> {
        Ok(Commit::Already)
    }
}
