//! Makes assigners and generators of what a job declares (T3).

use std::sync::Arc;

use wasmill_model::function::Format;
use wasmill_model::graph::{TimestampSource, WatermarkGeneration, WatermarkStrategy};

use super::generator::{Bounded, Silent, WatermarkGenerator, WithIdleness};
use super::timestamps::Timestamps;
use crate::error::TaskError;
use crate::registry::{FunctionPlace, FunctionProvider};

/// A declared strategy with what it needs to come alive in a subtask.
#[derive(Clone)]
pub(crate) struct Strategy {
    /// As declared.
    pub(crate) declared: WatermarkStrategy,
    /// Of the records.
    pub(crate) format: Format,
    /// From one tick to the next, ms; 0: there are none.
    pub(crate) interval_ms: u64,
    /// For those of components.
    pub(crate) functions: Option<Arc<dyn FunctionProvider>>,
    /// Where those run.
    pub(crate) place: FunctionPlace,
}

impl Strategy {
    /// Where timestamps come from.
    pub(crate) fn timestamps(&self) -> Result<Timestamps, TaskError> {
        Ok(match &self.declared.timestamps {
            TimestampSource::Record => Timestamps::Record,
            TimestampSource::Ingestion => Timestamps::Ingestion,
            TimestampSource::Field { name, unit } => Timestamps::field(name, *unit, self.format),
            TimestampSource::Function(function) => {
                Timestamps::Function(self.functions()?.timestamp_assigner(function, &self.place)?)
            }
        })
    }

    /// A generator: one for each stream, or for each split of a source.
    pub(crate) fn generator(&self) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        let generator: Box<dyn WatermarkGenerator> = match &self.declared.generator {
            WatermarkGeneration::None => Box::new(Silent),
            WatermarkGeneration::Monotonous => Box::new(Bounded::new(0)),
            WatermarkGeneration::Bounded { disorder_ms } => Box::new(Bounded::new(*disorder_ms)),
            WatermarkGeneration::Function(function) => {
                self.functions()?.watermark_generator(function, &self.place)?
            }
        };
        Ok(match self.declared.idle_after_ms {
            Some(after_ms) => Box::new(WithIdleness::new(generator, after_ms)),
            None => generator,
        })
    }

    fn functions(&self) -> Result<&Arc<dyn FunctionProvider>, TaskError> {
        let missing = || TaskError::user("this host runs no components");
        self.functions.as_ref().ok_or_else(missing)
    }
}
