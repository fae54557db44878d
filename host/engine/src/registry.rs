//! How a graph's names become sources, sinks and operators: the host registers what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use wasmill_model::function::{Format, FunctionDescription};
use wasmill_model::graph::{FunctionRef, JobSettings};

use crate::error::TaskError;
pub use crate::exchange::CustomPartitioner;
use crate::operator::Operator;
use crate::sink::Sink;
use crate::source::Source;
use crate::time::{TimestampAssigner, WatermarkGenerator};

/// Makes a source from its settings; the error names the setting and the mend.
pub type SourceFactory = Box<dyn Fn(&Value, Format) -> Result<Arc<dyn Source>, String> + Send + Sync>;
/// Makes a sink from its settings; the error names the setting and the mend.
pub type SinkFactory = Box<dyn Fn(&Value, Format) -> Result<Arc<dyn Sink>, String> + Send + Sync>;

/// Makes operators that call components.
pub trait FunctionProvider: Send + Sync {
    /// Makes the operator of one subtask.
    fn operator(
        &self,
        plugin: &str,
        description: &FunctionDescription,
        config: &Value,
        settings: &JobSettings,
    ) -> Result<Box<dyn Operator>, TaskError>;

    /// Makes what chooses the targets of records in one sending subtask (G8).
    fn partitioner(&self, function: &FunctionRef) -> Result<Box<dyn CustomPartitioner>, TaskError> {
        Err(not_here(function, "chooses where records go"))
    }

    /// Makes what gives timestamps in one subtask (T3).
    fn timestamp_assigner(&self, function: &FunctionRef) -> Result<Box<dyn TimestampAssigner>, TaskError> {
        Err(not_here(function, "assigns timestamps"))
    }

    /// Makes what generates watermarks in one subtask, for one split of a source (T3).
    fn watermark_generator(&self, function: &FunctionRef) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        Err(not_here(function, "generates watermarks"))
    }
}

fn not_here(function: &FunctionRef, what: &str) -> TaskError {
    let name = &function.description.name;
    TaskError::user(format!(
        "`{name}` {what}: this host does not run components that do"
    ))
}

/// All that a host has.
#[derive(Default)]
pub struct Registry {
    /// By name, such as `files`.
    pub sources: BTreeMap<String, SourceFactory>,
    /// By name.
    pub sinks: BTreeMap<String, SinkFactory>,
    /// Components; `None` in hosts without (tests of the engine alone).
    pub functions: Option<Arc<dyn FunctionProvider>>,
}
