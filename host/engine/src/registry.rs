//! How a graph's names become sources, sinks and operators: the host registers what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use wasmill_model::function::{Format, FunctionDescription};
use wasmill_model::graph::JobSettings;

use crate::error::TaskError;
use crate::operator::Operator;
use crate::sink::Sink;
use crate::source::Source;

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
