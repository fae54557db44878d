//! How a graph's names become sources, sinks and operators: the host registers what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use wasmill_model::function::{Format, FunctionDescription};
use wasmill_model::graph::{FunctionRef, JobSettings};

use crate::asynchronous::{AsyncFunction, RequestClients};
use crate::error::TaskError;
pub use crate::exchange::CustomPartitioner;
use crate::operator::{Operator, RuntimeContext};
use crate::sink::Sink;
use crate::source::Source;
use crate::time::{TimestampAssigner, WatermarkGenerator};
use crate::window::assigner::{WindowAssigner, WindowTime};
use crate::window::evictor::Evictor;
use crate::window::function::{ElementsFunction, IncrementalFunction};
use crate::window::trigger::Trigger;

/// Makes a source from its settings; the error names the setting and the mend.
pub type SourceFactory = Box<dyn Fn(&Value, Format) -> Result<Arc<dyn Source>, String> + Send + Sync>;
/// Makes a sink from its settings; the error names the setting and the mend.
pub type SinkFactory = Box<dyn Fn(&Value, Format) -> Result<Arc<dyn Sink>, String> + Send + Sync>;

/// Where a function runs that is no operator of its own.
#[derive(Clone, Debug)]
pub struct FunctionPlace {
    /// The subtask; of a partitioner the sending one.
    pub runtime: Arc<RuntimeContext>,
    /// Of the job.
    pub settings: JobSettings,
}

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
    fn partitioner(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn CustomPartitioner>, TaskError> {
        let _ = place;
        Err(not_here(function, "chooses where records go"))
    }

    /// Makes a window function that folds, with a process function behind it or not, in one subtask (W6).
    fn window_fold(
        &self,
        fold: &FunctionRef,
        process: Option<&FunctionRef>,
        settings: &JobSettings,
    ) -> Result<Box<dyn IncrementalFunction>, TaskError> {
        let _ = (process, settings);
        Err(not_here(fold, "folds the elements of windows"))
    }

    /// Makes a function over the elements of windows in one subtask: a process window function (W6), or one of two
    /// streams, of kind join or co-group (G13).
    fn window_process(
        &self,
        process: &FunctionRef,
        settings: &JobSettings,
    ) -> Result<Box<dyn ElementsFunction>, TaskError> {
        let _ = settings;
        Err(not_here(process, "processes the elements of windows"))
    }

    /// Makes a trigger in one subtask (W4); its first side output goes to `first_port`.
    fn trigger(
        &self,
        trigger: &FunctionRef,
        first_port: u16,
        settings: &JobSettings,
    ) -> Result<Box<dyn Trigger>, TaskError> {
        let _ = (first_port, settings);
        Err(not_here(trigger, "decides when windows fire"))
    }

    /// Makes an evictor in one subtask (W4).
    fn evictor(&self, evictor: &FunctionRef, settings: &JobSettings) -> Result<Box<dyn Evictor>, TaskError> {
        let _ = settings;
        Err(not_here(evictor, "decides which elements windows keep"))
    }

    /// Makes a window assigner in one subtask (W4).
    fn window_assigner(
        &self,
        assigner: &FunctionRef,
        time: WindowTime,
        settings: &JobSettings,
    ) -> Result<Box<dyn WindowAssigner>, TaskError> {
        let _ = (time, settings);
        Err(not_here(assigner, "assigns windows"))
    }

    /// Makes what gives timestamps in one subtask (T3).
    fn timestamp_assigner(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn TimestampAssigner>, TaskError> {
        let _ = place;
        Err(not_here(function, "assigns timestamps"))
    }

    /// Makes what generates watermarks in one subtask, for one split of a source (T3).
    fn watermark_generator(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        let _ = place;
        Err(not_here(function, "generates watermarks"))
    }

    /// Makes the async function of one subtask (G14).
    fn async_function(
        &self,
        function: &FunctionRef,
        settings: &JobSettings,
    ) -> Result<Box<dyn AsyncFunction>, TaskError> {
        let _ = settings;
        Err(not_here(function, "makes requests"))
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
    /// What performs the requests of async functions; `None` in hosts without.
    pub clients: Option<Arc<dyn RequestClients>>,
}
